// A fixed team of worker threads for data-parallel loops.
#ifndef HUGOT_BASE_THREAD_POOL_H_
#define HUGOT_BASE_THREAD_POOL_H_

#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace hugot {

// body(begin, end) of a loop, and the same that is told which thread of the team it runs on: a
// number below ThreadPool::size() that no other part of the loop has at the same time.
using LoopBody = FunctionRef<void(int64_t begin, int64_t end)>;
using WorkerBody = FunctionRef<void(int64_t begin, int64_t end, int worker)>;

// Processors this process may use: the affinity mask, cut by the cgroup's CPU quota (rounded up),
// at least 1.
int available_processors();

// `threads` - 1 workers plus the calling thread. Idle workers sleep on a condition variable;
// nothing spins. parallel_for may be called from several threads: calls queue, each caller always
// works on its own loop, so nested and concurrent calls make progress.
class ThreadPool {
 public:
  // 0 means available_processors().
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls body(begin, end) for disjoint ranges that cover [0, count), each at most `grain` long.
  // Returns when all are done; rethrows the first exception (the remaining ranges are dropped).
  void parallel_for(int64_t count, int64_t grain, LoopBody body);
  void parallel_for_workers(int64_t count, int64_t grain, WorkerBody body);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Runs the loop on the pool; without one, body(0, count) in the calling thread.
void parallel_for(ThreadPool* pool, int64_t count, int64_t grain, LoopBody body);

}  // namespace hugot

#endif  // HUGOT_BASE_THREAD_POOL_H_
