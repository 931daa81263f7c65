// The promise of ragged mode: a text's result is that of the text alone, bit by bit.
#include "graph/exec/ragged.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>

#include "graph/exec/flops.h"
#include "tests/ragged_model.h"

namespace hugot {
namespace {

using test::check_model;
using test::GraphBuilder;
using test::kVocabulary;
using test::linear;
using test::loops;
using test::make_model;
using test::Model;
using test::run_ragged;

constexpr int64_t kHidden = 24;
constexpr int64_t kHeads = 3;

// One encoder layer as exporters write it; `bias` is added to the scores when it is a value.
ValueId layer(GraphBuilder& b, ValueId x, ValueId bias, uint64_t seed, int64_t hidden = kHidden) {
  const auto split = [&](uint64_t s, std::vector<int64_t> perm) {
    const ValueId shaped = b.op(
        "Reshape", {linear(b, x, hidden, hidden, s), b.integers({0, -1, kHeads, hidden / kHeads})});
    return b.op("Transpose", {shaped}, {{"perm", std::move(perm)}});
  };
  ValueId scores = b.op("MatMul", {split(seed, {0, 2, 1, 3}), split(seed + 2, {0, 2, 3, 1})});
  scores = b.op("Div", {scores, b.number(std::sqrt(8.0f))});
  if (bias != kNoValue) scores = b.op("Add", {scores, bias});
  const ValueId probabilities = b.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const ValueId mixed = b.op("MatMul", {probabilities, split(seed + 4, {0, 2, 1, 3})});
  const ValueId joined =
      b.op("Reshape", {b.op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
                       b.integers({0, -1, hidden})});
  const ValueId attended = b.op("Add", {linear(b, joined, hidden, hidden, seed + 6), x});
  const ValueId inner = b.op("Relu", {linear(b, attended, hidden, hidden + 16, seed + 8)});
  return b.op("Add", {linear(b, inner, hidden + 16, hidden, seed + 10), attended});
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

TEST_CASE("queries, keys and values are one node, and bits depend on neither batch nor threads") {
  constexpr int64_t kWide = 144;  // products large enough that threads share them
  const auto build = [](GraphBuilder& b, ValueId ids) {
    const ValueId x = b.op("Gather", {b.weights({kVocabulary, kWide}, 1000), ids});
    return layer(b, layer(b, x, kNoValue, 1, kWide), kNoValue, 50, kWide);
  };
  for (const char* precision : {"fp32", "bf16", "int8"}) {
    CAPTURE(precision);
    const Model model = make_model(build, 14, {}, precision);
    const Graph& graph = model.ragged->graph();
    int groups = 0;
    for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
      groups += graph.node(id).op_type == "LinearGroup" && graph.node(id).outputs.size() == 3;
    }
    CHECK(groups == 2);
    CHECK(loops(*model.ragged) == 0);

    std::mt19937_64 random(11);
    std::vector<std::vector<int64_t>> texts(10);
    for (auto& text : texts) {
      text.resize(1 + random() % 40);
      for (int64_t& id : text) id = static_cast<int64_t>(random() % kVocabulary);
    }
    RaggedExecutor executor(model.ragged);
    std::vector<std::vector<float>> alone;
    for (const auto& text : texts) alone.push_back(run_ragged(executor, {text}, nullptr));
    ThreadPool two(2), three(3);
    ThreadPool* pools[] = {nullptr, &two, &three};
    for (int round = 0; round < 200; ++round) {
      std::vector<std::vector<int64_t>> batch;
      std::vector<float> wanted;
      for (size_t k = 0, n = 1 + random() % 5; k < n; ++k) {
        const size_t i = random() % texts.size();
        batch.push_back(texts[i]);
        wanted.insert(wanted.end(), alone[i].begin(), alone[i].end());
      }
      CHECK(run_ragged(executor, batch, pools[round % 3]) == wanted);
    }
  }
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
    const ValueId shares = b.op("Softmax", {words}, {{"axis", int64_t{1}}});
    return layer(b, shares, kNoValue, 1);
  });
  CHECK(loops(*model.ragged) == 1);
  check_model(model);
}

TEST_CASE("cumulative sums over the tokens start anew with each text") {
  // Positions as RoBERTa counts them, and sums of vectors in both directions.
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId counted = b.op("Not", {b.op("Equal", {ids, b.integer(1)})});
    const ValueId ones = b.op("Cast", {counted}, {{"to", int64_t{6}}});
    const ValueId positions = b.op("Mul", {b.op("CumSum", {ones, b.integer(1)}), ones});
    const ValueId words = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    const ValueId x =
        b.op("Add", {words, b.op("Gather", {b.weights({64, kHidden}, 1001), positions})});
    const ValueId sums =
        b.op("CumSum", {x, b.integer(-2)}, {{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}});
    return layer(b, b.op("Tanh", {sums}), kNoValue, 1);
  });
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("a token that each text names itself") {
  // The largest id ends the text, as in CLIP: its row, taken in three ways.
  const auto build = [](int way) {
    return [=](GraphBuilder& b, ValueId ids) {
      const ValueId x =
          layer(b, b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids}), kNoValue, 1);
      const ValueId place = b.op("ArgMax", {ids}, {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
      if (way == 0) return b.op("Gather", {b.op("Reshape", {x, b.integers({-1, kHidden})}), place});
      const ValueId column = b.op("Unsqueeze", {place, b.integers({1})});
      if (way == 1) {
        const ValueId row = b.op("Gather", {x, place}, {{"axis", int64_t{1}}});
        return b.op("Squeeze", {row, b.integers({1})});
      }
      const ValueId zero = b.op("Mul", {column, b.integers({0})});
      return b.op("GatherND", {x, b.op("Concat", {zero, column}, {{"axis", int64_t{1}}})});
    };
  };
  for (const int way : {0, 1, 2}) {
    CAPTURE(way);
    const Model model = make_model(build(way));
    CHECK(!model.ragged->output_per_token(0));
    CHECK(loops(*model.ragged) == 0);
    check_model(model);
  }
}

TEST_CASE("reductions over the tokens of each text") {
  const auto build = [](const char* reduction, bool all, bool keep) {
    return [=](GraphBuilder& b, ValueId ids) {
      const ValueId x = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
      std::vector<int64_t> axes = {1};
      if (all) axes.push_back(2);
      const ValueId y =
          b.op(reduction, {b.op("Tanh", {x})}, {{"axes", axes}, {"keepdims", int64_t{keep}}});
      return b.op("Tanh", {y});
    };
  };
  for (const char* reduction : {"ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"}) {
    for (const bool all : {false, true}) {
      for (const bool keep : {false, true}) {
        CAPTURE(reduction);
        CAPTURE(all);
        CAPTURE(keep);
        const Model model = make_model(build(reduction, all, keep), 12);
        CHECK(loops(*model.ragged) == 0);
        check_model(model);
      }
    }
  }
}

TEST_CASE("the operator Attention, with three dimensions and with four") {
  // The query at i does not see the keys of its own parity behind it, nor, by the attribute,
  // anything that is behind it.
  const auto build = [](bool flat, bool causal, bool masked, int64_t kv_heads) {
    return [=](GraphBuilder& b, ValueId ids) {
      const ValueId length = b.op("Gather", {b.op("Shape", {ids}), b.integer(1)});
      const ValueId range = b.op("Range", {b.integer(0), length, b.integer(1)});
      const ValueId rows = b.op("Unsqueeze", {range, b.integers({0, 1, 3})});
      const ValueId columns = b.op("Unsqueeze", {range, b.integers({0, 1, 2})});
      const ValueId somewhere = b.op("GreaterOrEqual", {columns, b.integer(0)});  // always
      const ValueId ahead = b.op("Sub", {columns, rows});
      const ValueId odd = b.op("Equal", {b.op("Mod", {ahead, b.integer(2)}), b.integer(1)});
      const ValueId seen = b.op("Or", {odd, b.op("LessOrEqual", {ahead, b.integer(0)})});
      const ValueId mask = masked ? b.op("And", {somewhere, seen}) : somewhere;
      const ValueId x = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
      const auto operand = [&](int64_t heads, uint64_t seed) {
        const ValueId y = linear(b, x, kHidden, heads * kHidden / kHeads, seed);
        if (flat) return y;
        const ValueId split = b.op("Reshape", {y, b.integers({0, -1, heads, kHidden / kHeads})});
        return b.op("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
      };
      Attributes attributes = {{"is_causal", int64_t{causal}}};
      if (flat) {
        attributes["q_num_heads"] = kHeads;
        attributes["kv_num_heads"] = kv_heads;
      }
      const ValueId y =
          b.op("Attention", {operand(kHeads, 1), operand(kv_heads, 2), operand(kv_heads, 3), mask},
               attributes);
      if (flat) return b.op("Tanh", {y});
      const ValueId joined = b.op("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
      return b.op("Tanh", {b.op("Reshape", {joined, b.integers({0, -1, kHidden})})});
    };
  };
  for (const bool causal : {false, true}) {
    for (const bool masked : {false, true}) {
      for (const bool flat : {false, true}) {
        CAPTURE(flat);
        CAPTURE(causal);
        CAPTURE(masked);
        const Model model = make_model(build(flat, causal, masked, flat ? 1 : kHeads), 23);
        CHECK(loops(*model.ragged) == 0);
        const Graph& graph = model.ragged->graph();
        for (const NodeId id : graph.order()) {
          const Node& node = graph.node(id);
          if (node.op_type != "Attention") continue;
          CHECK(node.domain == "hugot");
          const bool bias = node.input(3) != kNoValue, window = node.has("right_window_size");
          CHECK((bias || window) == masked);
        }
        check_model(model);
      }
    }
  }
}

TEST_CASE("attention in half precision runs packed in float32") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const auto half = [&](ValueId x) { return b.op("Cast", {x}, {{"to", int64_t{10}}}); };
    const auto single = [&](ValueId x) { return b.op("Cast", {x}, {{"to", int64_t{1}}}); };
    const ValueId x = b.op("Gather", {half(b.weights({kVocabulary, kHidden}, 1000)), ids});
    const auto split = [&](uint64_t seed, std::vector<int64_t> perm) {
      const ValueId y = b.op("MatMul", {x, half(b.weights({kHidden, kHidden}, seed, 0.3))});
      const ValueId shaped = b.op("Reshape", {y, b.integers({0, -1, kHeads, kHidden / kHeads})});
      return b.op("Transpose", {shaped}, {{"perm", std::move(perm)}});
    };
    const ValueId scores = b.op("MatMul", {split(1, {0, 2, 1, 3}), split(2, {0, 2, 3, 1})});
    const ValueId mixed = b.op("MatMul", {b.op("Softmax", {scores}), split(3, {0, 2, 1, 3})});
    const ValueId joined = b.op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return single(b.op("Reshape", {joined, b.integers({0, -1, kHidden})}));
  });
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

// Scores of two products with tables of relative positions, as DeBERTa's exporters write them.
ValueId disentangled_layer(GraphBuilder& b, ValueId ids) {
  constexpr int64_t kSize = kHidden / kHeads, kPositions = 10;
  const ValueId length = b.op("Gather", {b.op("Shape", {ids}), b.integer(1)});
  const ValueId range = b.op("Range", {b.integer(0), length, b.integer(1)});
  const ValueId distance = b.op("Sub", {b.op("Unsqueeze", {range, b.integers({1})}),
                                        b.op("Unsqueeze", {range, b.integers({0})})});
  const ValueId all = b.op("Concat",
                           {b.integers({kHeads}), b.op("Unsqueeze", {length, b.integers({0})}),
                            b.op("Unsqueeze", {length, b.integers({0})})},
                           {{"axis", int64_t{0}}});
  const auto index = [&](ValueId by) {
    const ValueId moved = b.op("Add", {by, b.integer(kPositions / 2)});
    const ValueId clipped = b.op("Clip", {moved, b.integer(0), b.integer(kPositions - 1)});
    return b.op("Expand", {b.op("Unsqueeze", {clipped, b.integers({0})}), all});
  };
  const ValueId x = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
  const auto heads = [&](uint64_t seed) {
    const ValueId split =
        b.op("Reshape", {linear(b, x, kHidden, kHidden, seed), b.integers({0, -1, kHeads, kSize})});
    const ValueId first = b.op("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return b.op("Reshape", {first, b.integers({kHeads, -1, kSize})});
  };
  const auto swap = [&](ValueId y) {
    return b.op("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  };
  const auto picked = [&](ValueId rows, uint64_t seed, ValueId which) {
    const ValueId product = b.op("MatMul", {rows, b.weights({kHeads, kSize, kPositions}, seed)});
    return b.op("GatherElements", {product, which}, {{"axis", int64_t{2}}});
  };
  const ValueId scale = b.number(std::sqrt(3.0f * static_cast<float>(kSize)));
  const ValueId q = heads(1), k = heads(3), v = heads(5);
  const ValueId content = b.op("MatMul", {q, b.op("Div", {swap(k), scale})});
  const ValueId forth = b.op("Div", {picked(q, 7, index(distance)), scale});
  const ValueId back = b.op("Div", {swap(picked(k, 8, index(b.op("Neg", {distance})))), scale});
  const ValueId scores = b.op("Add", {content, b.op("Add", {forth, back})});
  const ValueId four =
      b.op("Reshape", {scores, b.op("Concat", {b.integers({1}), all}, {{"axis", int64_t{0}}})});
  const ValueId shares = b.op("Reshape", {b.op("Softmax", {four}, {{"axis", int64_t{-1}}}), all});
  const ValueId mixed = b.op("Unsqueeze", {b.op("MatMul", {shares, v}), b.integers({0})});
  const ValueId joined = b.op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return b.op("Add", {x, b.op("Reshape", {joined, b.integers({0, -1, kHidden})})});
}

TEST_CASE("disentangled attention runs without a loop over texts") {
  const Model model = make_model(disentangled_layer);
  CHECK(loops(*model.ragged) == 0);
  const auto relative = [](const Graph& graph) {
    const auto order = graph.order();
    return std::count_if(order.begin(), order.end(),
                         [&](NodeId id) { return graph.node(id).op_type == "RelativeAttention"; });
  };
  CHECK(relative(model.ragged->graph()) == 1);
  check_model(model);
}

// Values that nodes compute for every token of a text.
int per_token_values(const RaggedPlan& plan) {
  int count = 0;
  for (const NodeId id : plan.graph().order()) {
    for (const ValueId output : plan.graph().node(id).outputs) {
      count += output != kNoValue && plan.extent(output) == Extent::kText &&
               leading_token_axis(plan.graph().fact(output)) >= 0;
    }
  }
  return count;
}

TEST_CASE("where one row of each text is wanted, the others are not computed") {
  const auto two_layers = [](GraphBuilder& b, ValueId ids) {
    const ValueId length = b.op("Gather", {b.op("Shape", {ids}), b.integer(1)});
    const ValueId range = b.op("Range", {b.integer(0), length, b.integer(1)});
    const ValueId rows = b.op("Unsqueeze", {range, b.integers({1})});
    const ValueId columns = b.op("Unsqueeze", {range, b.integers({0})});
    const ValueId words = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    const ValueId far = b.op("Cast", {b.op("Sub", {rows, columns})}, {{"to", int64_t{1}}});
    const ValueId seen = b.op("LessOrEqual", {columns, rows});
    const ValueId causal = b.op("Where", {seen, b.number(0), b.number(-3e38f)});
    const ValueId x = layer(b, words, b.op("Mul", {far, b.number(0.1f)}), 1);
    return b.op("Tanh", {layer(b, x, causal, 50)});
  };
  const auto check = [&](const auto& build, int64_t row, int fewer) {
    CAPTURE(row);
    const Model all = make_model(build), one = make_model(build, 14, row);
    CHECK(one.ragged->output_per_token(0) == false);
    CHECK(loops(*one.ragged) == 0);
    CHECK(per_token_values(*one.ragged) == per_token_values(*all.ragged) - fewer);
    RaggedExecutor full(all.ragged), pruned(one.ragged);
    ThreadPool pool(2);
    const std::vector<std::vector<int64_t>> texts = {
        {3}, {4, 1, 2}, {7, 9}, {5, 5, 5, 8, 30, 2, 1, 9, 12, 14, 3, 2, 7, 40, 41, 11, 6, 2}};
    for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
      const std::vector<float> rows = run_ragged(full, texts, threads);
      std::vector<float> wanted;
      size_t first = 0;
      for (const auto& text : texts) {
        const size_t at = first + (row == 0 ? 0 : text.size() - 1);
        wanted.insert(wanted.end(), rows.begin() + static_cast<std::ptrdiff_t>(at * kHidden),
                      rows.begin() + static_cast<std::ptrdiff_t>((at + 1) * kHidden));
        first += text.size();
      }
      CHECK(run_ragged(pruned, texts, threads) == wanted);
      CHECK(run_ragged(pruned, {texts[3]}, threads) ==
            std::vector<float>(wanted.end() - kHidden, wanted.end()));
    }
  };
  for (const int64_t row : {0, -1}) {
    // Queries, attention, its projection, two products and the tangent.
    check(two_layers, row, 6);
    // Queries are read by the product with positions, too.
    check(disentangled_layer, row, 3);
  }
}

TEST_CASE("a graph that takes the first row itself computes no others") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId words = b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
    const ValueId x = layer(b, words, kNoValue, 1);
    return b.op("Tanh", {b.op("Gather", {x, b.integer(0)}, {{"axis", int64_t{1}}})});
  });
  CHECK(per_token_values(*model.ragged) == 3);  // words, keys, values
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
    // Keys and values of all tokens; everything else of the one that is read.
    const double keys = 2 * 2 * kHidden * kHidden,
                 rest = 2 * (2 * kHidden * kHidden + 80 * kHidden);
    CHECK(matrix_flops(*model.ragged, length) ==
          s * keys + rest + 4 * s * kHidden + 2 * kHidden * 7);
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
