// Normalizations over groups of channels and over axes.
#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

Tolerance loose(DType dtype) {
  Tolerance tolerance = default_tolerance(dtype);
  tolerance.relative *= 2;
  tolerance.absolute = 4 * tolerance.relative;
  return tolerance;
}

}  // namespace

TEST_CASE("group and instance normalization agree with float64 in every type and shape") {
  uint64_t seed = 1;
  for (const DType dtype : kTypes) {
    for (const Shape& shape : {Shape{2, 4, 5, 3}, Shape{1, 4, 33}, Shape{3, 4}, Shape{0, 4, 2}}) {
      const Tensor x = random_tensor(dtype, shape, -3, 5, ++seed);
      const auto parameters = [&](int64_t n) {
        return std::vector<Tensor>{x, random_tensor(dtype, {n}, 0.5, 2, ++seed),
                                   random_tensor(dtype, {n}, -1, 1, ++seed)};
      };
      const std::string name = str(dtype_name(dtype), shape.to_string());
      const Attributes two = {{"num_groups", int64_t{2}}};
      if (shape.rank() > 2) {
        run_cases({{.name = name,
                    .op_type = "InstanceNormalization",
                    .inputs = parameters(4),
                    .tolerance = loose(dtype)}});
      }
      run_cases({{.name = "by channel " + name,
                  .op_type = "GroupNormalization",
                  .inputs = parameters(4),
                  .attributes = two,
                  .tolerance = loose(dtype)},
                 {.name = "by group " + name,
                  .op_type = "GroupNormalization",
                  .inputs = parameters(2),
                  .attributes = two,
                  .opset = 18,
                  .tolerance = loose(dtype)}});
    }
  }
}

TEST_CASE("group normalization by hand") {
  const Tensor x = floats({1, 4, 1}, {1, 3, -2, 2});
  const Attributes exact = {{"epsilon", 0.0f}, {"num_groups", int64_t{2}}};
  run_cases({
      {.name = "by channel",
       .op_type = "GroupNormalization",
       .inputs = {x, floats({4}, {1, 2, 3, 4}), floats({4}, {0, 0, 1, 1})},
       .attributes = exact,
       .expected = {floats({1, 4, 1}, {-1, 2, -2, 5})}},
      {.name = "by group",
       .op_type = "GroupNormalization",
       .inputs = {x, floats({2}, {1, 2}), floats({2}, {0, 1})},
       .attributes = exact,
       .expected = {floats({1, 4, 1}, {-1, 1, -1, 3})},
       .opset = 20},
      {.name = "instances, old",
       .op_type = "InstanceNormalization",
       .inputs = {floats({1, 2, 2}, {1, 3, -2, 2}), floats({2}, {1, 2}), floats({2}, {0, 1})},
       .attributes = {{"epsilon", 0.0f}, {"consumed_inputs", std::vector<int64_t>{0, 0, 0}}},
       .expected = {floats({1, 2, 2}, {-1, 1, -1, 3})},
       .opset = 1},
      {.name = "groups that do not divide",
       .op_type = "GroupNormalization",
       .inputs = {x, floats({4}, {1, 2, 3, 4}), floats({4}, {0, 0, 1, 1})},
       .attributes = {{"num_groups", int64_t{3}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no groups",
       .op_type = "GroupNormalization",
       .inputs = {x, floats({4}, {1, 2, 3, 4}), floats({4}, {0, 0, 1, 1})},
       .attributes = {{"num_groups", int64_t{0}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "a scale that does not fit",
       .op_type = "InstanceNormalization",
       .inputs = {x, floats({1}, {1}), floats({4}, {0, 0, 1, 1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no channels",
       .op_type = "InstanceNormalization",
       .inputs = {floats({2}, {1, 2}), floats({2}, {1, 1}), floats({2}, {0, 0})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("mean and variance normalization") {
  const auto axes = [](std::vector<int64_t> list) { return Attributes{{"axes", std::move(list)}}; };
  for (const DType dtype : kTypes) {
    const Tensor x = random_tensor(dtype, {2, 3, 4, 5}, -3, 5, 1);
    run_cases({{.name = "default",
                .op_type = "MeanVarianceNormalization",
                .inputs = {x},
                .opset = 9,
                .tolerance = loose(dtype)},
               {.name = "other axes",
                .op_type = "MeanVarianceNormalization",
                .inputs = {x},
                .attributes = axes({-1, 1}),
                .tolerance = loose(dtype)}});
  }
  run_cases({{.name = "by hand",
              .op_type = "MeanVarianceNormalization",
              .inputs = {floats({2, 2}, {1, 5, 3, 5})},
              .attributes = axes({0}),
              .expected = {floats({2, 2}, {-1, 0, 1, 0})}},
             {.name = "no such axis",
              .op_type = "MeanVarianceNormalization",
              .inputs = {floats({2, 2}, {1, 5, 3, 5})},
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("Lp normalization") {
  const auto form = [](int64_t p, int64_t axis) { return Attributes{{"p", p}, {"axis", axis}}; };
  for (const DType dtype : kTypes) {
    const Tensor x = random_tensor(dtype, {3, 4, 5}, -3, 5, 1);
    run_cases({{.name = "L1",
                .op_type = "LpNormalization",
                .inputs = {x},
                .attributes = form(1, 1),
                .tolerance = loose(dtype)},
               {.name = "L2",
                .op_type = "LpNormalization",
                .inputs = {x},
                .attributes = form(2, 0),
                .opset = 1,
                .tolerance = loose(dtype)}});
  }
  run_cases({{.name = "zeros",
              .op_type = "LpNormalization",
              .inputs = {floats({2, 2}, {0, 0, 3, -4})},
              .expected = {floats({2, 2}, {0, 0, 0.6, -0.8})}},
             {.name = "L3",
              .op_type = "LpNormalization",
              .inputs = {floats({2}, {1, 5})},
              .attributes = form(3, 0),
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
