// What goes wrong in control flow; what it computes is in tests/data/onnx-cases.
#include <doctest/doctest.h>

#include <stop_token>
#include <thread>

#include "base/testing.h"
#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "tests/graph_builder.h"

namespace hugot {
namespace {

using test::GraphBuilder;
using test::ops;
using Body = std::shared_ptr<const Graph>;

// go_on, x -> go_on, x + x; the condition is the constant `go_on`, or the number of the iteration.
Body doubling(bool condition_is_number) {
  GraphBuilder b(20);
  const ValueId i = b.graph.add_input("i", Fact::of(DType::kInt64, {}));
  const ValueId go_on = b.graph.add_input("go_on", Fact::of(DType::kBool, {}));
  Fact any;
  any.dtype = DType::kFloat32;
  const ValueId x = b.graph.add_input("x", any);
  const ValueId twice = b.op("Add", {x, x});
  b.graph.outputs = {condition_is_number ? i : b.op("Identity", {go_on}), twice};
  return std::make_shared<const Graph>(b.graph);
}

Graph loop(const Body& body, std::vector<ValueId> (*inputs)(GraphBuilder&, ValueId)) {
  GraphBuilder b(20);
  Fact any;
  any.dtype = DType::kFloat32;
  const ValueId x = b.graph.add_input("x", any);
  b.graph.outputs = {b.op("Loop", inputs(b, x), {{"body", body}})};
  return b.graph;
}

std::vector<Datum> run(Graph graph, const RunOptions& options = {}) {
  PassContext context{ops()};
  optimize_exact(graph, context);
  const std::vector<Datum> inputs = {Tensor::from<float>({2}, {1, 2})};
  std::vector<Datum> results;
  Executor(Plan::compile(std::move(graph))).run(inputs, results, options);
  return results;
}

std::vector<ValueId> three_times(GraphBuilder& b, ValueId x) { return {b.integer(3), kNoValue, x}; }

}  // namespace

TEST_CASE("control: a loop without condition runs its trips") {
  const auto results = run(loop(doubling(false), three_times));
  CHECK(identical(results[0].tensor(), Tensor::from<float>({2}, {8, 16})));
}

TEST_CASE("control: conditions, trip counts and bodies that do not fit") {
  std::string message;
  CHECK(error_of([] { run(loop(doubling(true), three_times)); }, &message) ==
        ErrorCode::kInvalidArgument);
  CHECK(message.find("condition") != std::string::npos);
  const auto bad_trips = [](GraphBuilder& b, ValueId x) {
    return std::vector<ValueId>{b.integers({3, 4}), kNoValue, x};
  };
  CHECK(error_of([&] { run(loop(doubling(false), bad_trips)); }) == ErrorCode::kInvalidArgument);
  const auto too_many = [](GraphBuilder& b, ValueId x) {
    return std::vector<ValueId>{b.integer(3), kNoValue, x, x};
  };
  CHECK(error_of([&] { run(loop(doubling(false), too_many)); }, &message) ==
        ErrorCode::kInvalidData);
  CHECK(message.find("body") != std::string::npos);
  CHECK(error_of([] {
          GraphBuilder b(20);
          const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {2}));
          b.graph.outputs = {b.op("If", {x}, {{"then_branch", doubling(false)}})};
          run(b.graph);
        }).has_value());
}

TEST_CASE("control: a body that the operator has no use for") {
  GraphBuilder b(20);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {2}));
  b.graph.outputs = {b.op("Neg", {x}, {{"body", doubling(false)}})};
  CHECK(identical(run(b.graph)[0].tensor(), Tensor::from<float>({2}, {-1, -2})));
}

TEST_CASE("control: an endless loop can be stopped") {
  std::stop_source stop;
  const auto endless = [](GraphBuilder&, ValueId x) {
    return std::vector<ValueId>{kNoValue, kNoValue, x};
  };
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  CHECK(error_of([&] { run(loop(doubling(false), endless), {.stop = stop.get_token()}); }) ==
        ErrorCode::kCancelled);
}

TEST_CASE("control: shapes that change between iterations are not taken for fixed") {
  GraphBuilder body(20);
  body.graph.add_input("i", Fact::of(DType::kInt64, {}));
  const ValueId go_on = body.graph.add_input("go_on", Fact::of(DType::kBool, {}));
  const ValueId v = body.graph.add_input("v", Fact::of(DType::kFloat32, {2}));
  const ValueId longer = body.op("Concat", {v, v}, {{"axis", int64_t{0}}});
  body.graph.outputs = {body.op("Identity", {go_on}), longer};
  Graph graph = loop(std::make_shared<const Graph>(body.graph), three_times);
  graph.value(graph.inputs[0]).fact = Fact::of(DType::kFloat32, {2});
  infer(graph);
  const Fact& fact = graph.fact(graph.outputs[0]);
  CHECK(fact.rank() == 1);
  CHECK_FALSE(fact.fixed_shape().has_value());
  CHECK(run(graph)[0].tensor().shape() == Shape{16});
}

}  // namespace hugot
