// GEMM in float32 with weights stored as bfloat16, which are widened on the way into the registers.
// The chain of every element is that of the float32 GEMM, so both give the same bits for the same
// weights.
#ifndef HUGOT_KERNELS_CPU_SIMD_GEMM_BF16_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_GEMM_BF16_INL_H_

#include "kernels/cpu/simd/narrow-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// bfloat16 is the upper half of a float32.
HWY_INLINE V load_bf16(const uint16_t* p) {
  const hn::RebindToUnsigned<D> wide;
  const hn::Rebind<uint16_t, D> narrow;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(narrow, p))));
}

// acc += a * b, fused where the instruction set can.
HWY_INLINE void multiply_add(V& acc, V a, V b) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  // Not the intrinsic: gcc 12 lets its accumulators wander through the registers, and spills them.
  asm("vfmadd231ps %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
#else
  acc = hn::MulAdd(a, b, acc);
#endif
}

struct Bf16Format {
  using Args = GemmBf16Args;
  static constexpr int64_t kStepBytes = kPanelWidth * int64_t{sizeof(uint16_t)};

  static int64_t steps(const Args& args) { return args.k; }
  static int64_t row_bytes(const Args& args) { return args.k * int64_t{sizeof(float)}; }
  static const uint8_t* panel(const Args& args, int64_t p) {
    return reinterpret_cast<const uint8_t*>(args.b + p * args.k * kPanelWidth);
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
    RowPointers<float, R> rows(args.a + row * args.lda, args.lda);
    for (int64_t i = 0; i < args.k; ++i) {
      V weights[kPanelVectors];
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) weights[v] = load_bf16(b + v * kLanes);
      fetch_step<kStepBytes>(fetch, i);
      HUGOT_UNROLL
      for (int r = 0; r < R; ++r) {
        const V a = set(rows.at(r));
        HUGOT_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) multiply_add(acc[r][v], a, weights[v]);
      }
      rows.advance();
      b += kPanelWidth;
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
