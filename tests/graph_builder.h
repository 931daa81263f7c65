// Writes small graphs in code, the way exporters would.
#ifndef HUGOT_TESTS_GRAPH_BUILDER_H_
#define HUGOT_TESTS_GRAPH_BUILDER_H_

#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot::test {

inline const OpRegistry& ops() {
  static const OpRegistry registry = builtin_ops();
  return registry;
}

class GraphBuilder {
 public:
  explicit GraphBuilder(int opset) : opset_(opset) {}

  Graph graph;

  ValueId input(const std::string& name, DType dtype) {
    return graph.add_input(name, Fact::of(dtype, {Dim::symbol("batch"), Dim::symbol("sequence")}));
  }
  ValueId weights(const Shape& shape, uint64_t seed, double scale = 0.5) {
    return graph.add_initializer(str("w", seed),
                                 random_tensor(DType::kFloat32, shape, -scale, scale, seed));
  }
  ValueId number(float value) {
    return graph.add_initializer("number", Tensor::scalar<float>(value));
  }
  ValueId integers(std::initializer_list<int64_t> values) {
    return graph.add_initializer(
        "integers", Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
  }
  ValueId integer(int64_t value) {
    return graph.add_initializer("integer", Tensor::scalar<int64_t>(value));
  }

  // The first output of a new node; further ones have the ids that follow.
  ValueId op(const std::string& type, std::vector<ValueId> inputs, Attributes attributes = {},
             int outputs = 1) {
    return add("", opset_, type, std::move(inputs), std::move(attributes), outputs);
  }
  // The same for the engine's own operators.
  ValueId fused(const std::string& type, std::vector<ValueId> inputs, Attributes attributes = {}) {
    return add("hugot", 1, type, std::move(inputs), std::move(attributes), 1);
  }

 private:
  ValueId add(const std::string& domain, int opset, const std::string& type,
              std::vector<ValueId> inputs, Attributes attributes, int outputs) {
    Node node;
    node.name = str(type, graph.node_count());
    node.op_type = type;
    node.domain = domain;
    node.opset = opset;
    node.op = &ops().get(domain, type, opset);
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    for (int i = 0; i < outputs; ++i) node.outputs.push_back(graph.add_value(node.name));
    const ValueId first = node.outputs[0];
    graph.add_node(std::move(node));
    return first;
  }

  int opset_;
};

}  // namespace hugot::test

#endif  // HUGOT_TESTS_GRAPH_BUILDER_H_
