#include "kernels/random/random.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace random {

DType output_dtype(const Node& node, DType fallback) {
  if (!node.has("dtype")) return fallback;
  const auto number = node.at<int64_t>("dtype");
  require(number > 0 && number < kDTypeCount, ErrorCode::kInvalidData, "attribute dtype = ", number,
          " is no element type");
  return static_cast<DType>(number);
}

Shape given_shape(const Node& node) { return Shape(node.at<std::vector<int64_t>>("shape")); }

namespace {

void infer_given(InferContext& ctx) {
  const Shape shape = given_shape(ctx.node());
  ctx.output(0) =
      Fact::of(output_dtype(ctx.node(), DType::kFloat32), Dims(shape.begin(), shape.end()));
}

void infer_like(InferContext& ctx) {
  ctx.output(0).dtype = output_dtype(ctx.node(), ctx.input(0).dtype);
  ctx.output(0).shape = ctx.input(0).shape;
}

void infer_multinomial(InferContext& ctx) {
  ctx.output(0).dtype = output_dtype(ctx.node(), DType::kInt32);
  const auto samples = ctx.node().get<int64_t>("sample_size", 1);
  require(samples >= 0, ErrorCode::kInvalidArgument, "a sample size of ", samples);
  const Fact& in = ctx.input(0);
  ctx.output(0).shape =
      Dims{in.rank() == 2 ? in.shape->front() : unknown_dim(ctx, 0, 0), Dim(samples)};
}

// What is drawn does not depend on the input, or only in steps.
void no_gradient(GradientContext&) {}

OpDef define_random(int inputs, InferFunction infer, KernelFunction cpu) {
  OpDef op = define({inputs, inputs}, infer, cpu);
  op.deterministic = false;
  return op;
}

}  // namespace
}  // namespace random

namespace ops {

OpDef onnx_RandomNormal(int) {
  return random::define_random(0, random::infer_given, random::normal);
}

OpDef onnx_RandomUniform(int) {
  return random::define_random(0, random::infer_given, random::uniform);
}

OpDef onnx_RandomNormalLike(int) {
  return with_gradient(random::define_random(1, random::infer_like, random::normal),
                       random::no_gradient);
}

OpDef onnx_RandomUniformLike(int) {
  return with_gradient(random::define_random(1, random::infer_like, random::uniform),
                       random::no_gradient);
}

OpDef onnx_Bernoulli(int) {
  return with_gradient(random::define_random(1, random::infer_like, random::bernoulli),
                       random::no_gradient);
}

OpDef onnx_Multinomial(int) {
  return random::define_random(1, random::infer_multinomial, random::multinomial);
}

}  // namespace ops
}  // namespace hugot
