// hugot.Linear with narrow weights.
#include "graph/passes/passes.h"

namespace hugot {

size_t lower_precision(Graph& graph, PassContext& context, std::string_view precision) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    Node& node = graph.node(id);
    if (node.domain != "hugot" || (node.op_type != "Linear" && node.op_type != "LinearGroup")) {
      continue;
    }
    const Tensor* weight = graph.constant(node.inputs[1]);
    if (weight == nullptr || weight->dtype() != DType::kFloat32) continue;
    node.attributes["precision"] = std::string(precision);
    ++changes;
  }
  report_pass(graph, context, "lower_precision", changes);
  return changes;
}

}  // namespace hugot
