// Kernels that work for long ask now and then whether they still shall.
#ifndef HUGOT_KERNELS_RUNNING_H_
#define HUGOT_KERNELS_RUNNING_H_

#include "base/error.h"
#include "graph/op.h"

namespace hugot {

// Throws kCancelled once the run has been asked to stop.
inline void check_running(const KernelContext& ctx) {
  require(!ctx.stop().stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_RUNNING_H_
