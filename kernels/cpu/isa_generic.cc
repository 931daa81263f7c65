#include "kernels/cpu/isa.h"

namespace hugot::cpu {

namespace scalar {
extern const VectorKernels kVectorKernels;
}

namespace {

constexpr Isa kIsas[] = {{"scalar", [] { return true; }, &scalar::kVectorKernels}};

}  // namespace

std::span<const Isa> all_isas() { return kIsas; }

}  // namespace hugot::cpu
