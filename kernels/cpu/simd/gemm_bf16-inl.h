// GEMM with weights stored as bfloat16.
//
// Processors with AVX512_BF16 multiply pairs of bfloat16 numbers (vdpbf16ps: per lane of float32,
// acc += a1 b1, then acc += a0 b0), so A is rounded, too. Elsewhere A stays float32 and weights are
// widened on the way into the registers: the chain of every element is then that of the float32
// GEMM, and both give the same bits for the same weights.
#ifndef HUGOT_KERNELS_CPU_SIMD_GEMM_BF16_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_GEMM_BF16_INL_H_

#include "kernels/cpu/simd/narrow-inl.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace hugot::cpu::HUGOT_ISA {
namespace {

#if defined(__AVX512BF16__)

constexpr int64_t kBf16Group = 2;
using Bf16Activation = uint32_t;  // a pair
using Bf16Weights = __m512i;      // a pair of every lane's column

HWY_INLINE Bf16Weights load_weights(const uint16_t* p) { return _mm512_loadu_si512(p); }
HWY_INLINE __m512i broadcast_activation(uint32_t pair) {
  return _mm512_set1_epi32(static_cast<int32_t>(pair));
}
HWY_INLINE void multiply_add(V& acc, __m512i a, Bf16Weights b) {
  // Not the intrinsic: gcc 12 lets its accumulators wander through the registers, and spills them.
  asm("vdpbf16ps %2, %1, %0" : "+v"(acc.raw) : "v"(a), "v"(b));
}

void round_to_bf16(const float* x, int64_t rows, int64_t k, int64_t ldx, uint32_t* groups,
                   int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    auto* out = reinterpret_cast<uint16_t*>(groups + r * stride);
    for (int64_t i = 0; i < k; i += kLanes) {
      const V v = load_n(x + r * ldx + i, k - i < kLanes ? k - i : kLanes);
      const __m256bh rounded = _mm512_cvtneps_pbh(v.raw);
      memcpy(out + i, &rounded, sizeof(rounded));
    }
  }
}
constexpr auto kRoundToBf16 = &round_to_bf16;

#else

constexpr int64_t kBf16Group = 1;
using Bf16Activation = float;
using Bf16Weights = V;

// bfloat16 is the upper half of a float32.
HWY_INLINE Bf16Weights load_weights(const uint16_t* p) {
  const hn::RebindToUnsigned<D> wide;
  const hn::Rebind<uint16_t, D> narrow;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(narrow, p))));
}
HWY_INLINE V broadcast_activation(float x) { return set(x); }
HWY_INLINE void multiply_add(V& acc, V a, Bf16Weights b) { accumulate(acc, a, b); }
constexpr decltype(VectorKernels::round_to_bf16) kRoundToBf16 = nullptr;

#endif

struct Bf16Format {
  using Args = GemmBf16Args;
  static constexpr int64_t kStepWeights = kPanelWidth * kBf16Group;
  static constexpr int64_t kStepBytes = kStepWeights * int64_t{sizeof(uint16_t)};

  static int64_t steps(const Args& args) { return args.groups; }
  static int64_t row_bytes(const Args& args) { return args.groups * int64_t{sizeof(uint32_t)}; }
  static const uint8_t* panel(const Args& args, int64_t p) {
    return reinterpret_cast<const uint8_t*>(args.b + p * args.groups * kStepWeights);
  }

  template <int R>
  static HWY_INLINE void tile(const Args& args, int64_t row, int64_t p, const float* bias,
                              const NarrowFetch& fetch, float* out, int64_t ldo) {
    V acc[R][kPanelVectors];
    HUGOT_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      const V start = bias != nullptr ? load(bias + v * kLanes) : hn::Zero(d);
      HUGOT_UNROLL
      for (int r = 0; r < R; ++r) acc[r][v] = start;
    }
    const auto* b = reinterpret_cast<const uint16_t*>(panel(args, p));
    const auto* a = static_cast<const Bf16Activation*>(args.a);
    RowPointers<Bf16Activation, R> rows(a + row * args.a_stride, args.a_stride);
    for (int64_t i = 0; i < args.groups; ++i) {
      Bf16Weights weights[kPanelVectors];
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        weights[v] = load_weights(b + v * kLanes * kBf16Group);
      }
      fetch_step<kStepBytes>(fetch, i);
      HUGOT_UNROLL
      for (int r = 0; r < R; ++r) {
        const auto x = broadcast_activation(rows.at(r));
        HUGOT_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) multiply_add(acc[r][v], x, weights[v]);
      }
      rows.advance();
      b += kStepWeights;
    }
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) {
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) store(acc[r][v], out + r * ldo + v * kLanes);
    }
  }
};

void gemm_bf16(const GemmBf16Args* args) { narrow_gemm<Bf16Format>(*args); }

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_GEMM_BF16_INL_H_
