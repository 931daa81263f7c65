#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr const char* kDomain = "ai.onnx.preview.training";

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor count(int64_t value) { return Tensor::scalar(value); }

}  // namespace

TEST_CASE("one step of each optimizer") {
  const Tensor rate = floats({}, {0.5});
  const auto x = [](double value) { return numbers(DType::kFloat64, {1}, {value}); };
  const auto momentum = [](const char* mode) {
    return Attributes{
        {"mode", std::string(mode)}, {"alpha", 0.5f}, {"beta", 0.25f}, {"norm_coefficient", 1.0f}};
  };
  // The gradient with its share of the parameter is 3 + 1 * 1 = 4.
  run_cases({
      {.name = "standard momentum",
       .op_type = "Momentum",
       .inputs = {rate, count(1), floats({1}, {1}), floats({1}, {3}), floats({1}, {2})},
       .attributes = momentum("standard"),
       .expected = {floats({1}, {0}), floats({1}, {2})},
       .domain = kDomain},
      {.name = "first step",
       .op_type = "Momentum",
       .inputs = {rate, count(0), x(1), x(3), x(2)},
       .attributes = momentum("standard"),
       .expected = {x(-1.5), x(5)},
       .domain = kDomain},
      {.name = "Nesterov, two tensors",
       .op_type = "Momentum",
       .inputs = {rate, count(1), x(1), floats({2}, {1, 0}), x(3), floats({2}, {3, 0}), x(2),
                  floats({2}, {2, 0})},
       .attributes = momentum("nesterov"),
       .expected = {x(-1.5), floats({2}, {-1.5, 0}), x(2), floats({2}, {2, 0})},
       .domain = kDomain},
      {.name = "Adagrad",
       .op_type = "Adagrad",
       .inputs = {rate, count(1), x(1), x(3), x(9)},
       .attributes = {{"norm_coefficient", 1.0f}, {"decay_factor", 1.0f}, {"epsilon", 0.0f}},
       .expected = {x(1 - 0.25 * 4 / 5), x(25)},
       .domain = kDomain},
      {.name = "Adam",
       .op_type = "Adam",
       .inputs = {rate, count(2), x(1), x(3), x(2), x(16)},
       .attributes = {{"norm_coefficient", 1.0f},
                      {"norm_coefficient_post", 0.5f},
                      {"alpha", 0.5f},
                      {"beta", 0.5f},
                      {"epsilon", 0.0f}},
       .expected = {x(0.5 * (1 - 0.5 * std::sqrt(0.75) / 0.75 * 3 / 4)), x(3), x(16)},
       .domain = kDomain},
      {.name = "a state is missing",
       .op_type = "Adam",
       .inputs = {rate, count(2), x(1), x(3), x(2)},
       .domain = kDomain,
       .outputs = 3,
       .error = ErrorCode::kInvalidArgument},
      {.name = "a gradient of another shape",
       .op_type = "Adagrad",
       .inputs = {rate, count(2), x(1), floats({1}, {3}), x(2)},
       .domain = kDomain,
       .outputs = 2,
       .error = ErrorCode::kInvalidArgument},
      {.name = "two rates",
       .op_type = "Adagrad",
       .inputs = {floats({2}, {1, 2}), count(2), x(1), x(3), x(2)},
       .domain = kDomain,
       .outputs = 2,
       .error = ErrorCode::kInvalidArgument},
      {.name = "no such mode",
       .op_type = "Momentum",
       .inputs = {rate, count(2), x(1), x(3), x(2)},
       .attributes = momentum("heavy"),
       .domain = kDomain,
       .outputs = 2,
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
