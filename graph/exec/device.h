// Where kernels run and their operands lie: the host, or an accelerator with memory of its own.
#ifndef HUGOT_GRAPH_EXEC_DEVICE_H_
#define HUGOT_GRAPH_EXEC_DEVICE_H_

#include <cstddef>
#include <memory>
#include <string_view>

namespace hugot {

// A point in the work of a stream.
class Event {
 public:
  virtual ~Event() = default;
};

// Work that a device does in order, some time between the call that queues it and synchronize().
// Host memory that a copy reads or writes has to stay, unchanged by others, until then. Errors of
// queued work surface in a later call. One thread at a time.
class Stream {
 public:
  virtual ~Stream() = default;

  // `bytes` may be 0. Throw kInvalidArgument when a device range is not inside of one allocation of
  // the device, or a host range is device memory, as far as the device can tell.
  virtual void copy_to_device(std::byte* to, const std::byte* from, size_t bytes) = 0;
  virtual void copy_to_host(std::byte* to, const std::byte* from, size_t bytes) = 0;
  virtual void copy_on_device(std::byte* to, const std::byte* from, size_t bytes) = 0;

  // Marks what has been queued so far. Work queued after wait(event) begins when what `event` marks
  // on another stream of the same device is done.
  virtual std::unique_ptr<Event> record() = 0;
  virtual void wait(const Event& event) = 0;

  // Returns when everything queued is done; throws its first error.
  virtual void synchronize() = 0;
};

struct DeviceMemory {
  size_t total = 0;
  size_t free = 0;
};

// A device must outlive its streams and its memory. May be used from several threads.
class Device {
 public:
  static constexpr size_t kAlignment = 256;  // of every allocation

  virtual ~Device() = default;

  virtual std::string_view name() const = 0;  // "cpu", "cuda:0", "cuda-emulated"
  virtual DeviceMemory memory() const = 0;

  // Throws kOutOfMemory. The memory is not initialised; at least one byte is allocated.
  virtual std::byte* allocate(size_t bytes) = 0;
  // Waits for queued work first, because that may still use the memory. Null is ignored.
  virtual void free(std::byte* memory) noexcept = 0;

  virtual std::unique_ptr<Stream> new_stream() = 0;
};

// The host as a device: its memory is host memory, and streams do everything at once.
Device& cpu_device();

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_DEVICE_H_
