#include "kernels/cuda/emulated_device.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/cuda/emulator.h"
#include "kernels/cuda/sanitizer.h"

namespace hugot::cuda {
namespace {

constexpr size_t kGuardBytes = Device::kAlignment;  // on both sides of an allocation
constexpr int kGuard = 0xa5;
constexpr int kGarbage = 0xff;
constexpr std::align_val_t kBlockAlignment{Device::kAlignment};

// The allocations of a device. Callers hold its lock.
class DeviceHeap {
 public:
  explicit DeviceHeap(size_t limit) : limit_(limit) {}
  ~DeviceHeap() {
    while (!blocks_.empty()) free(const_cast<std::byte*>(blocks_.begin()->first));
  }

  std::byte* allocate(size_t bytes);
  void free(std::byte* memory);
  size_t used() const { return used_; }
  size_t limit() const { return limit_; }

  // True when [begin, begin + bytes) lies in one allocation.
  bool contains(const std::byte* begin, size_t bytes) const;
  // True when it touches none.
  bool is_foreign(const std::byte* begin, size_t bytes) const;

  // Makes the memory usable while it lives: kernels and copies run within it.
  class Access {
   public:
    explicit Access(const DeviceHeap& heap) : heap_(heap) { heap_.each(allow_access); }
    ~Access() { heap_.each(forbid_access); }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

   private:
    const DeviceHeap& heap_;
  };
  // True when nothing has been written beside allocations.
  bool guards_are_intact() const;

 private:
  void each(void (*function)(const void*, size_t)) const {
    for (const auto& [memory, bytes] : blocks_) function(memory, bytes);
  }

  std::map<const std::byte*, size_t> blocks_;
  size_t used_ = 0;
  size_t limit_;
};

std::byte* DeviceHeap::allocate(size_t bytes) {
  require(bytes <= limit_ - used_, ErrorCode::kOutOfMemory, "cannot allocate ", bytes,
          " bytes on the device, ", limit_ - used_, " are free");
  bytes = std::max<size_t>(bytes, 1);
  auto* block = static_cast<std::byte*>(::operator new(bytes + 2 * kGuardBytes, kBlockAlignment));
  std::byte* memory = block + kGuardBytes;
  std::memset(block, kGuard, bytes + 2 * kGuardBytes);
  std::memset(memory, kGarbage, bytes);
  forbid_access(block, bytes + 2 * kGuardBytes);
  blocks_.emplace(memory, bytes);
  used_ += bytes;
  return memory;
}

void DeviceHeap::free(std::byte* memory) {
  const auto it = blocks_.find(memory);
  if (it == blocks_.end()) return;
  std::byte* block = memory - kGuardBytes;
  allow_access(block, it->second + 2 * kGuardBytes);
  used_ -= it->second;
  blocks_.erase(it);
  ::operator delete(block, kBlockAlignment);
}

bool DeviceHeap::contains(const std::byte* begin, size_t bytes) const {
  auto it = blocks_.upper_bound(begin);
  if (it == blocks_.begin()) return false;
  --it;
  const auto offset = static_cast<size_t>(begin - it->first);
  return offset <= it->second && bytes <= it->second - offset;
}

bool DeviceHeap::is_foreign(const std::byte* begin, size_t bytes) const {
  return std::none_of(blocks_.begin(), blocks_.end(), [&](const auto& block) {
    return begin < block.first + block.second && block.first < begin + bytes;
  });
}

bool DeviceHeap::guards_are_intact() const {
  if (kAddressSanitizer) return true;  // the sanitizer watches them
  const auto intact = [](const std::byte* guard) {
    return std::all_of(guard, guard + kGuardBytes,
                       [](std::byte b) { return b == std::byte{kGuard}; });
  };
  return std::all_of(blocks_.begin(), blocks_.end(), [&](const auto& block) {
    return intact(block.first - kGuardBytes) && intact(block.first + block.second);
  });
}

// The work of one stream, in order.
class Queue {
 public:
  uint64_t add(std::function<void()> work) {
    waiting_.push_back(std::move(work));
    return done_ + waiting_.size();
  }
  uint64_t last() const { return done_ + waiting_.size(); }
  // Does what has been queued, up to number `last`. After an error the rest is dropped.
  void run(uint64_t last) {
    while (done_ < last && !waiting_.empty()) {
      const std::function<void()> work = std::move(waiting_.front());
      waiting_.pop_front();
      ++done_;
      try {
        work();
      } catch (...) {
        done_ += waiting_.size();
        waiting_.clear();
        throw;
      }
    }
  }

 private:
  std::deque<std::function<void()>> waiting_;
  uint64_t done_ = 0;
};

struct EmulatedEvent final : Event {
  std::shared_ptr<Queue> queue;
  uint64_t number = 0;
};

class EmulatedDevice;

class EmulatedStream final : public Stream {
 public:
  explicit EmulatedStream(EmulatedDevice& device);
  ~EmulatedStream() override;

  void copy_to_device(std::byte* to, const std::byte* from, size_t bytes) override;
  void copy_to_host(std::byte* to, const std::byte* from, size_t bytes) override;
  void copy_on_device(std::byte* to, const std::byte* from, size_t bytes) override;
  std::unique_ptr<Event> record() override;
  void wait(const Event& event) override;
  void synchronize() override;
  void launch(emulator::Launch launch, const std::vector<const void*>& pointers);

 private:
  void check_device(const std::byte* memory, size_t bytes) const;
  void check_host(const std::byte* memory, size_t bytes) const;
  void copy(std::byte* to, const std::byte* from, size_t bytes);

  EmulatedDevice& device_;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

class EmulatedDevice final : public Device {
 public:
  explicit EmulatedDevice(const EmulatedDeviceOptions& options)
      : heap(options.memory_bytes), thread_order(options.thread_order) {}

  std::string_view name() const override { return "cuda-emulated"; }
  DeviceMemory memory() const override {
    const std::lock_guard hold(lock);
    return {heap.limit(), heap.limit() - heap.used()};
  }
  std::byte* allocate(size_t bytes) override {
    const std::lock_guard hold(lock);
    return heap.allocate(bytes);
  }
  void free(std::byte* memory) noexcept override {
    const std::lock_guard hold(lock);
    for (const auto& queue : queues) {
      try {
        queue->run(queue->last());
      } catch (...) {
        // free() cannot fail; who waits for the result of the failed work misses it.
      }
    }
    heap.free(memory);
  }
  std::unique_ptr<Stream> new_stream() override { return std::make_unique<EmulatedStream>(*this); }

  // One piece of work runs at a time; work may wait for other streams.
  mutable std::recursive_mutex lock;
  DeviceHeap heap;
  std::vector<std::shared_ptr<Queue>> queues;
  uint64_t thread_order;
};

EmulatedStream::EmulatedStream(EmulatedDevice& device) : device_(device) {
  const std::lock_guard hold(device_.lock);
  device_.queues.push_back(queue_);
}

EmulatedStream::~EmulatedStream() {
  const std::lock_guard hold(device_.lock);
  std::erase(device_.queues, queue_);
}

void EmulatedStream::check_device(const std::byte* memory, size_t bytes) const {
  require(device_.heap.contains(memory, bytes), ErrorCode::kInvalidArgument, "a range of ", bytes,
          " bytes is not inside of an allocation of device ", device_.name());
}

void EmulatedStream::check_host(const std::byte* memory, size_t bytes) const {
  require(device_.heap.is_foreign(memory, bytes), ErrorCode::kInvalidArgument, "a host range of ",
          bytes, " bytes is memory of device ", device_.name());
}

void EmulatedStream::copy(std::byte* to, const std::byte* from, size_t bytes) {
  queue_->add([this, to, from, bytes] {
    const DeviceHeap::Access access(device_.heap);
    std::memmove(to, from, bytes);
  });
}

void EmulatedStream::copy_to_device(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard hold(device_.lock);
  check_device(to, bytes);
  check_host(from, bytes);
  copy(to, from, bytes);
}

void EmulatedStream::copy_to_host(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard hold(device_.lock);
  check_host(to, bytes);
  check_device(from, bytes);
  copy(to, from, bytes);
}

void EmulatedStream::copy_on_device(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard hold(device_.lock);
  check_device(to, bytes);
  check_device(from, bytes);
  copy(to, from, bytes);
}

void EmulatedStream::launch(emulator::Launch launch, const std::vector<const void*>& pointers) {
  const std::lock_guard hold(device_.lock);
  for (const void* pointer : pointers) {
    require(pointer == nullptr || device_.heap.contains(static_cast<const std::byte*>(pointer), 0),
            ErrorCode::kInvalidArgument, "kernel ", launch.name,
            ": an argument points to no memory of device ", device_.name());
  }
  queue_->add([this, launch = std::move(launch)] {
    const DeviceHeap::Access access(device_.heap);
    emulator::run(launch, device_.thread_order);
    require(device_.heap.guards_are_intact(), ErrorCode::kInternal, "kernel ", launch.name,
            " writes beyond an allocation");
  });
}

std::unique_ptr<Event> EmulatedStream::record() {
  const std::lock_guard hold(device_.lock);
  auto event = std::make_unique<EmulatedEvent>();
  event->queue = queue_;
  event->number = queue_->last();
  return event;
}

void EmulatedStream::wait(const Event& event) {
  const auto* other = dynamic_cast<const EmulatedEvent*>(&event);
  require(other != nullptr, ErrorCode::kInvalidArgument, "an event of another device");
  const std::lock_guard hold(device_.lock);
  queue_->add([queue = other->queue, number = other->number] { queue->run(number); });
}

void EmulatedStream::synchronize() {
  const std::lock_guard hold(device_.lock);
  queue_->run(queue_->last());
}

}  // namespace

void emulator::queue(Stream& stream, Launch launch, const std::vector<const void*>& pointers) {
  auto* emulated = dynamic_cast<EmulatedStream*>(&stream);
  require(emulated != nullptr, ErrorCode::kInvalidArgument, "kernel ", launch.name,
          ": the stream is of another device");
  emulated->launch(std::move(launch), pointers);
}

std::shared_ptr<Device> emulated_device(const EmulatedDeviceOptions& options) {
  return std::make_shared<EmulatedDevice>(options);
}

}  // namespace hugot::cuda
