#include "kernels/cuda/kernels.h"

namespace hugot::cuda {
namespace {

// The words that op_list.def uses for domains.
namespace words {
[[maybe_unused]] constexpr std::string_view onnx = "";
[[maybe_unused]] constexpr std::string_view ms = "com.microsoft";
[[maybe_unused]] constexpr std::string_view hugot = "hugot";
}  // namespace words

}  // namespace

std::span<const DeviceKernel> kernel_table() {
#define HUGOT_CUDA_yes(domain, name) {words::domain, #name, domain##_##name},
#define HUGOT_CUDA_no(domain, name)
#define HUGOT_OP(domain, name, room, cpu, cuda, gradient, ...) HUGOT_CUDA_##cuda(domain, name)
  static const DeviceKernel table[] = {
#include "kernels/op_list.def"
  };
#undef HUGOT_OP
#undef HUGOT_CUDA_no
#undef HUGOT_CUDA_yes
  return table;
}

}  // namespace hugot::cuda
