// Pooling: attributes, inference, definitions.
#include "kernels/pooling/pooling.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace pooling {
namespace {

int64_t kernel_of(const Node& node, int axis, int count) {
  require(node.has("kernel_shape"), ErrorCode::kInvalidArgument,
          "attribute kernel_shape is missing");
  return per_axis(node, "kernel_shape", axis, count, 1, 1);
}

// Batch and channels as they are, the spatial axes as seen through the windows.
std::optional<Dims> pooled_dims(const InferContext& ctx, const Fact& x) {
  if (!x.shape) return std::nullopt;
  require_spatial_axes(x.rank());
  const int count = x.rank() - 2;
  Dims result = unknown_dims(ctx, 0, x.rank());
  result[0] = (*x.shape)[0];
  result[1] = (*x.shape)[1];
  for (int i = 0; i < count; ++i) {
    const auto axis = static_cast<size_t>(i) + 2;
    const int64_t kernel = kernel_of(ctx.node(), i, count);
    const auto dim = out_dim(window_of(ctx.node(), i, count), (*x.shape)[axis], kernel);
    if (dim) result[axis] = *dim;
  }
  return result;
}

void infer_pool(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  ctx.output(0).dtype = x.dtype;
  ctx.output(0).shape = pooled_dims(ctx, x);
  if (ctx.num_outputs() > 1) {
    ctx.output(1).dtype = DType::kInt64;
    ctx.output(1).shape = ctx.output(0).shape;
  }
}

// Indices count through the whole batch.
Batching batch_max_pool(const BatchQuery& query) {
  return query.node().outputs.size() > 1 ? Batching::kLoop : batch_images(query);
}

void infer_gradient(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  ctx.output(0).shape = shape_given_by(ctx, 1);
}

void infer_global_pool(InferContext& ctx) {
  infer_same_as_input(ctx);
  Fact& y = ctx.output(0);
  for (size_t axis = 2; y.shape && axis < y.shape->size(); ++axis) (*y.shape)[axis] = 1;
}

void infer_unpool(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  if (ctx.num_inputs() > 2 && ctx.has_input(2)) {
    y.shape = shape_given_by(ctx, 2);
    return;
  }
  if (!x.shape) return;
  require_spatial_axes(x.rank());
  const int count = x.rank() - 2;
  y.shape = x.shape;
  for (int i = 0; i < count; ++i) {
    Dim& dim = (*y.shape)[static_cast<size_t>(i) + 2];
    const Window window = window_of(ctx.node(), i, count);
    const Dim length = (dim - 1) * window.stride - (window.before + window.after) +
                       kernel_of(ctx.node(), i, count);
    dim = length;
  }
  if (const auto known = x.fixed_shape()) unpooled_shape(ctx.node(), *known);
}

// [regions, channels, height, width], where inference knows them.
void infer_regions(InferContext& ctx, int64_t height, int64_t width) {
  const Fact &x = ctx.input(0), &rois = ctx.input(1);
  require_same_dtype(ctx, 0, 1);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  y.shape = unknown_dims(ctx, 0, 4);
  if (rois.shape && !rois.shape->empty()) (*y.shape)[0] = rois.shape->front();
  if (x.shape && x.rank() > 1) (*y.shape)[1] = (*x.shape)[1];
  check_bins(height, width);
  (*y.shape)[2] = height;
  (*y.shape)[3] = width;
}

void infer_max_roi_pool(InferContext& ctx) {
  const auto& shape = ctx.node().at<std::vector<int64_t>>("pooled_shape");
  require(shape.size() == 2, ErrorCode::kInvalidArgument, "attribute pooled_shape has ",
          shape.size(), " numbers");
  infer_regions(ctx, shape[0], shape[1]);
}

void infer_roi_align(InferContext& ctx) {
  infer_regions(ctx, ctx.node().get<int64_t>("output_height", 1),
                ctx.node().get<int64_t>("output_width", 1));
}

// The gradients of inputs 1 and behind.
void infer_region_gradients(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = ctx.input(i + 1).dtype;
    ctx.output(i).shape = ctx.input(i + 1).shape;
  }
}

void infer_nhwc(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  ctx.output(0).dtype = x.dtype;
  if (!x.shape) return;
  require_spatial_axes(x.rank());
  ctx.output(0).shape = unknown_dims(ctx, 0, x.rank());
  ctx.output(0).shape->front() = x.shape->front();
  ctx.output(0).shape->back() = x.shape->back();
}

// The channels come last.
bool nhwc_max_pool(Expansion& e) {
  if (!e.ranks_known()) return false;
  e.set(0, channels_last(e.op("MaxPool", {channels_first(e.x(0))}, e.node().attributes)));
  return true;
}

}  // namespace

Pool pool_of(const Node& node, const Shape& x) {
  require_spatial_axes(x.rank());
  Pool pool;
  pool.spatial = x.rank() - 2;
  pool.planes = x[0] * x[1];
  pool.inputs = x.product(2, x.rank());
  std::array<int64_t, Shape::kMaxRank> dims{x[0], x[1]};
  for (int i = 0; i < pool.spatial; ++i) {
    const auto at = static_cast<size_t>(i);
    const Window window = window_of(node, i, pool.spatial);
    const Axis axis = axis_of(window, x[i + 2], kernel_of(node, i, pool.spatial));
    pool.axes[at] = axis;
    pool.after[at] = window.after;
    if (window.padding != Window::Padding::kGiven) {
      const int64_t reach = (axis.out - 1) * axis.stride + window.extent(axis.kernel);
      pool.after[at] = std::max<int64_t>(reach - axis.in, 0) - axis.before;
    }
    dims[at + 2] = axis.out;
  }
  pool.y = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(x.rank())));
  pool.outputs = pool.y.product(2, x.rank());
  return pool;
}

float exponent_of(const Node& node) {
  const float p = node.op->since_version < 2 ? node.get<float>("p", 2.0f)
                                             : static_cast<float>(node.get<int64_t>("p", 2));
  require(p > 0 && std::isfinite(p), ErrorCode::kInvalidArgument, "the exponent p is ", p);
  return p;
}

int64_t channels_of_lrn(const Node& node) {
  const auto size = node.at<int64_t>("size");
  require(size > 0 && size < kMaxWindow, ErrorCode::kInvalidArgument, "attribute size is ", size);
  return size;
}

void check_bins(int64_t height, int64_t width) {
  require(std::min(height, width) > 0 && std::max(height, width) < kMaxWindow,
          ErrorCode::kInvalidArgument, "regions are pooled to ", height, " by ", width);
}

Shape unpooled_shape(const Node& node, const Shape& x) {
  require_spatial_axes(x.rank());
  const int count = x.rank() - 2;
  std::array<int64_t, Shape::kMaxRank> dims{x[0], x[1]};
  for (int i = 0; i < count; ++i) {
    const Window window = window_of(node, i, count);
    require(x[i + 2] > 0 && x[i + 2] < kMaxWindow, ErrorCode::kInvalidArgument,
            "an axis of length ", x[i + 2], " cannot be unpooled");
    const int64_t length =
        (x[i + 2] - 1) * window.stride - window.before - window.after + kernel_of(node, i, count);
    require(length >= 0, ErrorCode::kInvalidArgument, "pads ", window.before, " and ", window.after,
            " leave nothing of axis ", i + 2);
    dims[static_cast<size_t>(i) + 2] = length;
  }
  return Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(x.rank())));
}

}  // namespace pooling

namespace ops {

OpDef onnx_AveragePool(int) {
  return with_gradient(define({1, 1}, pooling::infer_pool, pooling::average_pool, batch_images),
                       pooling::rule::AveragePool);
}

OpDef hugot_AveragePoolGradient(int) {
  return with_gradient(define({2, 2}, pooling::infer_gradient, pooling::average_pool_gradient),
                       pooling::rule::AveragePoolGradient);
}

OpDef onnx_MaxPool(int version) {
  return with_gradient(define({1, 1}, pooling::infer_pool, pooling::max_pool,
                              pooling::batch_max_pool, {1, version < 8 ? 1 : 2}),
                       pooling::rule::MaxPool);
}

OpDef onnx_LpPool(int) {
  return with_gradient(define({1, 1}, pooling::infer_pool, pooling::lp_pool, batch_images),
                       pooling::rule::LpPool);
}

OpDef hugot_SumPool(int) {
  return with_gradient(define({1, 1}, pooling::infer_pool, pooling::sum_pool, batch_images),
                       pooling::rule::SumPool);
}

OpDef hugot_SumPoolGradient(int) {
  return with_gradient(define({2, 2}, pooling::infer_gradient, pooling::sum_pool_gradient),
                       pooling::rule::SumPoolGradient);
}

OpDef onnx_GlobalLpPool(int) {
  return with_gradient(
      define({1, 1}, pooling::infer_global_pool, pooling::global_lp_pool, batch_images),
      pooling::rule::GlobalLpPool);
}

OpDef onnx_LRN(int) {
  return with_gradient(define({1, 1}, infer_same_as_input, pooling::lrn, batch_images),
                       pooling::rule::Lrn);
}

OpDef onnx_MaxUnpool(int) {
  return with_gradient(define({2, 3}, pooling::infer_unpool, pooling::max_unpool),
                       pooling::rule::MaxUnpool);
}

OpDef onnx_MaxRoiPool(int) {
  return with_gradient(define({2, 2}, pooling::infer_max_roi_pool, pooling::max_roi_pool),
                       pooling::rule::MaxRoiPool);
}

OpDef hugot_MaxRoiPoolGradient(int) {
  return define({3, 3}, pooling::infer_region_gradients, pooling::max_roi_pool_gradient);
}

OpDef onnx_RoiAlign(int) {
  return with_gradient(define({3, 3}, pooling::infer_roi_align, pooling::roi_align),
                       pooling::rule::RoiAlign);
}

OpDef hugot_RoiAlignGradient(int) {
  return define({4, 4}, pooling::infer_region_gradients, pooling::roi_align_gradient, nullptr,
                {2, 2});
}

OpDef ms_NhwcMaxPool(int) { return composite({1, 1}, pooling::infer_nhwc, pooling::nhwc_max_pool); }

}  // namespace ops
}  // namespace hugot
