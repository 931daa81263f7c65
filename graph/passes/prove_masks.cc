// Masks that positions decide.
//
// Exporters build the mask of attention from comparisons of positions, among them some that hold
// for every position ("the query's position is not negative"). Facts cannot tell, since a range is
// no list of known length; here lower bounds of integers are followed back to the range.
#include <algorithm>
#include <optional>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

// A number that no element of `id` is below.
std::optional<double> lower_bound(const Graph& graph, ValueId id) {
  if (const auto number = number_of(graph, id)) return number;
  const Node* node = graph.producer(id);
  if (node == nullptr) return std::nullopt;
  const bool view = node->domain == "hugot" && node->op_type == "View";
  if (view) return lower_bound(graph, node->inputs[0]);
  if (!node->domain.empty()) return std::nullopt;
  const std::string& op = node->op_type;
  if (op == "Range") {
    const auto step = number_of(graph, node->inputs[2]);
    return step && *step > 0 ? number_of(graph, node->inputs[0]) : std::nullopt;
  }
  if (op == "Expand" || op == "Transpose" || op == "Unsqueeze" || op == "Identity") {
    return lower_bound(graph, node->inputs[0]);
  }
  if (op == "Add") {
    const auto a = lower_bound(graph, node->inputs[0]);
    const auto b = a ? lower_bound(graph, node->inputs[1]) : std::nullopt;
    if (b) return *a + *b;
  }
  return std::nullopt;
}

// What every element of the node's result is, if its operands' bounds tell.
std::optional<bool> proven(const Graph& graph, const Node& node) {
  const std::string& op = node.op_type;
  const bool compares =
      op == "GreaterOrEqual" || op == "Greater" || op == "Less" || op == "LessOrEqual";
  if (!node.domain.empty() || !compares || !is_integer(graph.fact(node.inputs[0]).dtype)) {
    return std::nullopt;
  }
  // low is the operand with the bound; it stands on the large side of the relation.
  const auto at_least = [&](ValueId low, ValueId number, bool or_equal) {
    const auto limit = number_of(graph, number);
    const auto bound = limit ? lower_bound(graph, low) : std::nullopt;
    return bound && (or_equal ? *bound >= *limit : *bound > *limit);
  };
  const ValueId x = node.inputs[0], y = node.inputs[1];
  if (op == "GreaterOrEqual" && at_least(x, y, true)) return true;
  if (op == "Greater" && at_least(x, y, false)) return true;
  if (op == "LessOrEqual" && at_least(y, x, true)) return true;
  if (op == "Less" && at_least(y, x, false)) return true;
  if (op == "Less" && at_least(x, y, true)) return false;
  if (op == "LessOrEqual" && at_least(x, y, false)) return false;
  if (op == "Greater" && at_least(y, x, true)) return false;
  if (op == "GreaterOrEqual" && at_least(y, x, false)) return false;
  return std::nullopt;
}

}  // namespace

size_t prove_masks(Graph& graph, PassContext&) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    const auto result = proven(graph, graph.node(id));
    const ValueId output = graph.node(id).outputs[0];
    if (!result || !known_for_text(graph.fact(output)) ||
        std::find(graph.outputs.begin(), graph.outputs.end(), output) != graph.outputs.end()) {
      continue;
    }
    // An input whose contents its fact tells.
    graph.remove_node(id);
    graph.value(output).fact.uniform = Tensor::scalar(*result);
    graph.inputs.push_back(output);
    ++changes;
  }
  return changes;
}

}  // namespace hugot
