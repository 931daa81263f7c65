// One step of an optimizer (domain ai.onnx.preview.training). Inputs: learning rate, update count,
// then the n tensors to be optimized, their n gradients and n of each state; outputs: the new
// tensors and the new states.
#ifndef HUGOT_KERNELS_OPTIMIZER_OPTIMIZER_H_
#define HUGOT_KERNELS_OPTIMIZER_OPTIMIZER_H_

#include "graph/op.h"

namespace hugot::optimizer {

// State: the sum of squared gradients.
void adagrad(KernelContext& ctx);
// States: running averages of the gradient and of its square.
void adam(KernelContext& ctx);
// State: the momentum, in the standard or in Nesterov's form.
void momentum(KernelContext& ctx);

// How many tensors a node with so many inputs and `states` optimizes. Throws kInvalidArgument when
// the numbers of inputs and outputs do not belong together.
int tensors_of(int inputs, int outputs, int states);

}  // namespace hugot::optimizer

#endif  // HUGOT_KERNELS_OPTIMIZER_OPTIMIZER_H_
