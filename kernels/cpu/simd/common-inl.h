// What the kernel files share: Highway, the lane type, partial loads and stores.
// Part of kernels.cc, once per instruction set.
#ifndef HUGOT_KERNELS_CPU_SIMD_COMMON_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_COMMON_INL_H_

#include <hwy/highway.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/vector_kernels.h"

// A loop over registers must disappear, or the array that it walks lives in memory: gcc 12 at -O2
// unrolls only where it is told to.
#if defined(__clang__)
#define HUGOT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HUGOT_UNROLL _Pragma("GCC unroll 32")
#endif

// Lambdas that take or return vectors are inlined, whatever the compiler thinks of their size.
#define HUGOT_LAMBDA __attribute__((always_inline))

namespace hugot::cpu::HUGOT_ISA {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
using M = hn::Mask<D>;

constexpr D d;
constexpr DI di;
constexpr int64_t kLanes = static_cast<int64_t>(HWY_LANES(float));

HWY_INLINE V set(float value) { return hn::Set(d, value); }
HWY_INLINE V load(const float* p) { return hn::LoadU(d, p); }
HWY_INLINE void store(V v, float* p) { hn::StoreU(v, d, p); }

// The first `count` < kLanes elements; the other lanes are `fill`. Reads nothing past the end.
HWY_INLINE V load_partial(const float* p, int64_t count, V fill) {
#if HWY_MEM_OPS_MIGHT_FAULT
  alignas(64) float buffer[kLanes];
  hn::Store(fill, d, buffer);
  for (int64_t i = 0; i < count; ++i) buffer[i] = p[i];
  return hn::Load(d, buffer);
#else
  const M mask = hn::FirstN(d, static_cast<size_t>(count));
  return hn::IfThenElse(mask, hn::MaskedLoad(mask, d, p), fill);
#endif
}

HWY_INLINE V load_partial(const float* p, int64_t count) {
  return load_partial(p, count, hn::Zero(d));
}

// Stores the first `count` < kLanes elements and writes nothing past the end.
HWY_INLINE void store_partial(V v, float* p, int64_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  alignas(64) float buffer[kLanes];
  hn::Store(v, d, buffer);
  for (int64_t i = 0; i < count; ++i) p[i] = buffer[i];
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, p);
#endif
}

// `count` elements: kLanes, or fewer for the last vector of an array.
HWY_INLINE V load_n(const float* p, int64_t count) {
  return count == kLanes ? load(p) : load_partial(p, count);
}

// Four vectors that go through a computation side by side: the latency of one hides behind the
// others, and a constant is loaded once for all.
constexpr int kBlockVectors = 4;
constexpr int64_t kBlockLanes = kBlockVectors * kLanes;

struct Block {
  V v[kBlockVectors];
};

// {f(0), f(1), f(2), f(3)}
template <class F>
HWY_INLINE Block each(F f) {
  Block block;
  HUGOT_UNROLL
  for (int j = 0; j < kBlockVectors; ++j) block.v[j] = f(j);
  return block;
}

// The first `count` <= kBlockLanes elements; the other lanes are `fill`.
HWY_INLINE Block load_block(const float* p, int64_t count, V fill) {
  if (count == kBlockLanes) return each([&](int j) HUGOT_LAMBDA { return load(p + j * kLanes); });
  return each([&](int j) HUGOT_LAMBDA {
    const int64_t rest = count - j * kLanes;
    if (rest >= kLanes) return load(p + j * kLanes);
    return rest <= 0 ? fill : load_partial(p + j * kLanes, rest, fill);
  });
}

HWY_INLINE void store_block(const Block& block, float* p, int64_t count) {
  HUGOT_UNROLL
  for (int j = 0; j < kBlockVectors; ++j) {
    const int64_t rest = count - j * kLanes;
    if (rest >= kLanes) {
      store(block.v[j], p + j * kLanes);
    } else if (rest > 0) {
      store_partial(block.v[j], p + j * kLanes, rest);
    }
  }
}

// Calls body(i, count) for the blocks of [0, n); count is kBlockLanes but for the last one.
template <class Body>
HWY_INLINE void for_blocks(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kBlockLanes <= n; i += kBlockLanes) body(i, kBlockLanes);
  if (i < n) body(i, n - i);
}

// y[0, n) = f(loads of block i), where f(i, count) gives a Block.
template <class F>
HWY_INLINE void map_blocks(float* y, int64_t n, F f) {
  for_blocks(
      n, [&](int64_t i, int64_t count) HUGOT_LAMBDA { store_block(f(i, count), y + i, count); });
}

// y[i, i + count) = f(i, count) for the vectors of y[0, n); count is kLanes but for the last.
template <class F>
HWY_INLINE void map(float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const V r0 = f(i, kLanes);
    const V r1 = f(i + kLanes, kLanes);
    store(r0, y + i);
    store(r1, y + i + kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) store(f(i, kLanes), y + i);
  if (i < n) store_partial(f(i, n - i), y + i, n - i);
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_COMMON_INL_H_
