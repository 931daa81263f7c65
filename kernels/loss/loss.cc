#include "kernels/loss/loss.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace loss {

Reduction reduction_of(const Node& node) {
  const std::string reduction = node.get<std::string>("reduction", "mean");
  if (reduction == "none") return Reduction::kNone;
  if (reduction == "sum") return Reduction::kSum;
  if (reduction == "mean") return Reduction::kMean;
  fail(ErrorCode::kInvalidArgument, "reduction ", reduction, " is not none, sum or mean");
}

namespace {

void infer_loss(InferContext& ctx) {
  require_same_dtype(ctx, 0, 2);
  ctx.output(0).dtype = ctx.input(0).dtype;
  if (reduction_of(ctx.node()) == Reduction::kNone) {
    ctx.output(0).shape = ctx.input(1).shape;
  } else {
    ctx.output(0).shape = Dims{};
  }
  if (ctx.num_outputs() > 1) {
    ctx.output(1).dtype = ctx.input(0).dtype;
    ctx.output(1).shape = ctx.input(0).shape;
  }
}

}  // namespace
}  // namespace loss

namespace ops {

OpDef onnx_NegativeLogLikelihoodLoss(int) {
  return with_gradient(define({2, 3}, loss::infer_loss, loss::negative_log_likelihood),
                       loss::rule::NegativeLogLikelihoodLoss);
}

OpDef onnx_SoftmaxCrossEntropyLoss(int) {
  return with_gradient(
      define({2, 3}, loss::infer_loss, loss::softmax_cross_entropy, nullptr, {1, 2}),
      loss::rule::SoftmaxCrossEntropyLoss);
}

}  // namespace ops
}  // namespace hugot
