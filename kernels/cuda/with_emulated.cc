// A build with -Dcuda=emulated: every CUDA device is the emulated one.
#include "base/error.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/emulated_device.h"
#include "kernels/cuda/kernels.h"

namespace hugot::cuda {

std::span<const DeviceKernel> built_in_kernels() { return kernel_table(); }

std::shared_ptr<Device> open_device(std::string_view name) {
  require(name == "cuda:0", ErrorCode::kNotFound, "there is no device ", name,
          "; this build emulates cuda:0");
  return emulated_device();
}

}  // namespace hugot::cuda
