// The instruction sets that the kernels were compiled for, and the choice between them.
#ifndef HUGOT_KERNELS_CPU_ISA_H_
#define HUGOT_KERNELS_CPU_ISA_H_

#include <span>

#include "kernels/cpu/vector_kernels.h"

namespace hugot::cpu {

struct Isa {
  const char* name;              // "scalar", "sse4", "avx2", "avx512", "avx512vnni", ..
  bool (*supported)();           // whether this processor and system can run it
  const VectorKernels* kernels;  // never null
};

// Every instruction set of this build, best first; the last is "scalar", which runs everywhere.
std::span<const Isa> all_isas();

// The best supported one, or the one named by the environment variable HUGOT_ISA (read once).
// Throws kInvalidArgument when that name is unknown or cannot run here.
const Isa& active_isa();

inline const VectorKernels& active_kernels() { return *active_isa().kernels; }

// Throws kInvalidArgument when the name is unknown or the processor cannot run it.
const Isa& find_isa(const char* name);

// While it lives active_isa() is `isa`, in all threads. For tests and benchmarks: create it while
// no other thread asks for kernels. Matrices packed before keep the kernels they were packed for.
class ScopedIsa {
 public:
  explicit ScopedIsa(const Isa& isa);
  ~ScopedIsa();
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  const Isa* previous_;
};

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_ISA_H_
