// Rotary: inference and batching.
#include "kernels/rotary/rotary.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace rotary {
namespace {

void infer_rotary(InferContext& ctx) {
  infer_same_as_input(ctx);
  const auto& x = ctx.input(0).shape;
  if (!x) return;
  require(!x->empty(), ErrorCode::kInvalidArgument, "a scalar cannot be rotated");
  if (const auto features = x->back().number()) rotation_of(ctx.node(), *features);
}

// The text's own cos and sin are used for each segment, so their layout is free.
Batching batch_rotary(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  const int axis = query.token_axis(0);
  if (query.ragged(0) && axis >= 0 && axis < rank - 1 && query.output_token_axis(0) == axis) {
    return Batching::kSegments;
  }
  return Batching::kLoop;
}

}  // namespace

Rotation rotation_of(const Node& node, int64_t features, std::string_view dims_attribute) {
  Rotation rotation{node.get<int64_t>(dims_attribute, 0), node.get<int64_t>("interleaved", 0) != 0};
  if (rotation.dims == 0) rotation.dims = features;
  require(rotation.dims > 0 && rotation.dims % 2 == 0 && rotation.dims <= features,
          ErrorCode::kInvalidArgument, rotation.dims, " of ", features,
          " features cannot be rotated in pairs");
  return rotation;
}

}  // namespace rotary

namespace ops {

// Ragged mode turns it into hugot.Rotary.
OpDef onnx_RotaryEmbedding(int) {
  return with_gradient(define({3, 4}, infer_same_as_input, rotary::rotary_embedding),
                       rotary::rule::RotaryEmbedding);
}

OpDef hugot_Rotary(int) {
  return with_gradient(define({3, 3}, rotary::infer_rotary, rotary::rotary, rotary::batch_rotary),
                       rotary::rule::Rotary);
}

}  // namespace ops
}  // namespace hugot
