#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
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

namespace {

using Clock = std::chrono::steady_clock;

// What a thread does between two looks at a variable that another will change soon.
void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `done()` with the processor held, for at most kSpinMicroseconds. Gives way to other
// threads in the second half, in case the one that is waited for has no processor.
template <class Done>
bool spin_until(const Done& done) {
  constexpr int kLooksPerTime = 16;
  constexpr std::chrono::microseconds kLimit{ThreadPool::kSpinMicroseconds};
  const auto begin = Clock::now();
  for (;;) {
    for (int i = 0; i < kLooksPerTime; ++i) {
      if (done()) return true;
      relax();
    }
    const auto time = Clock::now() - begin;
    if (time >= kLimit) return done();
    if (time >= kLimit / 2) sched_yield();
  }
}

std::atomic<int> open_regions = 0;  // of all pools
thread_local const ThreadPool::Region* current_region = nullptr;

}  // namespace

class ThreadPool::Impl {
 public:
  explicit Impl(int threads) : size_(threads), processors_(available_processors()) {
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
  bool may_spin() const { return size_ <= processors_; }

  // Threads besides the caller that a loop of a region may have.
  int region_helpers() const {
    const int regions = open_regions.load(std::memory_order_relaxed);
    const int share = regions > 1 ? std::max(processors_ / regions, 1) : size_;
    return std::min(share, size_) - 1;
  }

  void wake_for_region() {
    if (may_spin() && region_helpers() > 0) announce(true);
  }

  void run(int64_t count, int64_t grain, WorkerBody body, bool in_region) {
    const int64_t chunks = (count + grain - 1) / grain;
    const int helpers = in_region ? region_helpers() : size_ - 1;
    const int shares =
        static_cast<int>(std::min<int64_t>({helpers + 1, chunks, int64_t{Loop::kMaxShares}}));
    Loop loop(count, grain, shares, body, in_region);
    Slot* slot = shares > 1 ? publish(loop, helpers) : nullptr;
    loop.work(0);
    if (slot != nullptr) close(*slot, in_region && may_spin());
    if (loop.error) std::rethrow_exception(loop.error);
  }

 private:
  // One parallel_for in progress. It is cut into one share for each thread that may work on it;
  // who is through with its own share takes from the others.
  struct Loop {
    static constexpr int kMaxShares = 16;
    struct alignas(64) Share {
      std::atomic<int64_t> next;
      int64_t end;
    };

    Loop(int64_t count, int64_t chunk, int shares, WorkerBody work_body, bool region)
        : grain(chunk), share_count(shares), body(work_body), in_region(region) {
      const int64_t chunks = (count + grain - 1) / grain;
      for (int i = 0; i < shares; ++i) {
        share[i].next.store(chunks * i / shares * grain, std::memory_order_relaxed);
        share[i].end = std::min(chunks * (i + 1) / shares * grain, count);
      }
    }

    void work(int worker) {
      for (int i = 0; i < share_count; ++i) {
        Share& part = share[(worker + i) % share_count];
        for (;;) {
          const int64_t begin = part.next.fetch_add(grain, std::memory_order_relaxed);
          if (begin >= part.end) break;
          try {
            body(begin, std::min(begin + grain, part.end), worker);
          } catch (...) {
            drop();
            const std::lock_guard lock(error_mutex);
            if (!error) error = std::current_exception();
          }
        }
      }
    }

    void drop() {
      for (int i = 0; i < share_count; ++i) {
        share[i].next.store(share[i].end, std::memory_order_relaxed);
      }
    }

    const int64_t grain;
    const int share_count;
    const WorkerBody body;
    const bool in_region;
    Share share[kMaxShares];
    std::mutex error_mutex{};
    std::exception_ptr error{};
  };

  // Where workers find a loop. `state` is 0 while the slot is free; otherwise it counts the workers
  // that are inside the loop, which may be read by those and while kOpen is set.
  struct alignas(64) Slot {
    static constexpr uint32_t kTaken = 1U << 31;
    static constexpr uint32_t kOpen = 1U << 30;     // workers may enter
    static constexpr uint32_t kWaiting = 1U << 29;  // the caller sleeps until the last one has left
    static constexpr uint32_t kWorkers = kWaiting - 1;

    bool empty() const { return (state.load(std::memory_order_acquire) & kWorkers) == 0; }

    std::atomic<uint32_t> state = 0;
    std::atomic<uint32_t> most_workers = 0;
    Loop* loop = nullptr;
  };
  // Loops that workers see at the same time; others run in their caller's thread alone.
  static constexpr size_t kSlots = 32;

  Slot* publish(Loop& loop, int helpers) {
    for (Slot& slot : slots_) {
      uint32_t free = 0;
      if (slot.state.load(std::memory_order_relaxed) != free ||
          !slot.state.compare_exchange_strong(free, Slot::kTaken, std::memory_order_acq_rel)) {
        continue;
      }
      slot.loop = &loop;
      slot.most_workers.store(static_cast<uint32_t>(helpers), std::memory_order_relaxed);
      slot.state.store(Slot::kTaken | Slot::kOpen, std::memory_order_release);
      announce(loop.share_count > 2);
      return &slot;
    }
    return nullptr;
  }

  // Tells spinning and sleeping workers that there is something new.
  void announce(bool all) {
    epoch_.fetch_add(1);
    if (sleepers_.load() == 0) return;
    { const std::lock_guard lock(mutex_); }  // a worker is asleep, or has not looked at epoch_ yet
    if (all) {
      wake_.notify_all();
    } else {
      wake_.notify_one();
    }
  }

  // Ends the loop of a slot when its workers have left.
  void close(Slot& slot, bool spin) {
    slot.state.fetch_and(~Slot::kOpen, std::memory_order_acq_rel);
    if (!slot.empty() && !(spin && spin_until([&] { return slot.empty(); }))) {
      std::unique_lock lock(mutex_);
      slot.state.fetch_or(Slot::kWaiting, std::memory_order_acq_rel);
      done_.wait(lock, [&] { return slot.empty(); });
    }
    slot.state.store(0, std::memory_order_release);
  }

  // Works on an open loop. False when there is none; `in_region` tells what kind it was.
  bool help(int worker, bool& in_region) {
    for (Slot& slot : slots_) {
      uint32_t state = slot.state.load(std::memory_order_relaxed);
      bool entered = false;
      while (!entered && (state & Slot::kOpen) != 0 &&
             (state & Slot::kWorkers) < slot.most_workers.load(std::memory_order_relaxed)) {
        entered = slot.state.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                                   std::memory_order_relaxed);
      }
      if (!entered) continue;
      in_region = slot.loop->in_region;
      slot.loop->work(worker);
      // Nothing is left in it for others.
      slot.state.fetch_and(~Slot::kOpen, std::memory_order_relaxed);
      const uint32_t before = slot.state.fetch_sub(1, std::memory_order_acq_rel);
      if ((before & Slot::kWorkers) == 1 && (before & Slot::kWaiting) != 0) {
        { const std::lock_guard lock(mutex_); }
        done_.notify_all();
      }
      return true;
    }
    return false;
  }

  void work(int worker) {
    bool spin = false;
    for (;;) {
      const uint32_t seen = epoch_.load();
      if (help(worker, spin)) continue;
      const auto changed = [&] { return epoch_.load() != seen; };
      if (spin && may_spin() && spin_until([&] { return changed() || region_helpers() == 0; }) &&
          changed()) {
        continue;
      }
      std::unique_lock lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [&] { return stop_ || changed(); });
      sleepers_.fetch_sub(1);
      if (stop_) return;
      // The one who called it may be a region that has just been opened.
      spin = open_regions.load(std::memory_order_relaxed) > 0;
    }
  }

  const int size_;
  const int processors_;
  std::array<Slot, kSlots> slots_;
  alignas(64) std::atomic<uint32_t> epoch_ = 0;  // counts announcements
  alignas(64) std::atomic<int> sleepers_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

ThreadPool::Region::Region(ThreadPool* pool) : pool_(pool), outer_(current_region) {
  if (pool_ == nullptr) return;
  current_region = this;
  if (outer_ == nullptr) open_regions.fetch_add(1, std::memory_order_relaxed);
  pool_->impl_->wake_for_region();
}

ThreadPool::Region::~Region() {
  if (pool_ == nullptr) return;
  if (outer_ == nullptr) open_regions.fetch_sub(1, std::memory_order_relaxed);
  current_region = outer_;
}

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
  impl_->run(count, grain, body, current_region != nullptr && current_region->pool_ == this);
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
