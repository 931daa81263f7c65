// Derivatives of quantization: rounding counts as the identity (straight-through estimator), and
// what is saturated has none.
#include "graph/gradient.h"
#include "kernels/quantize/quantize.h"

namespace hugot::quantize::rule {
namespace {

using G = GradientContext;

// A scale or zero point so that it broadcasts against x. Throws kUnsupported for blocks.
Term spread(G& g, const Term& scale) {
  const int rank = scale.rank();
  if (rank == 0) return scale;
  const auto shape = scale.fact().fixed_shape();
  if (shape && shape->size() == 1) return reshape(scale, g.writer().integers({}));
  require(g.node().get<int64_t>("block_size", 0) == 0 && rank == 1, ErrorCode::kUnsupported,
          "scales by blocks have no gradient rule");
  const int x_rank = g.x(0).rank();
  const int axis = x_rank == 1 ? 0 : normalize_axis(g.node().get<int64_t>("axis", 1), x_rank);
  std::vector<int64_t> axes;
  for (int i = 1; i < x_rank - axis; ++i) axes.push_back(i);
  return axes.empty() ? scale : unsqueeze(scale, std::move(axes));
}

// The gradient of the scale from that of the scale as x saw it.
void set_scale(G& g, const Term& spread_scale, const Term& gradient) {
  g.set(1, reshape_like(sum_to(gradient, spread_scale), g.x(1)));
}

}  // namespace

// y = (x - zero) scale. A gradient reaches x through the QuantizeLinear that has made it.
void DequantizeLinear(G& g) {
  const Term scale = cast_to(spread(g, g.x(1)), g.dy().dtype());
  g.set(0, g.dy() * scale);
  if (!g.wants(1)) return;
  Term x = cast_to(g.x(0), g.dy().dtype());
  if (g.x(2)) x = x - cast_to(spread(g, g.x(2)), g.dy().dtype());
  set_scale(g, scale, g.dy() * x);
}

// y = saturate(round(x / scale) + zero)
void QuantizeLinear(G& g) {
  const Term x = cast_to(g.x(0), g.dy().dtype());
  const Term scale = cast_to(spread(g, g.x(1)), g.dy().dtype());
  const Term quotient = x / scale;
  Term dy = g.dy();
  if (const DType dtype = g.y().dtype(); is_quantized_integer(dtype)) {
    const Range range = range_of(dtype);
    Term q = g.op("Round", {quotient});
    if (g.x(2)) q = q + cast_to(spread(g, g.x(2)), dy.dtype());
    const Term inside = both(q >= range.low, q <= range.high);
    dy = dy * indicator(inside, dy);
  }
  g.set(0, dy / scale);
  if (g.wants(1)) set_scale(g, scale, -(dy * quotient / scale));
}

}  // namespace hugot::quantize::rule
