// Encoders with rotary embeddings, groups of query heads and masks by distance run packed.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

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

constexpr int64_t kHidden = 24;
constexpr int64_t kHeadDim = 8;
constexpr float kLowest = std::numeric_limits<float>::lowest();
const Attributes kLast = {{"axis", int64_t{-1}}};

ValueId unsqueeze(GraphBuilder& b, ValueId x, std::initializer_list<int64_t> axes) {
  return b.op("Unsqueeze", {x, b.integers(axes)});
}

ValueId positions(GraphBuilder& b, ValueId ids) {
  const ValueId length = b.op("Gather", {b.op("Shape", {ids}), b.integer(1)});
  return b.op("Range", {b.integer(0), length, b.integer(1)});
}

// cos and sin [1, S, head_dim]
std::pair<ValueId, ValueId> tables(GraphBuilder& b, ValueId ids) {
  const ValueId numbers = b.op("Cast", {positions(b, ids)}, {{"to", int64_t{1}}});
  const ValueId angles =
      b.op("Mul", {unsqueeze(b, numbers, {0, 2}), b.weights({kHeadDim / 2}, 900)});
  const ValueId both = b.op("Concat", {angles, angles}, kLast);
  return {b.op("Cos", {both}), b.op("Sin", {both})};
}

ValueId slice(GraphBuilder& b, ValueId x, int64_t begin, int64_t end) {
  return b.op("Slice", {x, b.integers({begin}), b.integers({end}), b.integers({-1})});
}

// x [1, heads, S, head_dim]
ValueId rotate(GraphBuilder& b, ValueId x, ValueId cos, ValueId sin) {
  const ValueId turned = b.op(
      "Concat", {b.op("Neg", {slice(b, x, kHeadDim / 2, kHeadDim)}), slice(b, x, 0, kHeadDim / 2)},
      kLast);
  return b.op("Add", {b.op("Mul", {x, unsqueeze(b, cos, {1})}),
                      b.op("Mul", {turned, unsqueeze(b, sin, {1})})});
}

ValueId rms_norm(GraphBuilder& b, ValueId x, int64_t features, uint64_t seed) {
  const ValueId mean =
      b.op("ReduceMean", {b.op("Pow", {x, b.number(2)})}, {{"axes", std::vector<int64_t>{-1}}});
  const ValueId root = b.op("Sqrt", {b.op("Add", {mean, b.number(1e-6f)})});
  return b.op("Mul", {b.op("Div", {x, root}), b.weights({features}, seed)});
}

struct Layer {
  int64_t heads = 3, kv_heads = 3;
  bool norm = false;           // of queries and keys, in front of the rotation
  ValueId bias = kNoValue;     // added to the scores
  ValueId visible = kNoValue;  // where scores are not replaced by the lowest number
};

// A layer with one product for Q, K and V, as the exporter of recent PyTorch writes it.
ValueId layer(GraphBuilder& b, ValueId x, ValueId ids, const Layer& l, uint64_t seed) {
  const auto [cos, sin] = tables(b, ids);
  const int64_t q_width = l.heads * kHeadDim, kv_width = l.kv_heads * kHeadDim;
  const ValueId packed =
      linear(b, rms_norm(b, x, kHidden, seed), kHidden, q_width + 2 * kv_width, seed + 1);
  const ValueId parts =
      b.op("Split", {packed, b.integers({q_width, kv_width, kv_width})}, kLast, 3);
  const auto split = [&](ValueId part, int64_t heads) {
    const ValueId shaped = b.op("Reshape", {part, b.integers({0, -1, heads, kHeadDim})});
    return b.op("Transpose", {shaped}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  };
  ValueId q = split(parts, l.heads), k = split(parts + 1, l.kv_heads),
          v = split(parts + 2, l.kv_heads);
  if (l.norm) {
    q = rms_norm(b, q, kHeadDim, seed + 3);
    k = rms_norm(b, k, kHeadDim, seed + 4);
  }
  q = rotate(b, q, cos, sin);
  k = rotate(b, k, cos, sin);
  const auto repeat = [&](ValueId y) {
    if (l.heads == l.kv_heads) return y;
    const ValueId wide =
        b.op("Expand", {unsqueeze(b, y, {2}), b.integers({1, 1, l.heads / l.kv_heads, 1, 1})});
    return b.op("Reshape", {wide, b.integers({1, l.heads, -1, kHeadDim})});
  };
  const ValueId root = b.number(std::pow(static_cast<float>(kHeadDim), -0.25f));
  const ValueId keys = b.op("Transpose", {repeat(k)}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  ValueId scores = b.op("MatMul", {b.op("Mul", {q, root}), b.op("Mul", {keys, root})});
  if (l.bias != kNoValue) scores = b.op("Add", {scores, l.bias});
  if (l.visible != kNoValue) scores = b.op("Where", {l.visible, scores, b.number(kLowest)});
  const ValueId mixed = b.op("MatMul", {b.op("Softmax", {scores}, kLast), repeat(v)});
  const ValueId joined =
      b.op("Reshape", {b.op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
                       b.integers({0, -1, q_width})});
  return b.op("Add", {linear(b, joined, q_width, kHidden, seed + 6), x});
}

ValueId words(GraphBuilder& b, ValueId ids) {
  return b.op("Gather", {b.weights({kVocabulary, kHidden}, 1000), ids});
}

const Node* fused_attention(const Model& model) {
  const Graph& graph = model.ragged->graph();
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    if (graph.node(id).op_type == "Attention") return &graph.node(id);
  }
  return nullptr;
}

}  // namespace

TEST_CASE("rotary embeddings, norms per head and shared keys run packed") {
  for (const int64_t kv_heads : {4, 2, 1}) {
    CAPTURE(kv_heads);
    const Model model = make_model([&](GraphBuilder& b, ValueId ids) {
      const ValueId x =
          layer(b, words(b, ids), ids, {.heads = 4, .kv_heads = kv_heads, .norm = true}, 1);
      return layer(b, x, ids, {.heads = 4, .kv_heads = kv_heads}, 50);
    });
    CHECK(loops(*model.ragged) == 0);
    REQUIRE(fused_attention(model) != nullptr);
    CHECK(fused_attention(model)->at<int64_t>("kv_num_heads") == kv_heads);
    check_model(model);
  }
}

TEST_CASE("RotaryEmbedding runs packed, with heads or tokens first, with and without positions") {
  for (const bool heads_first : {true, false}) {
    for (const bool by_position : {true, false}) {
      CAPTURE(heads_first);
      CAPTURE(by_position);
      const Model model = make_model(
          [&](GraphBuilder& b, ValueId ids) {
            const ValueId x = words(b, ids);
            const ValueId range = unsqueeze(b, positions(b, ids), {0});
            const ValueId cos = b.weights({64, kHeadDim / 2}, 5), sin = b.weights({64, 4}, 6);
            const auto rows = [&](ValueId table) {
              return by_position ? table : b.op("Gather", {table, range});
            };
            const Attributes heads = {{"num_heads", int64_t{3}}};
            const auto turn = [&](ValueId y) {
              return b.op("RotaryEmbedding",
                          {y, rows(cos), rows(sin), by_position ? range : kNoValue}, heads);
            };
            const auto split = [&](ValueId y) {
              const ValueId shaped = b.op("Reshape", {y, b.integers({0, -1, 3, kHeadDim})});
              return b.op("Transpose", {shaped}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
            };
            const ValueId q = linear(b, x, kHidden, kHidden, 20);
            const ValueId k = linear(b, x, kHidden, kHidden, 22);
            const ValueId mixed =
                b.op("Attention", {heads_first ? turn(split(q)) : split(turn(q)),
                                   heads_first ? turn(split(k)) : split(turn(k)), split(x)});
            return b.op("Reshape",
                        {b.op("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
                         b.integers({0, -1, kHidden})});
          },
          23);
      CHECK(loops(*model.ragged) == 0);
      REQUIRE(fused_attention(model) != nullptr);
      check_model(model);
    }
  }
}

TEST_CASE("masks by distance become the window of attention") {
  struct Form {
    const char* name;
    int64_t left, right;  // -1: no limit
    ValueId (*mask)(GraphBuilder& b, ValueId row, ValueId column);
  };
  const auto distance = [](GraphBuilder& b, ValueId row, ValueId column) {
    return b.op("Abs", {b.op("Sub", {row, column})});
  };
  static const auto local = [distance](GraphBuilder& b, ValueId row, ValueId column) {
    return b.op("LessOrEqual", {distance(b, row, column), b.integer(3)});
  };
  const Form forms[] = {
      {"causal", -1, 0,
       [](GraphBuilder& b, ValueId row, ValueId column) {
         return b.op("LessOrEqual", {column, row});
       }},
      {"causal, strictly", -1, 0,
       [](GraphBuilder& b, ValueId row, ValueId column) {
         return b.op("Less", {column, b.op("Add", {row, b.integer(1)})});
       }},
      {"causal, negated", -1, 0,
       [](GraphBuilder& b, ValueId row, ValueId column) {
         return b.op("Not", {b.op("Greater", {column, row})});
       }},
      {"local", 3, 3,
       [](GraphBuilder& b, ValueId row, ValueId column) { return local(b, row, column); }},
      {"local and causal, with a condition that always holds", 3, 0,
       [](GraphBuilder& b, ValueId row, ValueId column) {
         const ValueId causal = b.op("GreaterOrEqual", {row, column});
         const ValueId always = b.op("GreaterOrEqual", {row, b.integer(0)});
         return b.op("And", {b.op("And", {local(b, row, column), always}), causal});
       }},
      {"two that overlap", 5, 3,
       [](GraphBuilder& b, ValueId row, ValueId column) {
         const ValueId back = b.op("Greater", {column, b.op("Sub", {row, b.integer(6)})});
         const ValueId causal = b.op("LessOrEqual", {column, row});
         return b.op("Or", {b.op("And", {back, causal}), local(b, row, column)});
       }},
      {"always", -1, -1,
       [](GraphBuilder& b, ValueId row, ValueId column) {
         const ValueId sum = b.op("Add", {row, column});
         return b.op("GreaterOrEqual", {sum, b.integer(0)});
       }},
  };
  for (const Form& form : forms) {
    for (const bool added : {true, false}) {
      CAPTURE(form.name);
      CAPTURE(added);
      const Model model = make_model([&](GraphBuilder& b, ValueId ids) {
        const ValueId range = positions(b, ids);
        const ValueId mask =
            unsqueeze(b, form.mask(b, unsqueeze(b, range, {1}), unsqueeze(b, range, {0})), {0, 1});
        Layer l;
        if (added) {
          l.bias = b.op("Where", {mask, b.number(0), b.number(-INFINITY)});
        } else {
          l.visible = mask;
        }
        return layer(b, words(b, ids), ids, l, 1);
      });
      CHECK(loops(*model.ragged) == 0);
      const Node* attention = fused_attention(model);
      REQUIRE(attention != nullptr);
      CHECK(attention->inputs.size() == 3);
      CHECK(attention->get<int64_t>("left_window_size", -1) == form.left);
      CHECK(attention->get<int64_t>("right_window_size", -1) == form.right);
      check_model(model);
    }
  }
}

TEST_CASE("triangles of ones or of the lowest number are causal masks") {
  for (const bool ones : {true, false}) {
    const Model model = make_model([&](GraphBuilder& b, ValueId ids) {
      const ValueId length = b.op("Gather", {b.op("Shape", {ids}), b.integers({1})});
      const ValueId shape = b.op("Concat", {length, length}, {{"axis", int64_t{0}}});
      const Tensor fill = Tensor::from<float>({1}, {ones ? 1.0f : kLowest});
      ValueId bias = b.op("ConstantOfShape", {shape}, {{"value", fill}});
      if (ones) {
        const ValueId lower = b.op("Trilu", {bias}, {{"upper", int64_t{0}}});
        const ValueId mask = b.op("Cast", {lower}, {{"to", int64_t{9}}});
        bias = b.op("Where", {mask, b.number(0), b.number(kLowest)});
      } else {
        bias = b.op("Trilu", {bias, b.integer(1)});
      }
      Layer l;
      l.bias = unsqueeze(b, bias, {0, 1});
      return layer(b, words(b, ids), ids, l, 1);
    });
    CHECK(loops(*model.ragged) == 0);
    REQUIRE(fused_attention(model) != nullptr);
    CHECK(fused_attention(model)->get<int64_t>("right_window_size", -1) == 0);
    check_model(model);
  }
}

TEST_CASE("a mask by length that is no band stays a bias") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId range = positions(b, ids);
    const ValueId sum = b.op("Add", {unsqueeze(b, range, {1}), unsqueeze(b, range, {0})});
    const ValueId mask = b.op("LessOrEqual", {b.op("Abs", {b.op("Sub", {sum, b.integer(8)})}),
                                              b.op("Add", {sum, b.integer(0)})});
    Layer l;
    l.bias = unsqueeze(b, b.op("Where", {mask, b.number(0), b.number(-1)}), {0, 1});
    return layer(b, words(b, ids), ids, l, 1);
  });
  CHECK(loops(*model.ragged) == 0);
  REQUIRE(fused_attention(model) != nullptr);
  CHECK(fused_attention(model)->inputs.size() == 4);
  check_model(model);
}

TEST_CASE("the log tells why a softmax over keys was not fused") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId x = words(b, ids);
    const ValueId scores =
        b.op("MatMul", {x, b.op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}})});
    const ValueId weights = b.op("Softmax", {b.op("Tanh", {scores})}, kLast);
    return b.op("MatMul", {weights, x});
  });
  bool told = false;
  for (const std::string& line : model.log) {
    told = told || (line.starts_with(kNotFused) && line.find("Softmax") != std::string::npos &&
                    line.find("scores") != std::string::npos);
  }
  CHECK(told);
  check_model(model);
}

}  // namespace hugot
