// RMSNormalization from Pow or Mul, ReduceMean, Add, Sqrt, Div or Reciprocal, Mul, Mul.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

struct Normalized {
  ValueId x = kNoValue;
  double epsilon = 0;
};

// x and epsilon when `id` is mean(x^2) + epsilon over the last axis.
std::optional<Normalized> match_mean_square(const Graph& graph, ValueId id) {
  const Node* add = produced_by(graph, id, "Add");
  const auto parts = add != nullptr ? value_and_number(graph, *add) : std::nullopt;
  if (!parts) return std::nullopt;
  const ValueId squares = mean_over_last_axis(graph, parts->first);
  const ValueId x = squares != kNoValue ? square_of(graph, squares) : kNoValue;
  if (x == kNoValue) return std::nullopt;
  return Normalized{x, parts->second};
}

// The same when `id` is 1 / sqrt(mean(x^2) + epsilon).
std::optional<Normalized> match_inverse(const Graph& graph, ValueId id) {
  ValueId root = kNoValue;
  if (const Node* reciprocal = produced_by(graph, id, "Reciprocal")) {
    root = reciprocal->inputs[0];
  } else if (const Node* div = produced_by(graph, id, "Div")) {
    if (number_of(graph, div->inputs[0]) == 1.0) root = div->inputs[1];
  } else if (const Node* pow = produced_by(graph, id, "Pow")) {
    if (number_of(graph, pow->inputs[1]) == -0.5) return match_mean_square(graph, pow->inputs[0]);
  }
  const Node* sqrt = produced_by(graph, root, "Sqrt");
  return sqrt != nullptr ? match_mean_square(graph, sqrt->inputs[0]) : std::nullopt;
}

// x / sqrt(mean(x^2) + epsilon), the quotient given as a value.
std::optional<Normalized> match_normalized(const Graph& graph, ValueId id) {
  if (const Node* mul = produced_by(graph, id, "Mul")) {
    for (const ValueId operand : mul->inputs) {
      const auto found = match_inverse(graph, operand);
      if (found && found->x == other_operand(*mul, operand)) return found;
    }
  } else if (const Node* div = produced_by(graph, id, "Div")) {
    const Node* sqrt = produced_by(graph, div->inputs[1], "Sqrt");
    const auto found = sqrt != nullptr ? match_mean_square(graph, sqrt->inputs[0]) : std::nullopt;
    if (found && found->x == div->inputs[0]) return found;
  }
  return std::nullopt;
}

}  // namespace

size_t fuse_rms_norm(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    Node& mul = graph.node(id);
    if (!mul.domain.empty() || mul.op_type != "Mul" || mul.inputs.size() != 2) continue;
    for (const ValueId gamma : std::vector<ValueId>(mul.inputs)) {
      const auto weights = weight_shape(graph, gamma, 1);
      if (!weights) continue;
      const auto found = match_normalized(graph, other_operand(mul, gamma));
      if (!found) continue;
      const Fact& x = graph.fact(found->x);
      if (x.dtype != graph.fact(gamma).dtype || x.rank() < 1 ||
          x.shape->back() != Dim(weights->size())) {
        continue;
      }
      context.log.push_back(str("rms_norm: ", mul.label()));
      rewrite(mul, context.ops, "", "RMSNormalization", 23, {found->x, gamma},
              {{"axis", int64_t{-1}}, {"epsilon", static_cast<float>(found->epsilon)}});
      ++changes;
      break;
    }
  }
  return changes;
}

}  // namespace hugot
