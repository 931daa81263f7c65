#include "kernels/cpu/pieces.h"

#include <algorithm>

namespace hugot::cpu {
namespace {

constexpr double kSmallestPiece = 64 * 1024;  // multiply-adds worth handing to another thread
constexpr int64_t kPiecesPerThread = 3;
// Rows are cut where the bands stay large enough to amortize the reading of a panel.
constexpr int64_t kBandRows = 96;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void for_gemm_pieces(int64_t m, int64_t panels, double work, ThreadPool* pool,
                     FunctionRef<void(const GemmPiece&)> body) {
  const int64_t threads = pool == nullptr ? 1 : pool->size();
  const auto wanted = static_cast<int64_t>(
      std::min(work / kSmallestPiece, static_cast<double>(threads * kPiecesPerThread)));
  if (threads == 1 || wanted < 2) return body({0, m, 0, panels, 0});
  // Panels first, because a panel is read from memory by whoever needs it.
  const int64_t rows = ceil_div(m, std::clamp<int64_t>(m / kBandRows, 1, threads));
  const int64_t bands = ceil_div(m, rows);
  // Pairs of panels, which some kernels take together.
  const int64_t width =
      ceil_div(ceil_div(panels, std::clamp<int64_t>(ceil_div(wanted, bands), 1, panels)), 2) * 2;
  const int64_t groups = ceil_div(panels, width);
  pool->parallel_for_workers(bands * groups, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / groups * rows, panel = i % groups * width;
      body({row, std::min(rows, m - row), panel, std::min(panel + width, panels), worker});
    }
  });
}

void for_gemm_pieces(int64_t m, size_t products, FunctionRef<int64_t(size_t)> panels, double work,
                     ThreadPool* pool, FunctionRef<void(size_t, const GemmPiece&)> body) {
  int64_t all = 0;
  for (size_t i = 0; i < products; ++i) all += panels(i);
  for_gemm_pieces(m, all, work, pool, [&](const GemmPiece& piece) {
    int64_t first = 0;  // panel of product i
    for (size_t i = 0; i < products; ++i) {
      const int64_t count = panels(i);
      GemmPiece part = piece;
      part.panel_begin = std::max(piece.panel_begin - first, int64_t{0});
      part.panel_end = std::min(piece.panel_end - first, count);
      if (part.panel_begin < part.panel_end) body(i, part);
      first += count;
    }
  });
}

}  // namespace hugot::cpu
