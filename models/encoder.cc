#include "models/encoder.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "graph/exec/state_pool.h"
#include "models/compiled_model.h"
#include "models/encoder_output.h"

namespace hugot {
namespace {

// Tokens that one thread takes through all layers at once: enough rows to keep the GEMM busy, few
// enough that the activations stay in the second-level cache.
constexpr int64_t kTokenBudget = 256;
// Batches of fewer tokens than this per thread are run as one, with split operators.
constexpr int64_t kMinTokensPerThread = 32;

// What each input of an encoder graph holds for a single text.
std::vector<RaggedInput> describe_inputs(const Graph& graph, const EncoderOptions& options) {
  using Kind = RaggedInput::Kind;
  std::vector<RaggedInput> inputs;
  for (const ValueId id : graph.inputs) {
    const std::string& name = graph.value(id).name;
    if (name == "input_ids") {
      inputs.push_back({name, Kind::kTokens});
    } else if (name == "attention_mask") {
      inputs.push_back({name, Kind::kUniform, 1});
    } else if (name == "token_type_ids") {
      inputs.push_back({name, options.may_have_type_ids ? Kind::kTokens : Kind::kUniform, 0});
    } else if (name == "position_ids") {
      inputs.push_back({name, Kind::kPositions, options.first_position});
    } else {
      fail(ErrorCode::kUnsupported, "the model needs input '", name, "' (",
           graph.fact(id).to_string(), "), which no text can give");
    }
  }
  return inputs;
}

// CompileOptions::how_packed
std::string how_packed(const EncoderOptions& options) {
  return str("rows ", static_cast<int>(options.rows), " type ids ", options.may_have_type_ids,
             " first position ", options.first_position);
}

// Consecutive entries of the sorted order, at most `budget` tokens unless a single text is longer.
struct MicroBatch {
  size_t begin;
  size_t end;
};

std::vector<MicroBatch> cut(std::span<const EncoderText> texts, std::span<const size_t> order,
                            int64_t budget) {
  std::vector<MicroBatch> batches;
  int64_t tokens = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto length = static_cast<int64_t>(texts[order[i]].ids.size());
    if (batches.empty() || tokens + length > budget) {
      batches.push_back({i, i});
      tokens = 0;
    }
    tokens += length;
    batches.back().end = i + 1;
  }
  return batches;
}

// Rows of one output, or of several side by side.
class OutputRows {
 public:
  void clear() {
    outputs_.clear();
    width_ = 0;
  }
  // The tensor has to outlive the calls of get().
  void add(const Tensor& output, int64_t rows) {
    outputs_.push_back({&output, rows > 0 ? output.size() / rows : 0});
    width_ += outputs_.back().width;
  }
  int64_t width() const { return width_; }
  // Valid until the next call.
  const float* get(int64_t first, int64_t count) {
    if (outputs_.size() == 1) {
      return as_floats(*outputs_[0].tensor, first * width_, count * width_, converted_);
    }
    joined_.resize(static_cast<size_t>(count * width_));
    float* column = joined_.data();
    for (const auto& [tensor, width] : outputs_) {
      const float* from = as_floats(*tensor, first * width, count * width, converted_);
      for (int64_t row = 0; row < count; ++row) {
        std::copy_n(from + row * width, width, column + row * width_);
      }
      column += width;
    }
    return joined_.data();
  }

 private:
  struct Output {
    const Tensor* tensor;
    int64_t width;
  };
  std::vector<Output> outputs_;
  int64_t width_ = 0;
  std::vector<float> converted_;
  std::vector<float> joined_;
};

void check_texts(std::span<const EncoderText> texts) {
  for (const EncoderText& text : texts) {
    require(!text.ids.empty(), ErrorCode::kInvalidArgument, "a text needs at least one token");
    require(text.type_ids.empty() || text.type_ids.size() == text.ids.size(),
            ErrorCode::kInvalidArgument, "a text has ", text.ids.size(), " tokens but ",
            text.type_ids.size(), " token types");
  }
}

// ---------------------------------------------------------------------------------------------

class RaggedEncoder final : public Encoder {
 public:
  RaggedEncoder(std::shared_ptr<const RaggedPlan> plan, PassContext context, Precision precision)
      : plan_(std::move(plan)), row_kept_(context.row_kept) {
    precision_ = precision;
    fusions_ = std::move(context.log);
  }

  void run(std::span<const EncoderText> texts, ThreadPool& pool, const EncoderSink& sink,
           std::stop_token stop, NodeObserver* observer) const override {
    check_texts(texts);
    std::vector<size_t> order(texts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return texts[a].ids.size() > texts[b].ids.size(); });
    int64_t tokens = 0;
    for (const EncoderText& text : texts) tokens += static_cast<int64_t>(text.ids.size());

    const int64_t threads = pool.size();
    if (texts.size() == 1 || tokens < kMinTokensPerThread * threads) {
      run_micro_batch(texts, order, sink, {.pool = &pool, .stop = stop, .observer = observer});
      return;
    }
    int64_t parts = (tokens + kTokenBudget - 1) / kTokenBudget;
    parts = (parts + threads - 1) / threads * threads;
    const std::vector<MicroBatch> batches = cut(texts, order, (tokens + parts - 1) / parts);
    pool.parallel_for(static_cast<int64_t>(batches.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const MicroBatch& batch = batches[static_cast<size_t>(i)];
        run_micro_batch(texts, std::span(order).subspan(batch.begin, batch.end - batch.begin), sink,
                        {.pool = nullptr, .stop = stop, .observer = observer});
      }
    });
  }

  bool per_token() const override { return row_kept_ || plan_->output_per_token(0); }
  std::optional<int64_t> width() const override {
    int64_t sum = 0;
    for (const ValueId output : plan_->graph().outputs) {
      int64_t width = 1;  // the output is [1, S, ..] or [1, ..]
      for (const Dim& dim : *plan_->graph().fact(output).shape) {
        if (dim == Dim::symbol(kLengthSymbol)) continue;
        const auto number = dim.number();
        if (!number) return std::nullopt;
        width *= *number;
      }
      sum += width;
    }
    return sum;
  }
  const RaggedPlan* ragged_plan() const override { return plan_.get(); }
  const Graph& graph() const override { return plan_->graph(); }

 private:
  struct State {
    explicit State(std::shared_ptr<const RaggedPlan> plan) : executor(std::move(plan)) {}
    RaggedExecutor executor;
    std::vector<int64_t> lengths;
    std::vector<int64_t> ids;
    std::vector<int64_t> type_ids;
    OutputRows rows;
  };

  void run_micro_batch(std::span<const EncoderText> texts, std::span<const size_t> chosen,
                       const EncoderSink& sink, const RunOptions& options) const {
    std::unique_ptr<State> state = states_.take();
    if (state == nullptr) state = std::make_unique<State>(plan_);
    state->lengths.clear();
    state->ids.clear();
    state->type_ids.clear();
    for (const size_t i : chosen) {
      const EncoderText& text = texts[i];
      state->lengths.push_back(static_cast<int64_t>(text.ids.size()));
      state->ids.insert(state->ids.end(), text.ids.begin(), text.ids.end());
      if (text.type_ids.empty()) {
        state->type_ids.resize(state->ids.size(), 0);
      } else {
        state->type_ids.insert(state->type_ids.end(), text.type_ids.begin(), text.type_ids.end());
      }
    }
    std::vector<std::span<const int64_t>> tokens;
    for (const RaggedInput& input : plan_->inputs()) {
      if (input.kind != RaggedInput::Kind::kTokens) continue;
      tokens.emplace_back(input.name == "input_ids" ? state->ids : state->type_ids);
    }
    state->executor.run(state->lengths, tokens, options);

    state->rows.clear();
    for (size_t i = 0; i < plan_->graph().outputs.size(); ++i) {
      const Tensor& output = state->executor.output(static_cast<int>(i));
      state->rows.add(output, output.shape()[0]);
    }
    const bool per_token = plan_->output_per_token(0);
    int64_t row = 0;
    for (size_t k = 0; k < chosen.size(); ++k) {
      const int64_t count = per_token ? state->lengths[k] : 1;
      sink(chosen[k], state->rows.get(row, count), count, state->rows.width());
      row += count;
    }
    states_.give(std::move(state));
  }

  std::shared_ptr<const RaggedPlan> plan_;
  bool row_kept_;  // of an output with a row per token one is computed
  mutable StatePool<State> states_;
};

// ---------------------------------------------------------------------------------------------

// For graphs that do not qualify for ragged mode: every text is a run of its own, exactly as
// written.
class OneByOneEncoder final : public Encoder {
 public:
  OneByOneEncoder(std::shared_ptr<const Plan> plan, std::vector<RaggedInput> inputs,
                  EncoderRows rows, std::string why_not)
      : plan_(std::move(plan)), inputs_(std::move(inputs)), rows_(rows) {
    why_not_ragged_ = std::move(why_not);
    const auto& outputs = plan_->graph().outputs;
    per_token_ = outputs.size() > 1 || plan_->graph().fact(outputs[0]).rank() == 3;
  }

  void run(std::span<const EncoderText> texts, ThreadPool& pool, const EncoderSink& sink,
           std::stop_token stop, NodeObserver* observer) const override {
    check_texts(texts);
    pool.parallel_for(static_cast<int64_t>(texts.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        run_text(texts[static_cast<size_t>(i)], static_cast<size_t>(i), sink,
                 {.pool = texts.size() == 1 ? &pool : nullptr, .stop = stop, .observer = observer});
      }
    });
  }

  bool per_token() const override { return per_token_; }
  std::optional<int64_t> width() const override { return std::nullopt; }
  const RaggedPlan* ragged_plan() const override { return nullptr; }
  const Graph& graph() const override { return plan_->graph(); }

 private:
  Tensor input_tensor(const RaggedInput& input, const EncoderText& text, DType dtype) const {
    const auto count = static_cast<int64_t>(text.ids.size());
    std::vector<int64_t> numbers(text.ids.size(), input.value);
    if (input.kind == RaggedInput::Kind::kPositions) {
      std::iota(numbers.begin(), numbers.end(), input.value);
    } else if (input.kind == RaggedInput::Kind::kTokens) {
      const auto& given = input.name == "input_ids" ? text.ids : text.type_ids;
      std::copy(given.begin(), given.end(), numbers.begin());
    }
    if (dtype == DType::kInt64) {
      return Tensor::from<int64_t>({1, count}, std::span<const int64_t>(numbers));
    }
    require(dtype == DType::kInt32, ErrorCode::kUnsupported, "input '", input.name, "' is ",
            dtype_name(dtype));
    const std::vector<int32_t> narrow(numbers.begin(), numbers.end());
    return Tensor::from<int32_t>({1, count}, std::span<const int32_t>(narrow));
  }

  void run_text(const EncoderText& text, size_t index, const EncoderSink& sink,
                const RunOptions& options) const {
    std::unique_ptr<Executor> executor = executors_.take();
    if (executor == nullptr) executor = std::make_unique<Executor>(plan_);
    const Graph& graph = plan_->graph();
    std::vector<Tensor> inputs;
    for (const ValueId id : graph.inputs) {
      const auto input = std::find_if(inputs_.begin(), inputs_.end(), [&](const RaggedInput& in) {
        return in.name == graph.value(id).name;
      });
      inputs.push_back(input_tensor(*input, text, graph.fact(id).dtype));
    }
    const std::vector<Tensor> outputs = executor->run(inputs, options);
    const int64_t rows = per_token_ ? static_cast<int64_t>(text.ids.size()) : 1;
    OutputRows all;
    for (const Tensor& output : outputs) {
      require(output.size() % rows == 0, ErrorCode::kInvalidData, "the output is ",
              describe(output), " for a text of ", text.ids.size(), " tokens");
      all.add(output, rows);
    }
    const bool one = rows_ != EncoderRows::kAll;
    const int64_t first = rows_ == EncoderRows::kLast ? rows - 1 : 0;
    const int64_t count = one ? 1 : rows;
    sink(index, all.get(first, count), count, all.width());
    executors_.give(std::move(executor));
  }

  std::shared_ptr<const Plan> plan_;
  std::vector<RaggedInput> inputs_;
  EncoderRows rows_;
  bool per_token_ = false;
  mutable StatePool<Executor> executors_;
};

}  // namespace

std::shared_ptr<const Encoder> Encoder::load(const std::filesystem::path& onnx_file,
                                             const OpRegistry& ops, const EncoderOptions& options) {
  return load(load_model(onnx_file, ops), ops, options);
}

std::shared_ptr<const Encoder> Encoder::load(LoadedModel model, const OpRegistry& ops,
                                             const EncoderOptions& options) {
  return with_context(
      [&] { return model.path.string(); },
      [&]() -> std::shared_ptr<const Encoder> {
        std::vector<int> outputs = {find_output(model.graph, options.output)};
        for (const std::string& name : options.more_outputs) {
          outputs.push_back(find_output(model.graph, name));
        }
        require(outputs.size() == 1 || options.rows == EncoderRows::kAll,
                ErrorCode::kInvalidArgument, "several outputs are given with all their rows only");
        keep_outputs(model.graph, outputs);
        std::vector<RaggedInput> inputs = describe_inputs(model.graph, options);
        PassContext context{ops, {}, options.observer};
        if (options.rows != EncoderRows::kAll) {
          context.wanted_row = options.rows == EncoderRows::kFirst ? 0 : -1;
        }
        CompiledModel compiled = compile_model(model, outputs, inputs, context,
                                               {.precision = options.precision,
                                                .cache_directory = options.cache_directory,
                                                .how_packed = how_packed(options)});
        if (compiled.ragged != nullptr) {
          for (size_t i = 0; outputs.size() > 1 && i < outputs.size(); ++i) {
            const RaggedPlan& plan = *compiled.ragged;
            require(plan.output_per_token(static_cast<int>(i)), ErrorCode::kUnsupported, "output '",
                    plan.graph().value(plan.graph().outputs[i]).name, "' has no row per token");
          }
          return std::make_shared<RaggedEncoder>(std::move(compiled.ragged), std::move(context),
                                                 compiled.precision);
        }
        return std::make_shared<OneByOneEncoder>(std::move(compiled.exact), std::move(inputs),
                                                 options.rows, std::move(compiled.why_not_ragged));
      });
}

}  // namespace hugot
