// Conv and its derivatives: attributes, inference, definitions.
#include "kernels/conv/conv.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace conv {
namespace {

void check_kernel(const Node& node, int64_t kernel, int axis, int count) {
  require(kernel > 0 && kernel < kMaxWindow, ErrorCode::kInvalidArgument, "the kernel has length ",
          kernel, " along spatial axis ", axis);
  const int64_t declared = per_axis(node, "kernel_shape", axis, count, kernel, 1);
  require(declared == kernel, ErrorCode::kInvalidArgument, "kernel_shape says ", declared,
          " along spatial axis ", axis, ", but the weight has ", kernel);
}

int64_t groups_of(const Node& node) {
  const int64_t groups = node.get<int64_t>("group", 1);
  require(groups > 0, ErrorCode::kInvalidArgument, "attribute group is ", groups);
  return groups;
}

void infer_conv(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  ctx.output(0).dtype = ctx.input(0).dtype;
  infer_result_shape(ctx, 0, 1);
}

void infer_gradient(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  ctx.output(0).dtype = ctx.input(0).dtype;
  ctx.output(0).shape = shape_given_by(ctx, 2);
}

}  // namespace

void infer_result_shape(InferContext& ctx, int input, int weight) {
  const Fact &x = ctx.input(input), &w = ctx.input(weight);
  Fact& y = ctx.output(0);
  if (!x.shape) return;
  require_spatial_axes(x.rank());
  const int count = x.rank() - 2;
  y.shape = unknown_dims(ctx, 0, x.rank());
  (*y.shape)[0] = (*x.shape)[0];
  if (w.shape) {
    require(w.rank() == x.rank(), ErrorCode::kInvalidArgument, "input ", to_string(*x.shape),
            " and weight ", to_string(*w.shape), " differ in rank");
    (*y.shape)[1] = (*w.shape)[0];
  }
  for (int i = 0; i < count; ++i) {
    const auto axis = static_cast<size_t>(i) + 2;
    const auto kernel = w.shape ? (*w.shape)[axis].number() : std::nullopt;
    const Window window = window_of(ctx.node(), i, count);
    if (kernel) check_kernel(ctx.node(), *kernel, i, count);
    // The length of the result depends on the kernel unless it is padded to be the same.
    if (!kernel && window.padding == Window::Padding::kGiven) continue;
    if (const auto dim = out_dim(window, (*x.shape)[axis], kernel.value_or(1))) {
      (*y.shape)[axis] = *dim;
    }
  }
}

int64_t Geometry::in_size() const {
  int64_t size = 1;
  for (int i = 0; i < spatial; ++i) size *= axes[static_cast<size_t>(i)].in;
  return size;
}

int64_t Geometry::out_size() const {
  int64_t size = 1;
  for (int i = 0; i < spatial; ++i) size *= axes[static_cast<size_t>(i)].out;
  return size;
}

int64_t Geometry::kernel_size() const {
  int64_t size = 1;
  for (int i = 0; i < spatial; ++i) size *= axes[static_cast<size_t>(i)].kernel;
  return size;
}

Geometry geometry(const Node& node, const Shape& x, const Shape& w) {
  require_spatial_axes(x.rank());
  Geometry g;
  g.spatial = x.rank() - 2;
  g.groups = groups_of(node);
  if (w.rank() != x.rank() || x[1] % g.groups != 0 || w[1] != x[1] / g.groups ||
      w[0] % g.groups != 0) {
    fail(ErrorCode::kInvalidArgument, "a weight ", w.to_string(), " in ", g.groups,
         " groups does not fit an input ", x.to_string());
  }
  g.batch = x[0];
  g.channels = w[1];
  g.filters = w[0] / g.groups;
  std::array<int64_t, Shape::kMaxRank> dims{x[0], w[0]};
  for (int i = 0; i < g.spatial; ++i) {
    check_kernel(node, w[i + 2], i, g.spatial);
    const auto at = static_cast<size_t>(i);
    g.axes[at] = axis_of(window_of(node, i, g.spatial), x[i + 2], w[i + 2]);
    dims[at + 2] = g.axes[at].out;
  }
  g.y = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(x.rank())));
  return g;
}

}  // namespace conv

namespace ops {

OpDef onnx_Conv(int) {
  OpDef op = define({2, 3}, conv::infer_conv, conv::conv, batch_images);
  op.prepare = conv::prepare_conv;
  return with_gradient(std::move(op), conv::rule::Conv);
}

OpDef hugot_ConvInputGradient(int) {
  return with_gradient(define({3, 3}, conv::infer_gradient, conv::input_gradient),
                       conv::rule::ConvInputGradient);
}

OpDef hugot_ConvWeightGradient(int) {
  return with_gradient(define({3, 3}, conv::infer_gradient, conv::weight_gradient),
                       conv::rule::ConvWeightGradient);
}

}  // namespace ops
}  // namespace hugot
