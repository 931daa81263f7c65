// Short forms of operator definitions.
#ifndef HUGOT_KERNELS_DEFINE_H_
#define HUGOT_KERNELS_DEFINE_H_

#include "graph/op.h"

namespace hugot {

struct Arity {
  int min = 1;
  int max = 1;
};

inline OpDef define(Arity inputs, InferFunction infer, KernelFunction cpu,
                    BatchingFunction batching = nullptr, Arity outputs = {}) {
  OpDef op;
  op.min_inputs = inputs.min;
  op.max_inputs = inputs.max;
  op.min_outputs = outputs.min;
  op.max_outputs = outputs.max;
  op.infer = infer;
  op.batching = batching;
  op.cpu = cpu;
  return op;
}

inline OpDef with_gradient(OpDef op, GradientRule* gradient) {
  op.gradient = gradient;
  return op;
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_DEFINE_H_
