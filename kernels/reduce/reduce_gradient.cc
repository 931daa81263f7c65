// Derivatives of reductions, running sums and products, and TopK.
#include "graph/gradient.h"
#include "kernels/reduce/reduce.h"

namespace hugot::reduce::rule {
namespace {

using G = GradientContext;

// The axes of a reduction; nothing when the node gives none.
Term axes_of(G& g) {
  if (g.x(1)) return g.x(1);
  const auto axes = g.node().get<std::vector<int64_t>>("axes", {});
  return axes.empty() ? Term() : g.writer().integers(axes);
}

// A value of the output's shape, with the reduced axes back as axes of length 1, so that it
// meets x by broadcasting. Without axes everything was reduced to a scalar, or nothing was.
Term spread(G& g, const Term& value) {
  const Term axes = axes_of(g);
  const bool kept = g.node().get<int64_t>("keepdims", 1) != 0;
  return kept || !axes ? value : g.op("Unsqueeze", {value, axes});
}

// The reduction `type` of something of the shape of x, over the same axes, which stay.
Term reduce_alike(G& g, std::string_view type, const Term& x) {
  const int64_t noop = g.node().get<int64_t>("noop_with_empty_axes", 0);
  return g.op(type, {x, axes_of(g)}, {{"keepdims", int64_t{1}}, {"noop_with_empty_axes", noop}});
}

}  // namespace

void Sum(G& g) { g.set(0, g.op("Expand", {spread(g, g.dy()), shape_of(g.x())})); }

void Mean(G& g) {
  const Term share = spread(g, g.dy()) / count_ratio(g.x(), g.y());
  g.set(0, g.op("Expand", {share, shape_of(g.x())}));
}

void GlobalMean(G& g) {
  g.set(0, g.op("Expand", {g.dy() / count_ratio(g.x(), g.y()), shape_of(g.x())}));
}

void GlobalMax(G& g) {
  const Term hit = equal(g.x(), g.y());
  g.set(0, where(hit, g.dy() / sum_to(indicator(hit, g.x()), g.y()), 0));
}

void L1(G& g) { g.set(0, spread(g, g.dy()) * sign(g.x())); }

// x / |x|, and 0 for the zero vector.
void L2(G& g) {
  const Term length = spread(g, g.y());
  g.set(0, spread(g, g.dy()) * where(equal(length, 0), 0, g.x() / length));
}

void SumSquare(G& g) { g.set(0, spread(g, g.dy()) * 2 * g.x()); }

void LogSum(G& g) {
  const Term share = spread(g, g.dy()) / reduce_alike(g, "ReduceSum", g.x());
  g.set(0, g.op("Expand", {share, shape_of(g.x())}));
}

void LogSumExp(G& g) { g.set(0, spread(g, g.dy()) * exp(g.x() - spread(g, g.y()))); }

// Elements that share an extreme share its gradient equally.
void Extreme(G& g) {
  const Term hit = equal(g.x(), spread(g, g.y()));
  const Term hits = reduce_alike(g, "ReduceSum", indicator(hit, g.x()));
  g.set(0, where(hit, spread(g, g.dy()) / hits, 0));
}

// The product of the other elements: y / x without zeros; with one zero it differs from 0 for that
// element only, with more nowhere.
void Prod(G& g) {
  const Term zero = equal(g.x(), 0), one_for_zero = where(zero, 1, g.x());
  const Term zeros = reduce_alike(g, "ReduceSum", indicator(zero, g.x()));
  const Term product = reduce_alike(g, "ReduceProd", one_for_zero);
  const Term others = where(equal(zeros - indicator(zero, g.x()), 0), product / one_for_zero, 0);
  g.set(0, spread(g, g.dy()) * others);
}

void SumTo(G& g) { g.set(0, g.op("Expand", {g.dy(), shape_of(g.x())})); }

namespace {

// The running sum in the other direction: element i of x is part of the elements of y from i on.
Term sum_of_users(G& g, const Term& terms) {
  const int64_t reverse = g.node().get<int64_t>("reverse", 0) != 0 ? 0 : 1;
  return g.op("CumSum", {terms, g.x(1)},
              {{"reverse", reverse}, {"exclusive", g.node().get<int64_t>("exclusive", 0)}});
}

}  // namespace

void CumSum(G& g) { g.set(0, sum_of_users(g, g.dy())); }

// d y[k] / d x[i] is the product of the other factors of y[k]. Up to the first zero of a line this
// is y[k] / x[i]. For the first zero itself it is the running product with 1 in its place. Behind
// it everything is 0.
void CumProd(G& g) {
  const Term x = g.x(), is_zero = equal(x, 0), zeros = indicator(is_zero, x);
  const Attributes direction = {{"reverse", g.node().get<int64_t>("reverse", 0)}};
  const Term seen = g.op("CumSum", {zeros, g.x(1)}, direction);
  const Term first = both(is_zero, equal(seen, 1));
  const Term without_first = g.op("CumProd", {where(first, 1, x), g.x(1)}, g.node().attributes);
  const Term before = sum_of_users(g, g.dy() * g.y()) / where(is_zero, 1, x);
  g.set(0, where(first, sum_of_users(g, g.dy() * without_first), before));
}

void TopK(G& g) {
  if (!g.dy()) return;
  const int64_t axis = g.node().get<int64_t>("axis", -1);
  g.set(0, g.op("ScatterElements", {zeros_like(g.x()), g.y(1), g.dy()}, {{"axis", axis}}));
}

}  // namespace hugot::reduce::rule
