#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using Ints = std::vector<int64_t>;

Tensor ints(std::initializer_list<int64_t> values) {
  return Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values);
}
// 0, 1, 2, ..
Tensor counted(const Shape& shape, DType dtype = DType::kFloat32) {
  Tensor tensor(DType::kInt64, shape);
  std::iota(tensor.data<int64_t>(), tensor.data<int64_t>() + tensor.size(), 0);
  if (dtype == DType::kInt64) return tensor;
  Tensor result(dtype, shape);
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (dtype == DType::kString) result.data<std::string>()[i] = "s" + std::to_string(i);
    if (dtype == DType::kFloat32) result.data<float>()[i] = static_cast<float>(i);
    if (dtype == DType::kUInt8) result.data<uint8_t>()[i] = static_cast<uint8_t>(i);
    if (dtype == DType::kFloat64) result.data<double>()[i] = static_cast<double>(i);
  }
  return result;
}
// The elements of `x` with these row-major numbers.
Tensor picked(const Tensor& x, const Shape& shape, std::initializer_list<int64_t> numbers) {
  Tensor result(x.dtype(), shape);
  int64_t i = 0;
  for (const int64_t number : numbers) {
    if (x.dtype() == DType::kString) {
      result.data<std::string>()[i++] = x.data<std::string>()[number];
    } else {
      result.data<float>()[i++] = x.data<float>()[number];
    }
  }
  return result;
}

// Transpose written down as its definition.
Tensor transposed(const Tensor& x, const Ints& perm) {
  Ints dims;
  for (const int64_t axis : perm) dims.push_back(x.shape()[static_cast<int>(axis)]);
  Tensor y(x.dtype(), Shape(std::span<const int64_t>(dims)));
  const size_t width = static_cast<size_t>(dtype_bits(x.dtype())) / 8;
  Ints index(perm.size(), 0);
  for (int64_t i = 0; i < y.size(); ++i) {
    int64_t rest = i, from = 0;
    for (size_t axis = perm.size(); axis-- > 0;) {
      index[static_cast<size_t>(perm[axis])] = rest % dims[axis];
      rest /= dims[axis];
    }
    for (int axis = 0; axis < x.rank(); ++axis)
      from = from * x.shape()[axis] + index[static_cast<size_t>(axis)];
    std::copy_n(static_cast<const std::byte*>(x.raw()) + static_cast<size_t>(from) * width, width,
                static_cast<std::byte*>(y.raw()) + static_cast<size_t>(i) * width);
  }
  return y;
}

}  // namespace

TEST_CASE("Transpose agrees with its definition for every permutation") {
  for (const DType dtype : {DType::kUInt8, DType::kFloat32, DType::kFloat64}) {
    for (const Shape& shape :
         {Shape{3, 4, 2, 5}, Shape{1, 17, 1, 33}, Shape{70, 1, 3, 40}, Shape{2, 0, 3, 1}}) {
      Ints perm = {0, 1, 2, 3};
      const Tensor x = counted(shape, dtype);
      do {
        run_cases(
            {{.name = str(dtype_name(dtype), shape.to_string(), perm[0], perm[1], perm[2], perm[3]),
              .op_type = "Transpose",
              .inputs = {x},
              .attributes = {{"perm", perm}},
              .expected = {transposed(x, perm)}}});
      } while (std::next_permutation(perm.begin(), perm.end()));
    }
  }
  const Tensor large = counted({300, 500});
  const Tensor text = counted({2, 2}, DType::kString);
  run_cases({
      {.name = "large",
       .op_type = "Transpose",
       .inputs = {large},
       .expected = {transposed(large, {1, 0})}},
      {.name = "strings",
       .op_type = "Transpose",
       .inputs = {text},
       .expected = {picked(text, {2, 2}, {0, 2, 1, 3})}},
      {.name = "no permutation",
       .op_type = "Transpose",
       .inputs = {large},
       .attributes = {{"perm", Ints{0, 0}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "4 bits",
       .op_type = "Transpose",
       .inputs = {Tensor(DType::kUInt4, {2, 2})},
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("Concat and Split") {
  const Tensor a = counted({2, 2}), b = picked(counted({9}), {2, 1}, {7, 8});
  const Attributes last = {{"axis", int64_t{-1}}};
  const Tensor x = counted({2, 5});
  const Tensor text = counted({3}, DType::kString);
  run_cases({
      {.name = "columns",
       .op_type = "Concat",
       .inputs = {a, b},
       .attributes = last,
       .expected = {picked(counted({9}), {2, 3}, {0, 1, 7, 2, 3, 8})}},
      {.name = "with nothing",
       .op_type = "Concat",
       .inputs = {a, counted({0, 2})},
       .attributes = {{"axis", int64_t{0}}},
       .expected = {a}},
      {.name = "strings",
       .op_type = "Concat",
       .inputs = {text, text},
       .attributes = last,
       .expected = {picked(text, {6}, {0, 1, 2, 0, 1, 2})}},
      {.name = "lists",
       .op_type = "Concat",
       .inputs = {ints({3}), ints({4, 5})},
       .attributes = last,
       .expected = {ints({3, 4, 5})}},
      {.name = "misfit",
       .op_type = "Concat",
       .inputs = {a, counted({3, 1})},
       .attributes = last,
       .error = ErrorCode::kInvalidArgument},
      {.name = "types",
       .op_type = "Concat",
       .inputs = {a, counted({2, 2}, DType::kInt64)},
       .attributes = last,
       .error = ErrorCode::kInvalidArgument},
      {.name = "sizes",
       .op_type = "Split",
       .inputs = {x, ints({1, 0, 4})},
       .attributes = last,
       .expected = {picked(x, {2, 1}, {0, 5}), counted({2, 0}),
                    picked(x, {2, 4}, {1, 2, 3, 4, 6, 7, 8, 9})}},
      {.name = "last one smaller",
       .op_type = "Split",
       .inputs = {x},
       .attributes = {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}},
       .expected = {picked(x, {2, 3}, {0, 1, 2, 5, 6, 7}), picked(x, {2, 2}, {3, 4, 8, 9})}},
      {.name = "attribute",
       .op_type = "Split",
       .inputs = {x},
       .attributes = {{"split", Ints{1, 1}}},
       .expected = {picked(x, {1, 5}, {0, 1, 2, 3, 4}), picked(x, {1, 5}, {5, 6, 7, 8, 9})},
       .opset = 11},
      {.name = "version 1",
       .op_type = "Split",
       .inputs = {x, ints({3, 2})},
       .attributes = {{"axis", int64_t{1}}},
       .expected = {picked(x, {2, 3}, {0, 1, 2, 5, 6, 7}), picked(x, {2, 2}, {3, 4, 8, 9})},
       .opset = 1},
      {.name = "list",
       .op_type = "Split",
       .inputs = {ints({5, 6, 7}), ints({1, 2})},
       .expected = {ints({5}), ints({6, 7})}},
      {.name = "not equal parts",
       .op_type = "Split",
       .inputs = {x},
       .attributes = last,
       .opset = 13,
       .outputs = 2,
       .error = ErrorCode::kInvalidArgument},
      {.name = "wrong sum",
       .op_type = "Split",
       .inputs = {x, ints({1, 2})},
       .attributes = last,
       .outputs = 2,
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative size",
       .op_type = "Split",
       .inputs = {x, ints({-1, 6})},
       .attributes = last,
       .outputs = 2,
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("Slice") {
  const Tensor x = counted({3, 4});
  const Tensor list = ints({10, 11, 12, 13, 14});
  run_cases({
      {.name = "block",
       .op_type = "Slice",
       .inputs = {x, ints({1, 1}), ints({3, 3})},
       .expected = {picked(x, {2, 2}, {5, 6, 9, 10})}},
      {.name = "axis and step",
       .op_type = "Slice",
       .inputs = {x, ints({0}), ints({4}), ints({-1}), ints({2})},
       .expected = {picked(x, {3, 2}, {0, 2, 4, 6, 8, 10})}},
      {.name = "backwards",
       .op_type = "Slice",
       .inputs = {x, ints({-1}), ints({INT64_MIN}), ints({0}), ints({-1})},
       .expected = {picked(x, {3, 4}, {8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3})}},
      {.name = "backwards inside",
       .op_type = "Slice",
       .inputs = {x, ints({3}), ints({0}), ints({1}), ints({-2})},
       .expected = {picked(x, {3, 2}, {3, 1, 7, 5, 11, 9})}},
      {.name = "extreme step",
       .op_type = "Slice",
       .inputs = {x, ints({2}), ints({INT64_MIN}), ints({0}), ints({INT64_MIN})},
       .expected = {picked(x, {1, 4}, {8, 9, 10, 11})}},
      {.name = "nothing",
       .op_type = "Slice",
       .inputs = {x, ints({2}), ints({1}), ints({0})},
       .expected = {counted({0, 4})}},
      {.name = "of nothing",
       .op_type = "Slice",
       .inputs = {counted({0, 4}), ints({-1}), ints({INT64_MIN}), ints({0}), ints({-1})},
       .expected = {counted({0, 4})}},
      {.name = "32-bit numbers",
       .op_type = "Slice",
       .inputs = {x, numbers(DType::kInt32, {1}, {1}), numbers(DType::kInt32, {1}, {2})},
       .expected = {picked(x, {1, 4}, {4, 5, 6, 7})}},
      {.name = "attributes",
       .op_type = "Slice",
       .inputs = {x},
       .attributes = {{"starts", Ints{0}}, {"ends", Ints{1000}}, {"axes", Ints{1}}},
       .expected = {x},
       .opset = 9},
      {.name = "numbers",
       .op_type = "Slice",
       .inputs = {list, ints({1}), ints({3})},
       .expected = {ints({11, 12})}},
      {.name = "step 0",
       .op_type = "Slice",
       .inputs = {x, ints({0}), ints({1}), ints({0}), ints({0})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no such axis",
       .op_type = "Slice",
       .inputs = {x, ints({0}), ints({1}), ints({2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "lists of different length",
       .op_type = "Slice",
       .inputs = {x, ints({0, 0}), ints({1})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("Gather, GatherElements, GatherND") {
  const Tensor x = counted({3, 4});
  const Tensor text = counted({3}, DType::kString);
  const Attributes axis1 = {{"axis", int64_t{1}}};
  const auto matrix = [](int64_t rows, int64_t cols, std::initializer_list<int64_t> v) {
    return Tensor::from<int64_t>({rows, cols}, v);
  };
  run_cases({
      {.name = "rows",
       .op_type = "Gather",
       .inputs = {x, ints({2, -3})},
       .expected = {picked(x, {2, 4}, {8, 9, 10, 11, 0, 1, 2, 3})}},
      {.name = "scalar column",
       .op_type = "Gather",
       .inputs = {x, Tensor::scalar(int64_t{-1})},
       .attributes = axis1,
       .expected = {picked(x, {3}, {3, 7, 11})}},
      {.name = "matrix of columns",
       .op_type = "Gather",
       .inputs = {x, matrix(1, 2, {0, 2})},
       .attributes = axis1,
       .expected = {picked(x, {3, 1, 2}, {0, 2, 4, 6, 8, 10})}},
      {.name = "32 bits",
       .op_type = "Gather",
       .inputs = {text, numbers(DType::kInt32, {2}, {1, -1})},
       .expected = {picked(text, {2}, {1, 2})}},
      {.name = "nothing",
       .op_type = "Gather",
       .inputs = {x, ints({})},
       .expected = {counted({0, 4})}},
      {.name = "numbers",
       .op_type = "Gather",
       .inputs = {ints({5, 6, 7}), Tensor::scalar(int64_t{1})},
       .expected = {Tensor::scalar(int64_t{6})}},
      {.name = "too high",
       .op_type = "Gather",
       .inputs = {x, ints({3})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "too low",
       .op_type = "Gather",
       .inputs = {x, ints({-4})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "out of empty rows",
       .op_type = "Gather",
       .inputs = {counted({3, 0}), ints({7})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "elements",
       .op_type = "GatherElements",
       .inputs = {x, matrix(2, 2, {0, -1, 2, 2})},
       .attributes = axis1,
       .expected = {picked(x, {2, 2}, {0, 3, 6, 6})}},
      {.name = "elements of rows",
       .op_type = "GatherElements",
       .inputs = {x, matrix(1, 3, {2, 0, 1})},
       .expected = {picked(x, {1, 3}, {8, 1, 6})}},
      {.name = "element outside",
       .op_type = "GatherElements",
       .inputs = {x, matrix(1, 1, {4})},
       .attributes = axis1,
       .error = ErrorCode::kInvalidArgument},
      {.name = "too many rows",
       .op_type = "GatherElements",
       .inputs = {x, matrix(4, 1, {0, 0, 0, 0})},
       .attributes = axis1,
       .error = ErrorCode::kInvalidArgument},
      {.name = "tuples",
       .op_type = "GatherND",
       .inputs = {x, matrix(2, 2, {0, 3, -1, 0})},
       .expected = {picked(x, {2}, {3, 8})}},
      {.name = "tuples of one",
       .op_type = "GatherND",
       .inputs = {x, matrix(2, 1, {2, 0})},
       .expected = {picked(x, {2, 4}, {8, 9, 10, 11, 0, 1, 2, 3})}},
      {.name = "batches",
       .op_type = "GatherND",
       .inputs = {x, matrix(3, 1, {0, 1, -1})},
       .attributes = {{"batch_dims", int64_t{1}}},
       .expected = {picked(x, {3}, {0, 5, 11})}},
      {.name = "tuple too long",
       .op_type = "GatherND",
       .inputs = {x, matrix(1, 3, {0, 0, 0})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "tuple outside",
       .op_type = "GatherND",
       .inputs = {x, matrix(1, 2, {0, 4})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("ScatterElements, ScatterND") {
  const Tensor x = numbers(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor at = Tensor::from<int64_t>({2, 2}, {0, 2, -1, -1});
  const Tensor updates = numbers(DType::kFloat32, {2, 2}, {10, 20, 30, 40});
  const auto form = [](const char* reduction) {
    return Attributes{{"axis", int64_t{1}}, {"reduction", std::string(reduction)}};
  };
  const auto result = [](std::initializer_list<double> v) {
    return std::vector<Tensor>{numbers(DType::kFloat32, {2, 3}, v)};
  };
  const Tensor rows = Tensor::from<int64_t>({2, 1}, {1, 1});
  const Tensor blocks = numbers(DType::kFloat32, {2, 3}, {1, 1, 1, 7, -7, 7});
  run_cases({
      {.name = "replaced",
       .op_type = "ScatterElements",
       .inputs = {x, at, updates},
       .attributes = form("none"),
       .expected = result({10, 2, 20, 4, 5, 40})},
      {.name = "added",
       .op_type = "ScatterElements",
       .inputs = {x, at, updates},
       .attributes = form("add"),
       .expected = result({11, 2, 23, 4, 5, 76})},
      {.name = "multiplied",
       .op_type = "ScatterElements",
       .inputs = {x, at, updates},
       .attributes = form("mul"),
       .expected = result({10, 2, 60, 4, 5, 7200})},
      {.name = "largest",
       .op_type = "ScatterND",
       .inputs = {x, rows, blocks},
       .attributes = {{"reduction", std::string("max")}},
       .expected = result({1, 2, 3, 7, 5, 7})},
      {.name = "smallest",
       .op_type = "ScatterND",
       .inputs = {x, rows, blocks},
       .attributes = {{"reduction", std::string("min")}},
       .expected = result({1, 2, 3, 1, -7, 1})},
      {.name = "blocks",
       .op_type = "ScatterND",
       .inputs = {x, rows, blocks},
       .expected = result({1, 2, 3, 7, -7, 7})},
      {.name = "list",
       .op_type = "ScatterND",
       .inputs = {ints({5, 6, 7}), Tensor::from<int64_t>({1, 1}, {1}), ints({9})},
       .expected = {ints({5, 9, 7})}},
      {.name = "outside",
       .op_type = "ScatterND",
       .inputs = {x, Tensor::from<int64_t>({2, 1}, {2, 0}), blocks},
       .error = ErrorCode::kInvalidArgument},
      {.name = "updates of another shape",
       .op_type = "ScatterND",
       .inputs = {x, rows, updates},
       .error = ErrorCode::kInvalidArgument},
      {.name = "unknown reduction",
       .op_type = "ScatterND",
       .inputs = {x, rows, blocks},
       .attributes = form("xor"),
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("Tile, Trilu, Pad") {
  const Tensor x = counted({2, 3});
  const auto k = [](int64_t value) { return Tensor::scalar(value); };
  const auto mode = [](const char* name) { return Attributes{{"mode", std::string(name)}}; };
  const auto matrix = [](const Shape& shape, std::initializer_list<double> v) {
    return std::vector<Tensor>{numbers(DType::kFloat32, shape, v)};
  };
  const Attributes lower = {{"upper", int64_t{0}}};
  run_cases({
      {.name = "both axes",
       .op_type = "Tile",
       .inputs = {x, ints({2, 2})},
       .expected = {picked(
           x, {4, 6}, {0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5})}},
      {.name = "version 1",
       .op_type = "Tile",
       .inputs = {x, k(2), k(1)},
       .expected = {picked(x, {2, 6}, {0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5})},
       .opset = 1},
      {.name = "version 1 with numbers of the type of x",
       .op_type = "Tile",
       .inputs = {x, Tensor::scalar(2.0f), numbers(DType::kFloat32, {1}, {0})},
       .expected = {picked(x, {4, 3}, {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5})},
       .opset = 1},
      {.name = "version 1 along no axis",
       .op_type = "Tile",
       .inputs = {x, k(2), k(2)},
       .opset = 1,
       .error = ErrorCode::kInvalidArgument},
      {.name = "away",
       .op_type = "Tile",
       .inputs = {x, ints({0, 1})},
       .expected = {counted({0, 3})}},
      {.name = "negative",
       .op_type = "Tile",
       .inputs = {x, ints({-1, 1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "overflow",
       .op_type = "Tile",
       .inputs = {x, ints({INT64_MAX, 1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "upper",
       .op_type = "Trilu",
       .inputs = {x},
       .expected = matrix({2, 3}, {0, 1, 2, 0, 4, 5})},
      {.name = "upper shifted",
       .op_type = "Trilu",
       .inputs = {x, k(2)},
       .expected = matrix({2, 3}, {0, 0, 2, 0, 0, 0})},
      {.name = "lower",
       .op_type = "Trilu",
       .inputs = {x, k(-1)},
       .attributes = lower,
       .expected = matrix({2, 3}, {0, 0, 0, 3, 0, 0})},
      {.name = "all", .op_type = "Trilu", .inputs = {x, k(INT64_MIN)}, .expected = {x}},
      {.name = "constant",
       .op_type = "Pad",
       .inputs = {x, ints({0, 1, 1, 0}), Tensor::scalar(9.0f)},
       .expected = matrix({3, 4}, {9, 0, 1, 2, 9, 3, 4, 5, 9, 9, 9, 9})},
      {.name = "one axis",
       .op_type = "Pad",
       .inputs = {x, ints({1, 0}), {}, ints({-1})},
       .expected = matrix({2, 4}, {0, 0, 1, 2, 0, 3, 4, 5})},
      {.name = "removing",
       .op_type = "Pad",
       .inputs = {x, ints({0, -1, 0, 1})},
       .expected = matrix({2, 3}, {1, 2, 0, 4, 5, 0})},
      {.name = "reflect",
       .op_type = "Pad",
       .inputs = {x, ints({0, 2, 0, 1})},
       .attributes = mode("reflect"),
       .expected = matrix({2, 6}, {2, 1, 0, 1, 2, 1, 5, 4, 3, 4, 5, 4})},
      {.name = "edge",
       .op_type = "Pad",
       .inputs = {x, ints({0, 1, 0, 2})},
       .attributes = mode("edge"),
       .expected = matrix({2, 6}, {0, 0, 1, 2, 2, 2, 3, 3, 4, 5, 5, 5})},
      {.name = "wrap",
       .op_type = "Pad",
       .inputs = {x, ints({0, 1, 0, 4})},
       .attributes = mode("wrap"),
       .expected = matrix({2, 8}, {2, 0, 1, 2, 0, 1, 2, 0, 5, 3, 4, 5, 3, 4, 5, 3})},
      {.name = "attribute",
       .op_type = "Pad",
       .inputs = {x},
       .attributes = {{"pads", Ints{0, 0, 0, 1}}, {"value", 3.0f}},
       .expected = matrix({2, 4}, {0, 1, 2, 3, 3, 4, 5, 3}),
       .opset = 10},
      {.name = "attribute of version 1",
       .op_type = "Pad",
       .inputs = {x},
       .attributes = {{"paddings", Ints{0, 0, 0, 1}}, {"value", 3.0f}},
       .expected = matrix({2, 4}, {0, 1, 2, 3, 3, 4, 5, 3}),
       .opset = 1},
      {.name = "removing too much",
       .op_type = "Pad",
       .inputs = {x, ints({0, -2, 0, -2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "unknown mode",
       .op_type = "Pad",
       .inputs = {x, ints({0, 0, 0, 0})},
       .attributes = mode("mirror"),
       .error = ErrorCode::kUnsupported},
  });
}

}  // namespace hugot::test
