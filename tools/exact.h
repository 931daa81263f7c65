// Loading a graph for exact mode.
#ifndef HUGOT_TOOLS_EXACT_H_
#define HUGOT_TOOLS_EXACT_H_

#include <filesystem>
#include <memory>

#include "autodiff/gradient_node.h"
#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "onnx/loader.h"

namespace hugot::tools {

// The graph of `file` ready to run, rewritten only where every bit stays, on `device` where that is
// not null. `ops` must outlive it.
inline std::shared_ptr<const Plan> load_exact(const std::filesystem::path& file,
                                              const OpRegistry& ops,
                                              const std::shared_ptr<Device>& device) {
  LoadedModel model = load_model(file, ops);
  return with_context([&] { return file.string(); },
                      [&] {
                        Graph graph = std::move(model.graph);
                        expand_gradient_nodes(graph, ops);
                        PassContext context{ops};
                        optimize_exact(graph, context);
                        return Plan::compile(std::move(graph), device);
                      });
}

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_EXACT_H_
