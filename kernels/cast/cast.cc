#include "kernels/cast/cast.h"

#include <array>

#include "graph/gradient.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::cast {
namespace {

std::optional<Dim> truth(const Dim& element) {
  if (element.is_number()) return Dim(element.is(0) ? 0 : 1);
  if (element.provably_at_least(1)) return Dim(1);
  return std::nullopt;
}

// Symbolic elements stay what they are in the types that lengths come in.
void propagate_elements(InferContext& ctx) {
  Fact& out = ctx.output(0);
  const Fact& in = ctx.input(0);
  if (!in.symbolic) return;
  if (out.dtype == DType::kInt64 || out.dtype == DType::kInt32) out.symbolic = in.symbolic;
  if (out.dtype != DType::kBool) return;
  Dims truths;
  for (const Dim& element : *in.symbolic) {
    std::optional<Dim> value = truth(element);
    if (!value) return;
    truths.push_back(*std::move(value));
  }
  out.symbolic = std::move(truths);
}

void infer(InferContext& ctx, DType target) {
  const Fact& in = ctx.input(0);
  if (target != DType::kUndefined && in.dtype == target) return pass_fact(ctx, 0);
  ctx.output(0).dtype = target;
  ctx.output(0).shape = in.shape;
  if (target == DType::kUndefined) return;
  const std::optional<Tensor> value = in.single_value();
  const bool packed = target != DType::kString && dtype_bits(target) < 8;
  if (value && !packed) {
    const Tensor like(target, {});
    propagate_uniform(ctx, std::array<const Tensor*, 2>{&*value, &like});
  }
  propagate_elements(ctx);
}

// set() casts back.
void gradient(GradientContext& g) { g.set(0, g.dy()); }

void infer_cast(InferContext& ctx) { infer(ctx, target_of(ctx.node())); }
void infer_cast_like(InferContext& ctx) { infer(ctx, ctx.input(1).dtype); }

}  // namespace
}  // namespace hugot::cast

namespace hugot::ops {

OpDef onnx_Cast(int) {
  OpDef op;
  op.min_inputs = op.max_inputs = 1;
  op.infer = cast::infer_cast;
  op.batching = batch_elementwise;
  op.cpu = cast::cast;
  op.gradient = cast::gradient;
  return op;
}

OpDef onnx_CastLike(int) {
  OpDef op;
  op.min_inputs = op.max_inputs = 2;
  op.infer = cast::infer_cast_like;
  op.batching = batch_elementwise;
  op.cpu = cast::cast_like;
  op.gradient = cast::gradient;
  return op;
}

}  // namespace hugot::ops
