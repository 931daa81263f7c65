// Exact execution: the graph as written, any shapes.
#ifndef HUGOT_GRAPH_EXEC_EXECUTOR_H_
#define HUGOT_GRAPH_EXEC_EXECUTOR_H_

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/datum.h"
#include "base/function_ref.h"
#include "graph/exec/device_run.h"
#include "graph/exec/memory.h"
#include "graph/op.h"

namespace hugot {

// Learns how long the nodes of a run take. Runs of several threads may share one, so it has to be
// thread-safe.
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  // `node` of the plan's graph took so long, in the thread that calls.
  virtual void ran(NodeId node, std::chrono::nanoseconds time) = 0;
};

struct RunOptions {
  ThreadPool* pool = nullptr;  // splits single operators, in a Region; null: one thread
  std::stop_token stop = {};   // checked between nodes; a stopped run throws kCancelled
  NodeObserver* observer = nullptr;
};

// Runs `step`, and tells the observer, if there is one, how long it took.
template <class Step>
void run_observed(NodeObserver* observer, NodeId node, const Step& step) {
  if (observer == nullptr) return step();
  const auto start = std::chrono::steady_clock::now();
  step();
  observer->ran(node, std::chrono::steady_clock::now() - start);
}

// Packs the constants of nodes as their operators want them. Counts who still needs the data of a
// constant: where prepared forms have replaced it everywhere it keeps dtype and shape but loses its
// memory, so that no weight is held twice.
class WeightPacker {
 public:
  // Null where the value is no constant.
  using Find = FunctionRef<Tensor*(ValueId)>;

  // Large results lie in blocks of `store`.
  explicit WeightPacker(const Graph& graph, BlockStore& store = fresh_blocks());
  // To be called once per node; null when there is nothing to prepare.
  std::shared_ptr<const Prepared> prepare(const Node& node, Find constant);
  // For a node that has read the constant for the last time.
  void release(ValueId id, Tensor& data) {
    if (--uses_[static_cast<size_t>(id)] == 0) data = data.without_data();
  }
  // For a constant whose data will be read by every run: those of a deferred one move to the store.
  void keep(ValueId id, Tensor& data);

 private:
  const Graph& graph_;
  BlockStore& store_;
  std::vector<int> uses_;  // by ValueId
};

// A graph made ready to run: order, prepared weights, memory plan. Immutable, shared between
// threads. Weights are packed when the first run begins, so that loading a model touches none.
class Plan {
 public:
  // Throws kUnsupported naming operator and version when a node has no kernel. With a device, nodes
  // run there where their operator has a kernel for it, and on the host otherwise.
  static std::shared_ptr<const Plan> compile(Graph graph, std::shared_ptr<Device> device = {});

  // Its constants have dtype and shape only: their data have moved into the plan.
  const Graph& graph() const { return graph_; }
  const MemoryPlan& memory() const { return memory_; }

 private:
  friend class Executor;
  struct Step {
    NodeId node;
    std::shared_ptr<const Prepared> prepared;
    bool done = false;  // its outputs are constants now
  };

  static constexpr int kNoOutput = -1;

  bool fold_cast(const Node& node, WeightPacker& packer) const;
  // Packs the weights; every run calls it, the first one does it and the others wait.
  void prepare() const;

  Graph graph_;
  MemoryPlan memory_;
  std::vector<int> output_index_;    // by ValueId: position in graph().outputs, or kNoOutput
  mutable std::once_flag prepared_;  // guards the two below until prepare() has returned
  mutable std::vector<Step> steps_;
  mutable std::vector<Datum> constants_;  // by ValueId, undefined where the value is none
  std::unique_ptr<const DeviceConstants> on_device_;  // null: everything runs on the host
};

// Runs a plan; keeps its memory between runs. One run at a time: use one executor per thread.
class Executor {
 public:
  explicit Executor(std::shared_ptr<const Plan> plan);

  // Inputs in the order of graph().inputs, results in the order of graph().outputs. Kinds, element
  // types and shapes of the inputs are checked against the graph's declarations. Results own their
  // memory; tensors that are in `results` before and fit are written again unless somebody else
  // shares them, so that repeated runs on the same shapes allocate nothing.
  void run(std::span<const Datum> inputs, std::vector<Datum>& results,
           const RunOptions& options = {});

  // The same for graphs whose inputs and outputs are tensors. Throws kInvalidArgument for others.
  std::vector<Tensor> run(std::span<const Tensor> inputs, const RunOptions& options = {});

  // The same by name. Throws kInvalidArgument naming missing and unknown inputs.
  std::map<std::string, Datum> run(const std::map<std::string, Datum>& inputs,
                                   const RunOptions& options = {});

  // What the device of the plan did so far; null when the plan has none.
  const DeviceCounts* device_counts() const {
    return device_ != nullptr ? &device_->counts() : nullptr;
  }

 private:
  class Context;

  void check_inputs(std::span<const Datum> inputs) const;

  std::shared_ptr<const Plan> plan_;
  Workspace workspace_;
  std::vector<Datum> values_;     // by ValueId, during a run; on the host
  std::vector<Tensor> reusable_;  // by output of the graph: memory of an earlier result
  std::unique_ptr<DeviceRun> device_;
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_EXECUTOR_H_
