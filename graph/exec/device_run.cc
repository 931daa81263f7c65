#include "graph/exec/device_run.h"

#include <algorithm>
#include <deque>

namespace hugot {
namespace {

std::byte* bytes_of(Tensor& tensor) { return static_cast<std::byte*>(tensor.raw()); }
const std::byte* bytes_of(const Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.raw());
}

}  // namespace

DeviceConstants::DeviceConstants(const Graph& graph, std::shared_ptr<Device> device)
    : device_(std::move(device)), tensors_(graph.value_count()) {
  const std::unique_ptr<Stream> stream = device_->new_stream();
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.op->cuda == nullptr) continue;
    for (const ValueId input : node.inputs) {
      const Tensor* constant = graph.constant(input);
      if (constant == nullptr || constant->dtype() == DType::kString || find(input) != nullptr) {
        continue;
      }
      std::byte* memory = device_->allocate(constant->bytes());
      std::shared_ptr<const void> owner(
          memory, [device = device_, memory](const void*) { device->free(memory); });
      tensors_[static_cast<size_t>(input)] =
          Tensor(constant->dtype(), constant->shape(), memory, std::move(owner));
      stream->copy_to_device(memory, bytes_of(*constant), constant->bytes());
    }
  }
  stream->synchronize();
}

// What a device kernel sees of its node.
class DeviceRun::Context final : public KernelContext {
 public:
  Context(DeviceRun& run, const Node& node, std::vector<Datum>& host, Workspace& host_memory)
      : run_(run), node_(node), host_(host), host_memory_(host_memory) {}

  const Node& node() const override { return node_; }
  bool has_input(int i) const override { return node_.input(static_cast<size_t>(i)) != kNoValue; }
  const Tensor& input(int i) const override { return run_.on_device(input_id(i), host_); }
  const Tensor& host_input(int i) override {
    const ValueId id = input_id(i);
    if (const Tensor* constant = run_.constant(id)) return *constant;
    run_.to_host(std::span(&id, 1), host_, host_memory_);
    return host_[static_cast<size_t>(id)].tensor();
  }
  bool wants_output(int i) const override {
    return node_.output(static_cast<size_t>(i)) != kNoValue;
  }
  Tensor& output(int i, DType dtype, const Shape& shape) override {
    const ValueId id = node_.output(static_cast<size_t>(i));
    const size_t bytes = Tensor::byte_size(dtype, shape);
    if (id == kNoValue) {  // a kernel may always write all outputs
      unwanted_.emplace_back(1, run_.constants_.device());
      return unwanted_tensors_.emplace_back(dtype, shape, unwanted_.back().slot(0, bytes));
    }
    return run_.values_[static_cast<size_t>(id)] = Tensor(dtype, shape, run_.memory_of(id, bytes));
  }
  void alias(int i, int j, const Shape& shape) override {
    const ValueId id = node_.output(static_cast<size_t>(i));
    if (id != kNoValue) run_.values_[static_cast<size_t>(id)] = input(j).reshaped(shape);
  }
  const Shape* planned_shape(int) const override { return nullptr; }
  std::span<std::byte> scratch(size_t bytes) override {
    return {run_.slots_.scratch(bytes), bytes};
  }
  ThreadPool* pool() const override { return nullptr; }
  const Prepared* prepared() const override { return nullptr; }
  Stream* stream() const override { return run_.stream_.get(); }

 private:
  ValueId input_id(int i) const {
    require(has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    return node_.inputs[static_cast<size_t>(i)];
  }

  DeviceRun& run_;
  const Node& node_;
  std::vector<Datum>& host_;
  Workspace& host_memory_;
  std::deque<Workspace> unwanted_;
  std::deque<Tensor> unwanted_tensors_;
};

DeviceRun::DeviceRun(std::span<const Datum> constants, const MemoryPlan& memory,
                     const DeviceConstants& on_device)
    : host_constants_(constants),
      memory_(memory),
      constants_(on_device),
      stream_(on_device.device().new_stream()),
      slots_(memory.slot_count, on_device.device()),
      others_(static_cast<int>(constants.size()), on_device.device()),
      values_(constants.size()) {}

bool DeviceRun::run(const Node& node, std::vector<Datum>& host, Workspace& host_memory) {
  if (node.op->cuda != nullptr && run_on_device(node, host, host_memory)) {
    ++counts_.device_nodes;
    return true;
  }
  to_host(node.inputs, host, host_memory);
  ++counts_.fallback_nodes;
  return false;
}

bool DeviceRun::run_on_device(const Node& node, std::vector<Datum>& host, Workspace& host_memory) {
  try {
    Context context(*this, node, host, host_memory);
    node.op->cuda(context);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    return false;
  }
}

const Tensor& DeviceRun::on_device(ValueId id, const std::vector<Datum>& host) {
  if (const Tensor* constant = constants_.find(id)) return *constant;
  Tensor& value = values_[static_cast<size_t>(id)];
  if (value.defined()) return value;
  const Tensor* host_constant = constant(id);
  const Datum& on_host = host[static_cast<size_t>(id)];
  require(on_host.is_tensor(), ErrorCode::kUnsupported, "a device cannot hold sequences");
  const Tensor& from = host_constant != nullptr ? *host_constant : on_host.tensor();
  require(from.dtype() != DType::kString, ErrorCode::kUnsupported, "a device cannot hold strings");
  // A view that the host made of something that is here already.
  const Tensor& root = values_[static_cast<size_t>(memory_.root[static_cast<size_t>(id)])];
  if (root.defined()) return value = root.reshaped(from.shape());
  value = Tensor(from.dtype(), from.shape(), memory_of(id, from.bytes()));
  stream_->copy_to_device(bytes_of(value), bytes_of(from), from.bytes());
  pending_ = true;
  counts_.bytes_to_device += static_cast<int64_t>(from.bytes());
  return value;
}

std::byte* DeviceRun::memory_of(ValueId id, size_t bytes) {
  const ValueId root = memory_.root[static_cast<size_t>(id)];
  const int slot = memory_.slot[static_cast<size_t>(root)];
  return slot == MemoryPlan::kNoSlot ? others_.slot(root, bytes) : slots_.slot(slot, bytes);
}

void DeviceRun::to_host(std::span<const ValueId> ids, std::vector<Datum>& host,
                        Workspace& host_memory) {
  for (const ValueId id : ids) {
    if (id == kNoValue || constant(id) != nullptr) continue;
    Datum& place = host[static_cast<size_t>(id)];
    const Tensor& from = values_[static_cast<size_t>(id)];
    if (place.defined() || !from.defined()) continue;
    const int slot = memory_.slot[static_cast<size_t>(id)];
    Tensor to = slot == MemoryPlan::kNoSlot
                    ? Tensor(from.dtype(), from.shape())
                    : Tensor(from.dtype(), from.shape(), host_memory.slot(slot, from.bytes()));
    place = to;
    stream_->copy_to_host(bytes_of(to), bytes_of(from), from.bytes());
    pending_ = true;
    counts_.bytes_to_host += static_cast<int64_t>(from.bytes());
  }
  if (std::exchange(pending_, false)) stream_->synchronize();
}

void DeviceRun::forget_values() { std::fill(values_.begin(), values_.end(), Tensor()); }

void DeviceRun::drain() noexcept {
  try {
    stream_->synchronize();
  } catch (...) {
    // The run has failed already with what led to this, or its results do not depend on it.
  }
  pending_ = false;
}

}  // namespace hugot
