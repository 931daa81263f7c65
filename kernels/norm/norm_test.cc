#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Attributes axis(int64_t value) { return {{"axis", value}}; }

}  // namespace

TEST_CASE("layer norm and RMS norm agree with float64 in every type and shape") {
  struct Form {
    Shape x, scale, bias;
    int64_t axis;
  };
  const Form forms[] = {{{5, 67}, {67}, {67}, -1},
                        {{2, 3, 33}, {33}, {33}, 2},
                        {{2, 3, 33}, {3, 33}, {3, 33}, 1},
                        {{2, 3, 33}, {33}, {1}, 1},
                        {{2, 3, 4}, {2, 1, 4}, {3, 4}, 2},
                        {{2, 3, 4}, {}, {1, 1, 4}, -1},
                        {{4}, {4}, {4}, 0},
                        {{0, 4}, {4}, {4}, 1},
                        {{2, 3, 4, 5}, {3, 4, 5}, {5}, 1}};
  uint64_t seed = 1;
  for (const Form& form : forms) {
    for (const DType dtype :
         {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
      const Tensor x = random_tensor(dtype, form.x, -3, 5, ++seed);
      const Tensor scale = random_tensor(dtype, form.scale, 0.5, 2, ++seed);
      const Tensor bias = random_tensor(dtype, form.bias, -1, 1, ++seed);
      const std::string name = str(dtype_name(dtype), form.x.to_string(), form.scale.to_string());
      // Outputs of order one that cancel: a few units in the last place of the largest term.
      Tolerance tolerance = default_tolerance(dtype);
      tolerance.absolute = 4 * tolerance.relative;
      run_cases({
          {.name = name,
           .op_type = "LayerNormalization",
           .inputs = {x, scale, bias},
           .attributes = axis(form.axis),
           .tolerance = tolerance},
          {.name = "no bias " + name,
           .op_type = "LayerNormalization",
           .inputs = {x, scale},
           .attributes = axis(form.axis),
           .tolerance = tolerance},
          {.name = name,
           .op_type = "RMSNormalization",
           .inputs = {x, scale},
           .attributes = axis(form.axis),
           .tolerance = tolerance},
          {.name = "old opset " + name,
           .op_type = "SimplifiedLayerNormalization",
           .inputs = {x, scale},
           .attributes = axis(form.axis),
           .opset = 11,
           .tolerance = tolerance},
      });
    }
  }
  run_cases({{.name = "split",
              .op_type = "LayerNormalization",
              .inputs = {random_tensor(DType::kFloat32, {500, 301}, -3, 5, 3),
                         random_tensor(DType::kFloat32, {301}, 0.5, 2, 4)},
              .tolerance = Tolerance{1e-5, 1e-5}}});
}

TEST_CASE("layer norm by hand, with its statistics") {
  const Tensor x = floats({2, 2}, {1, 3, -2, 2});
  const Tensor scale = floats({2}, {1, 10});
  const Attributes exact = {{"epsilon", 0.0f}};
  run_cases({
      {.name = "three outputs",
       .op_type = "LayerNormalization",
       .inputs = {x, scale, floats({2}, {0, 1})},
       .attributes = exact,
       .expected = {floats({2, 2}, {-1, 11, -1, 11}), floats({2, 1}, {2, 0}),
                    floats({2, 1}, {1, 0.5})}},
      {.name = "inverse",
       .op_type = "SimplifiedLayerNormalization",
       .inputs = {floats({1, 2}, {3, 3}), scale},
       .attributes = exact,
       .expected = {floats({1, 2}, {1, 10}), floats({1, 1}, {1 / 3.0})}},
      {.name = "scale does not fit",
       .op_type = "LayerNormalization",
       .inputs = {x, floats({3}, {1, 2, 3})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no such axis",
       .op_type = "LayerNormalization",
       .inputs = {x, scale},
       .attributes = axis(2),
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("batch norm") {
  const Tensor x = floats({2, 2, 1}, {1, 10, 3, 30});
  const Tensor scale = floats({2}, {1, 2}), bias = floats({2}, {0, 1});
  const Tensor mean = floats({2}, {2, 20}), variance = floats({2}, {1, 100});
  const Attributes exact = {{"epsilon", 0.0f}};
  Attributes training = exact;
  training["training_mode"] = int64_t{1};
  training["momentum"] = 0.5f;
  run_cases({
      {.name = "inference",
       .op_type = "BatchNormalization",
       .inputs = {x, scale, bias, mean, variance},
       .attributes = exact,
       .expected = {floats({2, 2, 1}, {-1, -1, 1, 3})}},
      {.name = "training",
       .op_type = "BatchNormalization",
       .inputs = {x, scale, bias, floats({2}, {0, 0}), floats({2}, {0, 0})},
       .attributes = training,
       .expected = {floats({2, 2, 1}, {-1, -1, 1, 3}), floats({2}, {1, 10}),
                    floats({2}, {0.5, 50})}},
      {.name = "training of old",
       .op_type = "BatchNormalization",
       .inputs = {x, scale, bias, floats({2}, {0, 0}), floats({2}, {0, 0})},
       .attributes = {{"epsilon", 0.0f}, {"momentum", 0.5f}},
       .expected = {floats({2, 2, 1}, {-1, -1, 1, 3}), floats({2}, {1, 10}), floats({2}, {0.5, 50}),
                    floats({2}, {2, 20}), floats({2}, {1, 100})},
       .opset = 9},
      {.name = "training of the first",
       .op_type = "BatchNormalization",
       .inputs = {x, scale, bias, mean, variance},
       .attributes = exact,
       .expected = {floats({2, 2, 1}, {-1, -1, 1, 3})},
       .opset = 6},
      {.name = "inference of the first",
       .op_type = "BatchNormalization",
       .inputs = {x, scale, bias, mean, floats({2}, {4, 25})},
       .attributes = {{"epsilon", 0.0f}, {"is_test", int64_t{1}}},
       .expected = {floats({2, 2, 1}, {-0.5, -3, 0.5, 5})},
       .opset = 6},
      {.name = "every element has statistics",
       .op_type = "BatchNormalization",
       .inputs = {floats({2, 1, 2}, {1, 10, 3, 30}), floats({1, 2}, {1, 2}), floats({1, 2}, {0, 1}),
                  floats({1, 2}, {2, 20}), floats({1, 2}, {1, 100})},
       .attributes = {{"epsilon", 0.0f}, {"spatial", int64_t{0}}},
       .expected = {floats({2, 1, 2}, {-1, -1, 1, 3})},
       .opset = 7},
      {.name = "every element has statistics of the batch",
       .op_type = "BatchNormalization",
       .inputs = {random_tensor(DType::kFloat32, {3, 2, 2}, -1, 1, 1), floats({2, 2}, {1, 2, 3, 4}),
                  floats({2, 2}, {0, 1, 2, 3}), floats({2, 2}, {0, 0, 0, 0}),
                  floats({2, 2}, {1, 1, 1, 1})},
       .attributes = {{"spatial", int64_t{0}}},
       .opset = 7,
       .outputs = 5},
      {.name = "wrong channels",
       .op_type = "BatchNormalization",
       .inputs = {x, floats({1}, {1}), bias, mean, variance},
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
