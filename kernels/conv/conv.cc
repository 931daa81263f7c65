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

// Numbers below it can be multiplied in pairs and added up without overflow.
constexpr int64_t kLimit = int64_t{1} << 30;
constexpr int64_t kMaxDim = int64_t{1} << 60;

// An attribute with one number per axis, or `fallback` when there is none.
int64_t per_axis(const Node& node, std::string_view name, int axis, int count, int64_t fallback,
                 int64_t lowest) {
  if (!node.has(name)) return fallback;
  const auto& values = node.at<std::vector<int64_t>>(name);
  require(std::ssize(values) == count, ErrorCode::kInvalidArgument, "attribute ", name, " has ",
          values.size(), " numbers for ", count, " spatial axes");
  const int64_t value = values[static_cast<size_t>(axis)];
  require(value >= lowest && value < kLimit, ErrorCode::kInvalidArgument, "attribute ", name,
          " has the number ", value);
  return value;
}

// Length of the window: the first to the last element that it meets.
int64_t extent(const Window& window, int64_t kernel) { return window.dilation * (kernel - 1) + 1; }

void check_kernel(const Node& node, int64_t kernel, int axis, int count) {
  require(kernel > 0 && kernel < kLimit, ErrorCode::kInvalidArgument, "the kernel has length ",
          kernel, " along spatial axis ", axis);
  const int64_t declared = per_axis(node, "kernel_shape", axis, count, kernel, 1);
  require(declared == kernel, ErrorCode::kInvalidArgument, "kernel_shape says ", declared,
          " along spatial axis ", axis, ", but the weight has ", kernel);
}

Axis axis_of(const Window& window, int64_t in, int64_t kernel) {
  Axis axis{in, kernel, 0, window.stride, window.dilation, window.before};
  require(in < kMaxDim, ErrorCode::kInvalidArgument, "an axis of length ", in, " is too long");
  if (window.padding != Window::Padding::kGiven) {
    axis.out = (in + window.stride - 1) / window.stride;
    // Products of an output's length and its stride are below in + stride.
    const int64_t reach = (axis.out - 1) * window.stride + extent(window, kernel);
    const int64_t total = std::max<int64_t>(reach - in, 0);
    axis.before = window.padding == Window::Padding::kSameUpper ? total / 2 : total - total / 2;
    return axis;
  }
  const int64_t room = in + window.before + window.after - extent(window, kernel);
  // Nothing, seen one by one, is nothing. With strides the formulas would not say so.
  const bool nothing = room == -1 && window.stride == 1 && extent(window, kernel) == 1;
  require(room >= 0 || nothing, ErrorCode::kInvalidArgument, "a window of ", extent(window, kernel),
          " does not fit an axis of ", in, " padded by ", window.before, " and ", window.after);
  axis.out = room < 0 ? 0 : room / window.stride + 1;
  return axis;
}

// The same for an axis whose length has a name.
Dim out_dim(const Window& window, const Dim& in, int64_t kernel) {
  if (const auto number = in.number()) return axis_of(window, *number, kernel).out;
  if (window.padding != Window::Padding::kGiven) {
    return Dim::divide(in + (window.stride - 1), window.stride);
  }
  const int64_t change = window.before + window.after - extent(window, kernel);
  return Dim::divide(in + change, window.stride) + 1;
}

int64_t groups_of(const Node& node) {
  const int64_t groups = node.get<int64_t>("group", 1);
  require(groups > 0, ErrorCode::kInvalidArgument, "attribute group is ", groups);
  return groups;
}

void check_rank(int64_t rank) {
  require(rank >= 3 && rank <= Shape::kMaxRank, ErrorCode::kInvalidArgument, "an input of rank ",
          rank, " has no spatial axes to convolve");
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
  check_rank(x.rank());
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
    (*y.shape)[axis] = out_dim(window, (*x.shape)[axis], kernel.value_or(1));
  }
}

Batching batch_images(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 3) return Batching::kLoop;
  std::vector<int64_t> axes(static_cast<size_t>(rank - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return batch_over_axes(query, axes);
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

Window window_of(const Node& node, int axis, int count) {
  Window window;
  window.stride = per_axis(node, "strides", axis, count, 1, 1);
  window.dilation = per_axis(node, "dilations", axis, count, 1, 1);
  const std::string padding = node.get<std::string>("auto_pad", "NOTSET");
  if (padding == "SAME_UPPER") {
    window.padding = Window::Padding::kSameUpper;
  } else if (padding == "SAME_LOWER") {
    window.padding = Window::Padding::kSameLower;
  } else if (padding == "NOTSET") {
    window.before = per_axis(node, "pads", axis, 2 * count, 0, 0);
    window.after = per_axis(node, "pads", axis + count, 2 * count, 0, 0);
  } else {
    require(padding == "VALID", ErrorCode::kInvalidArgument, "attribute auto_pad is ", padding);
  }
  return window;
}

Geometry geometry(const Node& node, const Shape& x, const Shape& w) {
  check_rank(x.rank());
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
  OpDef op = define({2, 3}, conv::infer_conv, conv::conv, conv::batch_images);
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
