// fp32 GEMM on column panels of B.
//
// Every element of C is computed in one register lane: it starts from the bias (or 0) and takes one
// multiply-add per k, in ascending order. Tile shape, blocking and threads only decide when that
// happens, never its bits. K is not blocked: a panel of B (panel width x K) comes from the second
// cache level, and the whole sum stays in registers, so that the epilogue sees final values.
#ifndef HUGOT_KERNELS_CPU_SIMD_GEMM_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_GEMM_INL_H_

#include "kernels/cpu/simd/elementwise-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

constexpr int kPanelVectors = 2;
constexpr int64_t kPanelWidth = kPanelVectors * kLanes;
constexpr int64_t kCacheLine = 16;  // floats
// Accumulators take kTileRows * kPanelVectors registers, a row of B two more, A one.
#if HWY_TARGET == HWY_AVX3
constexpr int kTileRows = 12;  // of 32 registers
#else
constexpr int kTileRows = 6;  // of 16 registers
#endif
// A block of A stays in the second cache level while the panels pass by.
constexpr int64_t kBlockFloats = 96 * 1024;

struct PanelView {
  const float* data;
  int64_t row_stride;
  int64_t panel_stride;
};

// What to fetch into the cache during a tile's work: `step` floats from `data` on per k.
struct Fetch {
  const float* data;  // null: nothing
  int64_t step;
};

// A tile of R rows and P panels: out = bias + A . B, with kPanelWidth * P columns.
template <int R, int P>
HWY_INLINE void tile_product(int64_t k, const float* HWY_RESTRICT a, int64_t lda, PanelView b,
                             const float* bias, Fetch fetch, float* out, int64_t ldo) {
  constexpr int kVectors = P * kPanelVectors;
  V acc[R][kVectors];
  HUGOT_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const V start = bias != nullptr ? load(bias + v * kLanes) : hn::Zero(d);
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) acc[r][v] = start;
  }
  const float* HWY_RESTRICT row = b.data;
  for (int64_t i = 0; i < k; ++i) {
    V b_row[kVectors];
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      b_row[v] = load(row + (v / kPanelVectors) * b.panel_stride + (v % kPanelVectors) * kLanes);
    }
    if (fetch.data != nullptr) {
      HUGOT_UNROLL
      for (int64_t line = 0; line < kPanelWidth; line += kCacheLine) {
        __builtin_prefetch(fetch.data + i * fetch.step + line);
      }
    }
    HUGOT_UNROLL
    for (int r = 0; r < R; ++r) {
      const V a_r = set(a[r * lda + i]);
      HUGOT_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(a_r, b_row[v], acc[r][v]);
    }
    row += b.row_stride;
  }
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) store(acc[r][v], out + r * ldo + v * kLanes);
  }
}

using TileProduct = void (*)(int64_t k, const float* a, int64_t lda, PanelView b, const float* bias,
                             Fetch fetch, float* out, int64_t ldo);

template <int R, int P>
void tile_product_function(int64_t k, const float* a, int64_t lda, PanelView b, const float* bias,
                           Fetch fetch, float* out, int64_t ldo) {
  if (b.row_stride == kPanelWidth && fetch.data != nullptr) {
    tile_product<R, P>(k, a, lda, {b.data, kPanelWidth, b.panel_stride}, bias, fetch, out, ldo);
  } else {
    tile_product<R, P>(k, a, lda, b, bias, {nullptr, 0}, out, ldo);
  }
}

// Tiles of one panel by number of rows.
constexpr TileProduct kTiles[] = {
    nullptr,
    tile_product_function<1, 1>,
    tile_product_function<2, 1>,
    tile_product_function<3, 1>,
    tile_product_function<4, 1>,
    tile_product_function<5, 1>,
    tile_product_function<6, 1>,
#if HWY_TARGET == HWY_AVX3
    tile_product_function<7, 1>,
    tile_product_function<8, 1>,
    tile_product_function<9, 1>,
    tile_product_function<10, 1>,
    tile_product_function<11, 1>,
    tile_product_function<12, 1>,
#endif
};

// With one to three rows a panel alone has too few chains to hide the latency of an FMA, so
// several panels go together.
constexpr int64_t kWideRows = 3;
constexpr int64_t kWidePanels[] = {1, 4, 2, 2};
constexpr TileProduct kWideTiles[] = {nullptr, tile_product_function<1, 4>,
                                      tile_product_function<2, 2>, tile_product_function<3, 2>};
constexpr int64_t kMaxTileFloats =
    kTileRows * kPanelWidth > 6 * kPanelWidth ? kTileRows* kPanelWidth : 6 * kPanelWidth;

// Columns of a tile that are vectors of C, and where C and the residual lie.
struct TileTarget {
  int64_t rows, cols;
  const float* residual;  // or null
  int64_t ldr;
  float* c;
  int64_t ldc;
};

// C = f(tile) + residual, where `tile` is contiguous with rows of kVectors vectors.
template <int kVectors, Block f(const Block&)>
HWY_INLINE void finish_rows(const float* tile, const TileTarget& t) {
  const int64_t vectors = t.rows * kVectors;
  for (int64_t i = 0; i < vectors; i += kBlockVectors) {
    const Block y = f(load_block(tile + i * kLanes, kBlockLanes, hn::Zero(d)));
    HUGOT_UNROLL
    for (int j = 0; j < kBlockVectors; ++j) {
      const int64_t row = (i + j) / kVectors, col = (i + j) % kVectors * kLanes;
      if (row >= t.rows || col >= t.cols) continue;
      const int64_t count = t.cols - col < kLanes ? t.cols - col : kLanes;
      V v = y.v[j];
      if (t.residual != nullptr) v = hn::Add(v, load_n(t.residual + row * t.ldr + col, count));
      float* c = t.c + row * t.ldc + col;
      if (count == kLanes) {
        store(v, c);
      } else {
        store_partial(v, c, count);
      }
    }
  }
}

template <Block f(const Block&)>
void finish_tile(const float* tile, int64_t panels, const TileTarget& target) {
  if (panels == 1) return finish_rows<kPanelVectors, f>(tile, target);
  if (panels == 2) return finish_rows<2 * kPanelVectors, f>(tile, target);
  finish_rows<4 * kPanelVectors, f>(tile, target);
}

using FinishTile = void (*)(const float* tile, int64_t panels, const TileTarget& target);

HWY_INLINE V identity(V x) { return x; }

constexpr FinishTile kFinish[] = {
    finish_tile<each_vector<identity>>,
    finish_tile<each_vector<relu>>,
    finish_tile<gelu>,
    finish_tile<gelu_tanh>,
    finish_tile<tanh>,
    finish_tile<sigmoid>,
    finish_tile<silu>,
};

// Computes `panels` panels from `panel` on for rows [row, row + rows).
HWY_INLINE void gemm_tile(const GemmArgs& args, TileProduct product, int64_t row, int64_t rows,
                          int64_t panel, int64_t panels, const float* bias, Fetch fetch) {
  const int64_t col = panel * kPanelWidth;
  const int64_t width = panels * kPanelWidth;
  const int64_t cols = args.n - col < width ? args.n - col : width;
  const Epilogue& epilogue = args.epilogue;
  const PanelView b = {args.b + panel * args.b_panel_stride, args.b_row_stride,
                       args.b_panel_stride};
  const float* a = args.a + row * args.lda;
  float* c = args.c + row * args.ldc + col;
  if (cols == width && epilogue.activation == Activation::kNone && epilogue.residual == nullptr) {
    product(args.k, a, args.lda, b, bias, fetch, c, args.ldc);
    return;
  }
  alignas(64) float tile[kMaxTileFloats + kBlockLanes];  // the last block may be half full
  product(args.k, a, args.lda, b, bias, fetch, tile, width);
  const float* residual = epilogue.residual;
  if (residual != nullptr) residual += row * epilogue.residual_stride + col;
  kFinish[static_cast<int32_t>(epilogue.activation)](
      tile, panels, {rows, cols, residual, epilogue.residual_stride, c, args.ldc});
}

// The bias of a group of panels, zero past column n; null without a bias.
HWY_INLINE const float* tile_bias(const GemmArgs& args, int64_t panel, int64_t panels,
                                  float* buffer) {
  if (args.epilogue.bias == nullptr) return nullptr;
  const float* bias = args.epilogue.bias + panel * kPanelWidth;
  const int64_t count = args.n - panel * kPanelWidth;
  if (count >= panels * kPanelWidth) return bias;
  memset(buffer, 0, sizeof(float) * kPanelWidth * static_cast<size_t>(panels));
  memcpy(buffer, bias, sizeof(float) * static_cast<size_t>(count));
  return buffer;
}

// Rows [begin, end) in tiles whose sizes differ by at most one.
HWY_INLINE void gemm_panel(const GemmArgs& args, int64_t begin, int64_t end, int64_t panel) {
  alignas(64) float buffer[kPanelWidth];
  const float* bias = tile_bias(args, panel, 1, buffer);
  int64_t tiles = (end - begin + kTileRows - 1) / kTileRows;
  // The tiles share the fetching of the next panel evenly: memory then works all the time.
  Fetch fetch = {nullptr, (kPanelWidth + tiles - 1) / tiles};
  if (args.b_row_stride == kPanelWidth) fetch.data = args.b + (panel + 1) * args.b_panel_stride;
  int64_t left = args.k * kPanelWidth;  // floats to fetch
  for (int64_t row = begin; row < end; --tiles) {
    const int64_t rows = (end - row + tiles - 1) / tiles;
    gemm_tile(args, kTiles[rows], row, rows, panel, 1, bias, fetch);
    if (fetch.data != nullptr) fetch.data += args.k * fetch.step;
    left -= args.k * fetch.step;
    if (left <= 0) fetch.data = nullptr;
    row += rows;
  }
}

void gemm(const GemmArgs* args_pointer) {
  const GemmArgs& args = *args_pointer;
  int64_t panel = args.panel_begin;
  if (args.m <= kWideRows) {
    const int64_t step = kWidePanels[args.m];
    for (; panel + step <= args.panel_end; panel += step) {
      alignas(64) float buffer[4 * kPanelWidth];
      const float* bias = tile_bias(args, panel, step, buffer);
      gemm_tile(args, kWideTiles[args.m], 0, args.m, panel, step, bias, {nullptr, 0});
    }
  }
  int64_t blocks = (args.m * args.k + kBlockFloats - 1) / kBlockFloats;
  const int64_t most = (args.m + kTileRows - 1) / kTileRows;
  if (blocks > most) blocks = most;
  if (blocks < 1) blocks = 1;
  const int64_t block = ((args.m + blocks - 1) / blocks + kTileRows - 1) / kTileRows * kTileRows;
  for (int64_t row = 0; row < args.m; row += block) {
    const int64_t end = row + block < args.m ? row + block : args.m;
    for (int64_t p = panel; p < args.panel_end; ++p) gemm_panel(args, row, end, p);
  }
}

#if HWY_TARGET != HWY_SCALAR
// Lanes(tag) / 4 groups of 4 floats, `stride` floats apart.
template <class Tag>
HWY_INLINE hn::Vec<Tag> load_quads(Tag tag, const float* src, int64_t stride) {
  if constexpr (hn::MaxLanes(Tag()) == 4) {
    return hn::LoadU(tag, src);
  } else {
    const hn::Half<Tag> half;
    constexpr int64_t kQuads = static_cast<int64_t>(hn::MaxLanes(Tag())) / 8;
    return hn::Combine(tag, load_quads(half, src + kQuads * stride, stride),
                       load_quads(half, src, stride));
  }
}

// 4 floats from each of kLanes rows: dst[i * kPanelWidth + r] = src[r * stride + i], i < 4.
HWY_INLINE void transpose_strip(const float* src, int64_t stride, float* dst) {
  // Group g of rows[r] holds row r + 4 g.
  V rows[4];
  HUGOT_UNROLL
  for (int r = 0; r < 4; ++r) rows[r] = load_quads(d, src + r * stride, 4 * stride);
  const V r02_low = hn::InterleaveLower(d, rows[0], rows[2]);
  const V r13_low = hn::InterleaveLower(d, rows[1], rows[3]);
  const V r02_high = hn::InterleaveUpper(d, rows[0], rows[2]);
  const V r13_high = hn::InterleaveUpper(d, rows[1], rows[3]);
  store(hn::InterleaveLower(d, r02_low, r13_low), dst);
  store(hn::InterleaveUpper(d, r02_low, r13_low), dst + kPanelWidth);
  store(hn::InterleaveLower(d, r02_high, r13_high), dst + 2 * kPanelWidth);
  store(hn::InterleaveUpper(d, r02_high, r13_high), dst + 3 * kPanelWidth);
}
#endif

// One panel of B given as its transpose: `src` is the first of `cols` rows of k floats.
HWY_INLINE void pack_transposed(const float* src, int64_t k, int64_t ldb, int64_t cols,
                                float* dst) {
  int64_t done = 0;  // columns
#if HWY_TARGET != HWY_SCALAR
  const int64_t whole = k / 4 * 4;
  for (; done + kLanes <= cols; done += kLanes) {
    const float* rows = src + done * ldb;
    for (int64_t i = 0; i < whole; i += 4) {
      transpose_strip(rows + i, ldb, dst + i * kPanelWidth + done);
    }
    for (int64_t i = whole; i < k; ++i) {
      for (int64_t j = 0; j < kLanes; ++j) dst[i * kPanelWidth + done + j] = rows[j * ldb + i];
    }
  }
#endif
  for (; done < cols; ++done) {
    for (int64_t i = 0; i < k; ++i) dst[i * kPanelWidth + done] = src[done * ldb + i];
  }
}

HWY_INLINE void pack_rows(const float* src, int64_t k, int64_t ldb, int64_t cols, float* dst) {
  for (int64_t i = 0; i < k; ++i, src += ldb, dst += kPanelWidth) {
    if (cols == kPanelWidth) {
      HUGOT_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) store(load(src + v * kLanes), dst + v * kLanes);
    } else {
      for (int64_t j = 0; j < cols; ++j) dst[j] = src[j];
    }
  }
}

void gemm_pack(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed,
               int64_t panel_begin, int64_t panel_end, float* dst) {
  for (int64_t panel = panel_begin; panel < panel_end; ++panel, dst += k * kPanelWidth) {
    const int64_t col = panel * kPanelWidth;
    const int64_t cols = n - col < kPanelWidth ? n - col : kPanelWidth;
    if (cols < kPanelWidth) memset(dst, 0, sizeof(float) * static_cast<size_t>(k * kPanelWidth));
    if (transposed) {
      pack_transposed(b + col * ldb, k, ldb, cols, dst);
    } else {
      pack_rows(b + col, k, ldb, cols, dst);
    }
  }
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_GEMM_INL_H_
