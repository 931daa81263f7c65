#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {

TEST_CASE("determinants") {
  uint64_t seed = 1;
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    for (const Shape& shape :
         {Shape{1, 1}, Shape{3, 3}, Shape{2, 3, 5, 5}, Shape{0, 2, 2}, Shape{2, 0, 0}}) {
      Tolerance tolerance = default_tolerance(dtype);
      tolerance.absolute += 20 * tolerance.relative;
      run_cases({{.name = str(dtype_name(dtype), shape.to_string()),
                  .op_type = "Det",
                  .inputs = {random_tensor(dtype, shape, -1, 1, ++seed)},
                  .tolerance = tolerance}});
    }
  }
  const auto floats = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kFloat32, shape, values);
  };
  run_cases({{.name = "two by two",
              .op_type = "Det",
              .inputs = {floats({2, 2}, {1, 2, 3, 4})},
              .expected = {floats({}, {-2})}},
             {.name = "a pivot that is 0",
              .op_type = "Det",
              .inputs = {floats({2, 2, 2}, {0, 2, 3, 4, 1, 2, 2, 4})},
              .expected = {floats({2}, {-6, 0})}},
             {.name = "no square",
              .op_type = "Det",
              .inputs = {floats({2, 1}, {1, 2})},
              .error = ErrorCode::kInvalidArgument},
             {.name = "no matrix",
              .op_type = "Det",
              .inputs = {floats({1}, {1})},
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
