#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor bytes(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kUInt8, shape, values);
}
Tensor one(double value) { return numbers(DType::kFloat32, {}, {value}); }
Tensor zero(double value) { return bytes({}, {value}); }

Case contrib(const std::string& op, std::vector<Tensor> inputs, std::vector<Tensor> expected,
             Attributes attributes = {}) {
  return {.name = op,
          .op_type = op,
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .expected = std::move(expected),
          .domain = "com.microsoft",
          .parameters = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
}

}  // namespace

TEST_CASE("operators on quantized tensors with given scales") {
  // 1, -1, 2 and 0.5, 0.5, -1.
  const Tensor a = bytes({3}, {12, 8, 14}), b = bytes({3}, {5, 5, 2});
  run_cases({
      contrib("QLinearAdd", {a, one(0.5), zero(10), b, one(0.5), zero(4), one(0.25), zero(100)},
              {bytes({3}, {106, 98, 104})}),
      contrib("QLinearMul", {a, one(0.5), zero(10), b, one(0.5), zero(4), one(0.25), zero(100)},
              {bytes({3}, {102, 98, 92})}),
      contrib("QLinearLeakyRelu", {a, one(0.5), zero(10), one(0.125), zero(20)},
              {bytes({3}, {28, 18, 36})}, {{"alpha", 0.25f}}),
      contrib("QLinearSigmoid", {bytes({2}, {10, 255}), one(1), zero(10), one(1 / 256.0), zero(0)},
              {bytes({2}, {128, 255})}),
      contrib("QLinearConcat",
              {one(0.25), zero(0), bytes({1}, {3}), one(0.5), zero(1), bytes({2}, {4, 6}),
               one(0.25), zero(2)},
              {bytes({3}, {4, 2, 4})}, {{"axis", int64_t{0}}}),
      contrib("QLinearWhere",
              {numbers(DType::kBool, {2}, {1, 0}), bytes({2}, {3, 3}), one(1), zero(1),
               bytes({1}, {7}), one(0.5), zero(1), one(1), zero(0)},
              {bytes({2}, {2, 3})}),
      contrib("QLinearReduceMean", {bytes({1, 2}, {3, 5}), one(1), zero(1), one(1), zero(0)},
              {bytes({1, 1}, {3})}, {{"axes", std::vector<int64_t>{1}}}),
      contrib("QLinearGlobalAveragePool",
              {bytes({1, 2, 1, 2}, {1, 10, 3, 20}), one(1), zero(0), one(1), zero(0)},
              {bytes({1, 1, 1, 2}, {2, 15})}, {{"channels_last", int64_t{1}}}),
      contrib("QLinearSoftmax", {bytes({1, 2}, {7, 7}), one(1), zero(0), one(1 / 256.0), zero(0)},
              {bytes({1, 2}, {128, 128})}, {{"opset", int64_t{13}}, {"axis", int64_t{-1}}}),
  });
}

TEST_CASE("QGemm") {
  const Tensor a = bytes({1, 2}, {3, 5}), b = bytes({2, 2}, {2, 3, 4, 5});
  const Tensor c = numbers(DType::kInt32, {2}, {10, -4});
  run_cases({
      // (2, 4) (1 2; 3 4) = (14, 20), and with c (24, 16), times 0.5 * 0.25.
      contrib("QGemm", {a, one(0.5), zero(1), b, one(0.25), zero(1), c},
              {numbers(DType::kFloat32, {1, 2}, {3, 2})}),
      contrib("QGemm", {a, one(0.5), zero(1), b, one(0.25), zero(1), c, one(0.5), zero(7)},
              {bytes({1, 2}, {13, 11})}),
      contrib("QGemm", {a, one(0.5), zero(1), b, one(0.25), zero(1)},
              {numbers(DType::kFloat32, {1, 2}, {1.25, 2.75})}, {{"transB", int64_t{1}}}),
  });
}

}  // namespace hugot::test
