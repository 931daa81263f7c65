// Activations that are compositions: with a bias that they have swallowed, or a gate.
#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::elementwise {
namespace {

const Attributes kTanhForm = {{"approximate", std::string("tanh")}};

Term biased(Expansion& e) { return e.has(1) ? e.x(0) + e.x(1) : e.x(0); }

bool gelu(Expansion& e) {
  e.set(0, e.op("Gelu", {biased(e)}));
  return true;
}

bool fast_gelu(Expansion& e) {
  e.set(0, e.op("Gelu", {biased(e)}, kTanhForm));
  return true;
}

bool quick_gelu(Expansion& e) {
  e.set(0, e.op("Swish", {e.x(0)}, {{"alpha", e.node().get<float>("alpha", 1.702f)}}));
  return true;
}

bool swiglu(Expansion& e) {
  const Attributes alpha = {{"alpha", e.node().get<float>("alpha", 1.0f)}};
  e.set(0, e.op("Swish", {e.x(0)}, alpha) * e.x(1));
  return true;
}

// The left half of the channels times gelu of the right half.
bool bias_split_gelu(Expansion& e) {
  const auto halves = e.writer().outputs("Split", {biased(e)},
                                         {{"axis", int64_t{-1}}, {"num_outputs", int64_t{2}}}, 2);
  e.set(0, halves[0] * e.op("Gelu", {halves[1]}));
  return true;
}

// x + bias + skip.
bool bias_add(Expansion& e) {
  e.set(0, e.x(0) + e.x(1) + e.x(2));
  return true;
}

void infer_biased(InferContext& ctx) {
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    if (ctx.has_input(i)) require_same_dtype(ctx, 0, i);
  }
  infer_same_as_input(ctx);
}

// The product broadcasts, should the operands differ.
void infer_gated(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  ctx.output(0).dtype = ctx.input(0).dtype;
  const auto &a = ctx.input(0).shape, &b = ctx.input(1).shape;
  if (a && b && *a == *b) ctx.output(0).shape = a;
}

void infer_halved(InferContext& ctx) {
  infer_biased(ctx);
  std::optional<Dims>& shape = ctx.output(0).shape;
  if (!shape) return;
  require(!shape->empty(), ErrorCode::kInvalidArgument, "a scalar cannot be cut in two");
  shape->back() = Dim::divide(shape->back(), 2);
}

}  // namespace
}  // namespace hugot::elementwise

namespace hugot::ops {

OpDef onnx_SwiGLU(int) { return composite({2, 2}, elementwise::infer_gated, elementwise::swiglu); }

OpDef ms_BiasAdd(int) {
  return composite({3, 3}, elementwise::infer_biased, elementwise::bias_add);
}
OpDef ms_BiasGelu(int) { return composite({2, 2}, elementwise::infer_biased, elementwise::gelu); }
OpDef ms_BiasSplitGelu(int) {
  return composite({2, 2}, elementwise::infer_halved, elementwise::bias_split_gelu);
}
OpDef ms_FastGelu(int) {
  return composite({1, 2}, elementwise::infer_biased, elementwise::fast_gelu);
}
OpDef ms_Gelu(int) { return composite({1, 1}, infer_same_as_input, elementwise::gelu); }
OpDef ms_QuickGelu(int) { return composite({1, 1}, infer_same_as_input, elementwise::quick_gelu); }

}  // namespace hugot::ops
