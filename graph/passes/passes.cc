#include "graph/passes/passes.h"

namespace hugot {

void report_pass(const Graph& graph, const PassContext& context, std::string_view name,
                 size_t changes) {
#ifdef NDEBUG
  if (!context.observer) return;
#endif
  graph.verify(name);
  if (context.observer) context.observer(name, changes, graph);
}

size_t apply_pass(Graph& graph, PassContext& context, std::string_view name, Pass pass) {
  const size_t changes =
      with_context([&] { return std::string(name); }, [&] { return pass(graph, context); });
  if (changes > 0) {
    graph.remove_dead();
    infer(graph);
  }
  report_pass(graph, context, name, changes);
  return changes;
}

void optimize_exact(Graph& graph, PassContext& context) {
  graph.remove_dead();
  infer(graph);
  apply_pass(graph, context, "expand_composites", expand_composites);
  apply_pass(graph, context, "fold_constants", fold_constants);
  apply_pass(graph, context, "eliminate_common", eliminate_common);
  // After folding, so that weights are widened by the plan when it packs them.
  apply_pass(graph, context, "widen_half", widen_half);
}

}  // namespace hugot
