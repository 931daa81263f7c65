#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

}  // namespace

TEST_CASE("GridSample agrees with float64 in every mode") {
  uint64_t seed = 1;
  struct Form {
    Shape x, grid;
  };
  const Form forms[] = {{{2, 3, 7}, {2, 4, 1}},
                        {{2, 3, 5, 4}, {2, 3, 2, 2}},
                        {{1, 2, 3, 4, 3}, {1, 2, 3, 2, 3}},
                        {{1, 2, 1, 4}, {1, 3, 2, 2}},
                        {{0, 2, 3, 4}, {0, 3, 2, 2}}};
  for (const Form& form : forms) {
    for (const char* mode : {"nearest", "linear", "cubic"}) {
      for (const char* padding : {"zeros", "border", "reflection"}) {
        for (const int64_t align : {0, 1}) {
          for (const DType dtype : kFloats) {
            // What places are rounded to matters where elements meet.
            if (is_float(dtype) && dtype_bits(dtype) == 16 && mode[0] == 'n') continue;
            const Attributes attributes = {{"mode", std::string(mode)},
                                           {"padding_mode", std::string(padding)},
                                           {"align_corners", align}};
            const Tensor x = random_tensor(dtype, form.x, -1, 1, ++seed);
            const Tensor grid = random_tensor(dtype, form.grid, -1.9, 1.9, ++seed);
            Tolerance tolerance = default_tolerance(dtype);
            tolerance.absolute += 100 * tolerance.relative;
            run_cases({{.name = str(mode, " ", padding, " ", align, " ", dtype_name(dtype)),
                        .op_type = "GridSample",
                        .inputs = {x, grid},
                        .attributes = attributes,
                        .opset = form.x.rank() == 4 ? 16 : 20,
                        .tolerance = tolerance}});
          }
        }
      }
    }
  }
}

TEST_CASE("GridSample by hand") {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4});
  const Attributes corners = {{"align_corners", int64_t{1}}};
  const auto bad = ErrorCode::kInvalidArgument;
  run_cases({
      {.name = "corners and the middle",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 3, 2}, {-1, -1, 1, -1, 0, 0})},
       .attributes = corners,
       .expected = {floats({1, 1, 1, 3}, {1, 2, 2.5})}},
      {.name = "the other convention",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 2, 2}, {-1, -1, 0, -0.5})},
       .expected = {floats({1, 1, 1, 2}, {0.25, 1.5})}},
      {.name = "the old names",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 1, 2}, {0, 0})},
       .attributes = {{"mode", std::string("bilinear")}},
       .expected = {floats({1, 1, 1, 1}, {2.5})},
       .opset = 16},
      {.name = "integers are cut",
       .op_type = "GridSample",
       .inputs = {as_type(x, DType::kInt32), floats({1, 1, 1, 2}, {0, 0})},
       .expected = {numbers(DType::kInt32, {1, 1, 1, 1}, {2})}},
      {.name = "far away, and nowhere",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 2, 2}, {1e30, 0, std::nan(""), 0})},
       .expected = {floats({1, 1, 1, 2}, {0, 0})}},
      {.name = "far away is the border",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 1, 2}, {1e30, -1e30})},
       .attributes = {{"padding_mode", std::string("border")}},
       .expected = {floats({1, 1, 1, 1}, {2})}},
      {.name = "a grid of another rank",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 2}, {0, 0})},
       .error = bad},
      {.name = "three numbers",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 1, 3}, {0, 0, 0})},
       .error = bad},
      {.name = "another batch",
       .op_type = "GridSample",
       .inputs = {x, floats({2, 1, 1, 2}, {0, 0, 0, 0})},
       .error = bad},
      {.name = "no mode",
       .op_type = "GridSample",
       .inputs = {x, floats({1, 1, 1, 2}, {0, 0})},
       .attributes = {{"mode", std::string("area")}},
       .error = bad},
      {.name = "no image",
       .op_type = "GridSample",
       .inputs = {floats({1, 1, 0, 2}, {}), floats({1, 1, 1, 2}, {0, 0})},
       .error = bad},
  });
}

TEST_CASE("AffineGrid") {
  uint64_t seed = 1000;
  for (const DType dtype : kFloats) {
    for (const int64_t align : {0, 1}) {
      const Attributes attributes = {{"align_corners", align}};
      run_cases({{.name = str("plane ", align, dtype_name(dtype)),
                  .op_type = "AffineGrid",
                  .inputs = {random_tensor(dtype, {2, 2, 3}, -1, 1, ++seed),
                             numbers(DType::kInt64, {4}, {2, 3, 4, 5})},
                  .attributes = attributes},
                 {.name = str("space ", align, dtype_name(dtype)),
                  .op_type = "AffineGrid",
                  .inputs = {random_tensor(dtype, {2, 3, 4}, -1, 1, ++seed),
                             numbers(DType::kInt64, {5}, {2, 3, 2, 4, 3})},
                  .attributes = attributes}});
    }
  }
  const Tensor same = floats({1, 2, 3}, {1, 0, 0, 0, 1, 0.5});
  const auto bad = ErrorCode::kInvalidArgument;
  run_cases({{.name = "moved down",
              .op_type = "AffineGrid",
              .inputs = {same, numbers(DType::kInt64, {4}, {1, 1, 1, 2})},
              .expected = {floats({1, 1, 2, 2}, {-0.5, 0.5, 0.5, 0.5})}},
             {.name = "corners",
              .op_type = "AffineGrid",
              .inputs = {same, numbers(DType::kInt64, {4}, {1, 1, 2, 2})},
              .attributes = {{"align_corners", int64_t{1}}},
              .expected = {floats({1, 2, 2, 2}, {-1, -0.5, 1, -0.5, -1, 1.5, 1, 1.5})}},
             {.name = "another size",
              .op_type = "AffineGrid",
              .inputs = {same, numbers(DType::kInt64, {5}, {1, 1, 2, 2, 2})},
              .error = bad},
             {.name = "a negative size",
              .op_type = "AffineGrid",
              .inputs = {same, numbers(DType::kInt64, {4}, {1, 1, -2, 2})},
              .error = bad}});
}

}  // namespace hugot::test
