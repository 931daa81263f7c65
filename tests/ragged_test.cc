// The promise of ragged mode: a text's result is that of the text alone, bit by bit.
#include "graph/exec/ragged.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <random>

#include "graph/exec/flops.h"
#include "graph/passes/passes.h"
#include "tests/graph_builder.h"

namespace hugot {
namespace {

using test::GraphBuilder;
using test::ops;

constexpr int64_t kHidden = 24;
constexpr int64_t kHeads = 3;
constexpr int64_t kVocabulary = 50;

ValueId linear(GraphBuilder& b, ValueId x, int64_t in, int64_t out, uint64_t seed) {
  return b.op("Add",
              {b.op("MatMul", {x, b.weights({in, out}, seed, 0.3)}), b.weights({out}, seed + 1)});
}

// One encoder layer as exporters write it; `bias` is added to the scores when it is a value.
ValueId layer(GraphBuilder& b, ValueId x, ValueId bias, uint64_t seed) {
  const auto split = [&](uint64_t s, std::vector<int64_t> perm) {
    const ValueId shaped = b.op("Reshape", {linear(b, x, kHidden, kHidden, s),
                                            b.integers({0, -1, kHeads, kHidden / kHeads})});
    return b.op("Transpose", {shaped}, {{"perm", std::move(perm)}});
  };
  ValueId scores = b.op("MatMul", {split(seed, {0, 2, 1, 3}), split(seed + 2, {0, 2, 3, 1})});
  scores = b.op("Div", {scores, b.number(std::sqrt(8.0f))});
  if (bias != kNoValue) scores = b.op("Add", {scores, bias});
  const ValueId probabilities = b.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const ValueId mixed = b.op("MatMul", {probabilities, split(seed + 4, {0, 2, 1, 3})});
  const ValueId joined =
      b.op("Reshape", {b.op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
                       b.integers({0, -1, kHidden})});
  const ValueId attended = b.op("Add", {linear(b, joined, kHidden, kHidden, seed + 6), x});
  const ValueId inner = b.op("Relu", {linear(b, attended, kHidden, 40, seed + 8)});
  return b.op("Add", {linear(b, inner, 40, kHidden, seed + 10), attended});
}

struct Model {
  std::shared_ptr<const Plan> exact;
  std::shared_ptr<const RaggedPlan> ragged;
};

// build(builder, ids) returns the output; the graph has input_ids only.
template <class Build>
Model make_model(const Build& build) {
  GraphBuilder b(14);
  const ValueId ids = b.input("input_ids", DType::kInt64);
  b.graph.outputs = {build(b, ids)};
  PassContext context{ops()};
  Model model;
  Graph exact = b.graph;
  optimize_exact(exact, context);
  model.exact = Plan::compile(std::move(exact));
  const RaggedInput inputs[] = {{.name = "input_ids"}};
  const int outputs[] = {0};
  optimize_for_ragged(b.graph, inputs, outputs, context);
  model.ragged = RaggedPlan::compile(std::move(b.graph), {inputs[0]});
  return model;
}

std::vector<float> run_ragged(RaggedExecutor& executor,
                              const std::vector<std::vector<int64_t>>& texts, ThreadPool* pool) {
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
void check_model(const Model& model) {
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

int loops(const RaggedPlan& plan) {
  int found = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(plan.graph().node_count()); ++id) {
    const Node& node = plan.graph().node(id);
    found += plan.extent(node.outputs[0]) == Extent::kText && plan.batching(id) == Batching::kLoop;
  }
  return found;
}

}  // namespace

TEST_CASE("an encoder runs packed, without a loop over texts") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    ValueId x = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    x = layer(b, x, kNoValue, 1);
    return layer(b, x, kNoValue, 50);
  });
  CHECK(model.ragged->output_per_token(0));
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("position embeddings and a bias by distance are computed per length") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId length = b.op("Gather", {b.op("Shape", {ids}), b.integer(1)});
    const ValueId range = b.op("Range", {b.integer(0), length, b.integer(1)});
    const ValueId words = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    const ValueId x = b.op("Add", {words, b.op("Gather", {b.weights({64, kHidden}, 1001), range})});
    const ValueId distance =
        b.op("Abs", {b.op("Sub", {b.op("Unsqueeze", {range, b.integers({0})}),
                                  b.op("Unsqueeze", {range, b.integers({1})})})});
    const ValueId table = b.op("Gather", {b.weights({64, kHeads}, 1002, 3), distance});
    const ValueId bias = b.op(
        "Unsqueeze",
        {b.op("Transpose", {table}, {{"perm", std::vector<int64_t>{2, 0, 1}}}), b.integers({0})});
    return layer(b, x, bias, 1);
  });
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("what mixes tokens in unknown ways loops over texts, with the same result") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId words = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    const ValueId sums = b.op("CumSum", {words, b.integer(1)});
    return layer(b, b.op("Tanh", {sums}), kNoValue, 1);
  });
  CHECK(loops(*model.ragged) == 1);
  check_model(model);
}

TEST_CASE("an output with a row per text") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId words = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    const ValueId x = layer(b, words, kNoValue, 1);
    const ValueId first = b.op("Gather", {x, b.integer(0)}, {{"axis", int64_t{1}}});
    return b.op("Tanh", {linear(b, first, kHidden, 7, 500)});
  });
  CHECK_FALSE(model.ragged->output_per_token(0));
  check_model(model);
}

TEST_CASE("matrix products are counted, and an observer sees every node") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId x =
        layer(b, b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids}), kNoValue, 1);
    const ValueId first = b.op("Gather", {x, b.integer(0)}, {{"axis", int64_t{1}}});
    return linear(b, first, kHidden, 7, 500);
  });
  for (const int64_t length : {1, 2, 17}) {
    const auto s = static_cast<double>(length);
    const double per_token = 2 * (4 * kHidden * kHidden + 2 * kHidden * 40);
    CHECK(matrix_flops(*model.ragged, length) ==
          s * per_token + 4 * s * s * kHidden + 2 * kHidden * 7);
  }

  struct Counter final : NodeObserver {
    void ran(NodeId node, std::chrono::nanoseconds time) override {
      ++seen[node];
      CHECK(time.count() >= 0);
    }
    std::map<NodeId, int> seen;
  };
  const std::vector<int64_t> ids = {1, 2, 3};
  const std::span<const int64_t> tokens[] = {ids};
  const int64_t lengths[] = {2, 1};
  Counter ragged, exact;
  RaggedExecutor(model.ragged).run(lengths, tokens, {.observer = &ragged});
  CHECK(ragged.seen.size() == model.ragged->graph().node_count());
  CHECK(ragged.seen[0] == 1);
  const Tensor input = Tensor::from<int64_t>({1, 3}, std::span<const int64_t>(ids));
  Executor(model.exact).run(std::span(&input, 1), {.observer = &exact});
  CHECK(exact.seen.size() == model.exact->graph().node_count());
}

TEST_CASE("graphs that do not qualify say why") {
  const auto reason = [](const auto& build) -> std::string {
    try {
      make_model(build);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kUnsupported);
      return error.what();
    }
    return "";
  };
  CHECK(reason([](GraphBuilder& b, ValueId ids) {
          const ValueId other = b.input("pixels", DType::kFloat32);
          return b.op("Add", {b.op("Cast", {ids}, {{"to", int64_t{1}}}), other});
        }).find("pixels") != std::string::npos);
}

TEST_CASE("cancelled runs stop, and empty texts are refused") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    return b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
  });
  RaggedExecutor executor(model.ragged);
  const std::vector<int64_t> ids = {1, 2};
  const std::span<const int64_t> tokens[] = {ids};
  std::stop_source stop;
  stop.request_stop();
  const int64_t lengths[] = {2};
  CHECK_THROWS_AS(executor.run(lengths, tokens, {.pool = nullptr, .stop = stop.get_token()}),
                  Error);
  const int64_t wrong[] = {2, 0};
  CHECK_THROWS_AS(executor.run(wrong, tokens), Error);
  const int64_t too_many[] = {3};
  CHECK_THROWS_AS(executor.run(too_many, tokens), Error);
}

}  // namespace hugot
