// Weights of model files as float32.
#ifndef HUGOT_MODELS_WEIGHTS_H_
#define HUGOT_MODELS_WEIGHTS_H_

#include "base/tensor.h"

namespace hugot {

// float32 as it is, float16 and bfloat16 converted. Throws kUnsupported for other types.
Tensor to_float32(const Tensor& weights);

}  // namespace hugot

#endif  // HUGOT_MODELS_WEIGHTS_H_
