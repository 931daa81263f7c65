#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using List = std::vector<int64_t>;

Tensor counted(const Shape& shape, DType dtype = DType::kFloat32) {
  Tensor wide(DType::kInt64, shape);
  for (int64_t i = 0; i < wide.size(); ++i) wide.data<int64_t>()[i] = i % 100;
  return as_type(wide, dtype);
}

Tensor shape_tensor(std::initializer_list<int64_t> values) {
  return Tensor::from<int64_t>({std::ssize(values)}, std::vector<int64_t>(values));
}

}  // namespace

TEST_CASE("blocks of depth and of space") {
  const Tensor depth = counted({1, 8, 1, 1});
  const auto numbers_of = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kFloat32, shape, values);
  };
  run_cases({
      {.name = "depth first",
       .op_type = "DepthToSpace",
       .inputs = {depth},
       .attributes = {{"blocksize", int64_t{2}}},
       .expected = {numbers_of({1, 2, 2, 2}, {0, 2, 4, 6, 1, 3, 5, 7})}},
      {.name = "channels first",
       .op_type = "DepthToSpace",
       .inputs = {depth},
       .attributes = {{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}},
       .expected = {numbers_of({1, 2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7})}},
      {.name = "back",
       .op_type = "SpaceToDepth",
       .inputs = {counted({1, 1, 2, 4})},
       .attributes = {{"blocksize", int64_t{2}}},
       .expected = {numbers_of({1, 4, 1, 2}, {0, 2, 1, 3, 4, 6, 5, 7})}},
  });
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kInt8, DType::kFloat64}) {
    const auto one = [&](const char* op, const Shape& shape, Attributes attributes) {
      return Case{.name = str(dtype_name(dtype)),
                  .op_type = op,
                  .inputs = {counted(shape, dtype)},
                  .attributes = std::move(attributes)};
    };
    const Attributes three = {{"blocksize", int64_t{3}}};
    run_cases({one("DepthToSpace", {2, 18, 2, 3}, three),
               one("DepthToSpace", {2, 18, 2, 3},
                   {{"blocksize", int64_t{3}}, {"mode", std::string("CRD")}}),
               one("SpaceToDepth", {2, 2, 6, 3}, three), one("SpaceToDepth", {0, 2, 6, 3}, three)});
  }
  const auto refused = [&](const char* op, const Shape& shape, Attributes attributes) {
    run_cases({{.name = shape.to_string(),
                .op_type = op,
                .inputs = {counted(shape)},
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidArgument}});
  };
  const Attributes two = {{"blocksize", int64_t{2}}};
  refused("DepthToSpace", {1, 6, 2, 2}, two);
  refused("DepthToSpace", {4, 2, 2}, two);
  refused("DepthToSpace", {1, 4, 2, 2}, {{"blocksize", int64_t{0}}});
  refused("DepthToSpace", {1, 4, 2, 2}, {{"blocksize", int64_t{1} << 40}});
  refused("DepthToSpace", {1, 4, 2, 2}, {{"blocksize", int64_t{2}}, {"mode", std::string("RCD")}});
  refused("SpaceToDepth", {1, 4, 3, 2}, two);
}

TEST_CASE("CenterCropPad") {
  const Tensor line = counted({5});
  const auto one = [&](const char* name, const Tensor& x, const Tensor& shape, Tensor expected,
                       Attributes attributes = {}) {
    return Case{.name = name,
                .op_type = "CenterCropPad",
                .inputs = {x, shape},
                .attributes = std::move(attributes),
                .expected = {std::move(expected)}};
  };
  const auto floats = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kFloat32, shape, values);
  };
  run_cases({
      one("crop", line, shape_tensor({3}), floats({3}, {1, 2, 3})),
      one("an odd rest is cut off at the end", line, shape_tensor({2}), floats({2}, {1, 2})),
      one("pad", line, shape_tensor({8}), floats({8}, {0, 0, 1, 2, 3, 4, 0, 0})),
      one("both", counted({2, 3}), shape_tensor({4, 1}), floats({4, 1}, {0, 1, 4, 0})),
      one("an axis", counted({2, 3}), shape_tensor({1}), floats({2, 1}, {1, 4}),
          {{"axes", List{-1}}}),
      one("nothing", line, shape_tensor({0}), floats({0}, {})),
      one("no axis", floats({}, {7}), Tensor::from<int64_t>({0}, List{}), floats({}, {7})),
      one("int32", line, numbers(DType::kInt32, {1}, {5}), line),
  });
  run_cases({{.name = "two axes",
              .op_type = "CenterCropPad",
              .inputs = {random_tensor(DType::kFloat16, {3, 4, 5}, -1, 1, 1), shape_tensor({6, 2})},
              .attributes = {{"axes", List{2, 0}}}}});
  const auto refused = [&](const char* name, const Tensor& shape, Attributes attributes = {}) {
    run_cases({{.name = name,
                .op_type = "CenterCropPad",
                .inputs = {line, shape},
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidArgument}});
  };
  refused("negative", shape_tensor({-1}));
  refused("too many", shape_tensor({1, 2}));
  refused("an axis twice", shape_tensor({1, 2}), {{"axes", List{0, 0}}});
  refused("an axis that is not there", shape_tensor({1}), {{"axes", List{1}}});
}

}  // namespace hugot::test
