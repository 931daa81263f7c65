// Loading a graph for exact mode.
#ifndef HUGOT_TOOLS_EXACT_H_
#define HUGOT_TOOLS_EXACT_H_

#include <algorithm>
#include <filesystem>
#include <memory>

#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "onnx/loader.h"

namespace hugot::tools {

// Throws kUnsupported when a port of the model is no tensor, naming the node that reads or makes
// it.
inline void require_tensor_ports(const LoadedModel& model) {
  const auto check = [&](const ModelPort& port, const char* role) {
    if (port.type.empty() || port.type.starts_with("tensor(")) return;
    const ValueId id = model.graph.find(port.name);
    for (const NodeId n : model.graph.order()) {
      const Node& node = model.graph.node(n);
      for (const auto& values : {node.inputs, node.outputs}) {
        require(std::find(values.begin(), values.end(), id) == values.end(),
                ErrorCode::kUnsupported, role, " '", port.name, "': operator ", node.op_type,
                " version ", node.opset, " on ", port.type, " is not implemented");
      }
    }
  };
  for (const ModelPort& port : model.inputs) check(port, "input");
  for (const ModelPort& port : model.outputs) check(port, "output");
}

// The graph of `file` ready to run, rewritten only where every bit stays. `ops` must outlive it.
inline std::shared_ptr<const Plan> load_exact(const std::filesystem::path& file,
                                              const OpRegistry& ops) {
  LoadedModel model = load_model(file, ops);
  return with_context([&] { return file.string(); },
                      [&] {
                        require_tensor_ports(model);
                        Graph graph = std::move(model.graph);
                        PassContext context{ops};
                        optimize_exact(graph, context);
                        return Plan::compile(std::move(graph));
                      });
}

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_EXACT_H_
