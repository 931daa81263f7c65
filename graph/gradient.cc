#include "graph/gradient.h"

#include <algorithm>
#include <numeric>

namespace hugot {

GradientContext::GradientContext(GraphWriter& writer, NodeId node, std::vector<ValueId> dy,
                                 std::vector<bool> wanted)
    : writer_(writer),
      id_(node),
      first_node_(writer.graph().node_count()),
      node_(writer.graph().node(node)),
      dy_(std::move(dy)),
      wanted_(std::move(wanted)),
      dx_(node_.inputs.size()) {}

Term GradientContext::y(int i) {
  const auto index = static_cast<size_t>(i);
  if (node_.output(index) == kNoValue) {
    Graph& graph = writer_.graph();
    const ValueId added = graph.add_value(str(node_.name, "/output"));
    std::vector<ValueId>& outputs = graph.node(id_).outputs;
    if (outputs.size() <= index) outputs.resize(index + 1, kNoValue);
    outputs[index] = added;
    graph.value(added).producer = id_;
    infer_node(graph, id_);
    node_.outputs = graph.node(id_).outputs;
  }
  return {writer_, node_.outputs[index]};
}

Term GradientContext::dy(int i) const {
  const auto index = static_cast<size_t>(i);
  return {writer_, index < dy_.size() ? dy_[index] : kNoValue};
}

bool GradientContext::wants(int i) const {
  const auto index = static_cast<size_t>(i);
  return index < wanted_.size() && wanted_[index];
}

void GradientContext::set(int i, const Term& dx) {
  if (!wants(i)) return;
  Term& result = dx_[static_cast<size_t>(i)];
  result = sum_to(dx, x(i));
  // Quantized values have gradients that are not quantized.
  const DType dtype = x(i).dtype();
  if (dtype == DType::kUndefined || is_float(dtype)) result = cast_to(result, dtype);
}

void GradientContext::differentiate(std::span<const Term> y) {
  std::vector<NodeId> nodes(writer_.graph().node_count() - first_node_);
  std::iota(nodes.begin(), nodes.end(), static_cast<NodeId>(first_node_));
  std::vector<Seed> seeds;
  for (size_t i = 0; i < y.size(); ++i) {
    const Term gradient = dy(static_cast<int>(i));
    if (y[i] && gradient) seeds.push_back({y[i].id(), gradient.id()});
  }
  // An input that is read twice gets its gradient once.
  std::vector<ValueId> wrt(node_.inputs.size(), kNoValue);
  for (size_t i = 0; i < wrt.size(); ++i) {
    const bool seen = std::find(wrt.begin(), wrt.end(), node_.inputs[i]) != wrt.end();
    if (wanted_[i] && !seen) wrt[i] = node_.inputs[i];
  }
  const std::vector<ValueId> dx = propagate_gradients(writer_, nodes, seeds, wrt);
  for (size_t i = 0; i < dx.size(); ++i) {
    if (dx[i] != kNoValue) set(static_cast<int>(i), {writer_, dx[i]});
  }
}

namespace {

// The walk of propagate_gradients().
class ReversePass {
 public:
  explicit ReversePass(GraphWriter& writer)
      : writer_(writer),
        depends_(writer.graph().value_count(), false),
        gradients_(writer.graph().value_count(), kNoValue) {}

  // Marks the values through which `wrt` can have influence. An element type that is not known
  // counts as floating point: the rule will need it and say so. Quantized values stand for floating
  // point, and so does what is made of them.
  void mark(std::span<const NodeId> nodes, std::span<const ValueId> wrt) {
    for (const ValueId id : wrt) {
      if (id != kNoValue) depends_[index(id)] = true;
    }
    for (const NodeId id : nodes) {
      const Node& node = writer_.graph().node(id);
      const bool reached = std::any_of(node.inputs.begin(), node.inputs.end(),
                                       [&](ValueId input) { return depends(input); });
      const bool quantized =
          node.op_type == "QuantizeLinear" ||
          std::any_of(node.inputs.begin(), node.inputs.end(),
                      [&](ValueId input) { return depends(input) && !floating(input); });
      for (const ValueId output : node.outputs) {
        if (!reached || output == kNoValue) continue;
        if (quantized || floating(output)) depends_[index(output)] = true;
      }
    }
  }

  void add(ValueId value, ValueId gradient) {
    if (!depends(value)) return;
    ValueId& total = gradients_[index(value)];
    if (total == kNoValue) {
      total = gradient;
    } else {
      total = (writer_.value(total) + writer_.value(gradient)).id();
    }
  }

  ValueId gradient(ValueId value) const {
    return value == kNoValue ? kNoValue : gradients_[index(value)];
  }

  void step_back(NodeId id) {
    const Node& node = writer_.graph().node(id);
    std::vector<ValueId> dy;
    for (const ValueId output : node.outputs) dy.push_back(gradient(output));
    std::vector<bool> wanted;
    for (const ValueId input : node.inputs) wanted.push_back(depends(input));
    const auto has_gradient = [](ValueId value) { return value != kNoValue; };
    if (std::none_of(dy.begin(), dy.end(), has_gradient)) return;
    if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
    require(node.op != nullptr && node.op->gradient != nullptr, ErrorCode::kUnsupported,
            node.label(), ": there is no gradient rule for operator ", node.domain,
            node.domain.empty() ? "" : ".", node.op_type, " version ",
            node.op != nullptr ? node.op->since_version : node.opset);
    const std::string label = node.label();
    writer_.set_scope("gradient/" + (node.name.empty() ? node.op_type : node.name));
    GradientContext context(writer_, id, std::move(dy), std::move(wanted));
    with_context([&] { return "gradient of " + label; },
                 [&] { context.node().op->gradient(context); });
    for (int i = 0; i < context.num_inputs(); ++i) {
      if (context.result(i)) add(context.x(i).id(), context.result(i).id());
    }
  }

 private:
  static size_t index(ValueId id) { return static_cast<size_t>(id); }
  bool floating(ValueId id) const {
    const DType dtype = writer_.graph().fact(id).dtype;
    return dtype == DType::kUndefined || is_float(dtype);
  }
  // Values that were added on the way are gradients: nothing flows through them.
  bool depends(ValueId id) const {
    return id != kNoValue && index(id) < depends_.size() && depends_[index(id)];
  }

  GraphWriter& writer_;
  std::vector<bool> depends_;       // by ValueId
  std::vector<ValueId> gradients_;  // by ValueId
};

}  // namespace

std::vector<ValueId> propagate_gradients(GraphWriter& writer, std::span<const NodeId> nodes,
                                         std::span<const Seed> seeds,
                                         std::span<const ValueId> wrt) {
  ReversePass pass(writer);
  pass.mark(nodes, wrt);
  for (const Seed& seed : seeds) pass.add(seed.value, seed.gradient);
  for (size_t i = nodes.size(); i > 0; --i) pass.step_back(nodes[i - 1]);
  std::vector<ValueId> result;
  for (const ValueId id : wrt) result.push_back(pass.gradient(id));
  return result;
}

}  // namespace hugot
