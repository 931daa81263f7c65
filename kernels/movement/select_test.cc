// Compress, ReverseSequence, TensorScatter, Unique.
#include <doctest/doctest.h>

#include <limits>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor int64s(std::initializer_list<int64_t> values) {
  return Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values);
}
Tensor bools(std::initializer_list<bool> values) {
  return Tensor::from<bool>({static_cast<int64_t>(values.size())}, values);
}
Attributes axis(int64_t value) { return {{"axis", value}}; }

}  // namespace

TEST_CASE("Compress takes what the condition selects") {
  const Tensor x = floats({3, 2}, {1, 2, 3, 4, 5, 6});
  run_cases({
      {.name = "rows",
       .op_type = "Compress",
       .inputs = {x, bools({false, true, true})},
       .attributes = axis(0),
       .expected = {floats({2, 2}, {3, 4, 5, 6})}},
      {.name = "columns, a short condition",
       .op_type = "Compress",
       .inputs = {x, bools({true})},
       .attributes = axis(-1),
       .expected = {floats({3, 1}, {1, 3, 5})},
       .opset = 9},
      {.name = "flat",
       .op_type = "Compress",
       .inputs = {x, bools({false, true, false, false, true})},
       .expected = {floats({2}, {2, 5})}},
      {.name = "nothing",
       .op_type = "Compress",
       .inputs = {x, bools({})},
       .attributes = axis(0),
       .expected = {floats({0, 2}, {})}},
      {.name = "strings",
       .op_type = "Compress",
       .inputs = {Tensor::from<std::string>({3}, {"a", "bb", "c"}), bools({true, false, true})},
       .attributes = axis(0),
       .expected = {Tensor::from<std::string>({2}, {"a", "c"})}},
      {.name = "behind the end",
       .op_type = "Compress",
       .inputs = {x, bools({false, false, false, true})},
       .attributes = axis(0),
       .error = ErrorCode::kInvalidArgument},
      {.name = "a condition of two axes",
       .op_type = "Compress",
       .inputs = {x, Tensor::from<bool>({1, 1}, {true})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("ReverseSequence turns the beginning of each sequence round") {
  const Tensor x = floats({3, 2}, {1, 10, 2, 20, 3, 30});
  const Attributes rows = {{"batch_axis", int64_t{0}}, {"time_axis", int64_t{1}}};
  run_cases({
      {.name = "time first",
       .op_type = "ReverseSequence",
       .inputs = {x, int64s({3, 2})},
       .expected = {floats({3, 2}, {3, 20, 2, 10, 1, 30})}},
      {.name = "batch first",
       .op_type = "ReverseSequence",
       .inputs = {x, int64s({2, 1, 0})},
       .attributes = rows,
       .expected = {floats({3, 2}, {10, 1, 2, 20, 3, 30})}},
      {.name = "three axes",
       .op_type = "ReverseSequence",
       .inputs = {random_tensor(DType::kFloat32, {4, 2, 3}, -1, 1, 1), int64s({4, 3})}},
      {.name = "longer than the axis",
       .op_type = "ReverseSequence",
       .inputs = {x, int64s({4, 1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "too few lengths",
       .op_type = "ReverseSequence",
       .inputs = {x, int64s({1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "one axis twice",
       .op_type = "ReverseSequence",
       .inputs = {x, int64s({1, 1})},
       .attributes = {{"batch_axis", int64_t{0}}},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("TensorScatter writes an update into each cache") {
  const Tensor cache = floats({2, 3, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const Tensor update = floats({2, 2, 2}, {-1, -2, -3, -4, -5, -6, -7, -8});
  const Attributes circular = {{"mode", std::string("circular")}};
  run_cases({
      {.name = "from the beginning",
       .op_type = "TensorScatter",
       .inputs = {cache, update},
       .expected = {floats({2, 3, 2}, {-1, -2, -3, -4, 4, 5, -5, -6, -7, -8, 10, 11})}},
      {.name = "each at its place",
       .op_type = "TensorScatter",
       .inputs = {cache, update, int64s({1, 0})},
       .expected = {floats({2, 3, 2}, {0, 1, -1, -2, -3, -4, -5, -6, -7, -8, 10, 11})}},
      {.name = "round the end",
       .op_type = "TensorScatter",
       .inputs = {cache, update, int64s({2, 4})},
       .attributes = circular,
       .expected = {floats({2, 3, 2}, {-3, -4, 2, 3, -1, -2, 6, 7, -5, -6, -7, -8})}},
      {.name = "last axis",
       .op_type = "TensorScatter",
       .inputs = {cache, floats({2, 3, 1}, {-1, -2, -3, -4, -5, -6}), int64s({0, 1})},
       .attributes = axis(-1),
       .expected = {floats({2, 3, 2}, {-1, 1, -2, 3, -3, 5, 6, -4, 8, -5, 10, -6})}},
      {.name = "over the end",
       .op_type = "TensorScatter",
       .inputs = {cache, update, int64s({2, 0})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "before the beginning",
       .op_type = "TensorScatter",
       .inputs = {cache, update, int64s({std::numeric_limits<int64_t>::min(), 0})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "batch axis",
       .op_type = "TensorScatter",
       .inputs = {cache, update},
       .attributes = axis(0),
       .error = ErrorCode::kInvalidArgument},
      {.name = "another shape",
       .op_type = "TensorScatter",
       .inputs = {cache, floats({2, 1, 3}, {1, 2, 3, 4, 5, 6})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("TensorScatter moves packed elements") {
  const uint8_t cache[] = {0x21, 0x43, 0x65}, update[] = {0xBA}, expected[] = {0x21, 0xBA, 0x65};
  const Tensor in(DType::kUInt4, {1, 6, 1}, cache), part(DType::kUInt4, {1, 2, 1}, update);
  const Node node =
      node_of({.name = "packed", .op_type = "TensorScatter", .inputs = {in, part, int64s({2})}});
  CHECK(identical(run_node(node, {in, part, int64s({2})})[0],
                  Tensor(DType::kUInt4, {1, 6, 1}, expected)));
}

TEST_CASE("Unique") {
  const Attributes unsorted = {{"sorted", int64_t{0}}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  run_cases({
      {.name = "in the order of the input",
       .op_type = "Unique",
       .inputs = {floats({2, 3}, {2, 1, 1, 3, 4, 3})},
       .attributes = unsorted,
       .expected = {floats({4}, {2, 1, 3, 4}), int64s({0, 1, 3, 4}), int64s({0, 1, 1, 2, 3, 2}),
                    int64s({1, 2, 2, 1})}},
      {.name = "sorted",
       .op_type = "Unique",
       .inputs = {floats({6}, {2, 1, 1, 3, 4, 3})},
       .expected = {floats({4}, {1, 2, 3, 4}), int64s({1, 0, 3, 4}), int64s({1, 0, 0, 2, 3, 2}),
                    int64s({2, 1, 2, 1})}},
      {.name = "columns",
       .op_type = "Unique",
       .inputs = {floats({2, 4, 2}, {1, 1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 1, 2, 1, 0, 1})},
       .attributes = axis(1),
       .expected = {floats({2, 3, 2}, {0, 1, 1, 1, 2, 1, 0, 1, 1, 1, 2, 1}), int64s({1, 0, 2}),
                    int64s({1, 0, 2, 0}), int64s({2, 1, 1})}},
      {.name = "numbers that are none",
       .op_type = "Unique",
       .inputs = {floats({4}, {nan, 1, nan, 0})},
       .expected = {floats({3}, {0, 1, nan})}},
      {.name = "strings",
       .op_type = "Unique",
       .inputs = {Tensor::from<std::string>({3}, {"b", "a", "b"})},
       .expected = {Tensor::from<std::string>({2}, {"a", "b"}), int64s({1, 0}), int64s({1, 0, 1}),
                    int64s({1, 2})}},
      {.name = "nothing",
       .op_type = "Unique",
       .inputs = {floats({0}, {})},
       .expected = {floats({0}, {}), int64s({}), int64s({}), int64s({})}},
      {.name = "no such axis",
       .op_type = "Unique",
       .inputs = {floats({2}, {1, 2})},
       .attributes = axis(1),
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
