// Gelu from its parts. Exporters order and group the factors of 0.5 * x * (1 + erf(x / sqrt(2))) in
// every way, so products are compared as bags of factors.
#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

struct Product {
  double scale = 1;
  std::vector<ValueId> factors;
};

// Takes nested products and quotients by numbers apart, but not `whole`.
void flatten(const Graph& graph, ValueId id, ValueId whole, int depth, Product& product) {
  constexpr int kMaxDepth = 4;  // x^3 inside a scaled product is the deepest that is needed
  if (const auto number = number_of(graph, id)) {
    product.scale *= *number;
    return;
  }
  if (id != whole && depth < kMaxDepth) {
    if (const Node* mul = produced_by(graph, id, "Mul")) {
      for (const ValueId input : mul->inputs) flatten(graph, input, whole, depth + 1, product);
      return;
    }
    const Node* div = produced_by(graph, id, "Div");
    const auto divisor = div != nullptr ? number_of(graph, div->inputs[1]) : std::nullopt;
    if (divisor && *divisor != 0) {
      product.scale /= *divisor;
      flatten(graph, div->inputs[0], whole, depth + 1, product);
      return;
    }
    const Node* pow = produced_by(graph, id, "Pow");
    const auto exponent = pow != nullptr ? number_of(graph, pow->inputs[1]) : std::nullopt;
    if (exponent == 2.0 || exponent == 3.0) {
      for (int i = 0; i < static_cast<int>(*exponent); ++i) {
        flatten(graph, pow->inputs[0], whole, depth + 1, product);
      }
      return;
    }
  }
  product.factors.push_back(id);
}

Product product_of(const Graph& graph, ValueId id, ValueId whole) {
  Product product;
  flatten(graph, id, whole, 0, product);
  std::sort(product.factors.begin(), product.factors.end());
  return product;
}

// f(t)'s argument t when `id` is 1 + f(t), for f = `function`; kNoValue otherwise.
ValueId one_plus(const Graph& graph, ValueId id, std::string_view function) {
  const Node* add = produced_by(graph, id, "Add");
  const auto parts = add != nullptr ? value_and_number(graph, *add) : std::nullopt;
  if (!parts || parts->second != 1) return kNoValue;
  const Node* call = produced_by(graph, parts->first, function);
  return call != nullptr ? call->inputs[0] : kNoValue;
}

// x when t = sqrt(2/pi) * (x + 0.044715 * x^3); Hendrycks and Gimpel 2016, the tanh approximation.
ValueId tanh_argument(const Graph& graph, ValueId t) {
  const auto [inner, outer_scale] = peel_scale(graph, t);
  const Node* sum = produced_by(graph, inner, "Add");
  if (sum == nullptr || !close_to(outer_scale, std::sqrt(2.0 / M_PI))) return kNoValue;
  for (const ValueId x : sum->inputs) {
    const Product cubic = product_of(graph, other_operand(*sum, x), x);
    if (close_to(cubic.scale, 0.044715) && cubic.factors == std::vector<ValueId>{x, x, x}) return x;
  }
  return kNoValue;
}

// x when t = x / sqrt(2).
ValueId erf_argument(const Graph& graph, ValueId t) {
  const auto [x, scale] = peel_scale(graph, t);
  return close_to(scale, std::sqrt(0.5)) ? x : kNoValue;
}

struct Gelu {
  ValueId x = kNoValue;
  const char* approximate = "none";
};

std::optional<Gelu> match_gelu(const Graph& graph, ValueId root) {
  // Which factor is 1 + f(x ..)? It tells x, which must not be taken apart itself.
  for (const ValueId factor : product_of(graph, root, kNoValue).factors) {
    Gelu gelu;
    if (const ValueId t = one_plus(graph, factor, "Erf"); t != kNoValue) {
      gelu.x = erf_argument(graph, t);
    } else if (const ValueId u = one_plus(graph, factor, "Tanh"); u != kNoValue) {
      gelu = {tanh_argument(graph, u), "tanh"};
    }
    if (gelu.x == kNoValue) continue;
    const Product product = product_of(graph, root, gelu.x);
    std::vector<ValueId> wanted = {gelu.x, factor};
    std::sort(wanted.begin(), wanted.end());
    if (close_to(product.scale, 0.5) && product.factors == wanted) return gelu;
  }
  return std::nullopt;
}

}  // namespace

size_t fuse_gelu(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    Node& mul = graph.node(id);
    if (!mul.domain.empty() || mul.op_type != "Mul") continue;
    const auto gelu = match_gelu(graph, mul.outputs[0]);
    if (!gelu) continue;
    context.log.push_back(str("gelu: ", mul.label()));
    rewrite(mul, context.ops, "", "Gelu", 20, {gelu->x},
            {{"approximate", std::string(gelu->approximate)}});
    ++changes;
  }
  return changes;
}

}  // namespace hugot
