// All operators of this build.
#ifndef HUGOT_KERNELS_REGISTRY_H_
#define HUGOT_KERNELS_REGISTRY_H_

#include <string_view>
#include <vector>

#include "graph/op.h"

namespace hugot {

// A new registry with every line of op_list.def.
OpRegistry builtin_ops();

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
