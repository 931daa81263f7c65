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

// The results of a tile, with a vector of room behind them.
struct ConvTile {
  float data[(kConvRows * kConvVectors + 1) * kLanes];
};

template <int R, int kVectors>
void conv_tile(const ConvArgs& args, const float* HWY_RESTRICT w, int64_t filter, int64_t place,
               ConvTile* tile) {
  V acc[R][kVectors];
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    const V start = set(args.bias != nullptr ? args.bias[filter + r] : 0.0f);
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[r][v] = start;
  }
  const float* const* rows = args.rows;
  const float* const* const end = rows + args.steps;
  for (; rows != end; ++rows, w += R) {
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
    for (int v = 0; v < kVectors; ++v) {
      store(acc[r][v], tile->data + (r * kVectors + v) * kLanes);
    }
  }
}

using ConvTileFunction = void (*)(const ConvArgs& args, const float* w, int64_t filter,
                                  int64_t place, ConvTile* tile);

#if HWY_TARGET == HWY_AVX3
#define HUGOT_CONV_TILES(R) \
  { nullptr, conv_tile<R, 1>, conv_tile<R, 2>, conv_tile<R, 3>, conv_tile<R, 4> }
#else
#define HUGOT_CONV_TILES(R) \
  { nullptr, conv_tile<R, 1>, conv_tile<R, 2> }
#endif

constexpr ConvTileFunction kConvTiles[kConvRows + 1][kConvVectors + 1] = {
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
HWY_INLINE void store_conv_tile(const ConvArgs& args, const ConvTile& tile, int64_t stride,
                                int64_t filter, int64_t rows, int64_t place, int64_t count) {
  int64_t row = place / args.pitch, column = place % args.pitch;
  for (int64_t i = 0; i < count; ++row, column = 0) {
    const int64_t run = args.pitch - column < count - i ? args.pitch - column : count - i;
    const int64_t wanted = args.width - column < run ? args.width - column : run;
    const float* from = tile.data + i;
    float* to = args.y + filter * args.y_stride + row * args.width + column;
    for (int64_t r = 0; r < rows; ++r, from += stride, to += args.y_stride) {
      for (int64_t j = 0; j < wanted; j += kLanes) {
        if (wanted - j >= kLanes) {
          store(load(from + j), to + j);
        } else {
          store_partial(load(from + j), to + j, wanted - j);
        }
      }
    }
    i += run;
  }
}

void conv(const ConvArgs* args) {
  const int64_t count = args->place_end - args->place_begin;
  const int64_t vectors = (count + kLanes - 1) / kLanes;
  const int64_t blocks = (vectors + kConvVectors - 1) / kConvVectors;
  ConvTile tile;
  for (int64_t filter = args->filter_begin; filter < args->filter_end; filter += kConvRows) {
    const int64_t rest = args->filters - filter;
    const int64_t rows = rest < kConvRows ? rest : kConvRows;
    const float* w = args->w + filter * args->steps;
    for (int64_t block = 0; block < blocks; ++block) {
      // Blocks of about equal size.
      const int64_t first = block * vectors / blocks, last = (block + 1) * vectors / blocks;
      const int64_t place = args->place_begin + first * kLanes;
      const int64_t room = args->place_end - place, own = (last - first) * kLanes;
      kConvTiles[rows][last - first](*args, w, filter, place, &tile);
      store_conv_tile(*args, tile, own, filter, rows, place, room < own ? room : own);
    }
  }
}

void take_every(const float* x, int64_t step, float* y, int64_t n) {
  if (step == 1) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(load(x + i), y + i);
    if (i < n) store_partial(load_partial(x + i, n - i), y + i, n - i);
    return;
  }
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  if (step == 2) {
    for (; i + kLanes < n; i += kLanes) {  // reads up to element 2 (i + kLanes) - 1 < 2 n - 1
      store(hn::ConcatEven(d, load(x + 2 * i + kLanes), load(x + 2 * i)), y + i);
    }
  }
#endif
  for (; i < n; ++i) y[i] = x[i * step];
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_CONV_INL_H_
