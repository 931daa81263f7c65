// `launch` and what goes with it for nvcc; emulator.h is the twin of this file.
#ifndef HUGOT_KERNELS_CUDA_NVIDIA_H_
#define HUGOT_KERNELS_CUDA_NVIDIA_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "graph/exec/device.h"

namespace hugot::cuda {

// The stream of a CUDA device.
class NvidiaStream : public Stream {
 public:
  cudaStream_t handle() const { return handle_; }

 protected:
  cudaStream_t handle_ = nullptr;
};

// The block's dynamic shared memory.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char hugot_dynamic_shared[];
  return reinterpret_cast<T*>(hugot_dynamic_shared);
}

// All launches go through here: kernel<<<grid, block, shared_bytes, stream>>>(args...).
template <class... Params, class... Args>
void launch(std::string_view name, void (*kernel)(Params...), dim3 grid, dim3 block,
            size_t shared_bytes, Stream& stream, Args&&... args) {
  const cudaStream_t handle = static_cast<NvidiaStream&>(stream).handle();
  kernel<<<grid, block, shared_bytes, handle>>>(std::forward<Args>(args)...);
  const cudaError_t error = cudaGetLastError();
  require(error == cudaSuccess, ErrorCode::kInternal, "kernel ", name, ": ",
          cudaGetErrorString(error));
}

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_NVIDIA_H_
