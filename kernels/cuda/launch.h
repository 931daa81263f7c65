// What a *.cu file includes: CUDA, real or emulated, and `launch`, through which all launches go.
#ifndef HUGOT_KERNELS_CUDA_LAUNCH_H_
#define HUGOT_KERNELS_CUDA_LAUNCH_H_

#ifdef __CUDACC__
#include "kernels/cuda/nvidia.h"
#else
#include "kernels/cuda/emulator.h"
#endif

namespace hugot::cuda {

// Blocks of `threads` that give every one of `count` elements a thread, in loops when there are
// very many. At least one.
inline dim3 blocks_for(int64_t count, int64_t threads) {
  constexpr int64_t kMost = int64_t{1} << 20;
  const int64_t blocks = (count + threads - 1) / threads;
  return dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks > kMost ? kMost : blocks));
}

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_LAUNCH_H_
