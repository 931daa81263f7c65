#include "autodiff/train_graph.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "autodiff/backward.h"
#include "autodiff/float_type.h"
#include "autodiff/ragged_model.h"
#include "base/error.h"
#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "graph/writer.h"
#include "kernels/dropout_mask.h"

namespace hugot {
namespace {

constexpr const char* kGradientInput = "hugot.output_gradient";

// Passes that a graph can go through before it is differentiated: what they make has gradients.
void fuse(Graph& graph, PassContext& context) {
  const std::pair<const char*, Pass> passes[] = {{"expand_composites", expand_composites},
                                                 {"fold_constants", fold_constants},
                                                 {"simplify", simplify},
                                                 {"eliminate_common", eliminate_common},
                                                 {"fuse_layer_norm", fuse_layer_norm},
                                                 {"fuse_gelu", fuse_gelu}};
  infer(graph);
  for (const auto& [name, pass] : passes) apply_pass(graph, context, name, pass);
}

template <class T>
void add_to(Tensor& sum, const Tensor& x) {
  T* to = sum.data<T>();
  const T* from = x.data<T>();
  for (int64_t i = 0; i < x.size(); ++i) to[i] += from[i];
}

// Runs whole batches in exact mode: one graph for the vectors, and one that computes them once more
// together with the gradients. Rows are padded to one length where the graph has a mask; otherwise
// those of one length make a batch.
class PaddedModel final : public TrainableModel {
 public:
  PaddedModel(Graph graph, const OpRegistry& ops, const TrainableModelOptions& options)
      : TrainableModel(graph, options.dtype) {
    check_inputs(graph);
    convert_floats(graph, dtype_);
    std::vector<ValueId> wrt;
    for (const std::string& name : options.trainable) wrt.push_back(add_parameter(graph, name));
    graph.remove_dead();
    PassContext context{ops};
    fuse(graph, context);
    if (options.dropout > 0) {
      add_dropout(graph, ops, options.dropout, dropout_);
      infer(graph);
    }
    const Fact output = graph.fact(graph.outputs[0]);
    require(output.rank() == 2, ErrorCode::kInvalidArgument,
            "a graph for training gives one vector per text, but its output is ",
            output.to_string());
    forward_ = make_executor(graph, context);
    add_gradients(graph, wrt, ops);
    backward_ = make_executor(std::move(graph), context);
  }

  Tensor forward(std::span<const TrainRow> rows, bool for_backward, const TrainRun& run) override {
    check_rows(rows);
    Tensor result;
    for (const auto& chosen : groups(rows)) {
      const std::vector<Tensor> inputs = arguments(rows, chosen, nullptr);
      const Tensor output = forward_->run(inputs, options_of(run)).at(0);
      if (!result.defined()) {
        result = Tensor(dtype_, {static_cast<int64_t>(rows.size()), output.shape()[1]});
      }
      require(output.shape()[0] == static_cast<int64_t>(chosen.size()) &&
                  output.shape()[1] == result.shape()[1],
              ErrorCode::kInvalidData, "the model's output is ", describe(output), " for ",
              chosen.size(), " texts");
      scatter_rows(output, chosen, result);
    }
    keep(for_backward ? rows : std::span<const TrainRow>());
    return result;
  }

  void backward(const Tensor& d_output, const TrainRun& run) override {
    require(!kept_.empty() && d_output.rank() == 2 && d_output.dtype() == dtype_ &&
                d_output.shape()[0] == static_cast<int64_t>(kept_.size()),
            ErrorCode::kInvalidArgument, "gradients of ", kept_.size(), " vectors, but ",
            describe(d_output), " were given");
    for (const auto& chosen : groups(kept_)) {
      const Tensor part = gather_rows(d_output, chosen);
      const std::vector<Tensor> inputs = arguments(kept_, chosen, &part);
      const std::vector<Tensor> gradients = backward_->run(inputs, options_of(run));
      for (size_t i = 0; i < parameters_.size(); ++i) {
        if (dtype_ == DType::kFloat32) {
          add_to<float>(parameters_[i].gradient, gradients[i]);
        } else {
          add_to<double>(parameters_[i].gradient, gradients[i]);
        }
      }
    }
    kept_.clear();
  }

 private:
  enum class Input { kIds, kMask, kTypes, kPositions };

  void check_inputs(const Graph& graph) {
    const std::map<std::string_view, Input> known = {{"input_ids", Input::kIds},
                                                     {"attention_mask", Input::kMask},
                                                     {"token_type_ids", Input::kTypes},
                                                     {"position_ids", Input::kPositions}};
    for (const ValueId id : graph.inputs) {
      const Value& value = graph.value(id);
      const auto found = known.find(value.name);
      require(found != known.end(), ErrorCode::kUnsupported, "the model needs input '", value.name,
              "' (", value.fact.to_string(), "), which no text can give");
      require(value.fact.dtype == DType::kInt64 || value.fact.dtype == DType::kInt32,
              ErrorCode::kUnsupported, "input '", value.name, "' is ", value.fact.to_string());
      inputs_.emplace_back(found->second, value.fact.dtype);
      has_mask_ = has_mask_ || found->second == Input::kMask;
    }
  }

  void add_gradients(Graph& graph, const std::vector<ValueId>& wrt, const OpRegistry& ops) {
    const ValueId output = graph.outputs[0];
    const ValueId seed =
        graph.add_input(kGradientInput, Fact::of(dtype_, *graph.fact(output).shape));
    GraphWriter writer(graph, ops);
    writer.set_scope("training");
    // d (output . d_output) / d output = d_output
    const Term loss = writer.op("ReduceSum", {writer.value(output) * writer.value(seed)},
                                {{"keepdims", int64_t{0}}});
    graph.outputs = build_backward(graph, loss.id(), wrt, ops);
    graph.remove_dead();
    graph.verify("build_backward");
  }

  static std::unique_ptr<Executor> make_executor(Graph graph, PassContext& context) {
    optimize_exact(graph, context);
    return std::make_unique<Executor>(Plan::compile(std::move(graph)));
  }

  static RunOptions options_of(const TrainRun& run) { return {.pool = run.pool, .stop = run.stop}; }

  static void check_rows(std::span<const TrainRow> rows) {
    require(!rows.empty(), ErrorCode::kInvalidArgument, "a batch without rows");
    for (const TrainRow& row : rows) {
      require(!row.ids.empty(), ErrorCode::kInvalidArgument, "a text needs at least one token");
      require(row.type_ids.empty() || row.type_ids.size() == row.ids.size(),
              ErrorCode::kInvalidArgument, "a text has ", row.ids.size(), " tokens but ",
              row.type_ids.size(), " token types");
    }
  }

  // Rows that run together.
  std::vector<std::vector<size_t>> groups(std::span<const TrainRow> rows) const {
    std::map<size_t, std::vector<size_t>> by_length;
    for (size_t i = 0; i < rows.size(); ++i) {
      by_length[has_mask_ ? 0 : rows[i].ids.size()].push_back(i);
    }
    std::vector<std::vector<size_t>> result;
    for (auto& [length, group] : by_length) result.push_back(std::move(group));
    return result;
  }

  template <class T>
  static Tensor input_tensor(Input kind, std::span<const TrainRow> rows,
                             std::span<const size_t> chosen, size_t length) {
    Tensor tensor(dtype_of<T>, {static_cast<int64_t>(chosen.size()), static_cast<int64_t>(length)});
    T* to = tensor.data<T>();
    std::fill_n(to, tensor.size(), T{0});
    for (const size_t i : chosen) {
      const TrainRow& row = rows[i];
      switch (kind) {
        case Input::kIds:
          std::transform(row.ids.begin(), row.ids.end(), to, [](int32_t x) { return T{x}; });
          break;
        case Input::kTypes:
          std::transform(row.type_ids.begin(), row.type_ids.end(), to,
                         [](int32_t x) { return T{x}; });
          break;
        case Input::kMask:
          std::fill_n(to, row.ids.size(), T{1});
          break;
        case Input::kPositions:
          std::iota(to, to + length, T{0});
          break;
      }
      to += length;
    }
    return tensor;
  }

  static Tensor dropout_keys(std::span<const TrainRow> rows, std::span<const size_t> chosen,
                             size_t length) {
    Tensor keys(DType::kInt64, {static_cast<int64_t>(chosen.size()), static_cast<int64_t>(length)});
    int64_t* to = keys.data<int64_t>();
    for (const size_t i : chosen) {
      for (size_t k = 0; k < length; ++k) {
        const uint64_t key = token_dropout_key(rows[i].dropout_key, static_cast<uint32_t>(k));
        *to++ = static_cast<int64_t>(key);
      }
    }
    return keys;
  }

  // Inputs of the texts, parameters, keys for dropout and, where it is given, the gradient of the
  // output.
  std::vector<Tensor> arguments(std::span<const TrainRow> rows, std::span<const size_t> chosen,
                                const Tensor* d_output) const {
    size_t length = 0;
    for (const size_t i : chosen) length = std::max(length, rows[i].ids.size());
    std::vector<Tensor> result;
    for (const auto& [kind, dtype] : inputs_) {
      result.push_back(dtype == DType::kInt64 ? input_tensor<int64_t>(kind, rows, chosen, length)
                                              : input_tensor<int32_t>(kind, rows, chosen, length));
    }
    for (const Parameter& parameter : parameters_) result.push_back(parameter.value);
    if (dropout_.count() > 0) result.push_back(dropout_keys(rows, chosen, length));
    if (d_output != nullptr) result.push_back(*d_output);
    return result;
  }

  static void scatter_rows(const Tensor& part, std::span<const size_t> chosen, Tensor& whole) {
    const size_t bytes = part.bytes() / chosen.size();
    for (size_t i = 0; i < chosen.size(); ++i) {
      std::memcpy(static_cast<std::byte*>(whole.raw()) + chosen[i] * bytes,
                  static_cast<const std::byte*>(part.raw()) + i * bytes, bytes);
    }
  }

  static Tensor gather_rows(const Tensor& whole, std::span<const size_t> chosen) {
    Tensor part(whole.dtype(), {static_cast<int64_t>(chosen.size()), whole.shape()[1]});
    const size_t bytes = part.bytes() / chosen.size();
    for (size_t i = 0; i < chosen.size(); ++i) {
      std::memcpy(static_cast<std::byte*>(part.raw()) + i * bytes,
                  static_cast<const std::byte*>(whole.raw()) + chosen[i] * bytes, bytes);
    }
    return part;
  }

  // Copies the rows, whose memory is the caller's.
  void keep(std::span<const TrainRow> rows) {
    kept_.clear();
    kept_ids_.clear();
    for (const TrainRow& row : rows) {
      kept_ids_.insert(kept_ids_.end(), row.ids.begin(), row.ids.end());
      kept_ids_.insert(kept_ids_.end(), row.type_ids.begin(), row.type_ids.end());
    }
    std::span<const int32_t> rest = kept_ids_;
    const auto take = [&](size_t count) {
      const auto part = rest.first(count);
      rest = rest.subspan(count);
      return part;
    };
    for (const TrainRow& row : rows) {
      const auto ids = take(row.ids.size());
      kept_.push_back({ids, take(row.type_ids.size()), row.dropout_key});
    }
  }

  std::vector<std::pair<Input, DType>> inputs_;
  bool has_mask_ = false;
  std::unique_ptr<Executor> forward_, backward_;
  std::vector<TrainRow> kept_;
  std::vector<int32_t> kept_ids_;
};

}  // namespace

std::unique_ptr<TrainableModel> TrainableModel::create(Graph graph, const OpRegistry& ops,
                                                       const TrainableModelOptions& options) {
  try {
    return make_ragged_model(graph, ops, options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
  }
  return make_padded_model(std::move(graph), ops, options);
}

std::unique_ptr<TrainableModel> make_padded_model(Graph graph, const OpRegistry& ops,
                                                  const TrainableModelOptions& options) {
  return std::make_unique<PaddedModel>(std::move(graph), ops, options);
}

TrainableModel::TrainableModel(const Graph& graph, DType dtype) : dtype_(dtype) {
  require(dtype_ == DType::kFloat32 || dtype_ == DType::kFloat64, ErrorCode::kInvalidArgument,
          "training in ", dtype_name(dtype_), " is not possible");
  require(graph.outputs.size() == 1, ErrorCode::kInvalidArgument,
          "a graph for training has one output, not ", graph.outputs.size());
}

ValueId TrainableModel::add_parameter(Graph& graph, const std::string& name) {
  const ValueId id = graph.find(name);
  require(id != kNoValue && graph.value(id).initializer && is_float(graph.fact(id).dtype),
          ErrorCode::kInvalidArgument, "'", name, "' is no floating-point initializer");
  capture_in_bodies(graph, id);
  Value& value = graph.value(id);
  // The fact's tensor may be a view on the model's file.
  Parameter parameter{name, value.fact.constant->clone(), Tensor(dtype_, {})};
  parameter.gradient = Tensor(dtype_, parameter.value.shape());
  std::memset(parameter.gradient.raw(), 0, parameter.gradient.bytes());
  value.fact = Fact::of(dtype_, *value.fact.shape);
  value.initializer = false;
  graph.inputs.push_back(id);
  parameters_.push_back(std::move(parameter));
  return id;
}

std::string add_dropout(Graph& graph, const OpRegistry& ops, double ratio, DropoutSites& sites) {
  const ValueId ids = graph.find("input_ids");
  require(ids != kNoValue && graph.fact(ids).shape, ErrorCode::kUnsupported,
          "dropout needs a graph with input_ids of a known shape");
  const ValueId keys =
      graph.add_input(kDropoutInput, Fact::of(DType::kInt64, *graph.fact(ids).shape));
  sites = insert_dropout(graph, ops, ratio, ids, keys);
  return graph.value(keys).name;
}

void TrainableModel::zero_gradients() {
  for (Parameter& parameter : parameters_) {
    std::memset(parameter.gradient.raw(), 0, parameter.gradient.bytes());
  }
}

}  // namespace hugot
