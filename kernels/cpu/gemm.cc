#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/allocate.h"
#include "base/error.h"
#include "kernels/cpu/isa.h"

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

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

// How a product is cut into pieces of about equal work for the threads: bands of rows times groups
// of panels. Panels are cut first, because a panel is read from memory by whoever needs it.
struct Grid {
  int64_t rows, panels;  // of one piece
  int64_t bands, groups;
};

constexpr double kSmallestPiece = 64 * 1024;  // multiply-adds worth handing to another thread
constexpr int64_t kPiecesPerThread = 3;

Grid make_grid(int64_t m, int64_t k, int64_t panels, int64_t panel_width, int threads) {
  const double work =
      static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(panels * panel_width);
  int64_t pieces = static_cast<int64_t>(
      std::min(work / kSmallestPiece, static_cast<double>(threads * kPiecesPerThread)));
  if (threads <= 1 || pieces < 2) return {m, panels, 1, 1};
  // Rows are cut where the bands stay large enough to amortize the reading of a panel.
  constexpr int64_t kBandRows = 96;
  const int64_t bands = std::clamp<int64_t>(m / kBandRows, 1, threads);
  const int64_t groups = std::clamp<int64_t>(ceil_div(pieces, bands), 1, panels);
  Grid grid;
  grid.rows = ceil_div(m, bands);
  // Whole pairs of panels, which some kernels take together.
  grid.panels = ceil_div(ceil_div(panels, groups), 2) * 2;
  grid.bands = ceil_div(m, grid.rows);
  grid.groups = ceil_div(panels, grid.panels);
  return grid;
}

// `args` moved down to the rows [row, row + rows).
GemmArgs row_band(GemmArgs args, int64_t row, int64_t rows) {
  args.m = rows;
  args.a += row * args.lda;
  args.c += row * args.ldc;
  if (args.epilogue.residual != nullptr) {
    args.epilogue.residual += row * args.epilogue.residual_stride;
  }
  return args;
}

// Calls body(args of the piece, index of the piece) for every piece, on the pool.
template <class Body>
void for_pieces(const GemmArgs& args, const Grid& grid, ThreadPool* pool, const Body& body) {
  const auto piece = [&](int64_t index) {
    const int64_t row = index / grid.groups * grid.rows;
    const int64_t panel = index % grid.groups * grid.panels;
    GemmArgs part = row_band(args, row, std::min(grid.rows, args.m - row));
    part.panel_begin = panel;
    part.panel_end = std::min(panel + grid.panels, args.panel_end);
    body(part, index);
  };
  const int64_t count = grid.bands * grid.groups;
  if (count == 1) return piece(0);
  parallel_for(pool, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) piece(i);
  });
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
    const auto* matrix = dynamic_cast<const SimdMatrix*>(&b);
    require(matrix != nullptr, ErrorCode::kInvalidArgument,
            "gemm: the matrix was packed by another provider");
    if (m <= 0 || matrix->n() == 0) return;
    const int64_t width = matrix->kernels().gemm_panel_width;
    const GemmArgs args = {.m = m,
                           .n = matrix->n(),
                           .k = matrix->k(),
                           .a = a,
                           .lda = lda,
                           .b = matrix->data(),
                           .b_row_stride = width,
                           .b_panel_stride = matrix->k() * width,
                           .c = c,
                           .ldc = ldc,
                           .epilogue = epilogue,
                           .panel_begin = 0,
                           .panel_end = matrix->panels()};
    const Grid grid =
        make_grid(m, matrix->k(), matrix->panels(), width, pool == nullptr ? 1 : pool->size());
    for_pieces(args, grid, pool,
               [&](const GemmArgs& part, int64_t) { matrix->kernels().gemm(&part); });
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
  part.b_row_stride = width;
  part.b_panel_stride = 0;
  part.b = panel;
  for (int64_t p = part.panel_begin, end = part.panel_end; p < end; ++p) {
    kernels.gemm_pack(b, part.k, part.n, ldb, transposed, p, p + 1, panel);
    part.panel_begin = p;
    part.panel_end = p + 1;
    kernels.gemm(&part);
  }
}

}  // namespace

const GemmProvider& simd_gemm() {
  static const SimdGemm provider;
  return provider;
}

int64_t gemm_workspace(int64_t k, const ThreadPool* pool) {
  const int64_t threads = pool == nullptr ? 1 : pool->size();
  // One panel for each piece; rounding up may add a piece per band, of which there are at most
  // as many as threads.
  return k * active_kernels().gemm_panel_width * threads * (kPiecesPerThread + 1);
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
  const Grid grid = make_grid(m, k, panels, width, pool == nullptr ? 1 : pool->size());
  for_pieces(args, grid, pool, [&](const GemmArgs& part, int64_t index) {
    run_unpacked(kernels, part, b, ldb, b_transposed, workspace + index * k * width);
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
