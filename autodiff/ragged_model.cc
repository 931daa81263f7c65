#include "autodiff/ragged_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "autodiff/float_type.h"
#include "base/error.h"
#include "graph/exec/ragged.h"
#include "graph/gradient.h"
#include "graph/passes/passes.h"
#include "kernels/dropout_mask.h"

namespace hugot {
namespace {

constexpr const char* kGradientInput = "hugot.output_gradient";
constexpr int64_t kFewestTokens = 256;  // of a part of a batch, so that products have enough rows
// Of a part whose activations nobody needs.
constexpr int64_t kForwardTokens = 1024;

RaggedInput describe_input(const Value& value) {
  using Kind = RaggedInput::Kind;
  if (value.name == "input_ids" || value.name == "token_type_ids") {
    return {value.name, Kind::kTokens};
  }
  if (value.name == "attention_mask") return {value.name, Kind::kUniform, 1};
  if (value.name == "position_ids") return {value.name, Kind::kPositions, 0};
  fail(ErrorCode::kUnsupported, "the model needs input '", value.name, "' (",
       value.fact.to_string(), "), which no text can give");
}

// Consecutive rows of a batch.
struct Part {
  size_t begin = 0, end = 0;
};

std::vector<Part> cut(std::span<const int64_t> lengths, int64_t budget) {
  std::vector<Part> parts;
  int64_t tokens = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (parts.empty() || tokens + lengths[i] > budget) {
      parts.push_back({i, i});
      tokens = 0;
    }
    tokens += lengths[i];
    parts.back().end = i + 1;
  }
  return parts;
}

template <class T>
void add_to(const Tensor& x, Tensor& sum, ThreadPool* pool) {
  const T* from = x.data<T>();
  T* to = sum.data<T>();
  parallel_for(pool, x.size(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

class RaggedModel final : public TrainableModel {
 public:
  RaggedModel(Graph graph, const OpRegistry& ops, const TrainableModelOptions& options)
      : TrainableModel(graph, options.dtype) {
    convert_floats(graph, dtype_);
    std::vector<RaggedInput> inputs;
    for (const ValueId id : graph.inputs) inputs.push_back(describe_input(graph.value(id)));
    std::vector<ValueId> wrt;
    for (const std::string& name : options.trainable) {
      wrt.push_back(add_parameter(graph, name));
      inputs.push_back({name, RaggedInput::Kind::kParameter});
    }
    PassContext context{ops};
    context.training = true;
    constexpr int kOnly = 0;
    optimize_for_ragged(graph, inputs, std::span(&kOnly, 1), context);
    if (options.dropout > 0) {
      inputs.push_back({add_dropout(graph, ops, options.dropout, dropout_)});
      graph.remove_dead();
      infer(graph);
    }
    inputs.push_back(add_gradients(graph, wrt, ops));
    std::vector<size_t> summed(wrt.size());
    std::iota(summed.begin(), summed.end(), size_t{1});
    optimize_gradients(graph, summed, context);
    plan_ = RaggedPlan::compile(std::move(graph), std::move(inputs));
    executor_ = std::make_unique<RaggedExecutor>(plan_);
    find_gradients();
    part_tokens_ =
        std::max(kFewestTokens, options.activation_bytes / std::max<int64_t>(bytes_per_token(), 1));
  }

  Tensor forward(std::span<const TrainRow> rows, bool for_backward, const TrainRun& run) override {
    take_rows(rows);
    parts_ = cut(lengths_, for_backward ? part_tokens_ : std::min(part_tokens_, kForwardTokens));
    Tensor result;
    for (const Part& part : parts_) {
      begin(part, run);
      const Tensor& output = executor_->output(0);
      if (!result.defined()) {
        result = Tensor(dtype_, {static_cast<int64_t>(rows.size()), output.shape()[1]});
      }
      std::memcpy(static_cast<std::byte*>(result.raw()) + part.begin * row_bytes(result),
                  output.raw(), output.bytes());
    }
    kept_ = for_backward;
    return result;
  }

  void backward(const Tensor& d_output, const TrainRun& run) override {
    require(std::exchange(kept_, false), ErrorCode::kInvalidArgument,
            "there is no forward() to go backward from");
    require(d_output.rank() == 2 && d_output.dtype() == dtype_ &&
                d_output.shape()[0] == static_cast<int64_t>(lengths_.size()),
            ErrorCode::kInvalidArgument, "gradients of ", lengths_.size(), " vectors, but ",
            describe(d_output), " were given");
    // The activations of the last part are still there.
    for (size_t i = parts_.size(); i-- > 0;) {
      const Part& part = parts_[i];
      if (i + 1 < parts_.size()) begin(part, run);
      const Tensor own(
          dtype_, d_output.shape().with(0, static_cast<int64_t>(part.end - part.begin)),
          static_cast<const std::byte*>(d_output.raw()) + part.begin * row_bytes(d_output));
      resume(own, run, i == 0 ? run.listener : nullptr);
    }
  }

  void zero_gradients() override { zero_ = true; }
  const RaggedPlan* plan() const override { return plan_.get(); }

 private:
  // Returns the input that holds the gradient of the output.
  RaggedInput add_gradients(Graph& graph, const std::vector<ValueId>& wrt, const OpRegistry& ops) {
    const ValueId output = graph.outputs[0];
    const auto shape = graph.fact(output).fixed_shape();
    require(shape && shape->rank() == 2 && (*shape)[0] == 1, ErrorCode::kUnsupported,
            "a graph for training gives one vector per text, but its output is ",
            graph.fact(output).to_string());
    const std::vector<NodeId> nodes = graph.order();
    const Seed seed = {output, graph.add_input(kGradientInput, graph.fact(output))};
    GraphWriter writer(graph, ops);
    writer.set_fused(true);
    const std::vector<ValueId> gradients =
        propagate_gradients(writer, nodes, std::span(&seed, 1), wrt);
    for (size_t i = 0; i < wrt.size(); ++i) {
      require(gradients[i] != kNoValue, ErrorCode::kInvalidArgument,
              "the output does not depend on '", parameters_[i].name, "'");
      graph.outputs.push_back(gradients[i]);
    }
    return {.name = kGradientInput,
            .kind = RaggedInput::Kind::kTensor,
            .shape = {(*shape)[1]},
            .later = true};
  }

  // What the plan keeps for a token of a long batch.
  int64_t bytes_per_token() const {
    constexpr int64_t kTokens = 1024;
    return plan_->activation_bytes(kTokens) / kTokens;
  }

  static RunOptions options_of(const TrainRun& run) {
    return {.pool = run.pool, .stop = run.stop, .observer = run.observer};
  }

  static size_t row_bytes(const Tensor& tensor) {
    return tensor.bytes() / static_cast<size_t>(std::max<int64_t>(tensor.shape()[0], 1));
  }

  // Copies the rows, whose memory is the caller's.
  void take_rows(std::span<const TrainRow> rows) {
    require(!rows.empty(), ErrorCode::kInvalidArgument, "a batch without rows");
    kept_ = false;
    lengths_.clear();
    ids_.clear();
    type_ids_.clear();
    dropout_keys_.clear();
    for (const TrainRow& row : rows) {
      require(!row.ids.empty(), ErrorCode::kInvalidArgument, "a text needs at least one token");
      require(row.type_ids.empty() || row.type_ids.size() == row.ids.size(),
              ErrorCode::kInvalidArgument, "a text has ", row.ids.size(), " tokens but ",
              row.type_ids.size(), " token types");
      lengths_.push_back(static_cast<int64_t>(row.ids.size()));
      ids_.insert(ids_.end(), row.ids.begin(), row.ids.end());
      type_ids_.insert(type_ids_.end(), row.type_ids.begin(), row.type_ids.end());
      type_ids_.resize(ids_.size(), 0);
      for (size_t i = 0; dropout_.count() > 0 && i < row.ids.size(); ++i) {
        dropout_keys_.push_back(
            static_cast<int64_t>(token_dropout_key(row.dropout_key, static_cast<uint32_t>(i))));
      }
    }
  }

  const std::vector<int64_t>& numbers_for(const std::string& input) const {
    if (input == "input_ids") return ids_;
    return input == kDropoutInput ? dropout_keys_ : type_ids_;
  }

  void begin(const Part& part, const TrainRun& run) {
    const auto sum = [&](size_t begin, size_t end) {
      return std::accumulate(lengths_.begin() + static_cast<std::ptrdiff_t>(begin),
                             lengths_.begin() + static_cast<std::ptrdiff_t>(end), int64_t{0});
    };
    const auto first = static_cast<size_t>(sum(0, part.begin));
    const auto count = static_cast<size_t>(sum(part.begin, part.end));
    std::vector<std::span<const int64_t>> tokens;
    std::vector<Tensor> values;
    for (const RaggedInput& input : plan_->inputs()) {
      if (input.kind != RaggedInput::Kind::kTokens) continue;
      tokens.push_back(std::span(numbers_for(input.name)).subspan(first, count));
    }
    for (const Parameter& parameter : parameters_) values.push_back(parameter.value);
    executor_->begin({.lengths = std::span(lengths_).subspan(part.begin, part.end - part.begin),
                      .tokens = tokens,
                      .parameters = values},
                     options_of(run));
  }

  // Tells which gradients the nodes have written to their places.
  class Completion final : public NodeObserver {
   public:
    Completion(const RaggedModel& model, const TrainRun& run) : model_(model), run_(run) {}
    void ran(NodeId node, std::chrono::nanoseconds time) override {
      if (run_.observer != nullptr) run_.observer->ran(node, time);
      const auto [begin, end] = model_.gradient_of_node_.equal_range(node);
      for (auto it = begin; it != end; ++it) run_.listener->complete(it->second);
    }

   private:
    const RaggedModel& model_;
    const TrainRun& run_;
  };

  // A gradient that shares the memory of another value is copied at the end.
  void find_gradients() {
    const Graph& graph = plan_->graph();
    const std::vector<ValueId>& roots = plan_->memory().root;
    std::set<ValueId> seen;
    for (size_t i = 1; i < graph.outputs.size(); ++i) {
      const ValueId id = graph.outputs[i];
      const ValueId root = roots[static_cast<size_t>(id)];
      if (!seen.insert(root).second || root != id) continue;
      gradient_of_node_.emplace(graph.value(id).producer, i - 1);
    }
  }

  // Gradients that are zero are written to, others are added to.
  void resume(const Tensor& d_output, const TrainRun& run, GradientListener* listener) {
    std::vector<Tensor> results(1 + parameters_.size());
    const bool fresh = std::exchange(zero_, false);
    for (size_t i = 0; fresh && i < parameters_.size(); ++i) {
      results[i + 1] = parameters_[i].gradient;
    }
    RunOptions options = options_of(run);
    Completion completion(*this, run);
    if (fresh && listener != nullptr) options.observer = &completion;
    executor_->resume(std::span(&d_output, 1), results, options);
    for (size_t i = 0; !fresh && i < parameters_.size(); ++i) {
      const Tensor& part = executor_->output(static_cast<int>(i) + 1);
      if (dtype_ == DType::kFloat32) {
        add_to<float>(part, parameters_[i].gradient, run.pool);
      } else {
        add_to<double>(part, parameters_[i].gradient, run.pool);
      }
      if (listener != nullptr) listener->complete(i);
    }
  }

  std::shared_ptr<const RaggedPlan> plan_;
  std::unique_ptr<RaggedExecutor> executor_;
  std::multimap<NodeId, size_t> gradient_of_node_;  // parameters
  int64_t part_tokens_ = 0;
  std::vector<int64_t> lengths_, ids_, type_ids_, dropout_keys_;  // of the last forward()
  std::vector<Part> parts_;
  bool kept_ = false;  // the last forward() was for backward()
  bool zero_ = true;   // all gradients are to be taken for zero
};

}  // namespace

std::unique_ptr<TrainableModel> make_ragged_model(Graph graph, const OpRegistry& ops,
                                                  const TrainableModelOptions& options) {
  return std::make_unique<RaggedModel>(std::move(graph), ops, options);
}

}  // namespace hugot
