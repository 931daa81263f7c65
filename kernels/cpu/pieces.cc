#include "kernels/cpu/pieces.h"

#include <algorithm>

namespace hugot::cpu {
namespace {

constexpr double kSmallestPiece = 64 * 1024;  // multiply-adds worth handing to another thread
constexpr int64_t kPiecesPerThread = 3;
// Rows are cut where the bands stay large enough to amortize the reading of a panel.
constexpr int64_t kBandRows = 96;

// Bands of rows times groups of panels; panels first, because a panel is read from memory by
// whoever needs it.
struct Cut {
  int64_t rows, width;  // of a piece
  int64_t bands = 1, groups = 1;
  int64_t shares = 1;  // of the pieces, by thread

  int64_t begin_of(int64_t share) const { return bands * groups * share / shares; }
};

Cut cut(int64_t m, int64_t panels, double work, const ThreadPool* pool, int64_t most_bands) {
  const int64_t threads = pool == nullptr ? 1 : pool->size();
  const auto wanted = static_cast<int64_t>(
      std::min(work / kSmallestPiece, static_cast<double>(threads * kPiecesPerThread)));
  if (threads == 1 || wanted < 2) return {m, panels};
  Cut result;
  result.rows = ceil_div(m, std::clamp<int64_t>(m / kBandRows, 1, most_bands));
  result.bands = ceil_div(m, result.rows);
  const int64_t groups = std::clamp<int64_t>(ceil_div(wanted, result.bands), 1, panels);
  // Pairs of panels, which some kernels take together.
  result.width = ceil_div(ceil_div(panels, groups), 2) * 2;
  result.groups = ceil_div(panels, result.width);
  result.shares = std::min(threads, result.bands * result.groups);
  return result;
}

Cut cut(int64_t m, int64_t panels, double work, const ThreadPool* pool) {
  return cut(m, panels, work, pool, pool == nullptr ? 1 : pool->size());
}

void run_pieces(const Cut& pieces, int64_t m, int64_t panels, ThreadPool* pool,
                FunctionRef<void(const GemmPiece&)> body) {
  const int64_t count = pieces.bands * pieces.groups;
  if (count == 1) return body({0, m, 0, panels, 0, 0});
  pool->parallel_for_workers(count, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / pieces.groups * pieces.rows;
      const int64_t panel = i % pieces.groups * pieces.width;
      const int64_t share = ((i + 1) * pieces.shares + count - 1) / count - 1;
      const bool last = pieces.begin_of(share + 1) == i + 1;
      body({row, std::min(pieces.rows, m - row), panel, std::min(panel + pieces.width, panels),
            worker, last ? static_cast<int>(share) : -1});
    }
  });
}

}  // namespace

void for_gemm_pieces(int64_t m, int64_t panels, double work, ThreadPool* pool,
                     FunctionRef<void(const GemmPiece&)> body) {
  run_pieces(cut(m, panels, work, pool), m, panels, pool, body);
}

void for_unpacked_pieces(int64_t m, int64_t panels, double work, ThreadPool* pool,
                         FunctionRef<void(const GemmPiece&)> body) {
  const int64_t threads = pool == nullptr ? 1 : pool->size();
  // Two panels go together, and a thread without panels has nothing to do.
  const int64_t bands = panels >= 4 * threads ? 1 : threads;
  run_pieces(cut(m, panels, work, pool, bands), m, panels, pool, body);
}

int64_t first_panel_of_share(int64_t m, int64_t panels, double work, const ThreadPool* pool,
                             int share) {
  const Cut pieces = cut(m, panels, work, pool);
  return share < pieces.shares ? pieces.begin_of(share) % pieces.groups * pieces.width : 0;
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
      if (part.panel_end < piece.panel_end - first) part.last_of_share = -1;  // more of it follows
      if (part.panel_begin < part.panel_end) body(i, part);
      first += count;
    }
  });
}

}  // namespace hugot::cpu
