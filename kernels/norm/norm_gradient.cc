// Derivatives of the normalizations. With z the normalized x, s = 1 / sqrt(var + epsilon) and dz
// the gradient of z:  dx = s (dz - mean(dz) - z mean(dz z)), the means over the normalized axes;
// without the middle term where x is not centered.
#include <algorithm>
#include <numeric>

#include "graph/gradient.h"
#include "kernels/norm/norm.h"

namespace hugot::norm::rule {
namespace {

using G = GradientContext;

Term range(G& g, int64_t first, int64_t last) {
  std::vector<int64_t> axes(static_cast<size_t>(last - first));
  std::iota(axes.begin(), axes.end(), first);
  return g.writer().integers(axes);
}

// x normalized over `axes`.
struct Normalized {
  Term axes, inverse, z;

  Normalized(const Term& x, const Term& over, bool centered, double epsilon) : axes(over) {
    const Term c = centered ? x - mean(x, axes) : x;
    inverse = 1 / sqrt(mean(square(c), axes) + epsilon);
    z = c * inverse;
  }

  Term dx(const Term& dz, bool centered) const {
    const Term rest = dz - z * mean(dz * z, axes);
    return inverse * (centered ? rest - mean(dz, axes) : rest);
  }
};

// Statistics are computed in stash_type, but never in fewer bits than x has.
void row_normalization(G& g, bool centered, int inverse_output) {
  const int rank = g.x().rank();
  const int axis = normalize_axis(g.node().get<int64_t>("axis", -1), rank);
  const DType type = g.x().dtype() == DType::kFloat64 ? DType::kFloat64 : stash_type(g.node());
  const Term x = cast_to(g.x(), type), scale = cast_to(g.x(1), type);
  const double epsilon = g.node().get("epsilon", 1e-5f);
  const Normalized row(x, range(g, axis, rank), centered, epsilon);
  Term dx;
  const auto add = [&](const Term& part) { dx = dx ? dx + part : part; };
  if (g.dy()) {
    const Term dy = cast_to(g.dy(), type);
    add(row.dx(dy * scale, centered));
    if (g.wants(1)) g.set(1, dy * row.z);
    if (g.wants(2)) g.set(2, dy);
  }
  // The statistics are outputs, too: d mean / dx = 1 / n, d s / dx = -s^2 z / n.
  const auto share = [&](const Term& gradient) {
    return cast_to(gradient, type) / count_ratio(x, row.inverse);
  };
  if (centered && g.dy(1)) add(g.op("Expand", {share(g.dy(1)), shape_of(x)}));
  if (g.dy(inverse_output)) add(-share(g.dy(inverse_output)) * square(row.inverse) * row.z);
  g.set(0, dx);
}

}  // namespace

namespace {

// True where hugot.LayerNormalizationGradient serves.
bool at_once(G& g) {
  const DType dtype = g.x().dtype();
  const int rank = g.x().rank();
  return g.fused() && (dtype == DType::kFloat32 || dtype == DType::kFloat64) &&
         g.x(1).dtype() == dtype && g.x(1).rank() == 1 &&
         g.x(1).fact().shape->front() == g.x().fact().shape->back() && g.dy() && !g.dy(1) &&
         !g.dy(2) && normalize_axis(g.node().get<int64_t>("axis", -1), rank) == rank - 1;
}

}  // namespace

void LayerNormalization(G& g) {
  if (!at_once(g)) return row_normalization(g, true, 2);
  const bool sums = g.wants(1) || g.wants(2);
  const std::vector<Term> dx =
      g.writer().outputs("LayerNormalizationGradient", {g.x(0), g.x(1), g.dy()},
                         {{"epsilon", g.node().get("epsilon", 1e-5f)}}, sums ? 3 : 1, "hugot");
  for (size_t i = 0; i < dx.size(); ++i) g.set(static_cast<int>(i), dx[i]);
}
void RMSNormalization(G& g) { row_normalization(g, false, 1); }

// The node written with other operators; statistics of the batch in training, the given ones
// otherwise.
void BatchNormalization(G& g) {
  const int rank = g.x().rank();
  const bool training = trains_batch_norm(g.node());
  const int last = batch_norm_inner(g.node(), rank);
  std::vector<int64_t> inner(static_cast<size_t>(rank - last));
  std::iota(inner.begin(), inner.end(), 1);
  // One number per channel, as it meets axis 1 of x.
  const auto along_channels = [&](int i) {
    return unsqueeze(cast_to(g.x(i), g.x().dtype()), inner);
  };
  Term center = along_channels(3), variance = along_channels(4);
  if (training) {
    std::vector<int64_t> others = {0};
    for (int64_t axis = last; axis < rank; ++axis) others.push_back(axis);
    const Term axes = g.writer().integers(others);
    center = mean(g.x(), axes);
    variance = mean(square(g.x() - center), axes);
  }
  const Term inverse = 1 / sqrt(variance + g.node().get("epsilon", 1e-5f));
  const Term y = (g.x() - center) * inverse * along_channels(1) + along_channels(2);
  std::vector<Term> outputs = {y};
  if (training) {
    const double momentum = g.node().get("momentum", 0.9f);
    const auto running = [&](int i, const Term& now) {
      return g.x(i) * momentum + reshape_like(now, g.x(i)) * (1 - momentum);
    };
    outputs.resize(5);
    const Term now = cast_to(center, g.x(3).dtype()), spread = cast_to(variance, g.x(4).dtype());
    if (g.dy(1)) outputs[1] = running(3, now);
    if (g.dy(2)) outputs[2] = running(4, spread);
    if (g.dy(3)) outputs[3] = reshape_like(now, g.x(3));
    if (g.dy(4)) outputs[4] = reshape_like(spread, g.x(4));
  }
  g.differentiate(outputs);
}

}  // namespace hugot::norm::rule
