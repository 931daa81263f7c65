#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "kernels/cpu/isa.h"

namespace hugot::cpu {

namespace scalar {
extern const VectorKernels kVectorKernels;
}
namespace neon {
extern const VectorKernels kVectorKernels;
}

namespace {

// Every AArch64 processor has vectors; the flags of meson.build allow the cryptographic
// instructions besides, which Highway's target includes.
bool has_neon() {
  constexpr unsigned long kWanted = HWCAP_ASIMD | HWCAP_AES | HWCAP_PMULL;
  return (getauxval(AT_HWCAP) & kWanted) == kWanted;
}

constexpr Isa kIsas[] = {
    {"neon", has_neon, &neon::kVectorKernels},
    {"scalar", [] { return true; }, &scalar::kVectorKernels},
};

}  // namespace

std::span<const Isa> all_isas() { return kIsas; }

}  // namespace hugot::cpu
