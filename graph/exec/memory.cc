#include "graph/exec/memory.h"

#include <algorithm>
#include <new>

#include "base/error.h"
#include "graph/op.h"

namespace hugot {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

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
        node.input(0) != kNoValue) {
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

void Workspace::Free::operator()(std::byte* block) const { ::operator delete(block, kAlignment); }

std::byte* Workspace::grow(Block& block, size_t bytes) {
  if (bytes > block.size || block.data == nullptr) {
    // A little more than asked, so that slowly growing sizes settle soon.
    const size_t size = std::max<size_t>(bytes + bytes / 8, 64);
    block.data.reset();
    block.size = 0;
    try {
      block.data.reset(static_cast<std::byte*>(::operator new(size, kAlignment)));
    } catch (const std::bad_alloc&) {
      fail(ErrorCode::kOutOfMemory, "cannot allocate ", size, " bytes for an intermediate result");
    }
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
