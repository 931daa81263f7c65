// What GEMMs on narrow weights (int8, bfloat16) share: the walk over tiles, and where results go.
//
// A format describes one of them:
//   Args                            arguments, of vector_kernels.h
//   kStepBytes                      bytes of a panel that one step along K takes
//   steps(args)                     steps along K
//   row_bytes(args)                 bytes of a row of A
//   panel(args, p)                  the first byte of panel p
//   tile<R>(args, row, p, bias, fetch, out, ldo)
//                                   rows [row, row + R) of panel p into `out`, bias included
#ifndef HUGOT_KERNELS_CPU_SIMD_NARROW_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_NARROW_INL_H_

#include "kernels/cpu/simd/gemm-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// A block of A stays in the second cache level while the panels pass by.
constexpr int64_t kNarrowBlockBytes = 384 * 1024;
constexpr int64_t kLineBytes = 64;

// What to fetch into the cache during a tile's work: `step` bytes from `data` on per step of K.
struct NarrowFetch {
  const uint8_t* data;
  int64_t step;
};

template <int64_t kStepBytes>
HWY_INLINE void fetch_step(const NarrowFetch& fetch, int64_t i) {
  HUGOT_UNROLL
  for (int64_t byte = 0; byte < kStepBytes; byte += kLineBytes) {
    __builtin_prefetch(fetch.data + i * fetch.step + byte);
  }
}

// Rows of A that are addressed from one pointer, as p, p + stride and p + 2 stride: a pointer for
// each row would not fit into the registers.
constexpr int kRowsOfPointer = 3;

template <class T, int R>
struct RowPointers {
  static constexpr int kCount = (R + kRowsOfPointer - 1) / kRowsOfPointer;
  const T* p[kCount];
  int64_t stride;

  HWY_INLINE RowPointers(const T* first, int64_t row_stride) : stride(row_stride) {
    HUGOT_UNROLL
    for (int i = 0; i < kCount; ++i) p[i] = first + i * kRowsOfPointer * row_stride;
  }
  HWY_INLINE T at(int r) const { return p[r / kRowsOfPointer][r % kRowsOfPointer * stride]; }
  HWY_INLINE void advance() {
    HUGOT_UNROLL
    for (int i = 0; i < kCount; ++i) {
      ++p[i];
#if defined(__x86_64__)
      asm("" : "+r"(p[i]));  // or the compiler keeps one index and a base for every row after all
#endif
    }
  }
};

// Rows [row, row + R) of one panel, with the whole epilogue.
template <class Format, int R>
void narrow_tile(const typename Format::Args& args, int64_t row, int64_t panel, const float* bias,
                 const NarrowFetch& fetch) {
  const int64_t col = panel * kPanelWidth;
  const int64_t cols = args.n - col < kPanelWidth ? args.n - col : kPanelWidth;
  const Epilogue& epilogue = args.epilogue;
  float* c = args.c + row * args.ldc + col;
  if (cols == kPanelWidth && epilogue.activation == Activation::kNone &&
      epilogue.residual == nullptr) {
    return Format::template tile<R>(args, row, panel, bias, fetch, c, args.ldc);
  }
  alignas(64) float tile[R * kPanelWidth + kBlockLanes];  // the last block may be half full
  Format::template tile<R>(args, row, panel, bias, fetch, tile, kPanelWidth);
  const float* residual = epilogue.residual;
  if (residual != nullptr) residual += row * epilogue.residual_stride + col;
  kFinish[static_cast<int32_t>(epilogue.activation)](
      tile, 1, {R, cols, residual, epilogue.residual_stride, c, args.ldc});
}

template <class Format>
using NarrowTile = void (*)(const typename Format::Args& args, int64_t row, int64_t panel,
                            const float* bias, const NarrowFetch& fetch);

// By number of rows.
template <class Format>
constexpr NarrowTile<Format> kNarrowTiles[] = {
    nullptr,
    narrow_tile<Format, 1>,
    narrow_tile<Format, 2>,
    narrow_tile<Format, 3>,
    narrow_tile<Format, 4>,
    narrow_tile<Format, 5>,
    narrow_tile<Format, 6>,
#if HWY_TARGET == HWY_AVX3
    narrow_tile<Format, 7>,
    narrow_tile<Format, 8>,
    narrow_tile<Format, 9>,
    narrow_tile<Format, 10>,
    narrow_tile<Format, 11>,
    narrow_tile<Format, 12>,
#endif
};

// The bias of a panel, zero past column n; null without a bias.
HWY_INLINE const float* narrow_bias(const float* bias, int64_t n, int64_t panel, float* buffer) {
  if (bias == nullptr) return nullptr;
  const int64_t count = n - panel * kPanelWidth;
  bias += panel * kPanelWidth;
  if (count >= kPanelWidth) return bias;
  memset(buffer, 0, sizeof(float) * kPanelWidth);
  memcpy(buffer, bias, sizeof(float) * static_cast<size_t>(count));
  return buffer;
}

// Rows [begin, end) of a panel in tiles whose sizes differ by at most one. They share the fetching
// of the next panel evenly.
template <class Format>
void narrow_panel(const typename Format::Args& args, int64_t begin, int64_t end, int64_t panel) {
  alignas(64) float buffer[kPanelWidth];
  const float* bias = narrow_bias(args.epilogue.bias, args.n, panel, buffer);
  int64_t tiles = (end - begin + kPanelTileRows - 1) / kPanelTileRows;
  const int64_t steps = Format::steps(args);
  NarrowFetch fetch = {Format::panel(args, panel + 1), (Format::kStepBytes + tiles - 1) / tiles};
  for (int64_t row = begin; row < end; --tiles) {
    const int64_t rows = (end - row + tiles - 1) / tiles;
    kNarrowTiles<Format>[rows](args, row, panel, bias, fetch);
    fetch.data += steps * fetch.step;
    row += rows;
  }
}

template <class Format>
void narrow_gemm(const typename Format::Args& args) {
  int64_t block =
      kNarrowBlockBytes / (Format::row_bytes(args) + 1) / kPanelTileRows * kPanelTileRows;
  if (block < kPanelTileRows) block = kPanelTileRows;
  for (int64_t row = 0; row < args.m; row += block) {
    const int64_t end = row + block < args.m ? row + block : args.m;
    for (int64_t p = args.panel_begin; p < args.panel_end; ++p) {
      narrow_panel<Format>(args, row, end, p);
    }
  }
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_NARROW_INL_H_
