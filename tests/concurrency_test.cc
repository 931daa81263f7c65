// One model in several threads at once. The interesting run of this is the one under the thread
// sanitizer; the numbers have to be right in any case.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <thread>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/ragged.h"
#include "graph/passes/passes.h"
#include "tests/graph_builder.h"

namespace hugot {
namespace {

using test::GraphBuilder;
using test::ops;

constexpr int kThreads = 4;
constexpr int kRounds = 20;

// Calls body(thread) in several threads and counts what they threw. Checks of doctest belong to the
// thread of the test.
template <class Function>
int failures_in_threads(const Function& body) {
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      try {
        body(i);
      } catch (const std::exception&) {
        ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failures;
}

// x -> x + 1, `trips` times.
Graph counting_loop(int64_t trips) {
  Fact any;
  any.dtype = DType::kFloat32;
  GraphBuilder body(20);
  body.graph.add_input("i", Fact::of(DType::kInt64, {}));
  const ValueId go_on = body.graph.add_input("go_on", Fact::of(DType::kBool, {}));
  const ValueId x = body.graph.add_input("x", any);
  const ValueId sum = body.op("Add", {x, body.number(1)});
  body.graph.outputs = {body.op("Identity", {go_on}), sum};
  GraphBuilder b(20);
  const ValueId start = b.graph.add_input("x", any);
  b.graph.outputs = {b.op("Loop", {b.integer(trips), kNoValue, start},
                          {{"body", std::make_shared<const Graph>(body.graph)}})};
  return b.graph;
}

std::shared_ptr<const Plan> compile(Graph graph) {
  PassContext context{ops()};
  optimize_exact(graph, context);
  return Plan::compile(std::move(graph));
}

// Embedding and a linear layer, for exact and for ragged mode.
Graph small_encoder() {
  GraphBuilder b(14);
  const ValueId ids = b.input("input_ids", DType::kInt64);
  const ValueId x = b.op("Gather", {b.weights({50, 24}, 1), ids});
  const ValueId y = b.op("Add", {b.op("MatMul", {x, b.weights({24, 96}, 2)}), b.weights({96}, 3)});
  b.graph.outputs = {b.op("Softmax", {b.op("Relu", {y})}, {{"axis", int64_t{-1}}})};
  return b.graph;
}

}  // namespace

TEST_CASE("concurrency: threads share a plan with control flow and a pool") {
  const auto plan = compile(counting_loop(7));
  ThreadPool pool(3);
  const int failures = failures_in_threads([&](int thread) {
    Executor executor(plan);
    std::vector<Datum> results;
    for (int round = 0; round < kRounds; ++round) {
      const auto value = static_cast<float>(thread * 100 + round);
      const std::vector<Datum> inputs = {Tensor::from<float>({2}, {value, -value})};
      executor.run(inputs, results, {.pool = &pool});
      require(identical(results[0].tensor(), Tensor::from<float>({2}, {value + 7, -value + 7})),
              ErrorCode::kInternal, "another thread's numbers");
    }
  });
  CHECK(failures == 0);
}

TEST_CASE("concurrency: exact and ragged runs of one graph, each result as alone") {
  PassContext context{ops()};
  Graph ragged_graph = small_encoder();
  const RaggedInput inputs[] = {{.name = "input_ids"}};
  const int outputs[] = {0};
  optimize_for_ragged(ragged_graph, inputs, outputs, context);
  const auto ragged = RaggedPlan::compile(std::move(ragged_graph), {inputs[0]});
  const auto exact = compile(small_encoder());

  const std::vector<int64_t> ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
  const std::span<const int64_t> tokens[] = {ids};
  const int64_t lengths[] = {5, 1, 10};
  RaggedExecutor alone(ragged);
  alone.run(lengths, tokens, {});
  const Tensor wanted_ragged = alone.output(0).clone();
  const Tensor one = Tensor::from<int64_t>({1, 16}, std::span<const int64_t>(ids));
  const Tensor wanted = Executor(exact).run(std::span(&one, 1))[0];

  ThreadPool pool(3);
  const int failures = failures_in_threads([&](int thread) {
    RaggedExecutor ragged_executor(ragged);
    Executor executor(exact);
    for (int round = 0; round < kRounds; ++round) {
      ThreadPool* threads = (round + thread) % 2 == 0 ? &pool : nullptr;
      ragged_executor.run(lengths, tokens, {.pool = threads});
      const bool same = identical(ragged_executor.output(0), wanted_ragged);
      const auto result = executor.run(std::span(&one, 1), {.pool = threads});
      require(same && identical(result[0], wanted), ErrorCode::kInternal, "other numbers");
    }
  });
  CHECK(failures == 0);
}

TEST_CASE("concurrency: a loop that would never end is cancelled from another thread") {
  const auto plan = compile(counting_loop(INT64_MAX));
  ThreadPool pool(2);
  std::stop_source stop;
  std::atomic<int> cancelled = 0;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  failures_in_threads([&](int) {
    Executor executor(plan);
    const std::vector<Datum> inputs = {Tensor::from<float>({2}, {1, 2})};
    std::vector<Datum> results;
    try {
      executor.run(inputs, results, {.pool = &pool, .stop = stop.get_token()});
    } catch (const Error& error) {
      cancelled += error.code() == ErrorCode::kCancelled ? 1 : 0;
    }
  });
  canceller.join();
  CHECK(cancelled == kThreads);
}

}  // namespace hugot
