// Declares the CUDA kernel of every operator that has one in op_list.def: the *.cu files of the
// rooms implement them.
#ifndef HUGOT_KERNELS_CUDA_KERNELS_H_
#define HUGOT_KERNELS_CUDA_KERNELS_H_

#include <memory>
#include <span>
#include <string_view>

#include "graph/exec/device.h"
#include "graph/op.h"
#include "kernels/registry.h"

namespace hugot::cuda {

#define HUGOT_CUDA_yes(domain, name) void domain##_##name(KernelContext& ctx);
#define HUGOT_CUDA_no(domain, name)
#define HUGOT_OP(domain, name, room, cpu, cuda, gradient, ...) HUGOT_CUDA_##cuda(domain, name)
#include "kernels/op_list.def"
#undef HUGOT_OP
#undef HUGOT_CUDA_no
#undef HUGOT_CUDA_yes

// All of them, whatever build they are linked into.
std::span<const DeviceKernel> kernel_table();

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_KERNELS_H_
