#include "autodiff/backward.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

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

using Body = std::shared_ptr<const Graph>;

// The initializers of a body that are the weight of this name in a graph around it.
std::vector<ValueId> copies_of(const Graph& body, const std::string& name, const Tensor& data) {
  std::vector<ValueId> result;
  for (ValueId id = 0; id < static_cast<ValueId>(body.value_count()); ++id) {
    const Value& value = body.value(id);
    if (value.initializer && value.name == name && identical(*value.fact.constant, data)) {
      result.push_back(id);
    }
  }
  return result;
}

bool holds(const Graph& body, const std::string& name, const Tensor& data);

bool holds(const Node& node, const std::string& name, const Tensor& data) {
  return std::any_of(node.attributes.begin(), node.attributes.end(), [&](const auto& attribute) {
    const Body* body = std::get_if<Body>(&attribute.second);
    return body != nullptr && holds(**body, name, data);
  });
}

bool holds(const Graph& body, const std::string& name, const Tensor& data) {
  if (!copies_of(body, name, data).empty()) return true;
  const std::vector<NodeId> nodes = body.order();
  return std::any_of(nodes.begin(), nodes.end(),
                     [&](NodeId id) { return holds(body.node(id), name, data); });
}

// `weight` stands in `graph` for the tensor `data` with this name.
void capture(Graph& graph, ValueId weight, const std::string& name, const Tensor& data) {
  for (const NodeId id : graph.order()) {
    Node& node = graph.node(id);
    if (!holds(node, name, data)) continue;
    for (auto& attribute : node.attributes) {
      Body* body = std::get_if<Body>(&attribute.second);
      if (body == nullptr) continue;
      Graph changed = **body;
      const std::vector<ValueId> copies = copies_of(changed, name, data);
      const Dims dims(data.shape().begin(), data.shape().end());
      const ValueId input = changed.add_input(name, Fact::of(data.dtype(), dims));
      for (const ValueId copy : copies) changed.replace_uses(copy, input);
      capture(changed, input, name, data);
      *body = std::make_shared<const Graph>(std::move(changed));
    }
    auto names = node.get<std::vector<std::string>>(kCapturedAttribute, {});
    names.push_back(graph.value(weight).name);
    node.attributes[std::string(kCapturedAttribute)] = std::move(names);
    node.inputs.push_back(weight);
  }
}

}  // namespace

void capture_in_bodies(Graph& graph, ValueId weight) {
  const Value& value = graph.value(weight);
  const Tensor data = *value.fact.constant;
  const std::string name = value.name;
  capture(graph, weight, name, data);
}

std::vector<ValueId> build_backward(Graph& graph, ValueId loss, std::span<const ValueId> wrt,
                                    const OpRegistry& ops, bool fused) {
  const auto known = [&](ValueId id) {
    return id >= 0 && static_cast<size_t>(id) < graph.value_count();
  };
  require(known(loss) && std::all_of(wrt.begin(), wrt.end(), known), ErrorCode::kInvalidArgument,
          "the graph has no such value");
  for (const ValueId id : wrt) {
    if (graph.value(id).initializer) capture_in_bodies(graph, id);
  }
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
