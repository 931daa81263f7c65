#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/allocate.h"
#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pieces.h"

namespace hugot::cpu {
namespace {

constexpr size_t kAlignment = 64;

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using FloatBuffer = std::unique_ptr<float[], Free>;

size_t checked_count(int64_t count) {
  require(count >= 0 && count <= std::numeric_limits<int64_t>::max() / 8,
          ErrorCode::kInvalidArgument, "gemm: ", count, " floats asked for");
  return static_cast<size_t>(count);
}

FloatBuffer allocate_floats(int64_t count) {
  const size_t bytes = (checked_count(count) * sizeof(float) + kAlignment) / kAlignment;
  require_memory(bytes * kAlignment);
  void* p = std::aligned_alloc(kAlignment, bytes * kAlignment);
  require(p != nullptr, ErrorCode::kOutOfMemory, "gemm: cannot allocate ", count, " floats");
  return FloatBuffer(static_cast<float*>(p));
}

class SimdMatrix final : public PackedMatrix {
 public:
  SimdMatrix(const VectorKernels& kernels, FloatSource b, int64_t k, int64_t n, int64_t row_stride,
             bool transposed, BlockStore& store)
      : PackedMatrix(k, n),
        kernels_(kernels),
        panels_(ceil_div(n, kernels.gemm_panel_width)),
        // The kernel fetches ahead by one panel; nothing is read past the end.
        data_(store.array<float>(
            checked_count(panels_ * k * kernels.gemm_panel_width), [&](float* packed) {
              kernels.gemm_pack(b.get(), k, n, row_stride, transposed, 0, panels_, packed);
            })) {}

  int64_t bytes() const override {
    return panels_ * k() * kernels_.gemm_panel_width * static_cast<int64_t>(sizeof(float));
  }
  const VectorKernels& kernels() const { return kernels_; }
  int64_t panels() const { return panels_; }
  const float* data() const { return data_.get(); }

 private:
  const VectorKernels& kernels_;
  int64_t panels_;
  std::shared_ptr<const float> data_;
};

// `args` cut down to a piece.
GemmArgs part_of(GemmArgs args, const GemmPiece& piece) {
  args.m = piece.rows;
  args.a += piece.row * args.lda;
  args.c += piece.row * args.ldc;
  args.epilogue = args.epilogue.from_row(piece.row);
  args.panel_begin = piece.panel_begin;
  args.panel_end = piece.panel_end;
  return args;
}

double multiply_adds(int64_t m, int64_t n, int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

const SimdMatrix& simd_matrix(const PackedMatrix* b) {
  const auto* matrix = dynamic_cast<const SimdMatrix*>(b);
  require(matrix != nullptr, ErrorCode::kInvalidArgument,
          "gemm: the matrix was packed by another provider");
  return *matrix;
}

class SimdGemm final : public GemmProvider {
 public:
  const char* name() const override { return "simd"; }
  bool batch_invariant() const override { return true; }

  std::shared_ptr<const PackedMatrix> pack(FloatSource b, int64_t k, int64_t n, int64_t row_stride,
                                           bool transposed, BlockStore& store) const override {
    return std::make_shared<SimdMatrix>(active_kernels(), b, k, n, row_stride, transposed, store);
  }

  void run(int64_t m, const float* a, int64_t lda, const PackedMatrix& b, float* c, int64_t ldc,
           const Epilogue& epilogue, ThreadPool* pool) const override {
    const GemmProduct product = {&b, c, ldc, epilogue};
    simd_gemm_group(m, a, lda, std::span(&product, 1), pool);
  }
};

// Runs the panels of `part`, whose b is not packed. Few rows read whole panels of an untransposed B
// in place; otherwise each panel is packed just before it is used.
void run_unpacked(const VectorKernels& kernels, GemmArgs part, const float* b, int64_t ldb,
                  bool transposed, float* panel) {
  constexpr int64_t kInPlaceRows = 12;
  const int64_t width = kernels.gemm_panel_width;
  const int64_t whole_panels = std::min(part.panel_end, part.n / width);
  if (!transposed && part.m <= kInPlaceRows && part.panel_begin < whole_panels) {
    GemmArgs in_place = part;
    in_place.b = b;
    in_place.b_row_stride = ldb;
    in_place.b_panel_stride = width;
    in_place.panel_end = whole_panels;
    kernels.gemm(&in_place);
    part.panel_begin = whole_panels;
  }
  // As many panels as a tile reads at once are packed together, and count from 0.
  part.b = part.next = panel;
  part.b_row_stride = width;
  part.b_panel_stride = part.k * width;
  for (int64_t p = part.panel_begin, end = part.panel_end; p < end;) {
    const int64_t count = std::min(kernels.gemm_tile_panels, end - p);
    kernels.gemm_pack(b, part.k, part.n, ldb, transposed, p, p + count, panel);
    GemmArgs tile = part;
    tile.n -= p * width;
    tile.c += p * width;
    if (tile.epilogue.bias != nullptr) tile.epilogue.bias += p * width;
    if (tile.epilogue.residual != nullptr) tile.epilogue.residual += p * width;
    tile.panel_begin = 0;
    tile.panel_end = count;
    kernels.gemm(&tile);
    p += count;
  }
}

}  // namespace

const GemmProvider& simd_gemm() {
  static const SimdGemm provider;
  return provider;
}

namespace {

// What thread `share` of the pool will read first of a group's matrices.
const float* first_panel(int64_t m, std::span<const std::shared_ptr<const PackedMatrix>> group,
                         ThreadPool* pool, int share) {
  const auto matrix = [&](size_t i) -> const SimdMatrix& { return simd_matrix(group[i].get()); };
  int64_t panels = 0, n = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    panels += matrix(i).panels();
    n += matrix(i).n();
  }
  int64_t panel = first_panel_of_share(m, panels, multiply_adds(m, n, matrix(0).k()), pool, share);
  size_t i = 0;
  while (i + 1 < group.size() && panel >= matrix(i).panels()) panel -= matrix(i++).panels();
  return matrix(i).data() + panel * matrix(i).k() * matrix(i).kernels().gemm_panel_width;
}

}  // namespace

void simd_gemm_group(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
                     ThreadPool* pool, std::span<const std::shared_ptr<const PackedMatrix>> next) {
  int64_t n = 0;
  for (const GemmProduct& product : products) n += simd_matrix(product.b).n();
  if (m <= 0 || n == 0) return;
  const auto matrix = [&](size_t i) -> const SimdMatrix& {
    return static_cast<const SimdMatrix&>(*products[i].b);
  };
  for_gemm_pieces(
      m, products.size(), [&](size_t i) { return matrix(i).panels(); },
      multiply_adds(m, n, matrix(0).k()), pool,
      [&](size_t i, const GemmPiece& piece) {
        const SimdMatrix& b = matrix(i);
        const int64_t width = b.kernels().gemm_panel_width;
        const GemmArgs args = {.m = m,
                               .n = b.n(),
                               .k = b.k(),
                               .a = a,
                               .lda = lda,
                               .b = b.data(),
                               .b_row_stride = width,
                               .b_panel_stride = b.k() * width,
                               .c = products[i].c,
                               .ldc = products[i].ldc,
                               .epilogue = products[i].epilogue,
                               .panel_begin = 0,
                               .panel_end = b.panels()};
        GemmArgs part = part_of(args, piece);
        if (piece.last_of_share >= 0) {
          if (!next.empty()) part.next = first_panel(m, next, pool, piece.last_of_share);
        } else if (piece.panel_end == b.panels() && i + 1 < products.size()) {
          part.next = matrix(i + 1).data();
        }
        b.kernels().gemm(&part);
      });
}

int64_t gemm_workspace(int64_t k, const ThreadPool* pool) {
  const VectorKernels& kernels = active_kernels();
  return k * kernels.gemm_panel_width * kernels.gemm_tile_panels *
         (pool == nullptr ? 1 : pool->size());
}

void transpose(const float* x, int64_t rows, int64_t cols, int64_t ldx, float* y, int64_t ldy,
               ThreadPool* pool) {
  // Whole cache lines of y for each thread.
  constexpr int64_t kRows = 64;
  const VectorKernels& kernels = active_kernels();
  parallel_for(rows * cols < (1 << 14) ? nullptr : pool, ceil_div(rows, kRows), 1,
               [&](int64_t begin, int64_t end) {
                 const int64_t first = begin * kRows, last = std::min(end * kRows, rows);
                 kernels.transpose(x + first * ldx, last - first, cols, ldx, y + first, ldy);
               });
}

void gemm(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          bool b_transposed, float* c, int64_t ldc, const Epilogue& epilogue, float* workspace,
          ThreadPool* pool) {
  if (m <= 0 || n <= 0) return;
  const VectorKernels& kernels = active_kernels();
  const int64_t width = kernels.gemm_panel_width;
  const int64_t panels = ceil_div(n, width);
  const GemmArgs args = {.m = m,
                         .n = n,
                         .k = k,
                         .a = a,
                         .lda = lda,
                         .b = b,
                         .b_row_stride = ldb,
                         .b_panel_stride = width,
                         .c = c,
                         .ldc = ldc,
                         .epilogue = epilogue,
                         .panel_begin = 0,
                         .panel_end = panels};
  FloatBuffer own;
  if (workspace == nullptr) {
    own = allocate_floats(gemm_workspace(k, pool));
    workspace = own.get();
  }
  for_unpacked_pieces(m, panels, multiply_adds(m, n, k), pool, [&](const GemmPiece& piece) {
    run_unpacked(kernels, part_of(args, piece), b, ldb, b_transposed,
                 workspace + piece.worker * k * width * kernels.gemm_tile_panels);
  });
}

int64_t gemm_packed_floats(int64_t n, int64_t k) {
  const int64_t width = active_kernels().gemm_panel_width;
  return ceil_div(n, width) * width * k;
}

void gemm_of_packed(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                    int64_t ldb, bool b_transposed, float* c, int64_t ldc, const Epilogue& epilogue,
                    float* workspace, ThreadPool* pool) {
  if (m <= 0 || n <= 0) return;
  const VectorKernels& kernels = active_kernels();
  const int64_t width = kernels.gemm_panel_width, panels = ceil_div(n, width);
  parallel_for(n * k < (1 << 14) ? nullptr : pool, panels, 2, [&](int64_t begin, int64_t end) {
    kernels.gemm_pack(b, k, n, ldb, b_transposed, begin, end, workspace + begin * k * width);
  });
  const GemmArgs args = {.m = m,
                         .n = n,
                         .k = k,
                         .a = a,
                         .lda = lda,
                         .b = workspace,
                         .b_row_stride = width,
                         .b_panel_stride = k * width,
                         .c = c,
                         .ldc = ldc,
                         .epilogue = epilogue,
                         .panel_begin = 0,
                         .panel_end = panels};
  for_gemm_pieces(m, panels, multiply_adds(m, n, k), pool, [&](const GemmPiece& piece) {
    GemmArgs part = part_of(args, piece);
    part.next = workspace;  // nothing follows that would have to be fetched
    kernels.gemm(&part);
  });
}

int64_t gemm_panel_width() { return active_kernels().gemm_panel_width; }

void gemm_panel(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* panel,
                int64_t panel_index, float* c, int64_t ldc, const Epilogue& epilogue) {
  if (m <= 0 || n <= 0) return;
  const VectorKernels& kernels = active_kernels();
  const GemmArgs args = {.m = m,
                         .n = n,
                         .k = k,
                         .a = a,
                         .lda = lda,
                         .b = panel,
                         .b_row_stride = kernels.gemm_panel_width,
                         .b_panel_stride = 0,
                         .c = c,
                         .ldc = ldc,
                         .epilogue = epilogue,
                         .panel_begin = panel_index,
                         .panel_end = panel_index + 1};
  kernels.gemm(&args);
}

void gemm_f64(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
              int64_t ldb, bool b_transposed, double* c, int64_t ldc, ThreadPool* pool) {
  parallel_for(pool, m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double* row = c + i * ldc;
      std::fill(row, row + n, 0.0);
      if (b_transposed) {
        for (int64_t j = 0; j < n; ++j) {
          for (int64_t x = 0; x < k; ++x) row[j] += a[i * lda + x] * b[j * ldb + x];
        }
      } else {
        for (int64_t x = 0; x < k; ++x) {
          const double value = a[i * lda + x];
          for (int64_t j = 0; j < n; ++j) row[j] += value * b[x * ldb + j];
        }
      }
    }
  });
}

}  // namespace hugot::cpu
