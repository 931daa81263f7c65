#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Attributes axis(int64_t value) { return {{"axis", value}}; }

}  // namespace

TEST_CASE("softmax agrees with float64 along every axis, type and version") {
  const std::vector<std::pair<Shape, int64_t>> forms = {
      {{1}, 0},         {{7}, -1},      {{5, 67}, 1}, {{5, 67}, 0},     {{2, 3, 33}, 1},
      {{2, 3, 33}, -1}, {{2, 0, 3}, 1}, {{0, 4}, 1},  {{2, 3, 4, 5}, 2}};
  uint64_t seed = 1;
  for (const char* op : {"Softmax", "LogSoftmax", "Hardmax"}) {
    for (const auto& [shape, along] : forms) {
      for (const DType dtype :
           {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
        for (const int opset : {11, 13}) {
          run_cases({{.name = str(dtype_name(dtype), shape.to_string(), " axis ", along, " opset ",
                                  opset),
                      .op_type = op,
                      .inputs = {random_tensor(dtype, shape, -8, 8, ++seed)},
                      .attributes = axis(along),
                      .opset = opset}});
        }
      }
    }
  }
  run_cases({{.name = "split",
              .op_type = "Softmax",
              .inputs = {random_tensor(DType::kFloat32, {500, 301}, -8, 8, 3)}}});
}

TEST_CASE("softmax by hand") {
  const Tensor x = floats({2, 2}, {0, std::log(3.0), 5, 5});
  run_cases({
      {.name = "last axis",
       .op_type = "Softmax",
       .inputs = {x},
       .expected = {floats({2, 2}, {0.25, 0.75, 0.5, 0.5})}},
      {.name = "flattens",
       .op_type = "Softmax",
       .inputs = {floats({1, 2, 2}, {0, 0, 0, 0})},
       .expected = {floats({1, 2, 2}, {0.25, 0.25, 0.25, 0.25})},
       .opset = 11},
      {.name = "logarithm",
       .op_type = "LogSoftmax",
       .inputs = {x},
       .expected = {floats({2, 2},
                           {std::log(0.25), std::log(0.75), std::log(0.5), std::log(0.5)})}},
      {.name = "large numbers",
       .op_type = "Softmax",
       .inputs = {floats({2}, {1e30, 1e30})},
       .expected = {floats({2}, {0.5, 0.5})}},
      {.name = "masked",
       .op_type = "Softmax",
       .inputs = {floats({3}, {-kInf, 1, -kInf})},
       .expected = {floats({3}, {0, 1, 0})}},
      {.name = "all masked",
       .op_type = "Softmax",
       .inputs = {floats({2}, {-kInf, -kInf})},
       .expected = {floats({2}, {kNaN, kNaN})}},
      {.name = "the first of equals",
       .op_type = "Hardmax",
       .inputs = {floats({4}, {1, 3, 3, 2})},
       .expected = {floats({4}, {0, 1, 0, 0})}},
      {.name = "out of range",
       .op_type = "Softmax",
       .inputs = {x},
       .attributes = axis(2),
       .error = ErrorCode::kInvalidArgument},
      {.name = "integers",
       .op_type = "Softmax",
       .inputs = {numbers(DType::kInt64, {1}, {1})},
       .error = ErrorCode::kUnsupported},
  });
}

}  // namespace hugot::test
