// LayerNormalization from ReduceMean, Sub, Pow or Mul, Add, Sqrt, Div, Mul, Add.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

struct Normalized {
  ValueId x = kNoValue;
  double epsilon = 0;
};

// (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon), the quotient given as a node.
std::optional<Normalized> match_normalized(const Graph& graph, ValueId id) {
  ValueId centered = kNoValue;
  ValueId deviation = kNoValue;
  if (const Node* div = produced_by(graph, id, "Div")) {
    centered = div->inputs[0];
    deviation = div->inputs[1];
  } else if (const Node* mul = produced_by(graph, id, "Mul")) {
    for (const ValueId operand : mul->inputs) {
      const Node* reciprocal = produced_by(graph, operand, "Reciprocal");
      if (reciprocal == nullptr) continue;
      deviation = reciprocal->inputs[0];
      centered = other_operand(*mul, operand);
    }
  }
  const Node* sub = produced_by(graph, centered, "Sub");
  const Node* sqrt = produced_by(graph, deviation, "Sqrt");
  if (sub == nullptr || sqrt == nullptr) return std::nullopt;
  const Node* add = produced_by(graph, sqrt->inputs[0], "Add");
  const auto variance = add != nullptr ? value_and_number(graph, *add) : std::nullopt;
  if (!variance || square_of(graph, mean_over_last_axis(graph, variance->first)) != centered) {
    return std::nullopt;
  }
  const ValueId x = sub->inputs[0];
  if (mean_over_last_axis(graph, sub->inputs[1]) != x) return std::nullopt;
  return Normalized{x, variance->second};
}

}  // namespace

size_t fuse_layer_norm(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    Node& add = graph.node(id);
    if (!add.domain.empty() || add.op_type != "Add") continue;
    for (const ValueId beta : std::vector<ValueId>(add.inputs)) {
      const ValueId scaled = other_operand(add, beta);
      const Node* mul = produced_by(graph, scaled, "Mul");
      const auto shape = weight_shape(graph, beta, 1);
      if (mul == nullptr || !shape) continue;
      for (const ValueId gamma : mul->inputs) {
        if (weight_shape(graph, gamma, 1) != shape) continue;
        const auto normalized = match_normalized(graph, other_operand(*mul, gamma));
        if (!normalized || graph.fact(normalized->x).shape->back() != Dim(shape->size())) continue;
        context.log.push_back(str("layer_norm: ", add.label()));
        rewrite(add, context.ops, "", "LayerNormalization", 17, {normalized->x, gamma, beta},
                {{"axis", int64_t{-1}}, {"epsilon", static_cast<float>(normalized->epsilon)}});
        ++changes;
        break;
      }
      if (add.op_type != "Add") break;
    }
  }
  return changes;
}

}  // namespace hugot
