// Dropout for training.
#ifndef HUGOT_KERNELS_RANDOM_DROPOUT_H_
#define HUGOT_KERNELS_RANDOM_DROPOUT_H_

#include "graph/op.h"

namespace hugot::random {

// hugot.Dropout: y = dropout(x) + residual. Inputs: x [B, S, features] or [B, rows, S, features],
// keys int64 [B, S] of the tokens, and residual like x (may be absent).
void dropout(KernelContext& ctx);

}  // namespace hugot::random

#endif  // HUGOT_KERNELS_RANDOM_DROPOUT_H_
