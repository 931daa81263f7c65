// All operators of this build.
#ifndef HUGOT_KERNELS_REGISTRY_H_
#define HUGOT_KERNELS_REGISTRY_H_

#include <span>
#include <string_view>
#include <vector>

#include "graph/op.h"

namespace hugot {

// The CUDA kernel of an operator, for all its versions.
struct DeviceKernel {
  std::string_view domain;
  std::string_view name;
  KernelFunction run;
};

// A new registry with every line of op_list.def, and the device kernels that this build has.
OpRegistry builtin_ops();
// The same with given device kernels.
OpRegistry builtin_ops(std::span<const DeviceKernel> device_kernels);

// One line of op_list.def.
struct ManifestEntry {
  std::string_view domain;  // as in ONNX files: "", "com.microsoft", "hugot"
  std::string_view name;
  std::string_view room;
  bool cpu;
  bool cuda;
  bool gradient;
  std::vector<int> since_versions;
};
std::vector<ManifestEntry> manifest();

}  // namespace hugot

#endif  // HUGOT_KERNELS_REGISTRY_H_
