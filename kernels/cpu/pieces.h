// How a product on packed panels is cut for the threads.
#ifndef HUGOT_KERNELS_CPU_PIECES_H_
#define HUGOT_KERNELS_CPU_PIECES_H_

#include <cstdint>

#include "base/function_ref.h"
#include "base/thread_pool.h"

namespace hugot::cpu {

// Rows [row, row + rows) of panels [panel_begin, panel_end).
struct GemmPiece {
  int64_t row, rows, panel_begin, panel_end;
};

// Calls body(piece) on the pool for pieces that cover m rows and all panels, in about equal parts;
// one piece without a pool and for small products. `work` counts multiply-adds.
void for_gemm_pieces(int64_t m, int64_t panels, double work, ThreadPool* pool,
                     FunctionRef<void(const GemmPiece&)> body);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_PIECES_H_
