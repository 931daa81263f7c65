#include "autodiff/gradient_node.h"

#include <doctest/doctest.h>

#include "graph/exec/executor.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot {
namespace {

using Names = std::vector<std::string>;

// The graph a, b -> c = a b, with Gradient nodes added by the tests.
struct Product {
  OpRegistry ops = builtin_ops();
  Graph graph;
  ValueId a = graph.add_input("a", Fact::of(DType::kFloat32, {2}));
  ValueId b = graph.add_input("b", Fact::of(DType::kFloat32, {2}));
  ValueId c = add("Mul", "", {a, b}, {"c"}).front();

  std::vector<ValueId> add(const char* type, const char* domain, std::vector<ValueId> inputs,
                           const Names& outputs, Attributes attributes = {}) {
    Node node;
    node.op_type = type;
    node.domain = domain;
    node.opset = 22;
    node.op = ops.find(domain, type, node.opset);
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    for (const std::string& name : outputs) node.outputs.push_back(graph.add_value(name));
    return graph.node(graph.add_node(std::move(node))).outputs;
  }

  std::vector<ValueId> gradient(std::vector<ValueId> inputs, const Names& outputs, Names xs,
                                Names zs, std::string y) {
    return add("Gradient", "ai.onnx.preview.training", std::move(inputs), outputs,
               {{"xs", std::move(xs)}, {"zs", std::move(zs)}, {"y", std::move(y)}});
  }

  // The outputs for a = (1, 2), b = (3, 5).
  std::vector<std::vector<double>> run(std::vector<ValueId> outputs) {
    graph.outputs = std::move(outputs);
    expand_gradient_nodes(graph, ops);
    graph.remove_dead();
    graph.verify("after the expansion");
    const auto floats = [](std::initializer_list<double> values) {
      return test::numbers(DType::kFloat32, {2}, values);
    };
    const Tensor inputs[] = {floats({1, 2}), floats({3, 5})};
    std::vector<std::vector<double>> results;
    for (const Tensor& tensor : Executor(Plan::compile(graph)).run(inputs)) {
      results.push_back(test::as_doubles(tensor));
    }
    return results;
  }
};

using Results = std::vector<std::vector<double>>;

}  // namespace

TEST_CASE("a Gradient node becomes nodes that compute it") {
  Product p;
  const auto d = p.gradient({p.a, p.b}, {"da", "db"}, {"a", "b"}, {}, "c");
  CHECK(p.run({d[0], d[1]}) == Results{{3, 5}, {1, 2}});
  CHECK(p.graph.value(p.graph.outputs[0]).name == "da");
}

TEST_CASE("a Gradient node may take other values for the named ones") {
  Product p;
  const ValueId square = p.add("Mul", "", {p.c, p.c}, {"square"}).front();
  // d (c^2) / dc = 2 c at c = b; d (c^2) / da = 2 c b at a = b = b.
  const auto dc = p.gradient({p.b}, {"dc"}, {"c"}, {}, "square");
  const auto da = p.gradient({p.b, p.b}, {"da"}, {"a"}, {"b"}, "square");
  CHECK(p.run({square, dc[0], da[0]}) == Results{{9, 100}, {6, 10}, {54, 250}});
}

TEST_CASE("gradients of gradients, and of what does not depend on x") {
  Product p;
  p.add("Mul", "", {p.c, p.c}, {"square"});
  const auto first = p.gradient({p.a, p.b}, {"da"}, {"a"}, {"b"}, "square");  // 2 a b^2
  const auto second = p.gradient({p.a, p.b}, {"daa", "dab"}, {"a", "b"}, {}, "da");
  p.add("Identity", "", {p.b}, {"other"});
  const auto none = p.gradient({p.a}, {"none"}, {"a"}, {}, "other");
  CHECK(p.run({first[0], second[0], second[1], none[0]}) ==
        Results{{18, 100}, {18, 50}, {12, 40}, {0, 0}});
}

TEST_CASE("a Gradient node that names nothing is an error") {
  const auto fails = [](std::vector<std::string> xs, const char* y) {
    Product p;
    p.gradient({p.a, p.b}, {"da"}, std::move(xs), {}, y);
    CHECK_THROWS_AS(expand_gradient_nodes(p.graph, p.ops), Error);
  };
  fails({"a", "z"}, "c");
  fails({"a", "b"}, "z");
  fails({"a", "a"}, "c");
  fails({"a"}, "c");
}

}  // namespace hugot
