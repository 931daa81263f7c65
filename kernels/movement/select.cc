// Compress, ReverseSequence, TensorScatter and Unique: inference and batching.
#include <algorithm>
#include <optional>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/movement/movement.h"
#include "kernels/ops.h"

namespace hugot {
namespace movement {
namespace {

// How many slices are taken is known when the condition is.
void infer_compress(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  const Fact& condition = ctx.input(1);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  Dim count = unknown_dim(ctx, 0, 0);
  if (condition.constant && condition.dtype == DType::kBool) {
    const auto chosen = condition.constant->values<bool>();
    count = static_cast<int64_t>(std::count(chosen.begin(), chosen.end(), true));
  }
  if (!ctx.node().has("axis")) {
    out.shape = Dims{count};
  } else if (in.shape) {
    const int axis = infer_axis(*in.shape, ctx.node().at<int64_t>("axis"));
    out.shape = in.shape;
    (*out.shape)[static_cast<size_t>(axis)] = count;
  }
  ctx.propagate_moved({0});
}

Batching batch_compress(const BatchQuery& query) {
  if (!query.node().has("axis") || query.ragged(1)) return Batching::kLoop;
  const int64_t axis[] = {query.node().at<int64_t>("axis")};
  return batch_over_axes(query, axis);
}

void infer_reverse(InferContext& ctx) {
  infer_same_as_input(ctx);
  ctx.output(0).uniform = ctx.input(0).single_value();
}

void infer_tensor_scatter(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  infer_same_as_input(ctx);
}

void infer_unique(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  const Dim count = unknown_dim(ctx, 0, 0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  std::optional<Dim> length;  // of the flat input, or of the axis
  if (!ctx.node().has("axis")) {
    out.shape = Dims{count};
    if (in.shape) {
      length = 1;
      for (const Dim& dim : *in.shape) length = *length * dim;
    }
  } else if (in.shape) {
    const auto axis = static_cast<size_t>(infer_axis(*in.shape, ctx.node().at<int64_t>("axis")));
    length = (*in.shape)[axis];
    out.shape = in.shape;
    (*out.shape)[axis] = count;
  }
  constexpr int kInverse = 2;
  for (int i = 1; i < ctx.num_outputs(); ++i) {
    Dim dim = count;
    if (i == kInverse) dim = length ? *length : unknown_dim(ctx, i, 0);
    ctx.output(i) = Fact::of(DType::kInt64, {dim});
  }
}

}  // namespace
}  // namespace movement

namespace ops {

OpDef onnx_Compress(int) {
  return with_gradient(
      define({2, 2}, movement::infer_compress, movement::compress, movement::batch_compress),
      movement::rule::Compress);
}

OpDef onnx_ReverseSequence(int) {
  return with_gradient(define({2, 2}, movement::infer_reverse, movement::reverse_sequence),
                       movement::rule::ReverseSequence);
}

OpDef onnx_TensorScatter(int) {
  return with_gradient(define({2, 3}, movement::infer_tensor_scatter, movement::tensor_scatter),
                       movement::rule::TensorScatter);
}

OpDef onnx_Unique(int) {
  return define({1, 1}, movement::infer_unique, movement::unique, nullptr, {1, 4});
}

}  // namespace ops
}  // namespace hugot
