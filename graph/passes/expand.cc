// Operators that are compositions become what they are composed of, before anything else looks at
// the graph: fusions, packing and gradients know the parts already.
#include "graph/expansion.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

size_t expand(Graph& graph, PassContext& context, bool all) {
  GraphWriter writer(graph, context.ops);
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    const OpDef* op = graph.node(id).op;
    if (op == nullptr || op->expand == nullptr || !(all || op->composite)) {
      // Later rules see what an expanded operand has taught.
      if (changes > 0) infer_node(graph, id);
      continue;
    }
    const std::string label = graph.node(id).label();
    if (!expand_node(writer, id)) continue;
    context.log.push_back("expand: " + label);
    ++changes;
  }
  return changes;
}

}  // namespace

size_t expand_composites(Graph& graph, PassContext& context) {
  return expand(graph, context, false);
}

size_t expand_operators(Graph& graph, PassContext& context) { return expand(graph, context, true); }

}  // namespace hugot
