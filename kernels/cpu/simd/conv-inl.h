// Convolution on images whose rows lie one after the other, padding included: what the outputs see
// through one element of the kernel is then one long run of memory, read in place.
//
// Every output is computed in one register lane: it starts from the bias (or 0) and takes one
// multiply-add per channel and kernel element, in their order.
#ifndef HUGOT_KERNELS_CPU_SIMD_CONV_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_CONV_INL_H_

#include "kernels/cpu/simd/gemm-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// A tile has up to kConvRows filters and kConvVectors vectors of places: see gemm-inl.h for why.
constexpr int64_t kConvVectors = HWY_TARGET == HWY_AVX3 ? 4 : 2;

// Sums of a tile.
constexpr int64_t kConvTileFloats = kConvRows * kConvVectors * kLanes;

// Where in the result a place is.
struct ConvPlace {
  int64_t row, column;
};

// The part [begin, end) of the steps for a tile of R filters: out = start + sum of products, where
// the first part starts from the bias.
template <int R, int kVectors>
void conv_tile(const ConvArgs& args, int64_t begin, int64_t end, int64_t filter, int64_t place,
               const float* start, float* out) {
  V acc[R][kVectors];
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    const V bias = set(args.bias != nullptr ? args.bias[filter + r] : 0.0f);
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] = begin == 0 ? bias : load(start + (r * kVectors + v) * kLanes);
    }
  }
  const float* HWY_RESTRICT w = args.w + filter * args.steps + begin * R;
  const float* const* const last = args.rows + end;
  for (const float* const* rows = args.rows + begin; rows != last; ++rows, w += R) {
    const float* row = *rows + place;
    V b[kVectors];
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) b[v] = load(row + v * kLanes);
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) {
      const V a = set(w[r]);
      HUGOT_UNROLL
      for (int v = 0; v < kVectors; ++v) accumulate(acc[r][v], a, b[v]);
    }
  }
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) store(acc[r][v], out + (r * kVectors + v) * kLanes);
  }
}

using ConvTile = void (*)(const ConvArgs& args, int64_t begin, int64_t end, int64_t filter,
                          int64_t place, const float* start, float* out);

#if HWY_TARGET == HWY_AVX3
#define HUGOT_CONV_TILES(R) \
  { nullptr, conv_tile<R, 1>, conv_tile<R, 2>, conv_tile<R, 3>, conv_tile<R, 4> }
#else
#define HUGOT_CONV_TILES(R) \
  { nullptr, conv_tile<R, 1>, conv_tile<R, 2> }
#endif

constexpr ConvTile kConvTiles[kConvRows + 1][kConvVectors + 1] = {
    {},
    HUGOT_CONV_TILES(1),
    HUGOT_CONV_TILES(2),
    HUGOT_CONV_TILES(3),
    HUGOT_CONV_TILES(4),
    HUGOT_CONV_TILES(5),
    HUGOT_CONV_TILES(6),
};
static_assert(kConvRows == 6, "one row of functions for each");

#undef HUGOT_CONV_TILES

// Stores `count` places of a tile from `place` on, but for those between the rows of outputs.
// There is a vector of room behind the tile, whose rows are `stride` apart.
HWY_INLINE void store_conv_tile(const ConvArgs& args, const float* tile, int64_t stride,
                                int64_t filter, int64_t rows, ConvPlace place, int64_t count) {
  for (int64_t i = 0; i < count; ++place.row, place.column = 0) {
    const int64_t left = args.pitch - place.column, wanted = args.width - place.column;
    const int64_t run = left < count - i ? left : count - i;
    const int64_t stored = wanted < run ? wanted : run;
    const float* from = tile + i;
    float* to = args.y + filter * args.y_stride + place.row * args.width + place.column;
    for (int64_t r = 0; r < rows; ++r, from += stride, to += args.y_stride) {
      int64_t j = 0;
      for (; j + kLanes <= stored; j += kLanes) store(load(from + j), to + j);
      if (j < stored) store_partial(load(from + j), to + j, stored - j);
    }
    i += run;
  }
}

// One block of places passes all filters, a part of the steps at a time.
HWY_INLINE void conv_block(const ConvArgs& args, int64_t place, int64_t vectors, ConvPlace where,
                           int64_t count) {
  float tile[kConvTileFloats + kLanes];
  for (int64_t begin = 0; begin < args.steps; begin += args.depth) {
    const bool last = args.steps - begin <= args.depth;
    const int64_t end = last ? args.steps : begin + args.depth;
    float* sums = args.sums;
    for (int64_t filter = args.filter_begin; filter < args.filter_end; filter += kConvRows) {
      const int64_t rest = args.filters - filter;
      const int64_t rows = rest < kConvRows ? rest : kConvRows;
      float* out = last ? tile : sums;
      kConvTiles[rows][vectors](args, begin, end, filter, place, sums, out);
      if (last) store_conv_tile(args, tile, vectors * kLanes, filter, rows, where, count);
      if (sums != nullptr) sums += kConvTileFloats;
    }
  }
}

void conv(const ConvArgs* args) {
  const int64_t all = args->place_end - args->place_begin;
  const int64_t vectors = (all + kLanes - 1) / kLanes;
  const int64_t blocks = (vectors + kConvVectors - 1) / kConvVectors;
  // Blocks of about equal size.
  const int64_t least = vectors / blocks, larger = vectors % blocks;
  ConvPlace where = {0, 0};
  if (args->place_begin > 0) {
    where = {args->place_begin / args->pitch, args->place_begin % args->pitch};
  }
  int64_t place = args->place_begin;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t own = least + (block < larger ? 1 : 0);
    const int64_t rest = args->place_end - place;
    const int64_t count = rest < own * kLanes ? rest : own * kLanes;
    conv_block(*args, place, own, where, count);
    place += count;
    where.column += count;
    while (where.column >= args->pitch) {
      where.column -= args->pitch;
      ++where.row;
    }
  }
}

// The first `count` <= kLanes of x[0], x[step], ..; zeros behind. Reads nothing else.
HWY_INLINE V take_vector(const float* x, int64_t step, int64_t count) {
  if (step == 1) return load_n(x, count);
#if HWY_TARGET != HWY_SCALAR
  if (step == 2) {
    const int64_t floats = 2 * count - 1;
    const V low = load_n(x, floats < kLanes ? floats : kLanes);
    const V high = floats > kLanes ? load_n(x + kLanes, floats - kLanes) : hn::Zero(d);
    return hn::ConcatEven(d, high, low);
  }
#endif
  float buffer[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) buffer[i] = x[i * step];
  return load(buffer);
}

void pad_rows(const PadRowsArgs* args) {
  float* to = args->y;
  for (int64_t row = 0; row < args->rows; ++row, to += args->pitch) {
    // What a vector writes too much the next row replaces.
    const bool exact = row + 1 == args->rows;
    const auto put = [&](V v, int64_t at) HUGOT_LAMBDA {
      const int64_t room = args->pitch - at;
      if (exact && room < kLanes) {
        store_partial(v, to + at, room);
      } else {
        store(v, to + at);
      }
    };
    const bool inside = row >= args->row_first && row < args->row_last;
    const int64_t first = inside ? args->first : args->pitch, last = inside ? args->last : first;
    for (int64_t i = 0; i < first; i += kLanes) put(hn::Zero(d), i);
    if (first == last) continue;
    const float* from = args->x + (row - args->row_first) * args->x_pitch;
    int64_t i = first;
    for (; i < last; i += kLanes, from += kLanes * args->step) {
      const int64_t count = last - i < kLanes ? last - i : kLanes;
      put(take_vector(from, args->step, count), i);
    }
    for (; i < args->pitch; i += kLanes) put(hn::Zero(d), i);
  }
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_CONV_INL_H_
