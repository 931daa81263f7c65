#include "graph/gradient.h"
#include "kernels/views/views.h"

namespace hugot::views::rule {

using G = GradientContext;

// Reshape, Flatten, Squeeze, Unsqueeze, Identity, hugot.View: the same elements.
void View(G& g) { g.set(0, reshape_like(g.dy(), g.x())); }

void Expand(G& g) { g.set(0, g.dy()); }

// Only the shape of x counts.
void EyeLike(G&) {}

// y[i] = start + i delta. The limit decides only how many elements there are.
void Range(G& g) {
  const auto total = [&](const Term& terms, const Term& like) {
    return reshape_like(g.op("ReduceSum", {terms}, {{"keepdims", int64_t{0}}}), like);
  };
  const Term steps = cast_to(g.op("Range", {0, count_of(g.dy()), 1}), g.dy().dtype());
  g.set(0, total(g.dy(), g.x(0)));
  g.set(2, total(g.dy() * steps, g.x(2)));
}

// In training y = x mask / (1 - ratio), with the mask that was drawn; otherwise y = x. The ratio is
// no parameter and has no gradient.
void Dropout(G& g) {
  if (!g.dy()) return;
  Term dx = g.dy();
  const bool always = dropout_trains_by_attribute(g.node());
  if (always || g.x(2)) {
    const Term share = g.x(1) ? 1 - cast_to(g.x(1), dx.dtype())
                              : Term(1 - static_cast<double>(g.node().get("ratio", 0.5f)));
    const Term kept = dx * indicator(g.y(1), dx) / share;
    dx = always ? kept : where(g.x(2), kept, dx);
  }
  g.set(0, dx);
}

}  // namespace hugot::views::rule
