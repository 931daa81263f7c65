// Compiling a specialised graph for ragged execution: extents, layouts and batching rules.
#include <algorithm>
#include <numeric>

#include "graph/exec/ragged.h"

namespace hugot {
namespace {

// Offsets are computed from prefix sums of powers of the lengths; S^3 is beyond any encoder.
constexpr size_t kMaxPower = 2;

}  // namespace

int leading_token_axis(const Dims& dims) {
  const Dim length = Dim::symbol(kLengthSymbol);
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis].is(1)) continue;
    if (!(dims[axis] == length)) return -1;
    const bool rest_fixed = std::all_of(dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1,
                                        dims.end(), [](const Dim& d) { return d.is_number(); });
    return rest_fixed ? static_cast<int>(axis) : -1;
  }
  return -1;
}

int leading_token_axis(const Fact& fact) {
  return fact.shape ? leading_token_axis(*fact.shape) : -1;
}

class RaggedPlan::Query final : public BatchQuery {
 public:
  Query(const RaggedPlan& plan, const Node& node) : plan_(plan), node_(node) {}

  const Node& node() const override { return node_; }
  const Fact& input_fact(int i) const override { return plan_.graph_.fact(input_id(i)); }
  const Fact& output_fact(int i) const override { return plan_.graph_.fact(output_id(i)); }
  bool has_input(int i) const override { return node_.input(static_cast<size_t>(i)) != kNoValue; }
  bool ragged(int i) const override { return info(input_id(i)).extent != Extent::kShared; }
  int token_axis(int i) const override { return info(input_id(i)).token_axis; }
  int output_token_axis(int i) const override { return info(output_id(i)).token_axis; }
  bool row(int i) const override {
    const Dims& dims = *input_fact(i).shape;
    return ragged(i) && !dims.empty() && dims[0].is(1) &&
           std::all_of(dims.begin(), dims.end(), [](const Dim& d) { return d.is_number(); });
  }

 private:
  ValueId input_id(int i) const { return node_.inputs[static_cast<size_t>(i)]; }
  ValueId output_id(int i) const { return node_.outputs[static_cast<size_t>(i)]; }
  const ValueInfo& info(ValueId id) const { return plan_.values_[static_cast<size_t>(id)]; }

  const RaggedPlan& plan_;
  const Node& node_;
};

std::shared_ptr<const RaggedPlan> RaggedPlan::compile(Graph graph, std::vector<RaggedInput> inputs,
                                                      BlockStore& store) {
  graph.remove_dead();
  auto plan = std::make_shared<RaggedPlan>();
  plan->graph_ = std::move(graph);
  plan->inputs_ = std::move(inputs);
  plan->find_sources();
  plan->classify(store);
  plan->check_outputs();
  plan->order_steps();

  const Graph& g = plan->graph_;
  const auto nominal = [&](ValueId id) -> int64_t {
    const ValueInfo& info = plan->values_[static_cast<size_t>(id)];
    // A micro-batch of 16 texts of 16 tokens. A file may declare any numbers.
    constexpr double kMany = 1e12;
    double elements = 0;
    double power = 16;
    for (const int64_t coefficient : info.coefficients) {
      elements += static_cast<double>(coefficient) * power;
      power *= 16;
    }
    return static_cast<int64_t>(std::clamp(elements, 0.0, kMany)) *
           std::max(dtype_bits(g.fact(id).dtype), 8) / 8;
  };
  plan->memory_ = MemoryPlan::make(g, plan->order_, nominal, [](ValueId) { return false; });
  return plan;
}

void RaggedPlan::find_sources() {
  for (const ValueId id : graph_.inputs) {
    Source source;
    for (const RaggedInput& candidate : inputs_) {
      if (candidate.name == graph_.value(id).name) {
        source.input = &candidate;
        break;
      }
    }
    for (const RaggedInput& candidate : inputs_) {
      if (source.input == nullptr || &candidate == source.input) break;
      source.index +=
          candidate.kind == source.input->kind && candidate.later == source.input->later;
    }
    const Fact& fact = graph_.fact(id);
    require(source.input != nullptr || fact.uniform || fact.symbolic, ErrorCode::kUnsupported,
            "input '", graph_.value(id).name, "' is unknown");
    require(source.input == nullptr || source.input->kind != RaggedInput::Kind::kUniform ||
                fact.uniform,
            ErrorCode::kInternal, "input '", graph_.value(id).name, "' was not specialised");
    sources_.push_back(source);
  }
}

void RaggedPlan::describe_layout(ValueId id) {
  ValueInfo& info = values_[static_cast<size_t>(id)];
  const Value& value = graph_.value(id);
  require(value.fact.shape.has_value() && value.fact.dtype != DType::kUndefined,
          ErrorCode::kUnsupported, "the shape of '", value.name,
          "' cannot be told from the length of a text");
  require(dtype_bits(value.fact.dtype) >= 8, ErrorCode::kUnsupported, "'", value.name,
          "' has elements of type ", dtype_name(value.fact.dtype),
          ", which cannot be stored text after text");
  Dim elements = 1;
  for (const Dim& dim : *value.fact.shape) elements = elements * dim;
  info.coefficients = elements.coefficients(kLengthSymbol);
  require(!info.coefficients.empty() && info.coefficients.size() <= kMaxPower + 1,
          ErrorCode::kUnsupported, "'", value.name, "' has shape ", to_string(*value.fact.shape),
          ", which is no polynomial in the length of a text");
  info.token_axis = leading_token_axis(*value.fact.shape);
  const Dim length = Dim::symbol(kLengthSymbol);
  for (const Dim& dim : *value.fact.shape) {
    KnownDim& known = info.dims.emplace_back();
    if (const auto number = dim.number()) {
      known = {KnownDim::kNumber, *number};
    } else if (dim == length) {
      known.kind = KnownDim::kLength;
    }
  }
}

void RaggedPlan::classify(BlockStore& store) {
  Graph& g = graph_;
  WeightPacker packer(g, store);
  const auto constant = [&](ValueId id) -> Tensor* {
    std::optional<Tensor>& data = g.value(id).fact.constant;
    return data ? &*data : nullptr;
  };
  values_.assign(g.value_count(), {});
  for (size_t k = 0; k < g.inputs.size(); ++k) {
    describe_layout(g.inputs[k]);
    values_[static_cast<size_t>(g.inputs[k])].extent = sources_[k].is(RaggedInput::Kind::kParameter)
                                                           ? Extent::kShared
                                                       : sources_[k].given() ? Extent::kText
                                                                             : Extent::kLength;
  }
  for (NodeId n = 0; n < static_cast<NodeId>(g.node_count()); ++n) {
    const Node& node = g.node(n);
    require(node.op != nullptr && node.op->cpu != nullptr, ErrorCode::kUnsupported, node.label(),
            ": operator version ", node.opset, " is not implemented");
    require(node.op->deterministic, ErrorCode::kUnsupported, node.label(), " is random");
    Step step{.node = n,
              .extent = extent_of(node),
              .prepared = packer.prepare(node, constant),
              .sums = sums_over_texts(node)};
    require(!node.op->aliases || step.sums ||
                values_[static_cast<size_t>(node.inputs[0])].extent == step.extent,
            ErrorCode::kUnsupported, node.label(), ": its shape depends on the text");
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      if (output == kNoValue) continue;
      describe_layout(output);
      ValueInfo& info = values_[static_cast<size_t>(output)];
      info.extent = sums_over_texts(node, static_cast<int>(i)) ? Extent::kSum : step.extent;
      require(info.extent != Extent::kSum || info.coefficients.size() == 1, ErrorCode::kUnsupported,
              "'", g.value(output).name, "' is a sum over texts, but its shape depends on them");
    }
    const bool many = step.extent == Extent::kLength || step.extent == Extent::kText;
    if (many && node.op->batching != nullptr) {
      step.batching = node.op->batching(Query(*this, node));
    }
    // Without a rule for sums every text is a run of its own.
    if (step.sums != (step.batching == Batching::kSum)) step.batching = Batching::kLoop;
    steps_.push_back(std::move(step));
  }
  const Prepared* upcoming = nullptr;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    step->upcoming = upcoming;
    if (step->prepared != nullptr) upcoming = step->prepared.get();
  }
  for (size_t id = 0; id < g.value_count(); ++id) {
    const auto value = static_cast<ValueId>(id);
    if (Tensor* const data = constant(value)) packer.keep(value, *data);
  }
}

// On what the results of a node depend, unless it sums them.
Extent RaggedPlan::extent_of(const Node& node) const {
  Extent extent = Extent::kShared;
  bool varies = false;
  for (const ValueId input : node.inputs) {
    if (input == kNoValue) continue;
    const Extent own = values_[static_cast<size_t>(input)].extent;
    extent = std::max(extent, own);
    varies = varies || own == Extent::kLength || own == Extent::kText;
  }
  require(extent != Extent::kSum || !varies, ErrorCode::kUnsupported, node.label(),
          " mixes sums over texts with texts");
  return sums_over_texts(node) ? std::max(extent, Extent::kText) : extent;
}

void RaggedPlan::check_outputs() const {
  for (const ValueId id : graph_.outputs) {
    const ValueInfo& info = values_[static_cast<size_t>(id)];
    const Dims& dims = *graph_.fact(id).shape;
    const bool row = !dims.empty() && dims[0].is(1) && info.coefficients.size() == 1;
    const bool text = info.extent == Extent::kText && (info.token_axis >= 0 || row);
    require(text || info.extent == Extent::kSum, ErrorCode::kUnsupported, "output '",
            graph_.value(id).name, "' ", to_string(dims),
            " has neither a row per text nor a row per token");
  }
}

// What the outputs of the first half need comes first; otherwise the order of the graph.
void RaggedPlan::order_steps() {
  std::vector<bool> late(graph_.value_count(), false), early(graph_.node_count(), false);
  for (size_t k = 0; k < graph_.inputs.size(); ++k) {
    const RaggedInput* input = sources_[k].input;
    late[static_cast<size_t>(graph_.inputs[k])] = input != nullptr && input->later;
  }
  const auto count = static_cast<NodeId>(graph_.node_count());
  for (NodeId n = 0; n < count; ++n) {
    const Node& node = graph_.node(n);
    const bool waits = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
      return input != kNoValue && late[static_cast<size_t>(input)];
    });
    for (const ValueId output : node.outputs) {
      if (output != kNoValue) late[static_cast<size_t>(output)] = waits;
    }
  }
  at_once_.clear();
  std::vector<bool> needed(graph_.value_count(), false);
  for (const ValueId output : graph_.outputs) {
    at_once_.push_back(!late[static_cast<size_t>(output)]);
    if (at_once_.back()) needed[static_cast<size_t>(output)] = true;
  }
  for (NodeId n = count; n-- > 0;) {
    const Node& node = graph_.node(n);
    early[static_cast<size_t>(n)] = std::any_of(
        node.outputs.begin(), node.outputs.end(),
        [&](ValueId output) { return output != kNoValue && needed[static_cast<size_t>(output)]; });
    if (!early[static_cast<size_t>(n)]) continue;
    for (const ValueId input : node.inputs) {
      if (input != kNoValue) needed[static_cast<size_t>(input)] = true;
    }
  }
  for (const bool half : {true, false}) {
    for (NodeId n = 0; n < count; ++n) {
      if (early[static_cast<size_t>(n)] == half) order_.push_back(n);
    }
    if (half) first_half_ = order_.size();
  }
}

bool RaggedPlan::output_at_once(int i) const { return at_once_[static_cast<size_t>(i)]; }

bool RaggedPlan::output_per_token(int i) const {
  return values_[static_cast<size_t>(graph_.outputs[static_cast<size_t>(i)])].token_axis >= 0;
}

int64_t RaggedPlan::activation_bytes(int64_t tokens) const {
  std::vector<int64_t> slots(static_cast<size_t>(memory_.slot_count), 0);
  for (size_t id = 0; id < values_.size(); ++id) {
    const int slot = memory_.slot[id];
    const std::vector<int64_t>& coefficients = values_[id].coefficients;
    if (slot == MemoryPlan::kNoSlot || coefficients.size() < 2) continue;
    const int64_t width = dtype_bits(graph_.fact(static_cast<ValueId>(id)).dtype) / 8;
    int64_t& bytes = slots[static_cast<size_t>(slot)];
    bytes = std::max(bytes, coefficients[1] * width * tokens);
  }
  return std::accumulate(slots.begin(), slots.end(), int64_t{0});
}

size_t RaggedPlan::prepared_bytes() const {
  size_t total = 0;
  for (const Step& step : steps_) total += step.prepared ? step.prepared->bytes() : 0;
  return total;
}

}  // namespace hugot
