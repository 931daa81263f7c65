// Gradients of control flow against finite differences.
#include <doctest/doctest.h>

#include "tests/gradient_check.h"
#include "tests/graph_builder.h"

namespace hugot {
namespace {

using test::Case;
using test::GraphBuilder;
using Body = std::shared_ptr<const Graph>;
using Names = std::vector<std::string>;
using List = std::vector<int64_t>;

Fact floats() {
  Fact fact;
  fact.dtype = DType::kFloat64;
  return fact;
}

Tensor random(const Shape& shape, uint64_t seed) {
  return test::random_tensor(DType::kFloat64, shape, -1, 1, seed);
}

// x, w -> tanh(x w), x  or  x * x, w * 3
Body branch(bool first) {
  GraphBuilder b(21);
  const ValueId x = b.graph.add_input("x", floats()), w = b.graph.add_input("w", floats());
  if (first) {
    b.graph.outputs = {b.op("Tanh", {b.op("MatMul", {x, w})}), x};
  } else {
    const ValueId three = b.graph.add_initializer("three", Tensor::scalar(3.0));
    b.graph.outputs = {b.op("Mul", {x, x}), b.op("Mul", {w, three})};
  }
  return std::make_shared<const Graph>(b.graph);
}

Case choice(bool condition) {
  return {.name = condition ? "then" : "else",
          .op_type = "If",
          .inputs = {Tensor::scalar<bool>(condition), random({3, 3}, 1), random({3, 3}, 2)},
          .attributes = {{"then_branch", branch(true)},
                         {"else_branch", branch(false)},
                         {std::string(kCapturedAttribute), Names{"x", "w"}}},
          .outputs = 2};
}

// h, rows of x.., w -> tanh(h w + x), that squared; `loop`: with the iteration and a condition, and
// a counter among the states.
Body cell(bool loop) {
  GraphBuilder b(21);
  Graph& g = b.graph;
  ValueId iteration = kNoValue, condition = kNoValue;
  if (loop) {
    iteration = g.add_input("i", Fact::of(DType::kInt64, {}));
    condition = g.add_input("go_on", Fact::of(DType::kBool, {}));
  }
  // A stack of no pieces has the shape that is known of them.
  const ValueId h = g.add_input("h", Fact::of(DType::kFloat64, {2, 3}));
  const ValueId counter = loop ? g.add_input("counter", Fact::of(DType::kInt64, {})) : kNoValue;
  const ValueId x = g.add_input("x", loop ? Fact::of(DType::kFloat64, {5, 2, 3}) : floats());
  const ValueId w = g.add_input("w", Fact::of(DType::kFloat64, {3, 3}));
  const ValueId row = loop ? b.op("Gather", {x, counter}) : x;
  const ValueId next = b.op("Tanh", {b.op("Add", {b.op("MatMul", {h, w}), row})});
  const ValueId squared = b.op("Mul", {next, next});
  g.outputs = {next, squared};
  if (loop) {
    const ValueId seen = b.op("Add", {iteration, b.integer(1)});
    g.outputs = {b.op("Identity", {condition}), next, seen, squared};
  }
  infer(g);
  return std::make_shared<const Graph>(g);
}

Case loop(int64_t trips) {
  return {.name = str(trips, " trips"),
          .op_type = "Loop",
          .inputs = {Tensor::scalar(trips), Tensor::scalar<bool>(true), random({2, 3}, 3),
                     Tensor::scalar<int64_t>(0), random({5, 2, 3}, 4), random({3, 3}, 5)},
          .attributes = {{"body", cell(true)}, {std::string(kCapturedAttribute), Names{"x", "w"}}},
          .outputs = 3};
}

Case scan(int64_t reversed, int64_t out_axis) {
  return {.name = str("reversed ", reversed, ", to axis ", out_axis),
          .op_type = "Scan",
          .inputs = {random({2, 3}, 6), random({2, 4, 3}, 7), random({3, 3}, 8)},
          .attributes = {{"body", cell(false)},
                         {"num_scan_inputs", int64_t{1}},
                         {"scan_input_axes", List{1}},
                         {"scan_input_directions", List{reversed}},
                         {"scan_output_axes", List{out_axis}},
                         {"scan_output_directions", List{reversed}},
                         {std::string(kCapturedAttribute), Names{"w"}}},
          .outputs = 2};
}

}  // namespace

TEST_CASE("control: the gradients of If, Loop and Scan are those of finite differences") {
  CHECK(test::check_gradients(choice(true)) == 12);
  CHECK(test::check_gradients(choice(false)) == 12);
  CHECK(test::check_gradients(loop(4)) == 18);
  CHECK(test::check_gradients(loop(1)) == 18);
  CHECK(test::check_gradients(scan(0, 0)) == 18);
  CHECK(test::check_gradients(scan(1, 1)) == 18);
  CHECK(test::check_gradients(scan(1, -1)) == 18);
}

TEST_CASE("control: a loop without iterations passes gradients on") {
  CHECK(test::check_gradients(loop(0)) == 18);
}

}  // namespace hugot
