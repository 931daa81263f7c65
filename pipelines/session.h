// What the pipelines of a session share.
#ifndef HUGOT_PIPELINES_SESSION_H_
#define HUGOT_PIPELINES_SESSION_H_

#include "base/thread_pool.h"
#include "graph/op.h"
#include "hugot/hugot.hpp"
#include "kernels/registry.h"

namespace hugot {

class HUGOT_LOCAL Session::Impl {
 public:
  explicit Impl(int threads) : ops(builtin_ops()), pool(threads) {}

  const OpRegistry ops;
  ThreadPool pool;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_SESSION_H_
