// DepthToSpace, SpaceToDepth and CenterCropPad: elements of images in other places.
#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/element.h"
#include "kernels/infer_helpers.h"
#include "kernels/movement/movement.h"
#include "kernels/ops.h"
#include "kernels/strided.h"

namespace hugot {
namespace movement {
namespace {

int64_t block_size(const Node& node) {
  const auto size = node.at<int64_t>("blocksize");
  require(size > 0 && size < (int64_t{1} << 20), ErrorCode::kInvalidArgument,
          "attribute blocksize is ", size);
  return size;
}

// True when the index in a block is the fast one among the channels (CRD).
bool channels_first(const Node& node) {
  const std::string mode = node.get<std::string>("mode", "DCR");
  require(mode == "DCR" || mode == "CRD", ErrorCode::kInvalidArgument, "attribute mode is ", mode);
  return mode == "CRD";
}

void check_blocks(const Shape& x, bool fits) {
  if (x.rank() != 4 || !fits) {
    fail(ErrorCode::kInvalidArgument, "an image ", x.to_string(), " does not consist of blocks");
  }
}

void depth_to_space(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Shape& x = in.shape();
  const int64_t b = block_size(ctx.node());
  check_blocks(x, x.rank() == 4 && x[1] % (b * b) == 0);
  const int64_t channels = x[1] / (b * b), height = x[2], width = x[3], plane = height * width;
  const bool crd = channels_first(ctx.node());
  const int64_t channel_step = crd ? b * b * plane : plane;
  const int64_t row_step = crd ? b * plane : b * channels * plane;
  const int64_t column_step = crd ? plane : channels * plane;
  StridedView view;
  view.add(x[0], x[1] * plane);
  view.add(channels, channel_step);
  view.add(height, width);
  view.add(b, row_step);
  view.add(width, 1);
  view.add(b, column_step);
  Tensor& out = ctx.output(0, in.dtype(), Shape{x[0], channels, height * b, width * b});
  copy_view(in, view, out, ctx.pool());
}

void space_to_depth(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Shape& x = in.shape();
  const int64_t b = block_size(ctx.node());
  check_blocks(x, x.rank() == 4 && x[2] % b == 0 && x[3] % b == 0);
  const int64_t channels = x[1], width = x[3], plane = x[2] * width;
  StridedView view;
  view.add(x[0], channels * plane);
  view.add(b, width);
  view.add(b, 1);
  view.add(channels, plane);
  view.add(x[2] / b, b * width);
  view.add(width / b, b);
  Tensor& out = ctx.output(0, in.dtype(), Shape{x[0], channels * b * b, x[2] / b, width / b});
  copy_view(in, view, out, ctx.pool());
}

void infer_blocks(InferContext& ctx, bool to_space) {
  const Fact& x = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  const int64_t b = block_size(ctx.node());
  if (!x.shape) return;
  require(x.rank() == 4, ErrorCode::kInvalidArgument, "an image ", to_string(*x.shape),
          " is not of rank 4");
  const Dims& in = *x.shape;
  if (to_space) {
    channels_first(ctx.node());
    y.shape = Dims{in[0], Dim::divide(in[1], b * b), in[2] * b, in[3] * b};
  } else {
    y.shape = Dims{in[0], in[1] * (b * b), Dim::divide(in[2], b), Dim::divide(in[3], b)};
  }
  ctx.propagate_moved({0});
}

void infer_depth_to_space(InferContext& ctx) { infer_blocks(ctx, true); }
void infer_space_to_depth(InferContext& ctx) { infer_blocks(ctx, false); }

Batching batch_blocks(const BatchQuery& query) {
  const int64_t axes[] = {1, 2, 3};
  return batch_over_axes(query, axes);
}

// The axes that CenterCropPad changes: attribute axes, or all.
std::vector<size_t> cropped_axes(const Node& node, int rank, size_t lengths) {
  std::vector<size_t> axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), size_t{0});
  if (node.has("axes")) {
    axes.clear();
    for (const int64_t axis : node.at<std::vector<int64_t>>("axes")) {
      axes.push_back(static_cast<size_t>(normalize_axis(axis, rank)));
      require(std::count(axes.begin(), axes.end(), axes.back()) == 1, ErrorCode::kInvalidArgument,
              "axis ", axis, " is named twice");
    }
  }
  require(axes.size() == lengths, ErrorCode::kInvalidArgument, lengths, " lengths for ",
          axes.size(), " axes");
  return axes;
}

void center_crop_pad(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const std::vector<int64_t> lengths = to_int64s(ctx.input(1));
  const int rank = in.rank();
  const std::vector<size_t> axes = cropped_axes(ctx.node(), rank, lengths.size());
  std::array<int64_t, Shape::kMaxRank> dims{};
  std::copy(in.shape().begin(), in.shape().end(), dims.begin());
  for (size_t i = 0; i < axes.size(); ++i) dims[axes[i]] = lengths[i];
  const Shape shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank)));
  Tensor& out = ctx.output(0, in.dtype(), shape);
  const auto from = row_major_strides(in.shape()), to = row_major_strides(shape);
  // The common part, and where it begins on either side.
  int64_t first_in = 0, first_out = 0;
  Odometer source, target;
  const int last = rank - 1;
  int64_t count = 1, rows = 1;
  for (int axis = 0; axis < rank; ++axis) {
    const auto i = static_cast<size_t>(axis);
    const int64_t before = in.shape()[axis], after = dims[i], common = std::min(before, after);
    first_in += (before - common) / 2 * from[i];
    first_out += (after - common) / 2 * to[i];
    if (axis == last) {
      count = common;
    } else {
      source.add(common, from[i]);
      target.add(common, to[i]);
      rows *= common;
    }
  }
  with_element(in.dtype(), [&]<class T>() {
    const T* x = elements<T>(in);
    T* y = elements<T>(out);
    std::fill_n(y, out.size(), T{});
    if (rows == 0 || count == 0) return;
    source.seek(0);
    target.seek(0);
    for (int64_t row = 0; row < rows; ++row, source.next(), target.next()) {
      std::copy_n(x + first_in + source.offset(), count, y + first_out + target.offset());
    }
  });
}

void infer_center_crop_pad(InferContext& ctx) {
  const Fact &x = ctx.input(0), &lengths = ctx.input(1);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  if (!x.shape) return;
  const int rank = x.rank();
  y.shape = unknown_dims(ctx, 0, rank);
  const auto given = shape_given_by(ctx, 1);
  if (!given) {
    if (!ctx.node().has("axes")) return;
    const size_t count = ctx.node().at<std::vector<int64_t>>("axes").size();
    const std::vector<size_t> axes = cropped_axes(ctx.node(), rank, count);
    for (size_t i = 0; i < x.shape->size(); ++i) {
      if (std::find(axes.begin(), axes.end(), i) == axes.end()) (*y.shape)[i] = (*x.shape)[i];
    }
    return;
  }
  const std::vector<size_t> axes = cropped_axes(ctx.node(), rank, given->size());
  y.shape = x.shape;
  const auto known = lengths.dimensions();
  for (size_t i = 0; i < axes.size(); ++i) {
    (*y.shape)[axes[i]] = known ? (*given)[i] : unknown_dim(ctx, 0, static_cast<int>(axes[i]));
  }
}

}  // namespace
}  // namespace movement

namespace ops {

OpDef onnx_DepthToSpace(int) {
  return with_gradient(define({1, 1}, movement::infer_depth_to_space, movement::depth_to_space,
                              movement::batch_blocks),
                       movement::rule::DepthToSpace);
}

OpDef onnx_SpaceToDepth(int) {
  return with_gradient(define({1, 1}, movement::infer_space_to_depth, movement::space_to_depth,
                              movement::batch_blocks),
                       movement::rule::SpaceToDepth);
}

OpDef onnx_CenterCropPad(int) {
  return with_gradient(define({2, 2}, movement::infer_center_crop_pad, movement::center_crop_pad),
                       movement::rule::CenterCropPad);
}

}  // namespace ops
}  // namespace hugot
