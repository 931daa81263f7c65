// Rotary embeddings written with other operators, from which their gradients follow.
#include "graph/gradient.h"
#include "kernels/rotary/rotary.h"

namespace hugot::rotary::rule {
namespace {

using G = GradientContext;

constexpr int64_t kEnd = int64_t{1} << 52;

// x[.., begin:end:step]
Term slice(G& g, const Term& x, const Term& begin, const Term& end, int64_t step = 1) {
  GraphWriter& w = g.writer();
  return g.op("Slice", {x, begin, end, w.integers({-1}), w.integers({step})});
}

// One entry per feature from one per feature or per pair.
Term per_feature(G& g, const Term& table, const Term& dims, bool interleaved) {
  const int rank = table.rank();
  const Term times = dims / dim_of(table, rank - 1);
  const std::vector<int64_t> once(static_cast<size_t>(interleaved ? rank : rank - 1), 1);
  const Term repeats = g.writer().concat({g.writer().integers(once), times}, 0);
  if (!interleaved) return g.op("Tile", {table, repeats});
  const Term wide = g.op("Expand", {unsqueeze(table, {-1}), repeats});
  std::vector<Term> shape;
  for (int axis = 0; axis + 1 < rank; ++axis) shape.push_back(dim_of(table, axis));
  shape.push_back(dims);
  return reshape(wide, g.writer().concat(shape, 0));
}

}  // namespace

void Rotary(G& g) {
  const Term x = g.x(0);
  const auto given = g.node().get<int64_t>("rotary_dim", 0);
  const bool interleaved = g.node().get<int64_t>("interleaved", 0) != 0;
  const Term zero = g.writer().integers({0}), one = g.writer().integers({1});
  const Term two = g.writer().integers({2}), end = g.writer().integers({kEnd});
  const Term dims = given != 0 ? g.writer().integers({given}) : dim_of(x, x.rank() - 1);
  const Term part = given != 0 ? slice(g, x, zero, dims) : x;
  Term turned;
  if (interleaved) {
    const Term even = unsqueeze(slice(g, part, zero, end, 2), {-1});
    const Term odd = unsqueeze(slice(g, part, one, end, 2), {-1});
    turned = reshape_like(g.writer().concat({-odd, even}, -1), part);
  } else {
    const Term half = dims / two;
    turned = g.writer().concat({-slice(g, part, half, end), slice(g, part, zero, half)}, -1);
  }
  const Term cos = per_feature(g, g.x(1), dims, interleaved);
  const Term sin = per_feature(g, g.x(2), dims, interleaved);
  Term y = part * cos + turned * sin;
  if (given != 0) y = g.writer().concat({y, slice(g, x, dims, end)}, -1);
  g.differentiate(std::span(&y, 1));
}

// The tables with an axis for the heads, and the heads of X with one of their own.
void RotaryEmbedding(G& g) {
  const Node& node = g.node();
  const bool packed = g.x(0).rank() == 3;
  const auto table = [&](int i) {
    const Term rows = g.x(3) ? g.op("Gather", {g.x(i), g.x(3)}) : g.x(i);
    return unsqueeze(rows, {packed ? 2 : 1});
  };
  Term x = g.x(0);
  if (packed) {
    const Term heads = g.writer().integers({node.get<int64_t>("num_heads", 0)});
    x = reshape(
        x, g.writer().concat({dim_of(x, 0), dim_of(x, 1), heads, g.writer().integers({-1})}, 0));
  }
  const Attributes attributes = {{"rotary_dim", node.get<int64_t>("rotary_embedding_dim", 0)},
                                 {"interleaved", node.get<int64_t>("interleaved", 0)}};
  Term y = g.writer().op("Rotary", {x, table(1), table(2)}, attributes, "hugot");
  if (packed) y = reshape_like(y, g.x(0));
  g.differentiate(std::span(&y, 1));
}

}  // namespace hugot::rotary::rule
