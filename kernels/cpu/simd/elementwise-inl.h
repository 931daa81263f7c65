// Elementwise kernels and reductions over contiguous arrays.
#ifndef HUGOT_KERNELS_CPU_SIMD_ELEMENTWISE_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_ELEMENTWISE_INL_H_

#include "kernels/cpu/simd/math-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// hn::Neg and the like as functions of exactly this type, to be template arguments.
HWY_INLINE V sqrt(V x) { return hn::Sqrt(x); }
HWY_INLINE V reciprocal(V x) { return hn::Div(set(1.0f), x); }
HWY_INLINE V abs(V x) { return hn::Abs(x); }
HWY_INLINE V neg(V x) { return hn::Neg(x); }
HWY_INLINE V relu(V x) { return at_least(x, 0.0f); }
HWY_INLINE V add(V a, V b) { return hn::Add(a, b); }
HWY_INLINE V sub(V a, V b) { return hn::Sub(a, b); }
HWY_INLINE V mul(V a, V b) { return hn::Mul(a, b); }
HWY_INLINE V div(V a, V b) { return hn::Div(a, b); }

template <V f(V)>
HWY_INLINE Block each_vector(const Block& x) {
  return each([&](int j) HUGOT_LAMBDA { return f(x.v[j]); });
}

template <Block f(const Block&)>
void unary_kernel(const float* x, float* y, int64_t n) {
  map_blocks(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    return f(load_block(x + i, count, hn::Zero(d)));
  });
}

template <V f(V, V)>
void binary_vv(const float* a, const float* b, float* y, int64_t n) {
  map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    return f(load_n(a + i, count), load_n(b + i, count));
  });
}

template <V f(V, V)>
void binary_vs(const float* a, float b, float* y, int64_t n) {
  map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA { return f(load_n(a + i, count), set(b)); });
}

template <V f(V, V)>
void binary_sv(float a, const float* b, float* y, int64_t n) {
  map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA { return f(set(a), load_n(b + i, count)); });
}

template <V f(V, V)>
constexpr BinaryKernel kBinary = {binary_vv<f>, binary_vs<f>, binary_sv<f>};

void mul_add(const float* a, const float* b, const float* c, float* y, int64_t n) {
  map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    return hn::MulAdd(load_n(a + i, count), load_n(b + i, count), load_n(c + i, count));
  });
}

// Folds step(accumulator, i, count) over the vectors of [0, n) with four accumulators and a fixed
// order of combination. For the last, partial vector `step` must leave the lanes from count on
// unchanged. Returns one vector; `start` is the neutral element.
template <class Step, class Combine>
HWY_INLINE V fold(int64_t n, V start, Step step, Combine combine) {
  V a0 = start, a1 = start, a2 = start, a3 = start;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a0 = step(a0, i, kLanes);
    a1 = step(a1, i + kLanes, kLanes);
    a2 = step(a2, i + 2 * kLanes, kLanes);
    a3 = step(a3, i + 3 * kLanes, kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) a0 = step(a0, i, kLanes);
  if (i < n) a1 = step(a1, i, n - i);
  return combine(combine(a0, a1), combine(a2, a3));
}

HWY_INLINE float sum_lanes(V v) { return hn::GetLane(hn::SumOfLanes(d, v)); }
HWY_INLINE float max_lanes(V v) { return hn::GetLane(hn::MaxOfLanes(d, v)); }

template <class Term>
HWY_INLINE float fold_sum(int64_t n, Term term) {
  return sum_lanes(fold(
      n, hn::Zero(d),
      [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA { return term(acc, i, count); },
      [](V a, V b) HUGOT_LAMBDA { return hn::Add(a, b); }));
}

// In the order that suits the vectors of this instruction set.
HWY_INLINE float row_sum(const float* x, int64_t n) {
  return fold_sum(n, [&](V acc, int64_t i, int64_t count)
                         HUGOT_LAMBDA { return hn::Add(acc, load_n(x + i, count)); });
}

// In the order of four accumulators of four lanes on every instruction set: a graph that quantizes
// what it has summed up would otherwise round to other steps on other machines.
float sum(const float* x, int64_t n) {
  constexpr int64_t kWidth = 4, kAccumulators = 4;
  float sums[kAccumulators][kWidth] = {};
  int64_t i = 0;
  for (; i + kAccumulators * kWidth <= n; i += kAccumulators * kWidth) {
    for (int64_t a = 0; a < kAccumulators; ++a) {
      for (int64_t lane = 0; lane < kWidth; ++lane) sums[a][lane] += x[i + a * kWidth + lane];
    }
  }
  for (; i + kWidth <= n; i += kWidth) {
    for (int64_t lane = 0; lane < kWidth; ++lane) sums[0][lane] += x[i + lane];
  }
  for (int64_t lane = 0; i < n; ++i, ++lane) sums[1][lane] += x[i];
  float total[kWidth];
  for (int64_t lane = 0; lane < kWidth; ++lane) {
    total[lane] = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
  }
  return (total[0] + total[2]) + (total[1] + total[3]);
}

float dot(const float* a, const float* b, int64_t n) {
  return fold_sum(n, [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
    return hn::MulAdd(load_n(a + i, count), load_n(b + i, count), acc);
  });
}

float sum_squares(const float* x, int64_t n) { return dot(x, x, n); }

// The largest element of a row; ignores NaN (the callers' later steps do not).
HWY_INLINE float row_max(const float* x, int64_t n) {
  const V lowest = hn::Neg(hn::Inf(d));
  return max_lanes(fold(
      n, lowest,
      [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
        return hn::Max(count == kLanes ? load(x + i) : load_partial(x + i, count, lowest), acc);
      },
      [](V a, V b) HUGOT_LAMBDA { return hn::Max(a, b); }));
}

// Extreme value by `f` (max_nan or min_nan), NaN if there is one; lanes are combined in order.
template <V f(V, V)>
HWY_INLINE float extreme(const float* x, int64_t n, V start) {
  const V v = fold(
      n, start,
      [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
        return f(acc, count == kLanes ? load(x + i) : load_partial(x + i, count, start));
      },
      [](V a, V b) HUGOT_LAMBDA { return f(a, b); });
  alignas(64) float lanes[kLanes];
  hn::Store(v, d, lanes);
  V result = set(lanes[0]);
  for (int64_t i = 1; i < kLanes; ++i) result = f(result, set(lanes[i]));
  return hn::GetLane(result);
}

float reduce_max(const float* x, int64_t n) { return extreme<max_nan>(x, n, hn::Neg(hn::Inf(d))); }
float reduce_min(const float* x, int64_t n) { return extreme<min_nan>(x, n, hn::Inf(d)); }

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_ELEMENTWISE_INL_H_
