#include "kernels/registry.h"

#include <algorithm>

#include "kernels/cuda/cuda.h"
#include "kernels/ops.h"

namespace hugot {
namespace {

// The words that op_list.def may use in its columns.
namespace words {
constexpr std::string_view onnx = "";
constexpr std::string_view ms = "com.microsoft";
constexpr std::string_view ml = "ai.onnx.ml";
constexpr std::string_view training = "ai.onnx.preview.training";
constexpr std::string_view hugot = "hugot";
constexpr std::string_view preview = "ai.onnx.preview";
constexpr bool yes = true;
constexpr bool no = false;
}  // namespace words

struct Line {
  ManifestEntry entry;
  OpDef (*define)(int since_version);
};

std::vector<Line> lines() {
  std::vector<Line> result;
#define HUGOT_OP(domain, name, room, cpu, cuda, gradient, ...)                                 \
  result.push_back(                                                                            \
      {{words::domain, #name, #room, words::cpu, words::cuda, words::gradient, {__VA_ARGS__}}, \
       ops::domain##_##name});
#include "kernels/op_list.def"
#undef HUGOT_OP
  return result;
}

}  // namespace

OpRegistry builtin_ops() { return builtin_ops(cuda::built_in_kernels()); }

OpRegistry builtin_ops(std::span<const DeviceKernel> device_kernels) {
  OpRegistry registry;
  for (const Line& line : lines()) {
    const auto kernel = std::find_if(
        device_kernels.begin(), device_kernels.end(), [&](const DeviceKernel& candidate) {
          return candidate.domain == line.entry.domain && candidate.name == line.entry.name;
        });
    for (const int version : line.entry.since_versions) {
      OpDef definition = line.define(version);
      definition.name = line.entry.name;
      definition.domain = line.entry.domain;
      definition.since_version = version;
      if (kernel != device_kernels.end()) definition.cuda = kernel->run;
      registry.add(definition);
    }
  }
  return registry;
}

std::vector<ManifestEntry> manifest() {
  std::vector<ManifestEntry> entries;
  for (Line& line : lines()) entries.push_back(std::move(line.entry));
  return entries;
}

}  // namespace hugot
