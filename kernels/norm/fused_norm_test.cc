#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -2, 2, seed);
}

const Attributes kEpsilon = {{"epsilon", 1e-5f}};

Case contrib(const std::string& op, std::vector<Tensor> inputs, int outputs,
             Attributes attributes = kEpsilon) {
  return {.name = op,
          .op_type = op,
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .domain = "com.microsoft",
          .outputs = outputs};
}

}  // namespace

TEST_CASE("normalizations with a residual") {
  const Tensor x = floats({2, 3, 8}, 1), skip = floats({2, 3, 8}, 2), row = floats({3, 8}, 3);
  const Tensor gamma = floats({8}, 4), beta = floats({8}, 5), bias = floats({8}, 6);
  const char* const kLayer = "SkipLayerNormalization";
  const char* const kRms = "SkipSimplifiedLayerNormalization";
  run_cases({contrib(kLayer, {x, skip, gamma, beta, bias}, 4),
             contrib(kLayer, {x, row, gamma, beta}, 1),
             contrib(kLayer, {x, skip, gamma, {}, bias}, 1), contrib(kLayer, {row, row, gamma}, 2),
             contrib(kRms, {x, skip, gamma}, 1), contrib(kRms, {x, row, gamma, bias}, 1)});
  Case bad = contrib(kLayer, {floats({8}, 7), floats({8}, 8), gamma}, 1);
  bad.error = ErrorCode::kInvalidArgument;
  run_cases({bad});
}

TEST_CASE("embeddings with their normalization") {
  const Tensor ids = numbers(DType::kInt32, {2, 3}, {0, 4, 2, 3, 3, 1});
  const Tensor segments = numbers(DType::kInt32, {2, 3}, {0, 0, 1, 0, 1, 1});
  const Tensor mask = numbers(DType::kInt32, {2, 3}, {1, 1, 1, 1, 0, 0});
  const Tensor positions = numbers(DType::kInt32, {2, 3}, {1, 2, 3, 0, 1, 2});
  const Tensor words = floats({5, 8}, 1), places = floats({4, 8}, 2), kinds = floats({2, 8}, 3);
  const Tensor gamma = floats({8}, 4), beta = floats({8}, 5);
  const char* const kEmbed = "EmbedLayerNormalization";
  run_cases({contrib(kEmbed, {ids, segments, words, places, kinds, gamma, beta, mask}, 3),
             contrib(kEmbed, {ids, {}, words, places, {}, gamma, beta, {}, positions}, 2)});
}

TEST_CASE("group normalization with channels last") {
  const Tensor x = floats({2, 3, 2, 6}, 1), gamma = floats({6}, 2), beta = floats({6}, 3);
  const auto groups = [](int64_t activation) -> Attributes {
    return {{"epsilon", 1e-5f}, {"groups", int64_t{3}}, {"activation", activation}};
  };
  run_cases({contrib("GroupNorm", {x, gamma, beta}, 1, groups(0)),
             contrib("GroupNorm", {x, gamma, beta}, 1, groups(1)),
             contrib("SkipGroupNorm", {x, gamma, beta, floats({2, 6}, 4), floats({6}, 5)}, 2,
                     groups(1))});
}

}  // namespace hugot::test
