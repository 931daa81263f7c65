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
  if (threads == 1 || wanted < 2) return body({0, m, 0, panels});
  // Panels first, because a panel is read from memory by whoever needs it.
  const int64_t rows = ceil_div(m, std::clamp<int64_t>(m / kBandRows, 1, threads));
  const int64_t bands = ceil_div(m, rows);
  const int64_t width = ceil_div(panels, std::clamp<int64_t>(ceil_div(wanted, bands), 1, panels));
  const int64_t groups = ceil_div(panels, width);
  pool->parallel_for(bands * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / groups * rows, panel = i % groups * width;
      body({row, std::min(rows, m - row), panel, std::min(panel + width, panels)});
    }
  });
}

}  // namespace hugot::cpu
