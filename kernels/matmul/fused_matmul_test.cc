#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -1, 1, seed);
}

Case contrib(const std::string& op, std::vector<Tensor> inputs, Attributes attributes) {
  return {.name = op,
          .op_type = op,
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .domain = "com.microsoft",
          .tolerance = Tolerance{1e-5, 1e-5}};
}

constexpr int64_t kYes = 1;

}  // namespace

TEST_CASE("products that have swallowed transpositions and factors") {
  run_cases(
      {contrib("FusedMatMul", {floats({2, 3, 4}, 1), floats({2, 5, 4}, 2)},
               {{"transB", kYes}, {"alpha", 0.25f}}),
       contrib("FusedMatMul", {floats({4, 3}, 3), floats({4}, 4)}, {{"transA", kYes}}),
       contrib("FusedMatMul", {floats({3, 2, 4}, 5), floats({4, 2, 5}, 6)},
               {{"transBatchA", kYes}, {"transBatchB", kYes}}),
       contrib("TransposeMatMul", {floats({4, 3}, 7), floats({4, 2}, 8)}, {{"transA", kYes}})});
}

TEST_CASE("products with an activation") {
  const Tensor a = floats({3, 4}, 1), b = floats({5, 4}, 2), c = floats({5}, 3);
  run_cases({contrib("FusedGemm", {a, b, c},
                     {{"transB", kYes}, {"activation", std::string("Tanh")}, {"beta", 0.5f}}),
             contrib("FusedGemm", {a, floats({4, 5}, 4)},
                     {{"activation", std::string("LeakyRelu")}, {"activation_alpha", 0.3f}})});
  Case bad = contrib("FusedGemm", {a, b, c}, {{"activation", std::string("Softmax")}});
  CHECK_THROWS_AS(run_node(node_of(bad), bad.inputs), Error);
}

}  // namespace hugot::test
