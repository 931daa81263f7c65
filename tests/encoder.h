// A small encoder as exporters write it, for the tests of training.
#ifndef HUGOT_TESTS_ENCODER_H_
#define HUGOT_TESTS_ENCODER_H_

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/graph_builder.h"

namespace hugot::test {

inline constexpr int64_t kWidth = 32, kHeads = 2, kVocabulary = 40, kPositions = 64;

// All its weights are trained.
class Encoder {
 public:
  explicit Encoder(int opset = 17) : b(opset) {
    ids = b.input("input_ids", DType::kInt64);
    mask = b.input("attention_mask", DType::kInt64);
  }

  ValueId weights(const Shape& shape) {
    const ValueId id = b.weights(shape, ++seed_, 0.4);
    trainable.push_back(b.graph.value(id).name);
    return id;
  }
  ValueId linear(ValueId x, int64_t in, int64_t out) {
    return b.op("Add", {b.op("MatMul", {x, weights({in, out})}), weights({out})});
  }
  // A weight [out, in] behind a Transpose.
  ValueId linear_transposed(ValueId x, int64_t in, int64_t out) {
    const ValueId w =
        b.op("Transpose", {weights({out, in})}, {{"perm", std::vector<int64_t>{1, 0}}});
    return b.op("Add", {b.op("MatMul", {x, w}), weights({out})});
  }
  ValueId embeddings() {
    const ValueId words = b.op("Gather", {weights({kVocabulary, kWidth}), ids});
    const ValueId length =
        b.op("Unsqueeze", {b.op("Gather", {b.op("Shape", {ids}), b.integer(1)}), b.integers({0})});
    const ValueId positions =
        b.op("Slice", {weights({kPositions, kWidth}), b.integers({2}),
                       b.op("Add", {length, b.integers({2})}), b.integers({0})});
    return b.op("Add", {words, positions});
  }
  ValueId layer_norm(ValueId x) {
    return b.op("LayerNormalization", {x, weights({kWidth}), weights({kWidth})},
                {{"epsilon", 1e-5f}});
  }
  ValueId gelu(ValueId x) {
    const ValueId erf = b.op("Erf", {b.op("Div", {x, b.number(std::sqrt(2.0f))})});
    return b.op("Mul", {b.op("Mul", {x, b.op("Add", {erf, b.number(1)})}), b.number(0.5f)});
  }
  ValueId heads(ValueId x, std::vector<int64_t> perm) {
    const ValueId split = b.op("Reshape", {x, b.integers({0, 0, kHeads, kWidth / kHeads})});
    return b.op("Transpose", {split}, {{"perm", std::move(perm)}});
  }
  // What is added to the scores for keys that are no tokens.
  ValueId mask_bias() {
    const ValueId seen = b.op("Cast", {b.op("Unsqueeze", {mask, b.integers({1, 2})})},
                              {{"to", static_cast<int64_t>(DType::kFloat32)}});
    return b.op("Mul", {b.op("Sub", {b.number(1), seen}), b.number(-1e9f)});
  }
  ValueId attention(ValueId x, ValueId bias = kNoValue) {
    const ValueId q = heads(linear_transposed(x, kWidth, kWidth), {0, 2, 1, 3});
    const ValueId k = heads(linear(x, kWidth, kWidth), {0, 2, 3, 1});
    const ValueId v = heads(linear(x, kWidth, kWidth), {0, 2, 1, 3});
    ValueId scores = b.op("Mul", {b.op("MatMul", {q, k}), b.number(0.25f)});
    if (bias != kNoValue) scores = b.op("Add", {scores, bias});
    scores = b.op("Add", {scores, mask_bias()});
    const ValueId p = b.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
    const ValueId y =
        b.op("Transpose", {b.op("MatMul", {p, v})}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return b.op("Reshape", {y, b.integers({0, 0, kWidth})});
  }
  ValueId layer(ValueId x, ValueId bias = kNoValue) {
    x = layer_norm(b.op("Add", {linear(attention(x, bias), kWidth, kWidth), x}));
    const ValueId inner = gelu(linear(x, kWidth, 2 * kWidth));
    return layer_norm(b.op("Add", {x, linear(inner, 2 * kWidth, kWidth)}));
  }
  ValueId mean(ValueId x) {
    const ValueId weight = b.op("Cast", {b.op("Unsqueeze", {mask, b.integers({-1})})},
                                {{"to", static_cast<int64_t>(DType::kFloat32)}});
    const auto sum = [&](ValueId value) {
      return b.op("ReduceSum", {value, b.integers({1})}, {{"keepdims", int64_t{0}}});
    };
    return b.op("Div", {sum(b.op("Mul", {x, weight})), sum(weight)});
  }
  ValueId first(ValueId x) { return b.op("Gather", {x, b.integer(0)}, {{"axis", int64_t{1}}}); }

  GraphBuilder b;
  ValueId ids, mask;
  std::vector<std::string> trainable;

 private:
  uint64_t seed_ = 0;
};

inline std::vector<std::vector<int32_t>> random_texts(std::initializer_list<int64_t> lengths) {
  std::vector<std::vector<int32_t>> texts;
  for (const int64_t length : lengths) {
    const Tensor ids = random_tensor(DType::kInt64, {length}, 0, kVocabulary, 70 + texts.size());
    const auto values = ids.values<int64_t>();
    texts.emplace_back(values.begin(), values.end());
  }
  return texts;
}

}  // namespace hugot::test

#endif  // HUGOT_TESTS_ENCODER_H_
