// fp32 GEMM on column panels of B.
//
// Every element of C is computed in one register lane: it starts from the bias (or 0) and takes one
// multiply-add per k, in ascending order. Tile shape, blocking and threads only decide when that
// happens, never its bits: where K is cut, the sums are kept as they are until the next part.
#ifndef HUGOT_KERNELS_CPU_SIMD_GEMM_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_GEMM_INL_H_

#include "kernels/cpu/simd/elementwise-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

constexpr int kPanelVectors = 2;
constexpr int64_t kPanelWidth = kPanelVectors * kLanes;
constexpr int64_t kCacheLine = 16;  // floats

// Tiles. Accumulators take rows * vectors registers, a row of B one per vector, A one. What counts
// besides is the number of loads for a multiply-add, 1 / rows + 1 / vectors: processors of the Ice
// Lake kind do about one load of 64 bytes a cycle, so that 6 x 4 vectors run at the peak of the
// multiply-adds and 12 x 2 do not.
#if HWY_TARGET == HWY_AVX3
constexpr int kTilePanels = 2;  // of 32 registers, 29
constexpr int kTileRows = 6;
constexpr int kPanelTileRows = 12;  // in tiles of a single panel
#else
constexpr int kTilePanels = 1;  // of 16 registers, 15
constexpr int kTileRows = 6;
constexpr int kPanelTileRows = 6;
#endif

// The second cache level holds a block of A while the panels pass by, or, where K is cut, sums of a
// block of C.
constexpr int64_t kBlockFloats = 96 * 1024;
constexpr int64_t kSumFloats = 24 * 1024;
constexpr int64_t kSumColumns = 256;  // at least, where there are as many
// K is cut into parts of about kDepth when it is larger than kMaxDepth: a tile's panels then stay
// in the second cache level until the last row, beside those that are being fetched.
constexpr int64_t kMaxDepth = 768;
constexpr int64_t kDepth = 512;

struct PanelView {
  const float* data;
  int64_t row_stride;
  int64_t panel_stride;
};

// A panel is fetched in so many places at the same time, a cache line in each: the processor, which
// looks ahead within a page by itself, then does so in several.
constexpr int kStreams = kPanelWidth >= 2 * kCacheLine ? 2 : 1;

// What to fetch into the second cache level during a tile's work: a row of panels like the tile's,
// which are `stride` floats apart, from `data` on, at `steps` of the kUnroll steps of a pass.
struct Fetch {
  const float* data;
  int64_t stride;
  int64_t steps;  // 0: nothing
};

// Steps of k that a pass of the main loop takes: what a pass costs beside loads and multiply-adds
// (pointers, counter, fetching) would otherwise compete with them for the front end of the
// processor, which two threads of one core share.
constexpr int kUnroll = 8;
// Rows of A that are addressed from one pointer, as base, base + stride and base + 2 stride.
constexpr int kPointerRows = 3;

// acc += a * b, fused where the instruction set can. Spelled out for the compiler's sake: given the
// choice of which operand to overwrite, gcc 12 lets the accumulators of an unrolled loop wander
// through the registers and moves or spills them at its end.
HWY_INLINE void accumulate(V& acc, V a, V b) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  asm("vfmadd231ps %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
#else
  acc = hn::MulAdd(a, b, acc);
#endif
}

// acc[r] += A[r, at] . B[at, :]; `a` points to the first row of every group of kPointerRows.
template <int R, int kVectors>
HWY_INLINE void tile_step(const float* const* a, int64_t& lda, int at, const float* b,
                          int64_t panel_stride, V (&acc)[R][kVectors]) {
  V b_row[kVectors];
  HUGOT_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    b_row[v] = load(b + (v / kPanelVectors) * panel_stride + (v % kPanelVectors) * kLanes);
  }
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    const V a_r = set((a[r / kPointerRows] + at)[r % kPointerRows * lda]);
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) accumulate(acc[r][v], a_r, b_row[v]);
  }
  // Keeps the compiler from holding lda + 1, lda + 2 and so on, or what the next step loads, in
  // registers that it does not have.
  asm("" : "+r"(lda) : : "memory");
}

// What the sums of a tile start from: rows of vectors, `stride` floats apart; zeros where null.
struct Start {
  const float* data;
  int64_t stride;
};

// A tile of R rows and P panels: out = start + A . B, with kPanelWidth * P columns.
template <int R, int P, bool kFetch>
HWY_INLINE void tile_product(int64_t k, const float* HWY_RESTRICT a, int64_t lda, PanelView b,
                             Start start, Fetch fetch, float* out, int64_t ldo) {
  constexpr int kVectors = P * kPanelVectors;
  constexpr int kPointers = (R + kPointerRows - 1) / kPointerRows;
  V acc[R][kVectors];
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[r][v] =
          start.data != nullptr ? load(start.data + r * start.stride + v * kLanes) : hn::Zero(d);
    }
  }
  const float* rows[kPointers];
  HUGOT_UNROLL
  for (int p = 0; p < kPointers; ++p) rows[p] = a + p * kPointerRows * lda;
  const float* b_row = b.data;
  const int64_t stream = k / kStreams * kPanelWidth;
  for (; k >= kUnroll; k -= kUnroll) {
    HUGOT_UNROLL
    for (int i = 0; i < kUnroll; ++i) {
      if (kFetch && i * fetch.steps % kUnroll < fetch.steps) {
        HUGOT_UNROLL
        for (int p = 0; p < P; ++p) {
          HUGOT_UNROLL
          for (int s = 0; s < kStreams; ++s) {
            __builtin_prefetch(fetch.data + p * fetch.stride + s * stream, 0, 2);
          }
        }
        fetch.data += kPanelWidth / kStreams;
      }
      tile_step<R, kVectors>(rows, lda, i, b_row + i * b.row_stride, b.panel_stride, acc);
    }
    HUGOT_UNROLL
    for (int p = 0; p < kPointers; ++p) {
      rows[p] += kUnroll;
      // Keeps the compiler from addressing all rows by one index and a pointer for each.
      asm("" : "+r"(rows[p]));
    }
    b_row += kUnroll * b.row_stride;
  }
  for (; k > 0; --k) {
    tile_step<R, kVectors>(rows, lda, 0, b_row, b.panel_stride, acc);
    HUGOT_UNROLL
    for (int p = 0; p < kPointers; ++p) ++rows[p];
    b_row += b.row_stride;
  }
  HUGOT_UNROLL
  for (int r = 0; r < R; ++r) {
    HUGOT_UNROLL
    for (int v = 0; v < kVectors; ++v) store(acc[r][v], out + r * ldo + v * kLanes);
  }
}

using TileProduct = void (*)(int64_t k, const float* a, int64_t lda, PanelView b, Start start,
                             Fetch fetch, float* out, int64_t ldo);

template <int R, int P>
void tile_product_function(int64_t k, const float* a, int64_t lda, PanelView b, Start start,
                           Fetch fetch, float* out, int64_t ldo) {
  const PanelView packed = {b.data, kPanelWidth, b.panel_stride};
  if (b.row_stride != kPanelWidth) {
    tile_product<R, P, false>(k, a, lda, b, start, fetch, out, ldo);
  } else if (fetch.steps == 0) {
    tile_product<R, P, false>(k, a, lda, packed, start, fetch, out, ldo);
  } else {
    tile_product<R, P, true>(k, a, lda, packed, start, fetch, out, ldo);
  }
}

// Tiles of one panel by number of rows.
constexpr TileProduct kPanelTiles[] = {
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

// Tiles of kTilePanels panels.
constexpr TileProduct kTiles[] = {
    nullptr,
    tile_product_function<1, kTilePanels>,
    tile_product_function<2, kTilePanels>,
    tile_product_function<3, kTilePanels>,
    tile_product_function<4, kTilePanels>,
    tile_product_function<5, kTilePanels>,
    tile_product_function<6, kTilePanels>,
};

// With one to three rows a panel alone has too few chains to hide the latency of an FMA, so
// several panels go together.
constexpr int64_t kWideRows = 3;
constexpr int64_t kWidePanels[] = {1, 4, 2, 2};
constexpr TileProduct kWideTiles[] = {nullptr, tile_product_function<1, 4>,
                                      tile_product_function<2, 2>, tile_product_function<3, 2>};
constexpr int64_t kMaxTileFloats = kTileRows * kPanelWidth * 2;  // of any of these tiles

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

// A part of a tile's sum: steps [begin, end) of k. `sums` keeps what is not final.
struct Depth {
  int64_t begin, end;
  float* sums;
};

// Computes `panels` panels from `panel` on for rows [row, row + rows).
HWY_INLINE void gemm_tile(const GemmArgs& args, TileProduct product, int64_t row, int64_t rows,
                          int64_t panel, int64_t panels, const float* bias, Fetch fetch,
                          Depth depth) {
  const int64_t col = panel * kPanelWidth;
  const int64_t width = panels * kPanelWidth;
  const int64_t cols = args.n - col < width ? args.n - col : width;
  const Epilogue& epilogue = args.epilogue;
  const PanelView b = {args.b + panel * args.b_panel_stride + depth.begin * args.b_row_stride,
                       args.b_row_stride, args.b_panel_stride};
  const float* a = args.a + row * args.lda + depth.begin;
  const int64_t k = depth.end - depth.begin;
  const Start start = depth.begin == 0 ? Start{bias, 0} : Start{depth.sums, width};
  if (depth.end < args.k) {
    product(k, a, args.lda, b, start, fetch, depth.sums, width);
    return;
  }
  float* c = args.c + row * args.ldc + col;
  if (cols == width && epilogue.activation == Activation::kNone && epilogue.residual == nullptr) {
    product(k, a, args.lda, b, start, fetch, c, args.ldc);
    return;
  }
  alignas(64) float tile[kMaxTileFloats + kBlockLanes];  // the last block may be half full
  product(k, a, args.lda, b, start, fetch, tile, width);
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

// Rows [begin, end) of `panels` panels in tiles whose sizes differ by at most one. `next` tells
// what is read after this.
HWY_INLINE void gemm_panels(const GemmArgs& args, int64_t begin, int64_t end, int64_t panel,
                            int64_t panels, Fetch next, Depth depth) {
  alignas(64) float buffer[kTilePanels * kPanelWidth];
  const float* bias = tile_bias(args, panel, panels, buffer);
  const TileProduct* products = panels == kTilePanels ? kTiles : kPanelTiles;
  const int64_t most = panels == kTilePanels ? kTileRows : kPanelTileRows;
  int64_t tiles = (end - begin + most - 1) / most;
  // The tiles share the fetching evenly: memory then works all the time.
  Fetch fetch = next;
  int64_t left = args.b_row_stride == kPanelWidth ? kUnroll : 0;
  for (int64_t row = begin; row < end; --tiles) {
    const int64_t rows = (end - row + tiles - 1) / tiles;
    fetch.steps = (left + tiles - 1) / tiles;
    gemm_tile(args, products[rows], row, rows, panel, panels, bias, fetch, depth);
    fetch.data += (depth.end - depth.begin) / kUnroll * fetch.steps * (kPanelWidth / kStreams);
    depth.sums += rows * panels * kPanelWidth;
    left -= fetch.steps;
    row += rows;
  }
}

// The size of the parts, a multiple of `unit`, when n is cut into as few equal parts of at most
// `most` as possible.
HWY_INLINE int64_t equal_parts(int64_t n, int64_t most, int64_t unit) {
  const int64_t parts = n <= most ? 1 : (n + most - 1) / most;
  return ((n + parts - 1) / parts + unit - 1) / unit * unit;
}

void gemm(const GemmArgs* args_pointer) {
  const GemmArgs& args = *args_pointer;
  int64_t first = args.panel_begin;
  if (args.m <= kWideRows) {
    const int64_t step = kWidePanels[args.m];
    for (; first + step <= args.panel_end; first += step) {
      alignas(64) float buffer[4 * kPanelWidth];
      const float* bias = tile_bias(args, first, step, buffer);
      gemm_tile(args, kWideTiles[args.m], 0, args.m, first, step, bias, {}, {0, args.k, nullptr});
    }
  }
  // One tile reads B once whatever its depth.
  const bool cut = args.k > kMaxDepth && args.m > kTileRows && args.b_row_stride == kPanelWidth;
  const int64_t depth = cut ? equal_parts(args.k, kDepth, kUnroll) : args.k;
  int64_t most_rows = cut ? kSumFloats / kSumColumns : kBlockFloats / (args.k + 1);
  if (most_rows < kPanelTileRows) most_rows = kPanelTileRows;
  const int64_t block = equal_parts(args.m, most_rows, kPanelTileRows);
  int64_t group = args.panel_end - first;
  if (cut) group = kSumFloats / (block * kPanelWidth) / kTilePanels * kTilePanels;
  alignas(64) float sums[kSumFloats];
  for (int64_t row = 0; row < args.m; row += block) {
    const int64_t row_end = row + block < args.m ? row + block : args.m;
    for (int64_t begin = first; begin < args.panel_end; begin += group) {
      const int64_t end = begin + group < args.panel_end ? begin + group : args.panel_end;
      int64_t k = 0;
      do {
        const int64_t k_end = k + depth < args.k ? k + depth : args.k;
        float* panel_sums = sums;
        for (int64_t panel = begin; panel < end;) {
          const int64_t panels = panel + kTilePanels <= end ? kTilePanels : 1;
          // What is read after this.
          Fetch next = {args.b + (panel + panels) * args.b_panel_stride + k * kPanelWidth,
                        args.b_panel_stride, 0};
          if (panel + panels == end && k_end < args.k) {
            next.data = args.b + begin * args.b_panel_stride + k_end * kPanelWidth;
          } else if (panel + panels == args.panel_end && args.next != nullptr) {
            next = {args.next, (k_end - k) * kPanelWidth, 0};
          }
          gemm_panels(args, row, row_end, panel, panels, next, {k, k_end, panel_sums});
          panel_sums += (row_end - row) * panels * kPanelWidth;
          panel += panels;
        }
        k = k_end;
      } while (k < args.k);
    }
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

// 4 floats from each of kLanes rows: dst[i * pitch + r] = src[r * stride + i], i < 4.
HWY_INLINE void transpose_strip(const float* src, int64_t stride, float* dst, int64_t pitch) {
  // Group g of rows[r] holds row r + 4 g.
  V rows[4];
  HUGOT_UNROLL
  for (int r = 0; r < 4; ++r) rows[r] = load_quads(d, src + r * stride, 4 * stride);
  const V r02_low = hn::InterleaveLower(d, rows[0], rows[2]);
  const V r13_low = hn::InterleaveLower(d, rows[1], rows[3]);
  const V r02_high = hn::InterleaveUpper(d, rows[0], rows[2]);
  const V r13_high = hn::InterleaveUpper(d, rows[1], rows[3]);
  store(hn::InterleaveLower(d, r02_low, r13_low), dst);
  store(hn::InterleaveUpper(d, r02_low, r13_low), dst + pitch);
  store(hn::InterleaveLower(d, r02_high, r13_high), dst + 2 * pitch);
  store(hn::InterleaveUpper(d, r02_high, r13_high), dst + 3 * pitch);
}
#endif

// y[i * ldy + r] = x[r * ldx + i] for a matrix x [rows, cols].
void transpose(const float* x, int64_t rows, int64_t cols, int64_t ldx, float* y, int64_t ldy) {
  int64_t done = 0;  // rows
#if HWY_TARGET != HWY_SCALAR
  const int64_t whole = cols / 4 * 4;
  for (; done + kLanes <= rows; done += kLanes) {
    const float* from = x + done * ldx;
    for (int64_t i = 0; i < whole; i += 4) {
      transpose_strip(from + i, ldx, y + i * ldy + done, ldy);
    }
    for (int64_t i = whole; i < cols; ++i) {
      for (int64_t j = 0; j < kLanes; ++j) y[i * ldy + done + j] = from[j * ldx + i];
    }
  }
#endif
  for (; done < rows; ++done) {
    for (int64_t i = 0; i < cols; ++i) y[i * ldy + done] = x[done * ldx + i];
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

// Zeros in the vectors of a panel from number `vector` on.
HWY_INLINE void clear_columns(int64_t k, int64_t vector, float* dst) {
  for (int64_t v = vector; v < kPanelVectors; ++v) {
    for (int64_t i = 0; i < k; ++i) store(hn::Zero(d), dst + i * kPanelWidth + v * kLanes);
  }
}

void gemm_pack(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed,
               int64_t panel_begin, int64_t panel_end, float* dst) {
  for (int64_t panel = panel_begin; panel < panel_end; ++panel, dst += k * kPanelWidth) {
    const int64_t col = panel * kPanelWidth;
    const int64_t cols = n - col < kPanelWidth ? n - col : kPanelWidth;
    if (cols < kPanelWidth) clear_columns(k, cols / kLanes, dst);
    if (transposed) {
      transpose(b + col * ldb, cols, k, ldb, dst, kPanelWidth);
    } else {
      pack_rows(b + col, k, ldb, cols, dst);
    }
  }
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_GEMM_INL_H_
