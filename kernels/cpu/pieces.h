// How products on packed panels are cut for the threads.
#ifndef HUGOT_KERNELS_CPU_PIECES_H_
#define HUGOT_KERNELS_CPU_PIECES_H_

#include <cstddef>
#include <cstdint>

#include "base/function_ref.h"
#include "base/thread_pool.h"

namespace hugot::cpu {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows of narrow numbers lie in groups of 32 bits, with `group` numbers in each. How many groups
// from one row of k numbers to the next: room for the widest vectors, and rows that are not a power
// of two apart, which would all want the same places in the cache.
inline int64_t group_row_stride(int64_t k, int64_t group) {
  constexpr int64_t kVector = 16;
  return ceil_div(k, kVector) * kVector / group + kVector;
}

// Rows [row, row + rows) of panels [panel_begin, panel_end), for thread `worker` of the team.
struct GemmPiece {
  int64_t row, rows, panel_begin, panel_end;
  int worker;
  int last_of_share;  // the number of a thread's share of the work which ends with this piece, or
                      // -1
};

// Calls body(piece) on the pool for pieces that cover m rows and all panels, in about equal parts;
// one piece without a pool and for small products. `work` counts multiply-adds.
void for_gemm_pieces(int64_t m, int64_t panels, double work, ThreadPool* pool,
                     FunctionRef<void(const GemmPiece&)> body);

// The same for panels that whoever needs one packs first: bands of rows, which all pack the same
// panels, are few.
void for_unpacked_pieces(int64_t m, int64_t panels, double work, ThreadPool* pool,
                         FunctionRef<void(const GemmPiece&)> body);

// The same for `products` products of the same rows, cut as if their panels(i) panels followed each
// other: body(i, piece), where the piece counts the panels of product i.
void for_gemm_pieces(int64_t m, size_t products, FunctionRef<int64_t(size_t)> panels, double work,
                     ThreadPool* pool, FunctionRef<void(size_t, const GemmPiece&)> body);

// Where thread `share` begins, if all threads of the pool take part.
int64_t first_panel_of_share(int64_t m, int64_t panels, double work, const ThreadPool* pool,
                             int share);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_PIECES_H_
