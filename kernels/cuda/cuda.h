// CUDA as this build has it: the build picks the file that implements this header.
#ifndef HUGOT_KERNELS_CUDA_CUDA_H_
#define HUGOT_KERNELS_CUDA_CUDA_H_

#include <memory>
#include <span>
#include <string_view>

#include "graph/exec/device.h"
#include "kernels/registry.h"

namespace hugot::cuda {

// Empty in a build without CUDA.
std::span<const DeviceKernel> built_in_kernels();

// "cuda:0" and so on. Throws kUnsupported in a build without CUDA, kNotFound for a device that is
// not there.
std::shared_ptr<Device> open_device(std::string_view name);

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_CUDA_H_
