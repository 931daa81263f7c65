#include "autodiff/backward.h"

#include <algorithm>

#include "graph/gradient.h"

namespace hugot {
namespace {

// Takes the contents of `wrt`, and of everything computed from them, out of the facts, so that no
// inference builds on numbers that will change. Gives `wrt` back theirs at the end.
class Variables {
 public:
  Variables(Graph& graph, std::span<const NodeId> nodes, std::span<const ValueId> wrt)
      : graph_(graph) {
    std::vector<bool> varies(graph.value_count(), false);
    for (const ValueId id : wrt) {
      Value& value = graph.value(id);
      if (value.initializer) initializers_.emplace_back(id, *value.fact.constant);
      varies[static_cast<size_t>(id)] = true;
      forget(value);
    }
    for (const NodeId id : nodes) {
      const Node& node = graph.node(id);
      const bool reached = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
        return input != kNoValue && varies[static_cast<size_t>(input)];
      });
      if (!reached) continue;
      for (const ValueId output : node.outputs) {
        if (output == kNoValue || !is_float(graph.fact(output).dtype)) continue;
        varies[static_cast<size_t>(output)] = true;
        forget(graph.value(output));
      }
    }
  }
  ~Variables() {
    for (auto& [id, data] : initializers_) {
      graph_.value(id).fact.constant = std::move(data);
      graph_.value(id).initializer = true;
    }
  }
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;

 private:
  static void forget(Value& value) {
    value.initializer = false;
    value.fact.constant.reset();
    value.fact.uniform.reset();
  }

  Graph& graph_;
  std::vector<std::pair<ValueId, Tensor>> initializers_;
};

void check_loss(const Graph& graph, ValueId loss) {
  const Value& value = graph.value(loss);
  const Fact& fact = value.fact;
  const bool one = fact.shape && std::all_of(fact.shape->begin(), fact.shape->end(),
                                             [](const Dim& dim) { return dim.is(1); });
  require(one && is_float(fact.dtype), ErrorCode::kInvalidArgument, "the loss '", value.name,
          "' is ", fact.to_string(), " instead of one floating-point number");
}

}  // namespace

std::vector<ValueId> build_backward(Graph& graph, ValueId loss, std::span<const ValueId> wrt,
                                    const OpRegistry& ops, bool fused) {
  const auto known = [&](ValueId id) {
    return id >= 0 && static_cast<size_t>(id) < graph.value_count();
  };
  require(known(loss) && std::all_of(wrt.begin(), wrt.end(), known), ErrorCode::kInvalidArgument,
          "the graph has no such value");
  infer(graph);
  check_loss(graph, loss);
  for (const ValueId id : wrt) {
    const Value& value = graph.value(id);
    require(is_float(value.fact.dtype), ErrorCode::kInvalidArgument, "'", value.name, "' is ",
            value.fact.to_string(), ": only floating-point values have gradients");
  }
  const std::vector<NodeId> nodes = graph.order();
  const Variables variables(graph, nodes, wrt);
  GraphWriter writer(graph, ops);
  writer.set_fused(fused);
  writer.set_scope("gradient");
  const Term one = writer.number(1, graph.fact(loss).dtype);
  const std::vector<int64_t> shape(static_cast<size_t>(graph.fact(loss).rank()), 1);
  const Seed seed = {loss, shape.empty() ? one.id() : reshape(one, writer.integers(shape)).id()};
  std::vector<ValueId> gradients = propagate_gradients(writer, nodes, std::span(&seed, 1), wrt);
  for (size_t i = 0; i < wrt.size(); ++i) {
    if (gradients[i] == kNoValue) gradients[i] = zeros_like(writer.value(wrt[i])).id();
  }
  return gradients;
}

}  // namespace hugot
