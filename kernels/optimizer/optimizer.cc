#include "kernels/optimizer/optimizer.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace optimizer {

int tensors_of(int inputs, int outputs, int states) {
  const int tensors = (inputs - 2) / (2 + states);
  require(inputs == 2 + tensors * (2 + states) && outputs == tensors * (1 + states),
          ErrorCode::kInvalidArgument, inputs, " inputs and ", outputs,
          " outputs are no whole number of tensors, gradients and states");
  return tensors;
}

namespace {

template <int kStates>
void infer(InferContext& ctx) {
  const int tensors = tensors_of(ctx.num_inputs(), ctx.num_outputs(), kStates);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    // The gradients have no output.
    const Fact& in = ctx.input(2 + i + (i < tensors ? 0 : tensors));
    ctx.output(i).dtype = in.dtype;
    ctx.output(i).shape = in.shape;
  }
}

template <int kStates>
OpDef define_optimizer(KernelFunction cpu) {
  return define({3, OpDef::kVariadic}, infer<kStates>, cpu, nullptr, {1, OpDef::kVariadic});
}

}  // namespace
}  // namespace optimizer

namespace ops {

OpDef training_Adagrad(int) { return optimizer::define_optimizer<1>(optimizer::adagrad); }
OpDef training_Adam(int) { return optimizer::define_optimizer<2>(optimizer::adam); }
OpDef training_Momentum(int) { return optimizer::define_optimizer<1>(optimizer::momentum); }

}  // namespace ops
}  // namespace hugot
