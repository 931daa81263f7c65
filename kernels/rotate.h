// Rotary position embeddings at given positions, for operators that turn what they attend to.
// Implemented in the rotary room.
#ifndef HUGOT_KERNELS_ROTATE_H_
#define HUGOT_KERNELS_ROTATE_H_

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace hugot::rotary {

// x [batch, tokens, heads, features] turned by the rows of the tables [positions, R / 2] that
// `positions` (int64 [batch, tokens]) name; features behind the first R are copied.
Tensor turned(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& positions,
              bool interleaved, ThreadPool* pool);

}  // namespace hugot::rotary

#endif  // HUGOT_KERNELS_ROTATE_H_
