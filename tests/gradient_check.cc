#include "tests/gradient_check.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autodiff/backward.h"
#include "graph/exec/executor.h"
#include "graph/writer.h"
#include "tests/graph_builder.h"

namespace hugot::test {
namespace {

constexpr double kStep = 0x1p-14;
constexpr double kTolerance = 1e-7;

// The loss at one place, and its weights: zero where an output is not finite.
struct Loss {
  std::vector<Tensor> weights;  // undefined for outputs of other types

  explicit Loss(const std::vector<Tensor>& outputs) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      weights.emplace_back();
      if (outputs[i].dtype() != DType::kFloat64) continue;
      weights[i] = random_tensor(DType::kFloat64, outputs[i].shape(), 0.2, 1, 90 + i);
      const double* y = outputs[i].data<double>();
      for (int64_t k = 0; k < outputs[i].size(); ++k) {
        if (!std::isfinite(y[k])) weights[i].data<double>()[k] = 0;
      }
    }
  }

  bool empty() const {
    return std::none_of(weights.begin(), weights.end(),
                        [](const Tensor& w) { return w.defined(); });
  }

  // loss(a) - loss(b), term by term so that nothing large cancels.
  double difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) const {
    double sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (!weights[i].defined()) continue;
      if (!(a[i].shape() == b[i].shape())) return NAN;
      for (int64_t k = 0; k < weights[i].size(); ++k) {
        const double w = weights[i].data<double>()[k];
        if (w != 0) sum += w * (a[i].data<double>()[k] - b[i].data<double>()[k]);
      }
    }
    return sum;
  }
};

// The derivative of the loss in one element, or nothing where the function is not smooth.
std::optional<double> finite_difference(const Node& node, std::vector<Tensor> inputs, size_t input,
                                        int64_t element, const Loss& loss,
                                        const std::vector<Tensor>& here) {
  inputs[input] = inputs[input].clone();
  double& x = inputs[input].data<double>()[element];
  const double at = x;
  const double h = kStep * std::max(1.0, std::abs(at));
  if (!(h < 1)) return std::nullopt;  // not finite, or too large for a step that is small
  const auto slope = [&](double step) {
    x = at + step;
    return loss.difference(run_node(node, inputs), here) / (x - at);
  };
  try {
    const double right = slope(h), left = slope(-h), right2 = slope(h / 2), left2 = slope(-h / 2);
    const double wide = (right + left) / 2, narrow = (right2 + left2) / 2;
    const double result = (4 * narrow - wide) / 3;
    const double scale = 1 + std::abs(result);
    const double bend = std::abs(right - left), bend2 = std::abs(right2 - left2);
    const bool kink = bend2 > 0.7 * bend && bend2 > 1e-5 * scale;
    const bool smooth = std::abs(wide - narrow) < 1e-4 * scale && !kink;
    if (!std::isfinite(result) || !smooth) return std::nullopt;
    return result;
  } catch (const Error&) {
    return std::nullopt;  // outside of the domain
  }
}

// Gradients of the loss in all float64 operands, by the rule; undefined for others.
std::vector<Tensor> analytic(const Case& test, const std::vector<Tensor>& inputs, const Loss& loss,
                             bool symbolic, bool fused = false) {
  Graph graph;
  Node node = node_of(test);
  std::vector<ValueId> wrt;
  std::vector<Tensor> arguments;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    Fact fact = Fact::of(inputs[i].dtype(), {});
    for (const int64_t dim : inputs[i].shape()) {
      fact.shape->push_back(symbolic && dim > 1 ? Dim::symbol(str("n", dim)) : Dim(dim));
    }
    const bool variable = inputs[i].dtype() == DType::kFloat64;
    if (variable || symbolic) {
      node.inputs[i] = graph.add_input("x", std::move(fact));
      arguments.push_back(inputs[i]);
    } else {
      node.inputs[i] = graph.add_initializer("x", inputs[i]);
    }
    if (variable) wrt.push_back(node.inputs[i]);
  }
  for (ValueId& output : node.outputs) output = graph.add_value("y");
  const std::vector<ValueId> outputs = node.outputs;
  graph.add_node(std::move(node));
  infer(graph);

  GraphWriter writer(graph, ops());
  Term total = writer.number(0, DType::kFloat64);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!loss.weights[i].defined()) continue;
    // Zero weights do not hide NaN.
    const Term y = writer.value(outputs[i]), w = writer.constant(loss.weights[i]);
    const Term kept = reshape(where(equal(w, 0), 0, y), writer.integers({loss.weights[i].size()}));
    const Term flat = reshape(w, writer.integers({loss.weights[i].size()}));
    total = total + writer.op("ReduceSum", {kept * flat}, {{"keepdims", int64_t{0}}});
  }
  graph.outputs = build_backward(graph, total.id(), wrt, ops(), fused);
  graph.remove_dead();
  graph.verify("build_backward");
  std::vector<Tensor> results = Executor(Plan::compile(std::move(graph))).run(arguments);
  std::vector<Tensor> by_input(inputs.size());
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined() && inputs[i].dtype() == DType::kFloat64) by_input[i] = results[next++];
  }
  return by_input;
}

}  // namespace

int64_t check_gradients(const Case& test, int64_t samples) {
  const std::vector<Tensor> inputs = in_float64(test).inputs;
  const Node node = node_of(test);
  if (node.op->gradient == nullptr || !node.op->deterministic) return 0;
  const std::vector<Tensor> here = run_node(node, inputs);
  const Loss loss(here);
  if (loss.empty()) return 0;
  const std::vector<Tensor> fixed = analytic(test, inputs, loss, false);
  // A composition may have to know the sizes of its weights.
  const std::vector<Tensor> symbolic = analytic(test, inputs, loss, !node.op->composite);
  const std::vector<Tensor> fused = analytic(test, inputs, loss, false, true);
  int64_t compared = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!fixed[i].defined()) continue;
    CAPTURE(i);
    REQUIRE(fixed[i].shape().to_string() == inputs[i].shape().to_string());
    CHECK(difference(symbolic[i], fixed[i], default_tolerance(DType::kFloat64)) == "");
    CHECK(difference(fused[i], fixed[i], {1e-11, 1e-11}) == "");
    const int64_t size = inputs[i].size();
    for (int64_t k = 0; k < std::min(size, samples); ++k) {
      const int64_t element = size <= samples ? k : k * 7919 % size;
      const auto expected = finite_difference(node, inputs, i, element, loss, here);
      if (!expected) continue;
      ++compared;
      const double actual = fixed[i].data<double>()[element];
      const double limit = kTolerance * (1 + std::abs(*expected));
      CHECK_MESSAGE(std::abs(actual - *expected) <= limit, "the gradient of element ", element,
                    " is ", actual, ", by finite differences ", *expected);
    }
  }
  return compared;
}

}  // namespace hugot::test
