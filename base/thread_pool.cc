#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace hugot {
namespace {

// CPU quota of this process's cgroup (version 2, then 1), in processors; 0 when there is none.
double cgroup_quota() {
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file) {
    std::string quota;
    double period = 0;
    if (file >> quota >> period && quota != "max" && period > 0) return std::stod(quota) / period;
    return 0;
  }
  double quota = 0;
  double period = 0;
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_file >> quota && period_file >> period && quota > 0 && period > 0) {
    return quota / period;
  }
  return 0;
}

}  // namespace

int available_processors() {
  cpu_set_t set;
  int count = 0;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) count = CPU_COUNT(&set);
  if (count <= 0) count = static_cast<int>(std::thread::hardware_concurrency());
  try {
    const double quota = cgroup_quota();
    if (quota > 0) count = std::min(count, static_cast<int>(quota + 0.999));
  } catch (const std::exception&) {
    // an unreadable quota is no quota
  }
  return std::max(count, 1);
}

class ThreadPool::Impl {
 public:
  explicit Impl(int threads) : size_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int size() const { return size_; }

  void run(int64_t count, int64_t grain, WorkerBody body) {
    Loop loop{.count = count, .grain = grain, .body = body};
    {
      const std::lock_guard lock(mutex_);
      loops_.push_back(&loop);
    }
    const int64_t chunks = (count + grain - 1) / grain;
    if (chunks > 2) {
      wake_.notify_all();
    } else {
      wake_.notify_one();
    }
    loop.work(0);
    {
      std::unique_lock lock(mutex_);
      loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
      done_.wait(lock, [&] { return loop.helpers == 0; });
    }
    if (loop.error) std::rethrow_exception(loop.error);
  }

 private:
  // One parallel_for in progress. `helpers` (guarded by the pool's mutex) counts workers inside it.
  struct Loop {
    int64_t count;
    int64_t grain;
    WorkerBody body;
    std::atomic<int64_t> next{0};
    int helpers = 0;
    std::mutex error_mutex{};
    std::exception_ptr error{};

    bool exhausted() const { return next.load(std::memory_order_relaxed) >= count; }

    void work(int worker) {
      for (;;) {
        const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        try {
          body(begin, std::min(begin + grain, count), worker);
        } catch (...) {
          next.store(count, std::memory_order_relaxed);
          const std::lock_guard lock(error_mutex);
          if (!error) error = std::current_exception();
        }
      }
    }
  };

  void work(int worker) {
    std::unique_lock lock(mutex_);
    for (;;) {
      Loop* loop = nullptr;
      wake_.wait(lock, [&] {
        for (Loop* candidate : loops_) {
          if (!candidate->exhausted()) {
            loop = candidate;
            break;
          }
        }
        return stop_ || loop != nullptr;
      });
      if (stop_) return;
      ++loop->helpers;
      lock.unlock();
      loop->work(worker);
      lock.lock();
      if (--loop->helpers == 0) done_.notify_all();
    }
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<Loop*> loops_;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

ThreadPool::ThreadPool(int threads)
    : impl_(std::make_unique<Impl>(threads > 0 ? threads : available_processors())) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return impl_->size(); }

void ThreadPool::parallel_for_workers(int64_t count, int64_t grain, WorkerBody body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (impl_->size() == 1 || count <= grain) {
    for (int64_t begin = 0; begin < count; begin += grain) {
      body(begin, std::min(begin + grain, count), 0);
    }
    return;
  }
  impl_->run(count, grain, body);
}

void ThreadPool::parallel_for(int64_t count, int64_t grain, LoopBody body) {
  parallel_for_workers(count, grain,
                       [&](int64_t begin, int64_t end, int /*worker*/) { body(begin, end); });
}

void parallel_for(ThreadPool* pool, int64_t count, int64_t grain, LoopBody body) {
  if (pool != nullptr) {
    pool->parallel_for(count, grain, body);
  } else if (count > 0) {
    body(0, count);
  }
}

}  // namespace hugot
