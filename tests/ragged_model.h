// Small encoders for the tests of ragged mode: built as exporters write them, run in both modes.
#ifndef HUGOT_TESTS_RAGGED_MODEL_H_
#define HUGOT_TESTS_RAGGED_MODEL_H_

#include <doctest/doctest.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "graph/exec/ragged.h"
#include "graph/passes/passes.h"
#include "tests/graph_builder.h"

namespace hugot::test {

inline constexpr int64_t kVocabulary = 50;

inline ValueId linear(GraphBuilder& b, ValueId x, int64_t in, int64_t out, uint64_t seed) {
  return b.op("Add",
              {b.op("MatMul", {x, b.weights({in, out}, seed, 0.3)}), b.weights({out}, seed + 1)});
}

struct Model {
  std::shared_ptr<const Plan> exact;
  std::shared_ptr<const RaggedPlan> ragged;
  std::vector<std::string> log;  // of the passes of ragged mode
};

// build(builder, ids) returns the output; the graph has input_ids only. `precision` is that of the
// linear layers in ragged mode.
template <class Build>
Model make_model(const Build& build, int opset = 14, std::optional<int64_t> row = {},
                 std::string_view precision = "fp32") {
  GraphBuilder b(opset);
  const ValueId ids = b.input("input_ids", DType::kInt64);
  b.graph.outputs = {build(b, ids)};
  PassContext context{ops()};
  Model model;
  Graph exact = b.graph;
  optimize_exact(exact, context);
  model.exact = Plan::compile(std::move(exact));
  const RaggedInput inputs[] = {{.name = "input_ids"}};
  const int outputs[] = {0};
  context.log.clear();
  context.wanted_row = row;
  optimize_for_ragged(b.graph, inputs, outputs, context);
  if (precision != "fp32") lower_precision(b.graph, context, precision);
  model.log = context.log;
  model.ragged = RaggedPlan::compile(std::move(b.graph), {inputs[0]});
  return model;
}

inline std::vector<float> run_ragged(RaggedExecutor& executor,
                                     const std::vector<std::vector<int64_t>>& texts,
                                     ThreadPool* pool) {
  std::vector<int64_t> lengths, ids;
  for (const auto& text : texts) {
    lengths.push_back(static_cast<int64_t>(text.size()));
    ids.insert(ids.end(), text.begin(), text.end());
  }
  const std::span<const int64_t> tokens[] = {ids};
  executor.run(lengths, tokens, {.pool = pool});
  const auto values = executor.output(0).values<float>();
  return {values.begin(), values.end()};
}

// 50 random batchings against every text alone, bit by bit; and alone against exact mode.
inline void check_model(const Model& model) {
  std::mt19937_64 random(7);
  std::vector<std::vector<int64_t>> texts(12);
  for (auto& text : texts) {
    text.resize(1 + random() % 19);
    for (int64_t& id : text) id = static_cast<int64_t>(random() % kVocabulary);
  }
  RaggedExecutor executor(model.ragged);
  Executor exact(model.exact);
  std::vector<std::vector<float>> alone;
  for (const auto& text : texts) {
    alone.push_back(run_ragged(executor, {text}, nullptr));
    const Tensor ids = Tensor::from<int64_t>({1, static_cast<int64_t>(text.size())},
                                             std::span<const int64_t>(text));
    const Tensor reference = exact.run(std::span(&ids, 1))[0];
    REQUIRE(reference.size() == static_cast<int64_t>(alone.back().size()));
    for (size_t i = 0; i < alone.back().size(); ++i) {
      CHECK(alone.back()[i] == doctest::Approx(reference.data<float>()[i]).epsilon(1e-4).scale(1));
    }
  }
  ThreadPool pool(2);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<int64_t>> batch;
    std::vector<float> wanted;
    for (size_t k = 0, n = 1 + random() % 10; k < n; ++k) {
      const size_t i = random() % texts.size();
      batch.push_back(texts[i]);
      wanted.insert(wanted.end(), alone[i].begin(), alone[i].end());
    }
    CHECK(run_ragged(executor, batch, round % 2 == 0 ? nullptr : &pool) == wanted);
  }
}

inline int loops(const RaggedPlan& plan) {
  int found = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(plan.graph().node_count()); ++id) {
    const Node& node = plan.graph().node(id);
    found += plan.extent(node.outputs[0]) == Extent::kText && plan.batching(id) == Batching::kLoop;
  }
  return found;
}

}  // namespace hugot::test

#endif  // HUGOT_TESTS_RAGGED_MODEL_H_
