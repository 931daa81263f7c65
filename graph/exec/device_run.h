// The part of a run that happens on a device with memory of its own.
#ifndef HUGOT_GRAPH_EXEC_DEVICE_RUN_H_
#define HUGOT_GRAPH_EXEC_DEVICE_RUN_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "graph/exec/device.h"
#include "graph/exec/memory.h"
#include "graph/op.h"

namespace hugot {

// The constants that device kernels of a graph read, copied once. Immutable, shared between runs.
class DeviceConstants {
 public:
  DeviceConstants(const Graph& graph, std::shared_ptr<Device> device);

  Device& device() const { return *device_; }
  // Null when no device kernel reads it.
  const Tensor* find(ValueId id) const {
    const Tensor& tensor = tensors_[static_cast<size_t>(id)];
    return tensor.defined() ? &tensor : nullptr;
  }

 private:
  std::shared_ptr<Device> device_;
  std::vector<Tensor> tensors_;  // by ValueId
};

struct DeviceCounts {
  int64_t device_nodes = 0;
  int64_t fallback_nodes = 0;  // run on the host
  int64_t bytes_to_device = 0;
  int64_t bytes_to_host = 0;
};

// The device side of one executor. A value lives on the host, on the device, or in both places: it
// is copied when the first kernel of the other side reads it. One run at a time.
class DeviceRun {
 public:
  // The arguments must outlive it. `constants` of the graph are by ValueId, undefined for others.
  DeviceRun(std::span<const Datum> constants, const MemoryPlan& memory,
            const DeviceConstants& on_device);

  // Lasts for one run. At the end nothing is queued any more, also when the run has failed: queued
  // copies refer to memory of the host.
  class Scope {
   public:
    explicit Scope(DeviceRun* run) : run_(run) {
      if (run_ != nullptr) run_->forget_values();
    }
    ~Scope() {
      if (run_ != nullptr) run_->drain();
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    DeviceRun* run_;
  };

  // Runs `node` when the device has a kernel for it and its operands. Otherwise brings its inputs
  // into `host`, the values of the run by ValueId, and returns false.
  bool run(const Node& node, std::vector<Datum>& host, Workspace& host_memory);
  // Brings values that are on the device only into `host`, and waits for the device.
  void to_host(std::span<const ValueId> ids, std::vector<Datum>& host, Workspace& host_memory);

  const DeviceCounts& counts() const { return counts_; }

 private:
  class Context;

  bool run_on_device(const Node& node, std::vector<Datum>& host, Workspace& host_memory);
  // The value on the device; copies it there when it is not. Throws kUnsupported for strings.
  const Tensor& on_device(ValueId id, const std::vector<Datum>& host);
  std::byte* memory_of(ValueId id, size_t bytes);
  void forget_values();
  void drain() noexcept;

  // Null when the value is no constant.
  const Tensor* constant(ValueId id) const {
    const Datum& data = host_constants_[static_cast<size_t>(id)];
    return data.defined() ? &data.tensor() : nullptr;
  }

  std::span<const Datum> host_constants_;
  const MemoryPlan& memory_;
  const DeviceConstants& constants_;
  std::unique_ptr<Stream> stream_;
  Workspace slots_;
  Workspace others_;            // by ValueId: what the memory plan gives no slot
  std::vector<Tensor> values_;  // by ValueId, during a run
  bool pending_ = false;        // something is queued that reads memory of the host
  DeviceCounts counts_;
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_DEVICE_RUN_H_
