#include <numeric>

#include "graph/gradient.h"
#include "kernels/softmax/softmax.h"

namespace hugot::softmax::rule {
namespace {

using G = GradientContext;

// The sum over what the node normalizes together.
Term row_sum(G& g, const Term& x) {
  const int64_t axis = axis_of(g.node());
  if (g.since_version() >= kOneAxis) return sum(x, g.writer().integers({axis}));
  const int rank = g.x().rank();
  // The axis may be the rank: rows of one element.
  const int64_t first = axis == rank ? rank : normalize_axis(axis, rank);
  std::vector<int64_t> axes(static_cast<size_t>(rank - first));
  std::iota(axes.begin(), axes.end(), first);
  return axes.empty() ? x : sum(x, g.writer().integers(axes));
}

}  // namespace

// It is constant between its steps.
void Hardmax(G& /*g*/) {}

void Softmax(G& g) { g.set(0, g.y() * (g.dy() - row_sum(g, g.dy() * g.y()))); }
void LogSoftmax(G& g) { g.set(0, g.dy() - exp(g.y()) * row_sum(g, g.dy())); }

}  // namespace hugot::softmax::rule
