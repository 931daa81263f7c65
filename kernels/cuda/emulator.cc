#include "kernels/cuda/emulator.h"

#include <algorithm>
#include <memory>
#include <string>

#include "base/error.h"
#include "kernels/cuda/fiber.h"

namespace hugot::cuda::emulator {
namespace {

constexpr unsigned kLanes = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr size_t kMaxSharedBytes = 48 * 1024;
constexpr size_t kSharedGuard = 64;  // bytes behind dynamic shared memory
constexpr std::byte kGarbage{0xff};  // memory that nobody has written: NaN, or -1
constexpr std::byte kGuard{0xa5};
constexpr uint64_t kUndefined = ~uint64_t{0};  // what CUDA leaves undefined

struct Cancelled {};  // unwinds threads of a launch that has failed

enum class State { kNew, kReady, kAtBarrier, kAtWarp, kDone };

struct Thread {
  State state = State::kNew;
  uint3 index;
  Fiber* fiber = nullptr;
  Where where;
  WarpOperation operation = WarpOperation::kShuffle;
  unsigned mask = 0;
  uint64_t bits = 0;
  int source = -1;
  uint64_t result = 0;
};

uint64_t next_random(uint64_t& state) {  // splitmix64
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::string place(Where where) {
  const std::string_view file = where.file;
  return str(file.substr(file.find_last_of('/') + 1), ":", where.line);
}

// Runs the blocks of one launch.
class Runner {
 public:
  void run(const Launch& launch, uint64_t order_seed);

  Thread& current() { return *current_; }
  int lane() const {
    return static_cast<int>(static_cast<size_t>(current_ - threads_.data()) % kLanes);
  }
  std::byte* shared() { return shared_.data(); }
  // Leaves the current thread until the runner makes it ready again.
  void block(State state, Where where);

 private:
  void run_block();
  void start_threads();
  void resume_ready();
  // Makes threads ready whose wait is over. False when there are none.
  bool release();
  void release_warp(unsigned first);
  bool release_barrier();
  [[noreturn]] void report_deadlock() const;
  void cancel();
  void shuffle();
  void enter(Thread& thread);
  static void fiber_main(void* self);
  void check_shared() const;
  std::string describe_block() const;

  const Launch* launch_ = nullptr;
  uint64_t seed_ = 0;
  std::vector<Thread> threads_;
  std::vector<size_t> order_;
  size_t next_new_ = 0;  // into order_
  size_t done_ = 0;
  Thread* current_ = nullptr;
  bool cancelled_ = false;
  std::exception_ptr error_;
  std::vector<std::byte> shared_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;
};

Runner& runner() {
  static thread_local Runner instance;
  return instance;
}

void check_launch(const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  require(threads > 0 && threads <= kMaxThreads && block.x <= kMaxThreads &&
              block.y <= kMaxThreads && block.z <= 64,
          ErrorCode::kInvalidArgument, "kernel ", launch.name, ": a block of ", block.x, " x ",
          block.y, " x ", block.z, " threads cannot be launched");
  require(grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
              grid.z <= 65535,
          ErrorCode::kInvalidArgument, "kernel ", launch.name, ": a grid of ", grid.x, " x ",
          grid.y, " x ", grid.z, " blocks cannot be launched");
  require(launch.shared_bytes <= kMaxSharedBytes, ErrorCode::kInvalidArgument, "kernel ",
          launch.name, ": ", launch.shared_bytes, " bytes of shared memory, at most ",
          kMaxSharedBytes);
}

void Runner::run(const Launch& launch, uint64_t order_seed) {
  check_launch(launch);
  launch_ = &launch;
  seed_ = order_seed;
  blockDim = launch.block;
  gridDim = launch.grid;
  threads_.resize(size_t{launch.block.x} * launch.block.y * launch.block.z);
  shared_.resize(launch.shared_bytes + kSharedGuard);
  order_.resize(threads_.size());
  for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
  for (unsigned z = 0; z < launch.grid.z; ++z) {
    for (unsigned y = 0; y < launch.grid.y; ++y) {
      for (unsigned x = 0; x < launch.grid.x; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
    }
  }
}

void Runner::run_block() {
  uint3 index;
  for (Thread& thread : threads_) {
    thread = Thread{};
    thread.index = index;
    if (++index.x < blockDim.x) continue;
    index.x = 0;
    if (++index.y < blockDim.y) continue;
    index.y = 0;
    ++index.z;
  }
  std::fill_n(shared_.begin(), launch_->shared_bytes, kGarbage);
  std::fill_n(shared_.end() - kSharedGuard, kSharedGuard, kGuard);
  next_new_ = done_ = 0;
  cancelled_ = false;
  error_ = nullptr;
  shuffle();
  try {
    start_threads();
    while (error_ == nullptr && done_ < threads_.size()) {
      if (!release()) report_deadlock();
      shuffle();
      resume_ready();
    }
  } catch (const Error&) {
    error_ = std::current_exception();
  }
  if (error_ != nullptr) {
    cancel();
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
  check_shared();
}

void Runner::shuffle() {
  if (seed_ == 0) return;
  for (size_t i = order_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[next_random(seed_) % i]);
  }
}

// A fiber takes one new thread after the other, so that kernels without barriers need one fiber and
// no switches.
void Runner::start_threads() {
  while (error_ == nullptr && next_new_ < order_.size()) {
    if (free_fibers_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>());
      free_fibers_.push_back(fibers_.back().get());
    }
    Fiber* fiber = free_fibers_.back();
    free_fibers_.pop_back();
    Thread& first = threads_[order_[next_new_]];
    first.fiber = fiber;
    fiber->start(fiber_main, this);
    fiber->resume();
  }
}

void Runner::fiber_main(void* self) {
  Runner& r = *static_cast<Runner*>(self);
  Fiber* fiber = r.threads_[r.order_[r.next_new_]].fiber;
  const auto run_one = [&](Thread& thread) {
    try {
      r.launch_->thread();
    } catch (const Cancelled&) {
    } catch (...) {
      if (r.error_ == nullptr) r.error_ = std::current_exception();
    }
    thread.state = State::kDone;
    ++r.done_;
  };
  while (r.error_ == nullptr && r.next_new_ < r.order_.size()) {
    Thread& thread = r.threads_[r.order_[r.next_new_++]];
    thread.fiber = fiber;
    r.enter(thread);
    run_one(thread);
  }
  r.free_fibers_.push_back(fiber);
}

void Runner::enter(Thread& thread) {
  current_ = &thread;
  threadIdx = thread.index;
}

void Runner::block(State state, Where where) {
  Thread& self = *current_;
  self.state = state;
  self.where = where;
  self.fiber->give_way();
  if (cancelled_) throw Cancelled{};
}

void Runner::resume_ready() {
  for (const size_t i : order_) {
    Thread& thread = threads_[i];
    if (thread.state != State::kReady) continue;
    enter(thread);
    thread.fiber->resume();
    if (error_ != nullptr) return;
  }
}

bool Runner::release() {
  for (unsigned first = 0; first < threads_.size(); first += kLanes) release_warp(first);
  const auto ready = [](const Thread& thread) { return thread.state == State::kReady; };
  return std::any_of(threads_.begin(), threads_.end(), ready) || release_barrier();
}

// Every group of lanes that wait for each other, when all of them are there.
void Runner::release_warp(unsigned first) {
  const unsigned count = std::min<unsigned>(kLanes, static_cast<unsigned>(threads_.size()) - first);
  Thread* lanes = threads_.data() + first;
  const unsigned existing = count == kLanes ? ~0u : (1u << count) - 1;
  for (unsigned leader = 0; leader < count; ++leader) {
    if (lanes[leader].state != State::kAtWarp) continue;
    const unsigned group = lanes[leader].mask & existing;
    const auto in_group = [&](unsigned i) { return (group >> i & 1u) != 0; };
    bool complete = true;
    uint64_t votes = 0;
    for (unsigned i = 0; i < count; ++i) {
      if (!in_group(i)) continue;
      const Thread& lane = lanes[i];
      complete = complete && lane.state == State::kAtWarp && lane.mask == lanes[leader].mask &&
                 lane.operation == lanes[leader].operation;
      votes |= lane.bits << i;
    }
    if (!complete) continue;
    for (unsigned i = 0; i < count; ++i) {
      if (!in_group(i)) continue;
      Thread& lane = lanes[i];
      const int source = lane.source;
      const bool defined = source >= 0 && source < static_cast<int>(count) &&
                           in_group(static_cast<unsigned>(source));
      lane.result = lane.operation == WarpOperation::kBallot ? votes
                    : defined                                ? lanes[source].bits
                                                             : kUndefined;
    }
    for (unsigned i = 0; i < count; ++i) {
      if (in_group(i)) lanes[i].state = State::kReady;
    }
  }
}

bool Runner::release_barrier() {
  const bool all = std::all_of(threads_.begin(), threads_.end(), [&](const Thread& thread) {
    return thread.state == State::kAtBarrier && thread.where == threads_.front().where;
  });
  if (!all) return false;
  for (Thread& thread : threads_) thread.state = State::kReady;
  return true;
}

std::string Runner::describe_block() const {
  return str("kernel ", launch_->name, ", block (", blockIdx.x, ",", blockIdx.y, ",", blockIdx.z,
             ")");
}

void Runner::report_deadlock() const {
  const auto is_waiting = [](const Thread& thread) { return thread.state != State::kDone; };
  // A warp operation that cannot finish keeps others from their barrier, so it is named first.
  const auto at_warp = std::find_if(threads_.begin(), threads_.end(), [](const Thread& thread) {
    return thread.state == State::kAtWarp;
  });
  const Thread& waiting = at_warp != threads_.end()
                              ? *at_warp
                              : *std::find_if(threads_.begin(), threads_.end(), is_waiting);
  const auto same = std::count_if(threads_.begin(), threads_.end(), [&](const Thread& thread) {
    return thread.state == waiting.state && thread.where == waiting.where;
  });
  const bool warp = waiting.state == State::kAtWarp;
  fail(ErrorCode::kInternal, describe_block(), ": ",
       warp ? "the warp operation at " : "the barrier at ", place(waiting.where), " is reached by ",
       same, " of ", threads_.size(), " threads, ", done_,
       " have returned, and the rest waits elsewhere");
}

void Runner::cancel() {
  cancelled_ = true;
  for (Thread& thread : threads_) {
    if (thread.state == State::kNew || thread.state == State::kDone) continue;
    enter(thread);
    thread.fiber->resume();
  }
}

void Runner::check_shared() const {
  const bool intact = std::all_of(shared_.end() - kSharedGuard, shared_.end(),
                                  [](std::byte b) { return b == kGuard; });
  require(intact, ErrorCode::kInternal, describe_block(), ": writes beyond its ",
          launch_->shared_bytes, " bytes of dynamic shared memory");
}

}  // namespace

void run(const Launch& launch, uint64_t order_seed) { runner().run(launch, order_seed); }

void block_barrier(Where where) { runner().block(State::kAtBarrier, where); }

uint64_t exchange(WarpOperation operation, unsigned mask, uint64_t bits, int source, Where where) {
  Runner& r = runner();
  Thread& self = r.current();
  require((mask >> r.lane() & 1u) != 0, ErrorCode::kInternal, "the warp operation at ",
          place(where), " has a mask without the lane that calls it, ", r.lane());
  self.operation = operation;
  self.mask = mask;
  self.bits = bits;
  self.source = source;
  r.block(State::kAtWarp, where);
  return self.result;
}

int lane() { return runner().lane(); }

std::byte* dynamic_shared_memory() { return runner().shared(); }

}  // namespace hugot::cuda::emulator
