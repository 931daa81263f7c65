// GridSample and AffineGrid: inference, gradients, definitions.
#include "kernels/grid/grid.h"

#include <algorithm>

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace grid {
namespace {

void infer_sample(InferContext& ctx) {
  const Fact &x = ctx.input(0), &grid = ctx.input(1);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  const int rank = x.shape ? x.rank() : grid.rank();
  if (rank < 0) return;
  require(rank >= 3, ErrorCode::kInvalidArgument, "an input of rank ", rank,
          " has no spatial axes");
  y.shape = unknown_dims(ctx, 0, rank);
  if (x.shape) std::copy_n(x.shape->begin(), 2, y.shape->begin());
  if (!grid.shape) return;
  require(grid.rank() == rank, ErrorCode::kInvalidArgument, "a grid ", to_string(*grid.shape),
          " does not fit an input of rank ", rank);
  std::copy(grid.shape->begin() + 1, grid.shape->end() - 1, y.shape->begin() + 2);
}

void infer_sample_gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = ctx.input(i + 1).dtype;
    ctx.output(i).shape = ctx.input(i + 1).shape;
  }
}

void infer_affine(InferContext& ctx) {
  const Fact& theta = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = theta.dtype;
  const auto size = shape_given_by(ctx, 1);
  if (!size) return;
  require(size->size() == 4 || size->size() == 5, ErrorCode::kInvalidArgument, "a size of ",
          size->size(), " numbers is that of no image");
  y.shape = Dims{size->front()};
  y.shape->insert(y.shape->end(), size->begin() + 2, size->end());
  y.shape->push_back(static_cast<int64_t>(size->size()) - 2);
}

// Images are looked up in their own grid.
Batching batch_sample(const BatchQuery& query) {
  return query.row(0) && query.row(1) ? Batching::kRows : Batching::kLoop;
}

}  // namespace

namespace rule {

void GridSample(GradientContext& g) {
  const auto parts = g.writer().outputs("GridSampleGradient", {g.dy(), g.x(0), g.x(1)},
                                        g.node().attributes, 2, "hugot");
  g.set(0, parts[0]);
  g.set(1, parts[1]);
}

// Linear in theta: the sum over all places of dy times the place that theta was applied to, which
// the matrix that changes nothing gives.
void AffineGrid(GradientContext& g) {
  const Term theta = g.x(0), size = g.x(1), dy = g.dy();
  GraphWriter& w = g.writer();
  const Term zero = w.integers({0}), one = w.integers({1}), whole = w.integers({-1});
  const Term count = dim_of(theta, 1);  // spatial axes
  const Term matrix = g.op("ConstantOfShape", {w.concat({count, count + 1}, 0)});
  const Term same = g.op("EyeLike", {matrix}, {{"dtype", static_cast<int64_t>(theta.dtype())}});
  const Term rest = g.op("Slice", {size, one, shape_of(size)});
  const Term places = reshape(
      g.op("AffineGrid", {unsqueeze(same, {0}), w.concat({one, rest}, 0)}, g.node().attributes),
      w.concat({whole, count}, 0));
  const Term ones = g.op("Slice", {places * 0 + 1, zero, one, one});
  const Term rows = reshape(dy, w.concat({dim_of(theta, 0), whole, count}, 0));
  g.set(0, matrix_product(transposed(rows), w.concat({places, ones}, 1)));
}

}  // namespace rule
}  // namespace grid

namespace ops {

OpDef onnx_GridSample(int) {
  return with_gradient(define({2, 2}, grid::infer_sample, grid::grid_sample, grid::batch_sample),
                       grid::rule::GridSample);
}

OpDef hugot_GridSampleGradient(int) {
  return define({3, 3}, grid::infer_sample_gradient, grid::grid_sample_gradient, nullptr, {1, 2});
}

OpDef onnx_AffineGrid(int) {
  return with_gradient(define({2, 2}, grid::infer_affine, grid::affine_grid),
                       grid::rule::AffineGrid);
}

}  // namespace ops
}  // namespace hugot
