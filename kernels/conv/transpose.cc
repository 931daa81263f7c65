// ConvTranspose, which is the gradient of a convolution with respect to its input, and the
// derivatives of that.
#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/conv/maps.h"
#include "kernels/conv/phases.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace conv {
namespace {

// What the attributes say of one spatial axis of a transposed convolution.
struct Spread {
  Window window;
  int64_t kernel = 1;
  int64_t output_padding = 0;
  std::optional<int64_t> length;  // attribute output_shape
};

Spread spread_of(const Node& node, int axis, int count, int64_t kernel) {
  Spread s;
  s.window = window_of(node, axis, count);
  s.kernel = kernel;
  require(kernel > 0 && kernel < kMaxWindow, ErrorCode::kInvalidArgument, "the kernel has length ",
          kernel, " along spatial axis ", axis);
  const int64_t declared = per_axis(node, "kernel_shape", axis, count, kernel, 1);
  require(declared == kernel, ErrorCode::kInvalidArgument, "kernel_shape says ", declared,
          " along spatial axis ", axis, ", but the weight has ", kernel);
  s.output_padding = per_axis(node, "output_padding", axis, count, 0, 0);
  if (!node.has("output_shape")) return s;
  // Files have either the spatial axes or all.
  const auto& shape = node.at<std::vector<int64_t>>("output_shape");
  if (shape.empty()) return s;
  const int64_t skipped = std::ssize(shape) - count;
  require(skipped == 0 || skipped == 2, ErrorCode::kInvalidArgument, "attribute output_shape has ",
          shape.size(), " numbers for ", count, " spatial axes");
  s.length = shape[static_cast<size_t>(axis + skipped)];
  require(*s.length >= 0, ErrorCode::kInvalidArgument, "attribute output_shape has the number ",
          *s.length);
  return s;
}

// The axis of the convolution whose input this is the gradient of: its input is our result.
Axis transposed_axis(const Spread& s, int64_t in) {
  const Window& window = s.window;
  require(in > 0 && in < kMaxWindow, ErrorCode::kInvalidArgument, "an axis of length ", in,
          " cannot be convolved");
  const int64_t full = window.stride * (in - 1) + s.output_padding + window.extent(s.kernel);
  Axis axis{0, s.kernel, in, window.stride, window.dilation, window.before};
  if (!s.length && window.padding == Window::Padding::kGiven) {
    axis.in = full - window.before - window.after;
    require(axis.in >= 0, ErrorCode::kInvalidArgument, "pads ", window.before, " and ",
            window.after, " leave nothing of ", full);
    return axis;
  }
  axis.in = s.length.value_or(in * window.stride);
  // A result that is longer than all that is spread has nothing at its end. An odd rest goes to
  // the end for SAME_UPPER: that is the formula since version 11, which mended the first one.
  const int64_t total = std::max<int64_t>(full - axis.in, 0);
  axis.before = window.padding == Window::Padding::kSameUpper ? total / 2 : total - total / 2;
  return axis;
}

Dim transposed_dim(const Spread& s, const Dim& in) {
  if (const auto number = in.number()) return transposed_axis(s, *number).in;
  if (s.length) return *s.length;
  if (s.window.padding != Window::Padding::kGiven) return in * s.window.stride;
  return (in - 1) * s.window.stride +
         (s.output_padding + s.window.extent(s.kernel) - s.window.before - s.window.after);
}

// The convolution that this transposes: x is its result, and g.y the shape of x.
Geometry transposed_geometry(const Node& node, const Shape& x, const Shape& w, Shape* y) {
  require_spatial_axes(x.rank());
  Geometry g;
  g.spatial = x.rank() - 2;
  g.groups = node.get<int64_t>("group", 1);
  if (w.rank() != x.rank() || g.groups <= 0 || x[1] % g.groups != 0 || w[0] != x[1]) {
    fail(ErrorCode::kInvalidArgument, "a weight ", w.to_string(), " in ", g.groups,
         " groups does not fit an input ", x.to_string());
  }
  g.batch = x[0];
  g.channels = w[1];
  g.filters = x[1] / g.groups;
  require(w[1] == 0 || g.groups < (int64_t{1} << 60) / w[1], ErrorCode::kInvalidArgument,
          "attribute group is ", g.groups);
  std::array<int64_t, Shape::kMaxRank> dims{x[0], w[1] * g.groups};
  for (int i = 0; i < g.spatial; ++i) {
    const auto at = static_cast<size_t>(i);
    g.axes[at] = transposed_axis(spread_of(node, i, g.spatial, w[i + 2]), x[i + 2]);
    dims[at + 2] = g.axes[at].in;
  }
  g.y = x;
  *y = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(x.rank())));
  return g;
}

void infer(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  const Fact &x = ctx.input(0), &w = ctx.input(1);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  if (!x.shape) return;
  require_spatial_axes(x.rank());
  const int count = x.rank() - 2;
  y.shape = unknown_dims(ctx, 0, x.rank());
  (*y.shape)[0] = (*x.shape)[0];
  if (!w.shape) return;
  require(w.rank() == x.rank(), ErrorCode::kInvalidArgument, "input ", to_string(*x.shape),
          " and weight ", to_string(*w.shape), " differ in rank");
  (*y.shape)[1] = (*w.shape)[1] * ctx.node().get<int64_t>("group", 1);
  for (int i = 0; i < count; ++i) {
    const auto axis = static_cast<size_t>(i) + 2;
    const auto kernel = (*w.shape)[axis].number();
    if (!kernel) continue;
    (*y.shape)[axis] = transposed_dim(spread_of(ctx.node(), i, count, *kernel), (*x.shape)[axis]);
  }
}

void infer_gradient(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  ctx.output(0).dtype = ctx.input(0).dtype;
  ctx.output(0).shape = shape_given_by(ctx, 2);
}

void check_types(const Tensor& a, const Tensor& b) {
  require(a.dtype() == b.dtype(), ErrorCode::kInvalidArgument, describe(a), " and ", describe(b),
          " differ in type");
}

// Filters in the order of Phases.
class PackedPhases final : public Prepared {
 public:
  PackedPhases(const Geometry& g, const Tensor& w, BlockStore& store)
      : bytes_(w.bytes()), data_(store.array<float>(static_cast<size_t>(w.size()), [&](float* to) {
          Phases::pack(g, w.data<float>(), to);
        })) {}
  size_t bytes() const override { return bytes_; }
  const float* data() const { return data_.get(); }

 private:
  size_t bytes_;
  std::shared_ptr<const float> data_;
};

std::shared_ptr<const Prepared> prepare(const Node& node, std::span<const Tensor* const> constants,
                                        BlockStore& store) {
  const Tensor* w = constants[1];
  const int64_t groups = node.get<int64_t>("group", 1);
  if (w == nullptr || w->dtype() != DType::kFloat32 || (w->rank() != 3 && w->rank() != 4) ||
      w->size() == 0 || groups < 1 || w->shape()[0] % groups != 0 || node.has("output_shape")) {
    return nullptr;
  }
  Geometry g;
  g.spatial = w->rank() - 2;
  g.groups = groups;
  g.channels = w->shape()[1];
  g.filters = w->shape()[0] / groups;
  for (int i = 0; i < g.spatial; ++i) {
    const Window window = window_of(node, i, g.spatial);
    if (window.padding != Window::Padding::kGiven) return nullptr;
    Axis& axis = g.axes[static_cast<size_t>(i)];
    axis = {.kernel = w->shape()[i + 2],
            .stride = window.stride,
            .dilation = window.dilation,
            .before = window.before};
    if (!Phases::takes(axis)) return nullptr;
  }
  return std::make_shared<PackedPhases>(g, *w, store);
}

// By phases where they fit.
bool transpose_directly(KernelContext& ctx, const Geometry& g, const float* x, const float* w,
                        const float* bias, float* y) {
  const Phases phases(g);
  if (!phases.fits()) return false;
  std::vector<float> own;
  const auto* prepared = static_cast<const PackedPhases*>(ctx.prepared());
  if (prepared == nullptr) {
    own.resize(static_cast<size_t>(g.groups * g.filters * g.channels * g.kernel_size()));
    Phases::pack(g, w, own.data());
  }
  phases.run(ctx, x, prepared != nullptr ? prepared->data() : own.data(), bias, y);
  return true;
}
// For exactness rather than speed.
bool transpose_directly(KernelContext&, const Geometry&, const double*, const double*,
                        const double*, double*) {
  return false;
}

void transpose(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &w = ctx.input(1);
  check_types(x, w);
  Shape shape;
  const Geometry g = transposed_geometry(ctx.node(), x.shape(), w.shape(), &shape);
  const Tensor* bias = ctx.num_inputs() > 2 && ctx.has_input(2) ? &ctx.input(2) : nullptr;
  if (bias != nullptr && (bias->dtype() != x.dtype() || !(bias->shape() == Shape{shape[1]}))) {
    fail(ErrorCode::kInvalidArgument, "the bias is ", describe(*bias), " for a result ",
         shape.to_string());
  }
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& out = ctx.output(0, x.dtype(), shape);
    if (out.size() == 0) return;
    const Wide<T> wide_x(x), wide_w(w);
    const Wide<T> wide_bias = bias == nullptr ? Wide<T>() : Wide<T>(*bias);
    WideResult<T> result(out);
    Compute<T>* y = result.data();
    if (w.size() == 0) {
      std::fill_n(y, out.size(), Compute<T>{0});
    } else if (transpose_directly(ctx, g, wide_x.data(), wide_w.data(), wide_bias.data(), y)) {
      return result.store();
    } else {
      spread(ctx, g, wide_x.data(), wide_w.data(), y);
    }
    const int64_t size = g.in_size();
    for (int64_t plane = 0; bias != nullptr && plane < shape[0] * shape[1]; ++plane) {
      const auto value = static_cast<Compute<T>>(bias->data<T>()[plane % shape[1]]);
      for (int64_t i = 0; i < size; ++i) y[plane * size + i] += value;
    }
    result.store();
  });
}

// dx from dy, w and the shape of x.
void transpose_input_gradient(KernelContext& ctx) {
  const Tensor &dy = ctx.input(0), &w = ctx.input(1);
  check_types(dy, w);
  const Shape shape(to_int64s(ctx.input(2)));
  Shape wanted;
  const Geometry g = transposed_geometry(ctx.node(), shape, w.shape(), &wanted);
  if (!(dy.shape() == wanted)) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(dy),
         " for a result ", wanted.to_string());
  }
  dispatch(FloatTypes{}, dy.dtype(), [&]<class T>() {
    Tensor& dx = ctx.output(0, dy.dtype(), shape);
    if (dx.size() == 0) return;
    const Wide<T> wide_dy(dy), wide_w(w);
    WideResult<T> result(dx);
    convolve(ctx, g, wide_dy.data(), wide_w.data(), nullptr, result.data());
    result.store();
  });
}

// dw from x, dy and the shape of w.
void transpose_weight_gradient(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &dy = ctx.input(1);
  check_types(x, dy);
  const Shape shape(to_int64s(ctx.input(2)));
  Shape wanted;
  const Geometry g = transposed_geometry(ctx.node(), x.shape(), shape, &wanted);
  if (!(dy.shape() == wanted)) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(dy),
         " for a result ", wanted.to_string());
  }
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& dw = ctx.output(0, x.dtype(), shape);
    if (dw.size() == 0) return;
    const Wide<T> wide_x(x), wide_dy(dy);
    WideResult<T> result(dw);
    correlate(ctx, g, wide_dy.data(), wide_x.data(), result.data());
    result.store();
  });
}

}  // namespace
}  // namespace conv

namespace ops {

OpDef onnx_ConvTranspose(int) {
  OpDef op = define({2, 3}, conv::infer, conv::transpose, batch_images);
  op.prepare = conv::prepare;
  return with_gradient(std::move(op), conv::rule::ConvTranspose);
}

OpDef hugot_ConvTransposeInputGradient(int) {
  return with_gradient(define({3, 3}, conv::infer_gradient, conv::transpose_input_gradient),
                       conv::rule::ConvTransposeInputGradient);
}

OpDef hugot_ConvTransposeWeightGradient(int) {
  return with_gradient(define({3, 3}, conv::infer_gradient, conv::transpose_weight_gradient),
                       conv::rule::ConvTransposeWeightGradient);
}

}  // namespace ops
}  // namespace hugot
