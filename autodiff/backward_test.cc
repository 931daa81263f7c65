#include "autodiff/backward.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "graph/exec/executor.h"
#include "graph/writer.h"
#include "tests/graph_builder.h"

namespace hugot::test {
namespace {

// A graph with the input x: float64[batch, 3].
struct Model {
  Graph graph;
  GraphWriter w{graph, ops()};
  Term x = input("x", {Dim::symbol("batch"), 3});

  Term input(const std::string& name, Dims shape) {
    return w.value(graph.add_input(name, Fact::of(DType::kFloat64, std::move(shape))));
  }
  Term parameter(const std::string& name, Tensor data) {
    return w.value(graph.add_initializer(name, std::move(data)));
  }
  Term total(const Term& y) { return w.op("ReduceSum", {y}, {{"keepdims", int64_t{0}}}); }

  std::vector<ValueId> gradients(const Term& loss, const std::vector<Term>& wrt) {
    std::vector<ValueId> ids;
    for (const Term& value : wrt) ids.push_back(value.id());
    return build_backward(graph, loss.id(), ids, ops());
  }
  std::vector<Tensor> run(std::vector<ValueId> outputs, const std::vector<Tensor>& inputs) {
    graph.outputs = std::move(outputs);
    graph.verify("the test");
    return Executor(Plan::compile(graph)).run(inputs);
  }
};

const Tensor kX = numbers(DType::kFloat64, {2, 3}, {1, 2, 3, -1, 0.5, 4});

std::string error_of(Model& model, const Term& loss, const Term& wrt, ErrorCode code) {
  try {
    model.gradients(loss, {wrt});
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("gradients of a value that is used several times add up") {
  Model m;
  const auto dx = m.gradients(m.total(m.x * m.x + m.x), {m.x});
  CHECK(as_doubles(m.run(dx, {kX})[0]) == std::vector<double>{3, 5, 7, -1, 2, 9});
}

TEST_CASE("one graph serves all batch sizes") {
  Model m;
  const Term w = m.parameter("w", numbers(DType::kFloat64, {3, 1}, {1, -1, 2}));
  const Term b = m.parameter("b", numbers(DType::kFloat64, {1}, {0.5}));
  const auto gradients = m.gradients(m.total(matrix_product(m.x, w) + b), {w, b});
  const auto two = m.run(gradients, {kX});
  CHECK(as_doubles(two[0]) == std::vector<double>{0, 2.5, 7});
  CHECK(as_doubles(two[1]) == std::vector<double>{2});
  const auto one = m.run(gradients, {numbers(DType::kFloat64, {1, 3}, {1, 2, 3})});
  CHECK(as_doubles(one[0]) == std::vector<double>{1, 2, 3});
  CHECK(as_doubles(one[1]) == std::vector<double>{1});
  const auto none = m.run(gradients, {Tensor(DType::kFloat64, {0, 3})});
  CHECK(as_doubles(none[0]) == std::vector<double>{0, 0, 0});
}

TEST_CASE("parameters may change after the gradients have been built") {
  for (const bool as_input : {false, true}) {
    Model m;
    // One element, so that inference would know the contents of everything behind it.
    const Term w =
        as_input ? m.input("w", {1}) : m.parameter("w", numbers(DType::kFloat64, {1}, {2}));
    const Term same = m.w.op("Identity", {w});
    const Term loss = m.total(same * same * same) + m.total(m.x) * 0;
    const auto dw = m.gradients(loss, {w});
    std::vector<Tensor> inputs = {kX};
    const Tensor changed = numbers(DType::kFloat64, {1}, {5});
    if (as_input) {
      inputs.push_back(changed);
    } else {
      CHECK(m.graph.value(w.id()).initializer);
      CHECK(as_doubles(m.run(dw, inputs)[0]) == std::vector<double>{12});
      m.graph.value(w.id()).fact.constant = changed;
    }
    CHECK(as_doubles(m.run(dw, inputs)[0]) == std::vector<double>{75});
  }
}

TEST_CASE("what the loss does not depend on has zeros") {
  Model m;
  const Term unused = m.parameter("unused", numbers(DType::kFloat32, {2, 2}, {1, 2, 3, 4}));
  // Integers carry no gradient.
  const Term cut = cast_to(cast_to(m.x, DType::kInt64), DType::kFloat64);
  const Term index = m.w.op("ArgMax", {m.x}, {{"axis", int64_t{1}}});
  const Term y = m.input("y", {3});
  const Term picked = m.w.op("Gather", {y, index});
  const auto result = m.run(m.gradients(m.total(cut) + m.total(picked), {m.x, unused, y}),
                            {kX, numbers(DType::kFloat64, {3}, {1, 2, 3})});
  CHECK(as_doubles(result[0]) == std::vector<double>(6, 0));
  CHECK(describe(result[1]) == "float32[2,2]");
  CHECK(as_doubles(result[1]) == std::vector<double>(4, 0));
  CHECK(as_doubles(result[2]) == std::vector<double>{0, 0, 2});
}

TEST_CASE("a missing rule is an error on the path only") {
  Model m;
  const Term other = m.input("other", {3});
  const Term loss = m.total(m.w.op("Binarizer", {m.x}, {}, "ai.onnx.ml") * other);
  const std::string error = error_of(m, loss, m.x, ErrorCode::kUnsupported);
  CHECK(contains(error, "Binarizer version 1"));
  CHECK(contains(error, "'written/Binarizer'"));

  Model frozen;
  const Term free = frozen.input("free", {3});
  const Term cut = frozen.w.op("Binarizer", {frozen.x}, {{"threshold", 2.5f}}, "ai.onnx.ml");
  const auto gradients = frozen.gradients(frozen.total(cut * free), {free});
  const auto result = frozen.run(gradients, {kX, numbers(DType::kFloat64, {3}, {1, 1, 1})});
  CHECK(as_doubles(result[0]) == std::vector<double>{0, 0, 2});
}

TEST_CASE("losses and values that have no gradient") {
  const auto error = [](auto&& loss_of, auto&& wrt_of) {
    Model m;
    return error_of(m, loss_of(m), wrt_of(m), ErrorCode::kInvalidArgument);
  };
  const auto x = [](Model& m) { return m.x; };
  const auto total = [](Model& m) { return m.total(m.x); };
  const auto integer = [](Model& m) { return m.w.integers({1}); };
  const auto nothing = [](Model&) { return Term(); };
  CHECK(contains(error(x, x), "'x' is float64[batch,3] instead of one floating-point number"));
  CHECK(contains(error(integer, x), "int64[1]"));
  CHECK(contains(error(total, integer), "only floating-point values have gradients"));
  CHECK(contains(error(total, nothing), "no such value"));
}

TEST_CASE("a loss may have axes, and may be asked for itself") {
  Model m;
  const Term loss = sum(square(m.x), Term());
  const auto result = m.run(m.gradients(loss, {loss, m.x}), {kX});
  CHECK(describe(result[0]) == "float64[1,1]");
  CHECK(as_doubles(result[0]) == std::vector<double>{1});
  CHECK(as_doubles(result[1]) == std::vector<double>{2, 4, 6, -2, 1, 8});
}

TEST_CASE("gradients of results of nodes are total") {
  Model m;
  const Term a = m.x * 2;
  const Term b = a * a;
  const auto result = m.run(m.gradients(m.total(b + a), {m.x, a, b}), {kX});
  CHECK(as_doubles(result[2]) == std::vector<double>(6, 1));
  CHECK(as_doubles(result[1]) == std::vector<double>{5, 9, 13, -3, 3, 17});
  CHECK(as_doubles(result[0]) == std::vector<double>{10, 18, 26, -6, 6, 34});
}

TEST_CASE("gradients can be differentiated again") {
  Model m;
  const Term y = m.w.op("Softmax", {m.x}, {{"axis", int64_t{1}}}) * tanh(m.x);
  const Term first = m.w.value(m.gradients(m.total(y * m.x), {m.x})[0]);
  const Term penalty = m.total(square(first));
  const auto second = m.gradients(penalty, {m.x});
  const std::vector<Tensor> at = m.run({penalty.id(), second[0]}, {kX});
  for (int64_t i = 0; i < kX.size(); ++i) {
    const double h = 1e-5;
    Tensor right = kX.clone(), left = kX.clone();
    right.data<double>()[i] += h;
    left.data<double>()[i] -= h;
    const double slope = (as_doubles(m.run({penalty.id()}, {right})[0])[0] -
                          as_doubles(m.run({penalty.id()}, {left})[0])[0]) /
                         (2 * h);
    CHECK(at[1].data<double>()[i] == doctest::Approx(slope).epsilon(1e-7));
  }
}

TEST_CASE("gradients in mixed element types have the type of their value") {
  Model m;
  const Term w = m.parameter("w", numbers(DType::kFloat32, {3}, {1, 2, 3}));
  const auto result = m.run(m.gradients(m.total(m.x * cast_to(w, DType::kFloat64)), {w}), {kX});
  CHECK(describe(result[0]) == "float32[3]");
  CHECK(as_doubles(result[0]) == std::vector<double>{0, 2.5, 7});
}

TEST_CASE("a weight that bodies hold, too, gets all of its gradient") {
  const Tensor weight = numbers(DType::kFloat64, {3}, {1, -2, 3});
  // x -> x * w, with a body of its own in one branch.
  const auto branch = [&](bool nested) {
    GraphBuilder b(21);
    Fact fact;
    fact.dtype = DType::kFloat64;
    const ValueId x = b.graph.add_input("x", fact);
    const ValueId w = b.graph.add_initializer("w", weight);
    ValueId y = b.op("Mul", {x, w});
    if (nested) {
      GraphBuilder inner(21);
      const ValueId in = inner.graph.add_input("x", fact);
      inner.graph.outputs = {inner.op("Mul", {in, inner.graph.add_initializer("w", weight)})};
      const auto body = std::make_shared<const Graph>(inner.graph);
      const ValueId yes = b.graph.add_initializer("yes", Tensor::scalar<bool>(true));
      y = b.op("If", {yes, x},
               {{"then_branch", body},
                {"else_branch", body},
                {std::string(kCapturedAttribute), std::vector<std::string>{"x"}}});
    }
    b.graph.outputs = {y};
    return std::make_shared<const Graph>(b.graph);
  };
  Model m;
  const Term w = m.parameter("w", weight);
  const Term condition = m.w.value(m.graph.add_input("condition", Fact::of(DType::kBool, {})));
  const Term y = m.w.op("If", {condition, m.x},
                        {{"then_branch", branch(false)},
                         {"else_branch", branch(true)},
                         {std::string(kCapturedAttribute), std::vector<std::string>{"x"}}});
  const auto dw = m.gradients(m.total(y + w), {w});
  for (const bool flag : {true, false}) {
    const Tensor result = m.run(dw, {kX, Tensor::scalar<bool>(flag)})[0];
    CHECK(difference(result, numbers(DType::kFloat64, {3}, {2, 4.5, 9}), {0, 0}) == "");
  }
}

}  // namespace hugot::test
