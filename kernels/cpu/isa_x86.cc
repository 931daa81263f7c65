#include "kernels/cpu/isa.h"

namespace hugot::cpu {

namespace scalar {
extern const VectorKernels kVectorKernels;
}
namespace sse4 {
extern const VectorKernels kVectorKernels;
}
namespace avx2 {
extern const VectorKernels kVectorKernels;
}
namespace avx512 {
extern const VectorKernels kVectorKernels;
}
namespace avx512vnni {
extern const VectorKernels kVectorKernels;
}
namespace avx512bf16 {
extern const VectorKernels kVectorKernels;
}

namespace {

// These ask for exactly the flags that meson.build compiles with; the built-in also checks that the
// system saves the wide registers.
bool has_sse4() {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") &&
         __builtin_cpu_supports("aes");
}

bool has_avx2() {
  return has_sse4() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

bool has_avx512vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

bool has_avx512bf16() { return has_avx512vnni() && __builtin_cpu_supports("avx512bf16"); }

bool always() { return true; }

constexpr Isa kIsas[] = {
    {"avx512bf16", has_avx512bf16, &avx512bf16::kVectorKernels},
    {"avx512vnni", has_avx512vnni, &avx512vnni::kVectorKernels},
    {"avx512", has_avx512, &avx512::kVectorKernels},
    {"avx2", has_avx2, &avx2::kVectorKernels},
    {"sse4", has_sse4, &sse4::kVectorKernels},
    {"scalar", always, &scalar::kVectorKernels},
};

}  // namespace

std::span<const Isa> all_isas() { return kIsas; }

}  // namespace hugot::cpu
