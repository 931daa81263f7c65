#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -1, 1, seed);
}

Case contrib(const std::string& op, const std::string& name, std::vector<Tensor> inputs,
             Attributes attributes, int outputs = 1) {
  return {.name = name,
          .op_type = op,
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .domain = "com.microsoft",
          .outputs = outputs,
          .tolerance = Tolerance{1e-5, 1e-5}};
}

const Attributes kHeads = {{"num_heads", int64_t{2}}};

}  // namespace

TEST_CASE("Attention of com.microsoft with every kind of mask") {
  const Tensor x = floats({2, 3, 6}, 1), weight = floats({6, 24}, 2), bias = floats({24}, 3);
  const auto test = [&](const std::string& name, const Tensor& mask) {
    return contrib("Attention", name, {x, weight, bias, mask}, kHeads);
  };
  run_cases({test("none", {}), test("ends", numbers(DType::kInt32, {2}, {3, 1})),
             test("ends and starts", numbers(DType::kInt32, {4}, {3, 2, 1, 0})),
             test("keys", numbers(DType::kInt32, {2, 3}, {1, 1, 0, 0, 1, 1})),
             test("queries", numbers(DType::kInt32, {2, 3, 3},
                                     {1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1}))});
  Attributes causal = kHeads;
  causal["unidirectional"] = int64_t{1};
  run_cases(
      {contrib("Attention", "past", {x, weight, bias, {}, floats({2, 2, 2, 4, 4}, 4)}, causal, 2),
       contrib("Attention", "bias", {x, weight, {}, {}, {}, floats({1, 2, 3, 3}, 5)}, causal),
       contrib("Attention", "sizes", {x, floats({6, 20}, 6), floats({20}, 7)},
               {{"num_heads", int64_t{2}},
                {"scale", 0.5f},
                {"qkv_hidden_sizes", std::vector<int64_t>{8, 8, 4}}})});
  for (Case bad : {test("mask", numbers(DType::kInt32, {5}, {1, 1, 1, 1, 1})),
                   contrib("Attention", "columns", {x, floats({6, 25}, 8), {}}, kHeads),
                   contrib("Attention", "heads", {x, weight, {}}, {{"num_heads", int64_t{0}}})}) {
    CHECK_THROWS_AS(run_node(node_of(bad), bad.inputs), Error);
  }
}

TEST_CASE("MultiHeadAttention in every layout") {
  const Tensor q = floats({2, 3, 8}, 1), k = floats({2, 5, 8}, 2), v = floats({2, 5, 4}, 3);
  const Tensor mask = numbers(DType::kInt32, {2, 5}, {1, 1, 0, 1, 1, 1, 1, 1, 0, 0});
  const char* const kOp = "MultiHeadAttention";
  run_cases({
      contrib(kOp, "cross", {q, k, v, floats({20}, 4), mask}, kHeads),
      contrib(kOp, "scores", {q, k, v, {}, mask}, kHeads, 4),
      contrib(kOp, "packed", {floats({2, 3, 2, 3, 4}, 5)}, kHeads),
      contrib(kOp, "packed keys", {q, floats({2, 5, 2, 2, 4}, 6)}, kHeads),
      contrib(kOp, "cached", {q, floats({2, 2, 5, 4}, 7), floats({2, 2, 5, 4}, 8)}, kHeads),
      contrib(kOp, "past",
              {q,
               floats({2, 3, 8}, 9),
               floats({2, 3, 8}, 10),
               {},
               {},
               floats({2, 1, 3, 7}, 11),
               floats({2, 2, 4, 4}, 12),
               floats({2, 2, 4, 4}, 13)},
              kHeads, 3),
  });
}

TEST_CASE("GroupQueryAttention is Attention of ONNX on the tokens of each row") {
  const int64_t heads = 4, kv = 2, size = 8;
  for (const int64_t past : {int64_t{0}, int64_t{3}}) {
    for (const bool packed : {false, true}) {
      const int64_t tokens = 3;
      const Tensor q = floats({1, tokens, heads * size}, 1), k = floats({1, tokens, kv * size}, 2),
                   v = floats({1, tokens, kv * size}, 3);
      const Tensor old_k = floats({1, kv, past, size}, 4), old_v = floats({1, kv, past, size}, 5);
      Tensor joined(DType::kFloat32, {1, tokens, (heads + 2 * kv) * size});
      float* to = joined.data<float>();
      for (int64_t i = 0; i < tokens; ++i) {
        to = std::copy_n(q.data<float>() + i * heads * size, heads * size, to);
        to = std::copy_n(k.data<float>() + i * kv * size, kv * size, to);
        to = std::copy_n(v.data<float>() + i * kv * size, kv * size, to);
      }
      const Case reference = {
          .name = "",
          .op_type = "Attention",
          .inputs = {q, k, v, {}, old_k, old_v},
          .attributes = {{"q_num_heads", heads}, {"kv_num_heads", kv}, {"is_causal", int64_t{1}}},
          .outputs = 3};
      const auto total = static_cast<double>(past + tokens);
      const std::vector<Tensor> operands =
          packed ? std::vector<Tensor>{joined, {}, {}} : std::vector<Tensor>{q, k, v};
      std::vector<Tensor> inputs = operands;
      inputs.insert(inputs.end(), {old_k, old_v, numbers(DType::kInt32, {1}, {total - 1}),
                                   numbers(DType::kInt32, {}, {total})});
      Case test = contrib("GroupQueryAttention", packed ? "packed" : "separate", inputs,
                          {{"num_heads", heads}, {"kv_num_heads", kv}}, 3);
      test.expected = run_node(node_of(reference), reference.inputs);
      run_cases({test});
    }
  }
}

TEST_CASE("GroupQueryAttention with a quantized cache sees what the cache holds") {
  const int64_t heads = 2, tokens = 2, past = 1, size = 4;
  const auto cached = [&](int64_t bits, const char* kind, std::vector<Tensor> caches, Tensor scale,
                          Tensor fresh) {
    const Tensor q = floats({1, tokens, heads * size}, 1);
    return contrib("GroupQueryAttention", str(kind, bits),
                   {q,
                    fresh,
                    fresh,
                    caches[0],
                    caches[1],
                    numbers(DType::kInt32, {1}, {2}),
                    numbers(DType::kInt32, {}, {3}),
                    {},
                    {},
                    {},
                    {},
                    {},
                    scale,
                    scale},
                   {{"num_heads", heads},
                    {"kv_num_heads", int64_t{1}},
                    {"k_quant_type", std::string(kind)},
                    {"v_quant_type", std::string(kind)},
                    {"kv_cache_bit_width", bits},
                    {"qk_output", int64_t{2}}},
                   4);
  };
  // The same with the numbers that are meant.
  const auto plain = [&](const Tensor& old, const Tensor& fresh) {
    const Tensor q = floats({1, tokens, heads * size}, 1);
    const Case test =
        contrib("GroupQueryAttention", "",
                {q, fresh, fresh, old, old, numbers(DType::kInt32, {1}, {2}),
                 numbers(DType::kInt32, {}, {3})},
                {{"num_heads", heads}, {"kv_num_heads", int64_t{1}}, {"qk_output", int64_t{2}}}, 4);
    return run_node(node_of(test), test.inputs);
  };
  const auto expect = [&](Case test, const std::vector<Tensor>& results, Tensor codes) {
    test.expected = {results[0], codes, codes, results[3]};
    run_cases({test});
  };
  const Shape old_shape{1, 1, past, size}, new_shape{1, tokens, size}, all{1, 1, 3, size};
  const auto of = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kFloat32, shape, values);
  };
  // Halves are rounded to even codes, and what is too large is saturated.
  const Tensor bytes = numbers(DType::kInt8, old_shape, {-128, 3, 0, 127});
  expect(cached(8, "PER_TENSOR", {bytes, bytes}, of({1}, {0.5}),
                of(new_shape, {0.25, 0.75, -1, 100, -100, 1.1, 0.2, 0})),
         plain(of(old_shape, {-64, 1.5, 0, 63.5}), of(new_shape, {0, 1, -1, 63.5, -64, 1, 0, 0})),
         numbers(DType::kInt8, all, {-128, 3, 0, 127, 0, 2, -2, 127, -128, 2, 0, 0}));
  const Tensor nibbles = numbers(DType::kUInt8, {1, 1, past, 2}, {0xf0, 0x89});
  expect(cached(4, "PER_CHANNEL", {nibbles, nibbles}, of({4}, {1, 0.5, 2, 1}),
                of(new_shape, {1.4, 0.5, -4, 9, -9, 1, 0, 0})),
         plain(of(old_shape, {-8, 3.5, 2, 0}), of(new_shape, {1, 0.5, -4, 7, -8, 1, 0, 0})),
         numbers(DType::kUInt8, {1, 1, 3, 2}, {0xf0, 0x89, 0x99, 0xf6, 0xa0, 0x88}));
  Case bad = cached(5, "PER_TENSOR", {bytes, bytes}, of({1}, {0.5}),
                    of(new_shape, {0, 0, 0, 0, 0, 0, 0, 0}));
  CHECK_THROWS_AS(run_node(node_of(bad), bad.inputs), Error);
  bad = cached(8, "PER_CHANNEL", {bytes, bytes}, of({1}, {0.5}),
               of(new_shape, {0, 0, 0, 0, 0, 0, 0, 0}));
  CHECK_THROWS_AS(run_node(node_of(bad), bad.inputs), Error);
}

TEST_CASE("GroupQueryAttention refuses lengths that do not fit") {
  const Tensor q = floats({2, 1, 32}, 1), cache = floats({2, 1, 3, 8}, 2);
  const auto refused = [&](std::initializer_list<double> last, double longest) {
    Case test = contrib("GroupQueryAttention", "lengths",
                        {q,
                         {},
                         {},
                         cache,
                         cache,
                         numbers(DType::kInt32, {2}, last),
                         numbers(DType::kInt32, {1}, {longest})},
                        {{"num_heads", int64_t{2}}, {"kv_num_heads", int64_t{1}}}, 3);
    test.error = ErrorCode::kInvalidArgument;
    return test;
  };
  run_cases(
      {refused({3, 4}, 4), refused({-2, 3}, 4), refused({1, 1}, 1 << 30), refused({7, 7}, 8)});
}

TEST_CASE("RotaryEmbedding of com.microsoft") {
  const Tensor cos = floats({9, 4}, 1), sin = floats({9, 4}, 2);
  const Tensor start = numbers(DType::kInt64, {1}, {2});
  const Tensor places = numbers(DType::kInt64, {2, 3}, {0, 1, 2, 8, 3, 4});
  Attributes interleaved = {{"interleaved", int64_t{1}}};
  run_cases({contrib("RotaryEmbedding", "start", {floats({2, 3, 16}, 3), start, cos, sin}, {}),
             contrib("RotaryEmbedding", "places", {floats({2, 2, 3, 8}, 4), places, cos, sin},
                     interleaved)});
}

}  // namespace hugot::test
