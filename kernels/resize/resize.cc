// Resize and Upsample: inference, batching, definitions.
#include "kernels/resize/resize.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace resize {
namespace {

// Input i, unless it is known to say nothing.
const Fact* operand(const InferContext& ctx, int i) {
  if (i < 0 || i >= ctx.num_inputs() || !ctx.has_input(i)) return nullptr;
  const Fact& fact = ctx.input(i);
  const bool empty = fact.rank() == 1 && fact.shape->front().is(0);
  return empty ? nullptr : &fact;
}

// The scales, when they are known.
std::optional<std::vector<float>> constant_scales(const Fact& fact) {
  if (!fact.constant || fact.dtype != DType::kFloat32) return std::nullopt;
  const auto values = fact.constant->values<float>();
  return std::vector<float>(values.begin(), values.end());
}

// The same as scaled() for a length that may have a name.
std::optional<Dim> scaled_dim(const Dim& length, float scale) {
  if (const auto number = length.number()) return Dim(scaled(*number, scale));
  scaled(0, scale);
  if (scale >= 1 && scale < 0x1p31f && std::trunc(scale) == scale) {
    return length * static_cast<int64_t>(scale);
  }
  int exponent = 0;
  if (std::frexp(scale, &exponent) == 0.5f && exponent <= 0 && exponent > -62) {
    return Dim::divide(length, int64_t{1} << (1 - exponent));
  }
  return std::nullopt;
}

void infer_scales(InferContext& ctx, const std::optional<std::vector<float>>& scales,
                  const std::vector<int>& which) {
  if (!scales) return;
  require(scales->size() == which.size(), ErrorCode::kInvalidArgument, scales->size(),
          " scales do not fit ", which.size(), " axes");
  for (size_t i = 0; i < which.size(); ++i) {
    const auto axis = static_cast<size_t>(which[i]);
    const auto dim = scaled_dim((*ctx.input(0).shape)[axis], (*scales)[i]);
    if (dim) (*ctx.output(0).shape)[axis] = *dim;
  }
}

void infer_sizes(InferContext& ctx, const Fact& fact, const std::vector<int>& which) {
  const AspectRatio policy = method_of(ctx.node()).aspect_ratio;
  const auto sizes = fact.dimensions();
  if (!sizes) return;
  require(sizes->size() == which.size(), ErrorCode::kInvalidArgument, sizes->size(),
          " sizes do not fit ", which.size(), " axes");
  Dims& out = *ctx.output(0).shape;
  std::vector<int64_t> numbers;
  std::vector<Axis> axes(out.size());
  for (size_t i = 0; i < which.size(); ++i) {
    const auto axis = static_cast<size_t>(which[i]);
    const auto size = (*sizes)[i].number();
    const auto in = (*ctx.input(0).shape)[axis].number();
    require(size.value_or(0) >= 0, ErrorCode::kInvalidArgument, "a size is ", size.value_or(0));
    if (policy == AspectRatio::kStretch) out[axis] = (*sizes)[i];
    if (!size || !in) continue;
    axes[axis].in = *in;
    numbers.push_back(*size);
  }
  if (policy == AspectRatio::kStretch || numbers.size() != which.size()) return;
  fit_sizes(policy, which, numbers, axes);
  for (const int axis : which) {
    out[static_cast<size_t>(axis)] = axes[static_cast<size_t>(axis)].out;
  }
}

void infer_resize(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  if (!x.shape) return;
  const std::vector<int> which = axes_of(ctx.node(), x.rank());
  y.shape = x.shape;
  for (const int axis : which) (*y.shape)[static_cast<size_t>(axis)] = unknown_dim(ctx, 0, axis);
  const Operands operands = operands_of(ctx.node());
  const Fact* scales = operand(ctx, operands.scales);
  const Fact* sizes = operand(ctx, operands.sizes);
  if (const auto given = scales_of(ctx.node(), x.rank())) infer_scales(ctx, given, which);
  // One of unknown length may turn out to say nothing.
  if (scales != nullptr && sizes == nullptr) infer_scales(ctx, constant_scales(*scales), which);
  if (sizes != nullptr && scales == nullptr) infer_sizes(ctx, *sizes, which);
}

// Axes that keep their scale may be joined with those of other instances. Sizes, where they are
// given for such an axis, too, are those of one instance.
Batching batch_resize(const BatchQuery& query) {
  const Node& node = query.node();
  const int rank = query.input_fact(0).rank();
  if (rank < 0) return Batching::kLoop;
  std::vector<int64_t> changed;
  const std::vector<int> which = axes_of(node, rank);
  const Operands operands = operands_of(node);
  const bool crop = method_of(node).coordinates == Coordinates::kTfCropAndResize;
  auto scales = scales_of(node, rank);
  if (query.has_input(operands.scales)) scales = constant_scales(query.input_fact(operands.scales));
  for (size_t i = 0; i < which.size(); ++i) {
    const bool kept = !crop && scales && i < scales->size() && (*scales)[i] == 1;
    if (!kept) changed.push_back(which[i]);
  }
  return batch_over_axes(query, changed);
}

void infer_gradient(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  ctx.output(0).shape = shape_given_by(ctx, 1);
}

}  // namespace
}  // namespace resize

namespace ops {

OpDef onnx_Resize(int version) {
  // Version 11 calls roi and scales required; there are files that omit them.
  const Arity inputs = version < 11 ? Arity{2, 2} : Arity{1, 4};
  return with_gradient(define(inputs, resize::infer_resize, resize::resize, resize::batch_resize),
                       resize::rule::Resize);
}

OpDef onnx_Upsample(int version) {
  const int inputs = version < 9 ? 1 : 2;
  return with_gradient(
      define({inputs, inputs}, resize::infer_resize, resize::resize, resize::batch_resize),
      resize::rule::Resize);
}

OpDef hugot_ResizeGradient(int) {
  return with_gradient(define({2, 5}, resize::infer_gradient, resize::resize_gradient),
                       resize::rule::ResizeGradient);
}

}  // namespace ops
}  // namespace hugot
