// Derivatives of the normalizations over groups and axes: the nodes written with other operators.
#include <vector>

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/norm/norm.h"

namespace hugot::norm::rule {
namespace {

using G = GradientContext;

}  // namespace

// x as [batch, groups, channels of a group, rest], the parameters as they meet that.
void GroupNormalization(G& g) {
  const Term x = g.x();
  require(x.rank() >= 2, ErrorCode::kInvalidArgument, "the input has no channel axis");
  const bool instances = g.node().op->name == "InstanceNormalization";
  const bool by_group = !instances && g.since_version() < 21;
  const Term channels = dim_of(x, 1), one = g.writer().integers({1});
  const Term groups =
      instances ? channels : g.writer().integers({g.node().at<int64_t>("num_groups")});
  Term rest = one;
  for (int64_t axis = 2; axis < x.rank(); ++axis) rest = rest * dim_of(x, axis);
  const Term grouped =
      reshape(x, g.writer().concat({dim_of(x, 0), groups, channels / groups, rest}, 0));
  const Term axes = g.writer().integers({2, 3});
  const Term centered = grouped - mean(grouped, axes);
  const double epsilon = g.node().get("epsilon", 1e-5f);
  const Term z = centered / sqrt(mean(square(centered), axes) + epsilon);
  const Term of_group = g.writer().integers({by_group ? 1 : -1});
  const Term layout = g.writer().concat({one, groups, of_group, one}, 0);
  const Term y = z * reshape(g.x(1), layout) + reshape(g.x(2), layout);
  g.differentiate(std::vector<Term>{reshape_like(y, x)});
}

void MeanVarianceNormalization(G& g) {
  const Term axes = g.writer().integers(mean_variance_axes(g.node()));
  const Term centered = g.x() - mean(g.x(), axes);
  g.differentiate(std::vector<Term>{centered / (sqrt(mean(square(centered), axes)) + 1e-9)});
}

// With z = y and the norm s: L2 dx = (dy - y sum(dy y)) / s, L1 dx = (dy - sign(x) sum(dy y)) / s.
void LpNormalization(G& g) {
  const bool l1 = is_l1(g.node());
  const Term axes = g.writer().integers({g.node().get<int64_t>("axis", -1)});
  const Term x = g.x(), dy = g.dy();
  const Term size = l1 ? sum(g.op("Abs", {x}), axes) : sqrt(sum(square(x), axes));
  const Term direction = l1 ? sign(x) : g.y();
  const Term dx = dy - direction * sum(dy * g.y(), axes);
  g.set(0, where(equal(size, 0), 0, dx / size));
}

}  // namespace hugot::norm::rule
