// Which values share memory during a run, and the memory itself.
#ifndef HUGOT_GRAPH_EXEC_MEMORY_H_
#define HUGOT_GRAPH_EXEC_MEMORY_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "graph/exec/device.h"
#include "graph/graph.h"

namespace hugot {

// Assigns every value that nodes produce to a slot: values whose lifetimes overlap get different
// slots. The assignment depends on the order of nodes only, so it holds for all shapes; sizes only
// guide which slot is reused.
struct MemoryPlan {
  static constexpr int kNoSlot = -1;  // constants, inputs, graph outputs

  std::vector<int> slot;      // by ValueId
  std::vector<ValueId> root;  // by ValueId: the value whose memory a view shares, else itself
  int slot_count = 0;

  // `order` is the order of execution. `nominal_bytes` estimates a value's size for the usual
  // input. Values for which `keep` holds get no slot.
  static MemoryPlan make(const Graph& graph, const std::vector<NodeId>& order,
                         const std::function<int64_t(ValueId)>& nominal_bytes,
                         const std::function<bool(ValueId)>& keep);
};

// What a plan needs when the sizes of values are known.
struct MemoryUse {
  int64_t slots = 0;      // all slots, each as large as its largest value
  int64_t peak = 0;       // the largest sum of values with a slot that live at the same time
  int64_t unslotted = 0;  // values that nodes produce and that get memory of their own
  int values = 0;         // with a slot, without views
  int unknown = 0;        // without size: not in the sums
};
// `bytes_of` gives -1 when the size of a value is not known.
MemoryUse measure(const MemoryPlan& plan, const Graph& graph, const std::vector<NodeId>& order,
                  const std::function<int64_t(ValueId)>& bytes_of);

// Growing buffers for the slots of one run at a time, kept between runs: when shapes repeat,
// nothing is allocated. The memory is the device's, which must outlive the workspace.
class Workspace {
 public:
  explicit Workspace(int slots, Device& device = cpu_device());

  // At least `bytes` bytes, aligned for every kernel. The contents are lost when the block has to
  // grow.
  std::byte* slot(int index, size_t bytes) {
    return grow(blocks_[static_cast<size_t>(index)], bytes);
  }
  std::byte* scratch(size_t bytes) { return grow(blocks_.back(), bytes); }

  size_t bytes() const;

 private:
  struct Free {
    Device* device;
    void operator()(std::byte* block) const { device->free(block); }
  };
  struct Block {
    std::unique_ptr<std::byte, Free> data{nullptr, Free{nullptr}};
    size_t size = 0;
  };
  std::byte* grow(Block& block, size_t bytes);

  Device* device_;
  std::vector<Block> blocks_;
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_MEMORY_H_
