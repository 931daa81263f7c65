#include "kernels/softmax/softmax.h"

#include <numeric>
#include <vector>

#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::softmax {
namespace {

Batching batching(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 1) return Batching::kLoop;
  const int64_t given = axis_of(query.node());
  const bool flatten = query.node().op->since_version < kOneAxis;
  if (!flatten) return batch_over_axes(query, std::span(&given, 1));
  if (given == rank) return Batching::kLoop;
  const int axis = normalize_axis(given, rank);
  std::vector<int64_t> axes(static_cast<size_t>(rank - axis));
  std::iota(axes.begin(), axes.end(), axis);
  return batch_over_axes(query, axes);
}

OpDef define(KernelFunction cpu, GradientRule* gradient = nullptr) {
  OpDef op;
  op.min_inputs = op.max_inputs = 1;
  op.infer = infer_same_as_input;
  op.batching = batching;
  op.cpu = cpu;
  op.gradient = gradient;
  return op;
}

}  // namespace
}  // namespace hugot::softmax

namespace hugot::ops {

OpDef onnx_Hardmax(int) {
  OpDef op = softmax::define(softmax::kernel<softmax::Kind::kHardmax>);
  op.gradient = softmax::rule::Hardmax;
  return op;
}
OpDef onnx_LogSoftmax(int) {
  return softmax::define(softmax::kernel<softmax::Kind::kLogSoftmax>, softmax::rule::LogSoftmax);
}
OpDef onnx_Softmax(int) {
  return softmax::define(softmax::kernel<softmax::Kind::kSoftmax>, softmax::rule::Softmax);
}

}  // namespace hugot::ops
