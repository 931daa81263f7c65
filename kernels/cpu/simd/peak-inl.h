// The loop that calibrates benchmarks: as many multiply-adds per cycle as the processor can do.
#ifndef HUGOT_KERNELS_CPU_SIMD_PEAK_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_PEAK_INL_H_

#include "kernels/cpu/simd/common-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// Two units with a latency of four or five cycles need ten chains; with their two operands twelve
// fit into the sixteen registers of the smaller instruction sets.
constexpr int kChains = 12;

int64_t multiply_add_loop(int64_t rounds, float* y) {
  // The chains converge to 2, so that no number becomes denormal or infinite.
  const V factor = set(0.5f), addend = set(1.0f);
  V acc[kChains];
  HUGOT_UNROLL
  for (int i = 0; i < kChains; ++i) acc[i] = set(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    HUGOT_UNROLL
    for (int i = 0; i < kChains; ++i) acc[i] = hn::MulAdd(acc[i], factor, addend);
  }
  V sum = acc[0];
  HUGOT_UNROLL
  for (int i = 1; i < kChains; ++i) sum = hn::Add(sum, acc[i]);
  *y = hn::GetLane(hn::SumOfLanes(d, sum));
  return 2 * kChains * kLanes * rounds;
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_PEAK_INL_H_
