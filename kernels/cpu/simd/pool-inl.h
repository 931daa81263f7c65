// Pools of images: every output starts from -inf or 0 and takes the elements of its window in a
// fixed order, those outside of the image included.
#ifndef HUGOT_KERNELS_CPU_SIMD_POOL_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_POOL_INL_H_

#include <math.h>

#include "kernels/cpu/simd/elementwise-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// x[0], x[step], ..; a vector times the step behind x[0] is readable for steps 1 and 2.
template <int kStep>
HWY_INLINE V spaced(const float* x, int64_t step, int64_t count) {
  if constexpr (kStep == 1) return load(x);
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kStep == 2) return hn::ConcatEven(d, load(x + kLanes), load(x));
#endif
  float buffer[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) buffer[i] = x[i * step];
  return load(buffer);
}

template <V (*kCombine)(V, V), int kStep>
HWY_INLINE void pool_row(const PoolAxis& axis, const float* row, float start, float* y) {
  const float* const end = row + axis.kernel * axis.dilation;
  map(y, axis.out, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    V result = set(start);
    const int64_t shift = i * axis.stride;
    for (const float* at = row; at != end; at += axis.dilation) {
      result = kCombine(result, spaced<kStep>(at + shift, axis.stride, count));
    }
    return result;
  });
}

// The rows of the image that output row `o` meets, as one row.
template <V (*kCombine)(V, V)>
HWY_INLINE void fold_rows(const PoolArgs& args, int64_t o, float start, float* row) {
  const PoolAxis& down = args.rows;
  const int64_t width = args.columns.in;
  int64_t first = o * down.stride - down.before, taps = down.kernel;
  for (; first < 0 && taps > 0; --taps) first += down.dilation;
  while (taps > 0 && first + (taps - 1) * down.dilation >= down.in) --taps;
  const float* from = args.x + first * width;
  const int64_t step = down.dilation * width;
  map(row + args.columns.before, width, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    V result = set(start);
    for (int64_t k = 0; k < taps; ++k) {
      result = kCombine(result, load_n(from + k * step + i, count));
    }
    return result;
  });
}

template <V (*kCombine)(V, V)>
HWY_INLINE void pool(const PoolArgs& args, float start) {
  const PoolAxis& across = args.columns;
  const int64_t all = across.reach() + kPoolSlack;
  for (int64_t i = 0; i < 2 * all; ++i) args.row[i] = start;
  // A row is read at other places than those it was written at, which has to wait until it is in
  // the cache: the next one is made in between.
  float* row = args.row;
  float* next = args.row + all;
  float* y = args.y;
  if (args.rows.out > 0) fold_rows<kCombine>(args, 0, start, row);
  for (int64_t o = 0; o < args.rows.out; ++o, y += across.out) {
    if (o + 1 < args.rows.out) fold_rows<kCombine>(args, o + 1, start, next);
    if (across.stride == 1) {
      pool_row<kCombine, 1>(across, row, start, y);
    } else if (across.stride == 2) {
      pool_row<kCombine, 2>(across, row, start, y);
    } else {
      pool_row<kCombine, 0>(across, row, start, y);
    }
    float* const done = row;
    row = next;
    next = done;
  }
}

void pool_max(const PoolArgs* args) { pool<max_nan>(*args, -HUGE_VALF); }
void pool_sum(const PoolArgs* args) { pool<add>(*args, 0.0f); }

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_POOL_INL_H_
