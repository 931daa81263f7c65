// GEMM of activations in 8 bits (0..255) by weights in 8 bits (-128..127) with exact sums in int32.
//
// Along K the operands are read in groups of 32 bits: four bytes of A where the processor has VNNI
// (vpdpbusd), elsewhere two numbers of 16 bits (vpmaddwd). vpmaddubsw would be faster without VNNI,
// but it saturates on 8-bit activations, and 7 bits cost too much quality. All instruction sets
// quantize alike and sum exactly, so they get the same integers.
#ifndef HUGOT_KERNELS_CPU_SIMD_GEMM_INT8_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_GEMM_INT8_INL_H_

#include "kernels/cpu/simd/narrow-inl.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

namespace hugot::cpu::HUGOT_ISA {
namespace {

#if defined(__AVX512VNNI__)

constexpr int64_t kInt8Group = 4;  // steps along K of one group
using QuantizedActivation = uint8_t;
using WeightGroups = __m512i;  // a group of every lane's column

HWY_INLINE WeightGroups load_groups(const int8_t* p) { return _mm512_loadu_si512(p); }
HWY_INLINE __m512i broadcast_group(uint32_t group) {
  return _mm512_set1_epi32(static_cast<int32_t>(group));
}
HWY_INLINE void multiply_add_groups(VI& acc, __m512i a, WeightGroups b) {
  // Not the intrinsic: gcc 12 lets its accumulators wander through the registers, and spills them.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(a), "v"(b));
}

#elif HWY_TARGET == HWY_SCALAR

constexpr int64_t kInt8Group = 2;
using QuantizedActivation = int16_t;
struct WeightGroups {
  int32_t first, second;
};

HWY_INLINE WeightGroups load_groups(const int8_t* p) { return {p[0], p[1]}; }
HWY_INLINE WeightGroups broadcast_group(uint32_t group) {
  int16_t values[2];
  memcpy(values, &group, sizeof(values));
  return {values[0], values[1]};
}
HWY_INLINE void multiply_add_groups(VI& acc, WeightGroups a, WeightGroups b) {
  acc.raw += a.first * b.first + a.second * b.second;
}

#else

constexpr int64_t kInt8Group = 2;
using QuantizedActivation = int16_t;
using D16 = hn::Repartition<int16_t, DI>;
using WeightGroups = hn::Vec<D16>;

HWY_INLINE WeightGroups load_groups(const int8_t* p) {
  return hn::PromoteTo(D16(), hn::LoadU(hn::Rebind<int8_t, D16>(), p));
}
HWY_INLINE WeightGroups broadcast_group(uint32_t group) {
  return hn::BitCast(D16(), hn::Set(di, static_cast<int32_t>(group)));
}
HWY_INLINE void multiply_add_groups(VI& acc, WeightGroups a, WeightGroups b) {
#if HWY_TARGET == HWY_SSE4
  VI unused = hn::Zero(di);
  acc = hn::ReorderWidenMulAccumulate(di, a, b, acc, unused);
#elif HWY_ARCH_ARM
  // Products of neighbours go to the same sum, which Highway's operation does not promise.
  const auto even = [](WeightGroups x) {
    return hn::ShiftRight<16>(hn::ShiftLeft<16>(hn::BitCast(di, x)));
  };
  const auto odd = [](WeightGroups x) { return hn::ShiftRight<16>(hn::BitCast(di, x)); };
  acc = hn::Add(acc, hn::Add(hn::Mul(even(a), even(b)), hn::Mul(odd(a), odd(b))));
#else  // the same, for the compiler's sake as above
  VI product;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+v"(acc.raw), "=&v"(product.raw)
      : "v"(a.raw), "v"(b.raw));
#endif
}

#endif

struct Int8Format {
  using Args = GemmInt8Args;
  static constexpr int64_t kStepBytes = kPanelWidth * kInt8Group;

  static int64_t steps(const Args& args) { return args.groups; }
  static int64_t row_bytes(const Args& args) { return args.groups * int64_t{sizeof(uint32_t)}; }
  static const uint8_t* panel(const Args& args, int64_t p) {
    return reinterpret_cast<const uint8_t*>(args.b + p * args.groups * kStepBytes);
  }

  // out = a_scale b_scale D + bias, or D itself; see GemmInt8Args
  template <int R>
  static HWY_INLINE void tile(const Args& args, int64_t row, int64_t p, const float* bias,
                              const NarrowFetch& fetch, float* out, int64_t ldo) {
    VI acc[R][kPanelVectors];
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) {
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) acc[r][v] = hn::Zero(di);
    }
    const auto* b = reinterpret_cast<const int8_t*>(panel(args, p));
    RowPointers<uint32_t, R> rows(args.a + row * args.a_stride, args.a_stride);
    for (int64_t i = 0; i < args.groups; ++i) {
      WeightGroups weights[kPanelVectors];
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        weights[v] = load_groups(b + v * kLanes * kInt8Group);
      }
      fetch_step<kStepBytes>(fetch, i);
      HUGOT_UNROLL
      for (int r = 0; r < R; ++r) {
        const auto a = broadcast_group(rows.at(r));
        HUGOT_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) multiply_add_groups(acc[r][v], a, weights[v]);
      }
      rows.advance();
      b += kStepBytes;
    }
    const int64_t col = p * kPanelWidth;
    VI sum[kPanelVectors];
    HUGOT_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) sum[v] = hn::LoadU(di, args.b_sum + col + v * kLanes);
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) {
      const VI zero = hn::Set(di, args.a_zero[row + r]);
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        acc[r][v] = hn::Sub(acc[r][v], hn::Mul(zero, sum[v]));
      }
    }
    if (args.b_zero != nullptr) {
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        const VI zero = hn::LoadU(di, args.b_zero + col + v * kLanes);
        HUGOT_UNROLL
        for (int r = 0; r < R; ++r) {
          acc[r][v] = hn::Sub(acc[r][v], hn::Mul(zero, hn::Set(di, args.a_sum[row + r])));
        }
      }
    }
    if (args.integers) {
      HUGOT_UNROLL
      for (int r = 0; r < R; ++r) {
        HUGOT_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) {
          store(hn::BitCast(d, acc[r][v]), out + r * ldo + v * kLanes);
        }
      }
      return;
    }
    V scale[kPanelVectors], start[kPanelVectors];
    HUGOT_UNROLL
    for (int v = 0; v < kPanelVectors; ++v) {
      scale[v] = load(args.b_scale + col + v * kLanes);
      start[v] = bias != nullptr ? load(bias + v * kLanes) : hn::Zero(d);
    }
    // Rounded as a graph does it that multiplies and adds in nodes of its own.
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) {
      const V row_scale = set(args.a_scale[row + r]);
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        const V factor = hn::Mul(row_scale, scale[v]);
        const V product = hn::Mul(hn::ConvertTo(d, acc[r][v]), factor);
        store(hn::Add(product, start[v]), out + r * ldo + v * kLanes);
      }
    }
  }
};

void gemm_int8(const GemmInt8Args* args) { narrow_gemm<Int8Format>(*args); }

// Smallest and largest element, 0 included; `poison` is 0, or NaN when an element is not finite.
struct RowRange {
  float low, high, poison;
};

HWY_INLINE RowRange row_range(const float* x, int64_t n) {
  V low = hn::Zero(d), high = low, poison = low;
  const V zero = low;
  for (int64_t i = 0; i < n; i += kLanes) {
    const V v = load_n(x + i, n - i < kLanes ? n - i : kLanes);
    low = hn::Min(v, low);
    high = hn::Max(v, high);
    poison = hn::MulAdd(v, zero, poison);
  }
  return {hn::GetLane(hn::MinOfLanes(d, low)), max_lanes(high), sum_lanes(poison)};
}

float range(const float* x, int64_t n, float* low, float* high) {
  const RowRange result = row_range(x, n);
  *low = result.low;
  *high = result.high;
  return result.poison;
}

// One row: x = scale (q - zero) but for rounding, with q in 0..255.
HWY_INLINE void quantize_row(const float* x, int64_t k, QuantizedActivation* q, float* scale,
                             int32_t* zero) {
  constexpr float kSmallest = 1e-30f;  // whose reciprocal is finite
  const RowRange range = row_range(x, k);
  const float step = range.high / 255.0f - range.low / 255.0f;
  const hn::Rebind<QuantizedActivation, D> narrow;
  if (!(step + range.poison >= kSmallest)) {  // nothing to tell apart, or NaN
    *scale = range.poison;
    *zero = 0;
    memset(q, 0, sizeof(*q) * static_cast<size_t>((k + kLanes - 1) / kLanes * kLanes));
    return;
  }
  const V inverse = hn::Div(set(1.0f), set(step));
  const VI lowest = hn::Zero(di), highest = hn::Set(di, 255);
  const VI offset = hn::NearestInt(hn::Neg(hn::Mul(set(range.low), inverse)));
  for (int64_t i = 0; i < k; i += kLanes) {
    const V v = load_n(x + i, k - i < kLanes ? k - i : kLanes);
    const VI rounded = hn::Add(hn::NearestInt(hn::Mul(v, inverse)), offset);
    const VI clamped = hn::Min(hn::Max(rounded, lowest), highest);
    hn::StoreU(hn::DemoteTo(narrow, clamped), narrow, q + i);
  }
  *scale = step;
  *zero = hn::GetLane(offset);
}

void quantize_rows(const float* x, int64_t rows, int64_t k, int64_t ldx, uint32_t* groups,
                   int64_t stride, float* scale, int32_t* zero) {
  for (int64_t r = 0; r < rows; ++r) {
    quantize_row(x + r * ldx, k, reinterpret_cast<QuantizedActivation*>(groups + r * stride),
                 scale + r, zero + r);
  }
}

// `count` <= kLanes bytes; the other lanes are `fill`.
template <class T>
HWY_INLINE hn::Vec<hn::Rebind<T, D>> load_bytes(const T* p, int64_t count, T fill) {
  const hn::Rebind<T, D> narrow;
  if (count >= kLanes) return hn::LoadU(narrow, p);
  T buffer[kLanes];
  memset(buffer, fill, sizeof(buffer));
  memcpy(buffer, p, static_cast<size_t>(count));
  return hn::LoadU(narrow, buffer);
}

void pack_bytes(const uint8_t* x, uint8_t flip, int64_t rows, int64_t k, int64_t ldx,
                uint32_t* groups, int64_t stride, int32_t* sum) {
  const hn::Rebind<uint8_t, D> bytes;
  const auto mask = hn::Set(bytes, flip);
  for (int64_t r = 0; r < rows; ++r) {
    auto* q = reinterpret_cast<QuantizedActivation*>(groups + r * stride);
    if (k > 0) groups[r * stride + (k - 1) / kInt8Group] = 0;  // the row may not fill it
    VI total = hn::Zero(di);
    for (int64_t i = 0; i < k; i += kLanes) {
      const auto v = hn::Xor(load_bytes(x + r * ldx + i, k - i, flip), mask);
      total = hn::Add(total, hn::PromoteTo(di, v));
      if constexpr (sizeof(QuantizedActivation) == 1) {
        hn::StoreU(v, bytes, reinterpret_cast<uint8_t*>(q) + i);
      } else {
        const hn::Rebind<int16_t, D> words;
        hn::StoreU(hn::PromoteTo(words, v), words, reinterpret_cast<int16_t*>(q) + i);
      }
    }
    sum[r] = hn::GetLane(hn::SumOfLanes(di, total));
  }
}

template <class T>
HWY_INLINE void quantize_bytes(const float* x, int64_t n, float scale, int32_t zero, T* y) {
  constexpr int32_t kLowest = T(-1) < T(0) ? -128 : 0;
  const hn::Rebind<T, D> narrow;
  const V divisor = set(scale), low = set(static_cast<float>(kLowest - zero)),
          high = set(static_cast<float>(kLowest + 255 - zero));
  const VI offset = hn::Set(di, zero);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t count = n - i < kLanes ? n - i : kLanes;
    const V quotient = hn::Div(load_n(x + i, count), divisor);
    const V clamped = hn::Min(hn::Max(quotient, low), high);  // in this order NaN gives `low`
    const auto q = hn::DemoteTo(narrow, hn::Add(hn::NearestInt(clamped), offset));
    if (count == kLanes) {
      hn::StoreU(q, narrow, y + i);
    } else {
      T buffer[kLanes];
      hn::StoreU(q, narrow, buffer);
      memcpy(y + i, buffer, static_cast<size_t>(count));
    }
  }
}

void quantize_uint8(const float* x, int64_t n, float scale, int32_t zero, uint8_t* y) {
  quantize_bytes(x, n, scale, zero, y);
}
void quantize_int8(const float* x, int64_t n, float scale, int32_t zero, int8_t* y) {
  quantize_bytes(x, n, scale, zero, y);
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_GEMM_INT8_INL_H_
