// Rotary written with other operators, from which its gradient follows.
#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/rotary/rotary.h"

namespace hugot::rotary::rule {
namespace {

using G = GradientContext;

constexpr int64_t kEnd = int64_t{1} << 52;

// x[.., begin:end:step]
Term features(G& g, const Term& x, int64_t begin, int64_t end, int64_t step = 1) {
  GraphWriter& w = g.writer();
  return g.op("Slice",
              {x, w.integers({begin}), w.integers({end}), w.integers({-1}), w.integers({step})});
}

int64_t last_dim(const Term& x) {
  const auto& shape = x.fact().shape;
  const int64_t dim = shape && !shape->empty() ? shape->back().number().value_or(0) : 0;
  require(dim > 0, ErrorCode::kUnsupported, "the number of features is not known");
  return dim;
}

// One entry per feature from one per pair.
Term per_feature(G& g, const Term& table, const Rotation& rotation) {
  if (last_dim(table) == rotation.dims) return table;
  if (!rotation.interleaved) return g.writer().concat({table, table}, -1);
  const Term pair = unsqueeze(table, {-1});
  const int rank = table.rank();
  std::vector<Term> shape;
  for (int axis = 0; axis + 1 < rank; ++axis) shape.push_back(dim_of(table, axis));
  shape.push_back(g.writer().integers({rotation.dims}));
  return reshape(g.writer().concat({pair, pair}, -1), g.writer().concat(shape, 0));
}

}  // namespace

void Rotary(G& g) {
  const Term x = g.x(0);
  const int64_t width = last_dim(x);
  const Rotation rotation = rotation_of(g.node(), width);
  const int64_t dims = rotation.dims, half = dims / 2;
  const Term part = features(g, x, 0, dims);
  Term turned;
  if (rotation.interleaved) {
    const Term even = unsqueeze(features(g, part, 0, kEnd, 2), {-1});
    const Term odd = unsqueeze(features(g, part, 1, kEnd, 2), {-1});
    turned = reshape_like(g.writer().concat({-odd, even}, -1), part);
  } else {
    turned = g.writer().concat({-features(g, part, half, dims), features(g, part, 0, half)}, -1);
  }
  const Term cos = per_feature(g, g.x(1), rotation);
  const Term sin = per_feature(g, g.x(2), rotation);
  Term y = part * cos + turned * sin;
  if (dims < width) y = g.writer().concat({y, features(g, x, dims, width)}, -1);
  g.differentiate(std::span(&y, 1));
}

}  // namespace hugot::rotary::rule
