// float16 and bfloat16 graphs compute in float32.
#include <algorithm>
#include <vector>

#include "graph/passes/passes.h"

namespace hugot {
namespace {

class Widening {
 public:
  Widening(Graph& graph, const OpRegistry& ops) : graph_(graph), ops_(ops) {
    wide_.assign(graph.value_count(), kNoValue);
  }

  size_t run() {
    for (const NodeId id : graph_.order()) {
      if (widen(id)) ++changes_;
    }
    return changes_;
  }

 private:
  bool half(ValueId id) const {
    if (id == kNoValue || !graph_.fact(id).is_tensor()) return false;
    const DType dtype = graph_.fact(id).dtype;
    return dtype == DType::kFloat16 || dtype == DType::kBFloat16;
  }

  // Nodes whose element types follow from those of their operands. What asks for a type by name
  // (Cast, ConstantOfShape) or by example keeps it, and bodies keep the types they declare.
  bool follows_operands(const Node& node) const {
    return node.op != nullptr && !node.has_subgraph() && node.op_type != "Cast" &&
           node.op_type != "CastLike" && node.op_type != "BitCast" &&
           std::any_of(node.inputs.begin(), node.inputs.end(),
                       [&](ValueId input) { return half(input); }) &&
           std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
             return input == kNoValue || graph_.fact(input).is_tensor();
           });
  }

  bool widen(NodeId id) {
    if (!follows_operands(graph_.node(id))) return false;
    const Node narrow = graph_.node(id);
    Node wide = narrow;
    for (ValueId& input : wide.inputs) {
      if (half(input)) input = wide_form(input);
    }
    for (ValueId& output : wide.outputs) {
      if (!half(output)) continue;
      // The shape of a view stands nowhere but in its fact.
      Fact fact;
      fact.shape = graph_.fact(output).shape;
      output = graph_.add_value(graph_.value(output).name);
      graph_.value(output).fact = std::move(fact);
    }
    const std::vector<ValueId> outputs = wide.outputs;
    graph_.remove_node(id);
    const NodeId added = graph_.add_node(std::move(wide));
    infer_node(graph_, added);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] == narrow.outputs[i] || graph_.fact(outputs[i]).dtype == DType::kFloat32) {
        continue;
      }
      graph_.remove_node(added);  // something else than its operands decides
      graph_.add_node(narrow);
      return false;
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] == narrow.outputs[i]) continue;
      // Dead unless a node or the caller wants the narrow form.
      cast(outputs[i], narrow.outputs[i], graph_.fact(narrow.outputs[i]).dtype);
      remember(narrow.outputs[i], outputs[i]);
    }
    return true;
  }

  ValueId wide_form(ValueId id) {
    if (static_cast<size_t>(id) < wide_.size() && wide_[static_cast<size_t>(id)] != kNoValue) {
      return wide_[static_cast<size_t>(id)];
    }
    const ValueId wide = graph_.add_value(graph_.value(id).name);
    cast(id, wide, DType::kFloat32);
    remember(id, wide);
    return wide;
  }

  void remember(ValueId id, ValueId wide) {
    if (wide_.size() < graph_.value_count()) wide_.resize(graph_.value_count(), kNoValue);
    wide_[static_cast<size_t>(id)] = wide;
  }

  void cast(ValueId from, ValueId to, DType dtype) {
    constexpr int kVersion = 13;
    Node node;
    node.op_type = "Cast";
    node.opset = kVersion;
    node.op = &ops_.get("", "Cast", kVersion);
    node.attributes["to"] = int64_t{static_cast<int>(dtype)};
    node.inputs = {from};
    node.outputs = {to};
    infer_node(graph_, graph_.add_node(std::move(node)));
  }

  Graph& graph_;
  const OpRegistry& ops_;
  std::vector<ValueId> wide_;  // by ValueId: the float32 form, where it exists
  size_t changes_ = 0;
};

}  // namespace

size_t widen_half(Graph& graph, PassContext& context) { return Widening(graph, context.ops).run(); }

}  // namespace hugot
