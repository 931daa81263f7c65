// Exact execution: the graph as written, any shapes.
#ifndef HUGOT_GRAPH_EXEC_EXECUTOR_H_
#define HUGOT_GRAPH_EXEC_EXECUTOR_H_

#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/datum.h"
#include "graph/exec/device_run.h"
#include "graph/exec/memory.h"
#include "graph/op.h"

namespace hugot {

struct RunOptions {
  ThreadPool* pool = nullptr;  // splits single operators; null: one thread
  std::stop_token stop = {};   // checked between nodes; a stopped run throws kCancelled
};

// A graph made ready to run: order, prepared weights, memory plan. Immutable, shared between
// threads.
class Plan {
 public:
  // Throws kUnsupported naming operator and version when a node has no kernel. With a device, nodes
  // run there where their operator has a kernel for it, and on the host otherwise.
  static std::shared_ptr<const Plan> compile(Graph graph, std::shared_ptr<Device> device = {});

  const Graph& graph() const { return graph_; }
  const MemoryPlan& memory() const { return memory_; }

 private:
  friend class Executor;
  struct Step {
    NodeId node;
    std::shared_ptr<const Prepared> prepared;
  };

  static constexpr int kNoOutput = -1;

  Graph graph_;
  std::vector<Step> steps_;
  MemoryPlan memory_;
  std::vector<Datum> constants_;   // by ValueId, undefined where the value is none
  std::vector<int> output_index_;  // by ValueId: position in graph().outputs, or kNoOutput
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

// Packs the constants of a node as its operator wants them; null when there is nothing to prepare.
std::shared_ptr<const Prepared> prepare_node(const Graph& graph, const Node& node);

// Counts who still needs the data of constants. Constants that prepared forms have replaced
// everywhere keep dtype and shape but lose their memory, so that no weight is held twice.
class ConstantUses {
 public:
  explicit ConstantUses(const Graph& graph);
  // Called once per node, after prepare_node().
  void prepared(Graph& graph, const Node& node, const Prepared* prepared);

 private:
  std::vector<int> uses_;  // by ValueId
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_EXECUTOR_H_
