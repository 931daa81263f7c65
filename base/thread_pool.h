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

// `threads` - 1 workers plus the calling thread. parallel_for may be called from several threads:
// each caller works on its own loop, idle workers help, so nested and concurrent calls make
// progress. Idle workers sleep; see Region for the one exception.
class ThreadPool {
 public:
  // Stands around loops that follow each other within microseconds, in the thread that calls them:
  // a request for which latency counts. It wakes the workers, and one that has helped with a loop
  // of a region waits actively for the next, for at most kSpinMicroseconds, because to sleep and be
  // woken takes longer than such loops do. Nobody waits actively in a pool of more threads than
  // there are processors.
  //
  // Where several regions are open in the process, whichever their pools, they share the
  // processors: with as many regions as processors each runs in its own thread alone. A region
  // within another is part of it.
  class Region {
   public:
    explicit Region(ThreadPool* pool);  // null: nothing happens
    ~Region();
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;

   private:
    friend class ThreadPool;
    ThreadPool* pool_;
    const Region* outer_;
  };
  static constexpr int kSpinMicroseconds = 50;

  // 0 means available_processors().
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls body(begin, end) for disjoint ranges that cover [0, count), each at most `grain` long.
  // A thread takes ranges that follow each other, as long as there are. Returns when all are done;
  // rethrows the first exception (the remaining ranges are dropped).
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
