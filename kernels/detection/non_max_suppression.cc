// NonMaxSuppression: of boxes that overlap much, only the one with the highest score stays.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace detection {
namespace {

// Corners of a box, the lower ones first, in either order of the axes.
struct Box {
  float low[2], high[2];

  float area() const { return (high[0] - low[0]) * (high[1] - low[1]); }
};

Box box_of(const float* numbers, bool centered) {
  Box box;
  for (int axis = 0; axis < 2; ++axis) {
    const float a = numbers[axis], b = numbers[axis + 2];
    box.low[axis] = centered ? a - b / 2 : std::min(a, b);
    box.high[axis] = centered ? a + b / 2 : std::max(a, b);
  }
  return box;
}

// True when the common part of both boxes is more than `threshold` of what they cover.
bool overlap(const Box& a, const Box& b, float threshold) {
  float common = 1;
  for (int axis = 0; axis < 2; ++axis) {
    const float length = std::min(a.high[axis], b.high[axis]) - std::max(a.low[axis], b.low[axis]);
    if (!(length > 0)) return false;
    common *= length;
  }
  const float first = a.area(), second = b.area(), all = first + second - common;
  if (!(common > 0 && first > 0 && second > 0 && all > 0)) return false;
  return common / all > threshold;
}

template <class T>
std::optional<T> single(const KernelContext& ctx, int i) {
  if (i >= ctx.num_inputs() || !ctx.has_input(i)) return std::nullopt;
  const Tensor& tensor = ctx.input(i);
  if (tensor.size() == 0) return std::nullopt;
  require(tensor.size() == 1 && tensor.dtype() == dtype_of<T>, ErrorCode::kInvalidArgument,
          "input ", i, " is ", describe(tensor), ", but has to be one number of type ",
          dtype_name(dtype_of<T>));
  return *tensor.data<T>();
}

// Appends the boxes that stay, best first.
void select(const std::vector<Box>& boxes, const float* scores, std::optional<float> lowest,
            float threshold, int64_t limit, std::vector<int64_t>& order,
            std::vector<int64_t>& selected) {
  order.clear();
  for (int64_t i = 0; i < std::ssize(boxes); ++i) {
    const bool number = scores[i] == scores[i];
    if (number && (!lowest || scores[i] > *lowest)) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  selected.clear();
  for (const int64_t candidate : order) {
    if (std::ssize(selected) >= limit) return;
    const Box& box = boxes[static_cast<size_t>(candidate)];
    const bool suppressed = std::any_of(selected.begin(), selected.end(), [&](int64_t other) {
      return overlap(box, boxes[static_cast<size_t>(other)], threshold);
    });
    if (!suppressed) selected.push_back(candidate);
  }
}

void non_max_suppression(KernelContext& ctx) {
  const Tensor &boxes = ctx.input(0), &scores = ctx.input(1);
  if (boxes.dtype() != DType::kFloat32 || scores.dtype() != DType::kFloat32 || boxes.rank() != 3 ||
      scores.rank() != 3 || boxes.shape().back() != 4 || boxes.shape()[0] != scores.shape()[0] ||
      boxes.shape()[1] != scores.shape().back()) {
    fail(ErrorCode::kInvalidArgument, "boxes ", describe(boxes), " and scores ", describe(scores),
         " do not fit");
  }
  const int64_t limit = std::max<int64_t>(single<int64_t>(ctx, 2).value_or(0), 0);
  const float threshold = single<float>(ctx, 3).value_or(0);
  require(threshold >= 0 && threshold <= 1, ErrorCode::kInvalidArgument, "iou_threshold is ",
          threshold);
  const std::optional<float> lowest = single<float>(ctx, 4);
  const auto format = ctx.node().get<int64_t>("center_point_box", 0);
  require(format == 0 || format == 1, ErrorCode::kInvalidArgument, "center_point_box is ", format);
  const int64_t count = boxes.shape()[1], classes = scores.shape()[1];
  std::vector<Box> images(static_cast<size_t>(count));
  std::vector<int64_t> order, selected, result;
  for (int64_t image = 0; image < boxes.shape()[0]; ++image) {
    for (int64_t i = 0; i < count; ++i) {
      images[static_cast<size_t>(i)] =
          box_of(boxes.data<float>() + (image * count + i) * 4, format == 1);
    }
    for (int64_t kind = 0; kind < classes; ++kind) {
      require(!ctx.stop().stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
      select(images, scores.data<float>() + (image * classes + kind) * count, lowest, threshold,
             limit, order, selected);
      for (const int64_t i : selected) result.insert(result.end(), {image, kind, i});
    }
  }
  Tensor& out = ctx.output(0, DType::kInt64, Shape{std::ssize(result) / 3, 3});
  std::copy(result.begin(), result.end(), out.data<int64_t>());
}

void infer(InferContext& ctx) {
  ctx.output(0).dtype = DType::kInt64;
  ctx.output(0).shape = Dims{unknown_dim(ctx, 0, 0), 3};
}

}  // namespace
}  // namespace detection

namespace ops {

OpDef onnx_NonMaxSuppression(int) {
  return define({2, 5}, detection::infer, detection::non_max_suppression);
}

}  // namespace ops
}  // namespace hugot
