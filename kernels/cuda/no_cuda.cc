// A build without CUDA.
#include "base/error.h"
#include "kernels/cuda/cuda.h"

namespace hugot::cuda {

std::span<const DeviceKernel> built_in_kernels() { return {}; }

std::shared_ptr<Device> open_device(std::string_view name) {
  fail(ErrorCode::kUnsupported, "device ", name, ": this build runs on the CPU only");
}

}  // namespace hugot::cuda
