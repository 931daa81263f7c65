// OneHot and NonZero, which turn numbers into places and places into numbers: inference and
// batching.
#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/movement/movement.h"
#include "kernels/ops.h"

namespace hugot {
namespace movement {
namespace {

void infer_one_hot(InferContext& ctx) {
  const auto& indices = ctx.input(0).shape;
  const Fact& depth = ctx.input(1);
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(2).dtype;
  if (!indices) return;
  const int rank = static_cast<int>(indices->size()) + 1;
  const int axis = normalize_axis(ctx.node().get<int64_t>("axis", -1), rank);
  Dim length = unknown_dim(ctx, 0, axis);
  if (const auto value = depth.single_value()) {
    length = one_hot_depth(*value);
  } else if (depth.symbolic && depth.symbolic->size() == 1) {
    length = depth.symbolic->front();
  }
  out.shape = indices;
  out.shape->insert(out.shape->begin() + axis, length);
}

Batching batch_one_hot(const BatchQuery& query) {
  const Fact& indices = query.input_fact(0);
  if (indices.rank() < 0 || !query.ragged(0) || query.ragged(1) || query.ragged(2)) {
    return Batching::kLoop;
  }
  const int axis = normalize_axis(query.node().get<int64_t>("axis", -1), indices.rank() + 1);
  const int token = query.token_axis(0);
  if (token >= 0 && axis > token && query.output_token_axis(0) == token &&
      fixed_behind(indices, token)) {
    return Batching::kPacked;
  }
  return query.row(0) && axis > 0 ? Batching::kRows : Batching::kLoop;
}

// How many elements are not 0 is known when all are the same.
void infer_non_zero(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = DType::kInt64;
  if (!in.shape) {
    out.shape = unknown_dims(ctx, 0, 2);
    return;
  }
  Dim count = unknown_dim(ctx, 0, 1);
  if (const auto value = in.single_value()) {
    const Tensor* scalar = &*value;
    count = evaluate(ctx.node(), std::span(&scalar, 1)).front().shape()[1];
    for (const Dim& dim : *in.shape) count = count * dim;
  }
  out.shape = Dims{static_cast<int64_t>(in.shape->size()), count};
}

}  // namespace
}  // namespace movement

namespace ops {

OpDef onnx_OneHot(int) {
  return with_gradient(
      define({3, 3}, movement::infer_one_hot, movement::one_hot, movement::batch_one_hot),
      movement::rule::OneHot);
}

OpDef onnx_NonZero(int) { return define({1, 1}, movement::infer_non_zero, movement::non_zero); }

}  // namespace ops
}  // namespace hugot
