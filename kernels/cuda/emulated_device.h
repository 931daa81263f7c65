// A CUDA device that is the CPU (emulator.h), for tests of everything but speed.
#ifndef HUGOT_KERNELS_CUDA_EMULATED_DEVICE_H_
#define HUGOT_KERNELS_CUDA_EMULATED_DEVICE_H_

#include <cstdint>
#include <memory>

#include "graph/exec/device.h"

namespace hugot::cuda {

struct EmulatedDeviceOptions {
  size_t memory_bytes = size_t{4} << 30;  // what allocations may sum up to
  uint64_t thread_order = 0;              // 0: ascending; others: seeds of a shuffled order
};

// Stricter than a real device, so that mistakes show:
// - work is queued, and done only when a stream is synchronised, waited for, or memory is freed;
// - copies and launches check that device pointers lie in allocations and host pointers do not;
// - memory is filled with NaN when it is allocated, and guarded on both sides: kernels that write
//   beyond an allocation fail (kInternal);
// - under the address sanitizer, host code that touches device memory, and kernels that read or
//   write beyond an allocation, end the program.
std::shared_ptr<Device> emulated_device(const EmulatedDeviceOptions& options = {});

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_EMULATED_DEVICE_H_
