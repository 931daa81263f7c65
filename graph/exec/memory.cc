#include "graph/exec/memory.h"

#include <algorithm>

#include "base/error.h"
#include "graph/op.h"

namespace hugot {
MemoryPlan MemoryPlan::make(const Graph& graph, const std::vector<NodeId>& order,
                            const std::function<int64_t(ValueId)>& nominal_bytes,
                            const std::function<bool(ValueId)>& keep) {
  const size_t count = graph.value_count();
  MemoryPlan plan;
  plan.slot.assign(count, kNoSlot);
  plan.root.resize(count);
  for (size_t i = 0; i < count; ++i) plan.root[i] = static_cast<ValueId>(i);

  // Views live as long as what they show.
  std::vector<size_t> last_use(count, 0);
  for (size_t step = 0; step < order.size(); ++step) {
    const Node& node = graph.node(order[step]);
    for (const ValueId input : node.inputs) {
      if (input != kNoValue)
        last_use[static_cast<size_t>(plan.root[static_cast<size_t>(input)])] = step;
    }
    if (node.op != nullptr && node.op->aliases && node.output(0) != kNoValue &&
        node.input(0) != kNoValue && !sums_over_texts(node)) {
      plan.root[static_cast<size_t>(node.outputs[0])] =
          plan.root[static_cast<size_t>(node.inputs[0])];
    }
  }
  for (const ValueId output : graph.outputs) {
    last_use[static_cast<size_t>(plan.root[static_cast<size_t>(output)])] = order.size();
  }

  struct Slot {
    int64_t bytes = 0;
    bool free = true;
  };
  std::vector<Slot> slots;
  std::vector<std::vector<int>> released(order.size() + 1);
  for (size_t step = 0; step < order.size(); ++step) {
    const Node& node = graph.node(order[step]);
    for (const ValueId output : node.outputs) {
      if (output == kNoValue || plan.root[static_cast<size_t>(output)] != output || keep(output)) {
        continue;
      }
      const int64_t bytes = nominal_bytes(output);
      // The smallest free slot that is big enough, else the biggest free one.
      int best = -1;
      for (int i = 0; i < static_cast<int>(slots.size()); ++i) {
        const Slot& candidate = slots[static_cast<size_t>(i)];
        if (!candidate.free) continue;
        if (best < 0) {
          best = i;
          continue;
        }
        const int64_t current = slots[static_cast<size_t>(best)].bytes;
        const bool fits = candidate.bytes >= bytes;
        if (fits ? current < bytes || candidate.bytes < current
                 : candidate.bytes > current && current < bytes) {
          best = i;
        }
      }
      if (best < 0) {
        best = static_cast<int>(slots.size());
        slots.push_back({});
      }
      Slot& slot = slots[static_cast<size_t>(best)];
      slot.free = false;
      slot.bytes = std::max(slot.bytes, bytes);
      plan.slot[static_cast<size_t>(output)] = best;
      // A result that nobody reads is free again after its own step.
      released[std::max(last_use[static_cast<size_t>(output)], step)].push_back(best);
    }
    for (const int slot : released[step]) slots[static_cast<size_t>(slot)].free = true;
  }
  plan.slot_count = static_cast<int>(slots.size());
  return plan;
}

MemoryUse measure(const MemoryPlan& plan, const Graph& graph, const std::vector<NodeId>& order,
                  const std::function<int64_t(ValueId)>& bytes_of) {
  MemoryUse use;
  std::vector<int64_t> slot_bytes(static_cast<size_t>(plan.slot_count), 0);
  std::vector<size_t> last_use(graph.value_count(), 0);
  for (size_t step = 0; step < order.size(); ++step) {
    for (const ValueId input : graph.node(order[step]).inputs) {
      if (input != kNoValue) {
        last_use[static_cast<size_t>(plan.root[static_cast<size_t>(input)])] = step;
      }
    }
  }
  int64_t live = 0;
  std::vector<int64_t> released(order.size(), 0);
  for (size_t step = 0; step < order.size(); ++step) {
    for (const ValueId output : graph.node(order[step]).outputs) {
      if (output == kNoValue || plan.root[static_cast<size_t>(output)] != output) continue;
      const int64_t bytes = bytes_of(output);
      const int slot = plan.slot[static_cast<size_t>(output)];
      if (slot != MemoryPlan::kNoSlot) ++use.values;
      if (bytes < 0) {
        ++use.unknown;
      } else if (slot == MemoryPlan::kNoSlot) {
        use.unslotted += bytes;
      } else {
        int64_t& size = slot_bytes[static_cast<size_t>(slot)];
        size = std::max(size, bytes);
        live += bytes;
        released[std::max(last_use[static_cast<size_t>(output)], step)] += bytes;
      }
    }
    use.peak = std::max(use.peak, live);
    live -= released[step];
  }
  for (const int64_t bytes : slot_bytes) use.slots += bytes;
  return use;
}

Workspace::Workspace(int slots, Device& device)
    : device_(&device), blocks_(static_cast<size_t>(slots) + 1) {}

std::byte* Workspace::grow(Block& block, size_t bytes) {
  if (bytes > block.size || block.data == nullptr) {
    // A little more than asked, so that slowly growing sizes settle soon.
    const size_t size = std::max<size_t>(bytes + bytes / 8, 64);
    block.data.reset();
    block.size = 0;
    block.data = {device_->allocate(size), Free{device_}};
    block.size = size;
  }
  return block.data.get();
}

size_t Workspace::bytes() const {
  size_t total = 0;
  for (const Block& block : blocks_) total += block.size;
  return total;
}

}  // namespace hugot
