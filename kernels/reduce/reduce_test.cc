#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

using Integers = std::vector<int64_t>;

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor ints(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kInt64, shape, values);
}
Tensor axes(const Integers& values) {
  return Tensor::from<int64_t>({static_cast<int64_t>(values.size())},
                               std::span<const int64_t>(values));
}

constexpr const char* kReductions[] = {
    "ReduceSum", "ReduceMean", "ReduceMax",       "ReduceMin",    "ReduceProd",
    "ReduceL1",  "ReduceL2",   "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"};

// What an operator makes of some numbers, straight from its definition.
double reduced(const std::string& op, const std::vector<double>& values) {
  double sum = 0, product = 1, absolute = 0, squares = 0, exponentials = 0;
  double largest = -kInf, smallest = kInf;
  for (const double v : values) {
    sum += v;
    product *= v;
    absolute += std::abs(v);
    squares += v * v;
    exponentials += std::exp(v);
    largest = std::max(largest, v);
    smallest = std::min(smallest, v);
  }
  if (op == "ReduceSum") return sum;
  if (op == "ReduceMean") return sum / static_cast<double>(values.size());
  if (op == "ReduceMax") return largest;
  if (op == "ReduceMin") return smallest;
  if (op == "ReduceProd") return product;
  if (op == "ReduceL1") return absolute;
  if (op == "ReduceL2") return std::sqrt(squares);
  if (op == "ReduceSumSquare") return squares;
  if (op == "ReduceLogSum") return std::log(sum);
  return std::log(exponentials);
}

// The expected output, one element after the other.
Tensor reference(const std::string& op, const Tensor& x, const Integers& over, bool keep) {
  std::vector<bool> gone(static_cast<size_t>(x.rank()), over.empty());
  for (const int64_t axis : over) gone[static_cast<size_t>(x.shape().axis(axis))] = true;
  std::vector<int64_t> dims, kept_dims;
  for (int i = 0; i < x.rank(); ++i) {
    const bool drop = gone[static_cast<size_t>(i)];
    kept_dims.push_back(drop ? 1 : x.shape()[i]);
    if (!drop || keep) dims.push_back(kept_dims.back());
  }
  const Shape kept{std::span<const int64_t>(kept_dims)};
  std::vector<std::vector<double>> groups(static_cast<size_t>(kept.size()));
  const std::vector<double> values = as_doubles(x);
  for (size_t flat = 0; flat < values.size(); ++flat) {
    auto rest = static_cast<int64_t>(flat);
    int64_t to = 0, step = 1;
    for (int i = x.rank() - 1; i >= 0; --i) {
      to += rest % x.shape()[i] * (kept[i] == 1 ? 0 : step);
      rest /= x.shape()[i];
      step *= kept[i];
    }
    groups[static_cast<size_t>(to)].push_back(values[flat]);
  }
  Tensor y(x.dtype(), Shape(dims));
  for (size_t i = 0; i < groups.size(); ++i) {
    const double value = reduced(op, groups[i]);
    const auto at = static_cast<int64_t>(i);
    if (x.dtype() == DType::kFloat32) {
      y.data<float>()[at] = static_cast<float>(value);
    } else {
      y.data<double>()[at] = value;
    }
  }
  return y;
}

}  // namespace

TEST_CASE("reductions over every kind of axes") {
  const std::vector<std::pair<Shape, Integers>> forms = {{{}, {}},
                                                         {{7}, {}},
                                                         {{7}, {0}},
                                                         {{5, 67}, {1}},
                                                         {{5, 67}, {0}},
                                                         {{5, 67}, {}},
                                                         {{3, 4, 33}, {1}},
                                                         {{3, 4, 33}, {0, 2}},
                                                         {{3, 4, 33}, {-1}},
                                                         {{2, 3, 4, 5}, {1, 3}},
                                                         {{2, 3, 4, 5}, {-4, 2}},
                                                         {{2, 1, 3}, {1}},
                                                         {{0, 3}, {1}},
                                                         {{2, 0, 3}, {1}},
                                                         {{2, 3, 4, 5}, {0, 1, 2, 3}}};
  uint64_t seed = 1;
  for (const std::string op : kReductions) {
    for (const auto& [shape, over] : forms) {
      for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
        for (const int64_t keep : {0, 1}) {
          const Tensor x = random_tensor(dtype, shape, 0.5, 1.5, ++seed);
          Case test{.name = str(dtype_name(dtype), shape.to_string(), axes(over).size(),
                                " axes, keep ", keep),
                    .op_type = op,
                    .inputs = {x},
                    .attributes = {{"keepdims", keep}},
                    .expected = {reference(op, x, over, keep != 0)},
                    .tolerance = Tolerance{1e-5, 1e-6}};
          if (!over.empty()) test.inputs.push_back(axes(over));
          run_cases({test});
          test.inputs.resize(1);  // the same with an attribute, as old versions have it
          test.opset = 11;
          if (!over.empty()) test.attributes["axes"] = over;
          run_cases({test});
        }
      }
    }
  }
}

TEST_CASE("SumTo undoes broadcasting") {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto to = [&](const Tensor& shape, const Tensor& expected) {
    return Case{.name = "shape",
                .op_type = "SumTo",
                .inputs = {x, shape},
                .expected = {expected},
                .domain = "hugot"};
  };
  run_cases({to(axes({}), floats({}, {21})), to(axes({3}), floats({3}, {5, 7, 9})),
             to(axes({2, 1}), floats({2, 1}, {6, 15})), to(axes({1, 3}), floats({1, 3}, {5, 7, 9})),
             to(axes({2, 3}), x), to(axes({1, 1}), floats({1, 1}, {21}))});
  for (const Tensor& shape : {axes({2}), axes({4, 3}), axes({1, 2, 3}), axes({2, -1}), axes({0})}) {
    run_cases({{.name = "misfit",
                .op_type = "SumTo",
                .inputs = {x, shape},
                .domain = "hugot",
                .error = ErrorCode::kInvalidArgument}});
  }
}

TEST_CASE("reductions of nothing, of one element each, and errors") {
  const Tensor none = floats({2, 0}, {});
  const Tensor last = axes({1});
  const Tensor x = floats({3}, {-2, 3, 0.5});
  const auto empty = [&](const char* op, double value) {
    return Case{.name = "empty",
                .op_type = op,
                .inputs = {none, last},
                .expected = {floats({2, 1}, {value, value})}};
  };
  run_cases({empty("ReduceSum", 0), empty("ReduceProd", 1), empty("ReduceMax", -kInf),
             empty("ReduceMin", kInf), empty("ReduceMean", kNaN), empty("ReduceL1", 0),
             empty("ReduceLogSum", -kInf), empty("ReduceLogSumExp", -kInf)});
  const Attributes noop = {{"noop_with_empty_axes", int64_t{1}}};
  run_cases({
      {.name = "no axes",
       .op_type = "ReduceSum",
       .inputs = {x},
       .attributes = noop,
       .expected = {x}},
      {.name = "empty axes",
       .op_type = "ReduceSumSquare",
       .inputs = {x, axes({})},
       .attributes = noop,
       .expected = {floats({3}, {4, 9, 0.25})}},
      {.name = "out of range",
       .op_type = "ReduceSum",
       .inputs = {x, axes({1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "twice",
       .op_type = "ReduceSum",
       .inputs = {x, axes({0, -1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "integers",
       .op_type = "ReduceSum",
       .inputs = {ints({2, 2}, {1, -2, 3, 4}), axes({0})},
       .attributes = {{"keepdims", int64_t{0}}},
       .expected = {ints({2}, {4, 2})}},
      {.name = "integers",
       .op_type = "ReduceMean",
       .inputs = {ints({2}, {-3, 0})},
       .expected = {ints({1}, {-1})}},
      {.name = "all the same",
       .op_type = "ReduceSum",
       .inputs = {ints({4}, {1, 1, 1, 1})},
       .expected = {ints({1}, {4})}},
      {.name = "of a shape",
       .op_type = "ReduceProd",
       .inputs = {ints({3}, {2, 3, 4})},
       .expected = {ints({1}, {24})}},
      {.name = "of a shape",
       .op_type = "ReduceMax",
       .inputs = {ints({3}, {2, 4, 3})},
       .expected = {ints({1}, {4})}},
      {.name = "bool",
       .op_type = "ReduceMax",
       .inputs = {numbers(DType::kBool, {2, 2}, {0, 1, 0, 0}), axes({1})},
       .expected = {numbers(DType::kBool, {2, 1}, {1, 0})}},
      {.name = "NaN",
       .op_type = "ReduceMin",
       .inputs = {floats({3}, {1, kNaN, -1})},
       .expected = {floats({1}, {kNaN})}},
      {.name = "huge",
       .op_type = "ReduceLogSumExp",
       .inputs = {floats({2}, {1000, 1000})},
       .expected = {floats({1}, {1000 + std::log(2.0)})}},
      {.name = "all -inf",
       .op_type = "ReduceLogSumExp",
       .inputs = {floats({2}, {-kInf, -kInf})},
       .expected = {floats({1}, {-kInf})}},
      {.name = "float16",
       .op_type = "ReduceMean",
       .inputs = {random_tensor(DType::kFloat16, {5, 33}, -1, 1, 3), axes({1})}},
      {.name = "split",
       .op_type = "ReduceL2",
       .inputs = {random_tensor(DType::kFloat32, {600, 301}, -1, 1, 3), axes({1})}},
  });
}

TEST_CASE("positions of extremes") {
  const Tensor x = floats({2, 3}, {1, 5, 5, 7, 2, 2});
  run_cases({
      {.name = "rows",
       .op_type = "ArgMax",
       .inputs = {x},
       .attributes = {{"axis", int64_t{-1}}},
       .expected = {ints({2, 1}, {1, 0})}},
      {.name = "last",
       .op_type = "ArgMax",
       .inputs = {x},
       .attributes = {{"axis", int64_t{1}},
                      {"select_last_index", int64_t{1}},
                      {"keepdims", int64_t{0}}},
       .expected = {ints({2}, {2, 0})}},
      {.name = "columns",
       .op_type = "ArgMin",
       .inputs = {x},
       .expected = {ints({1, 3}, {0, 1, 1})}},
      {.name = "NaN",
       .op_type = "ArgMax",
       .inputs = {floats({3}, {1, kNaN, 9})},
       .expected = {ints({1}, {1})}},
      {.name = "integers",
       .op_type = "ArgMin",
       .inputs = {numbers(DType::kInt8, {3}, {1, -4, 9})},
       .expected = {ints({1}, {1})}},
      {.name = "nothing there",
       .op_type = "ArgMax",
       .inputs = {floats({2, 0}, {})},
       .attributes = {{"axis", int64_t{1}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no outputs",
       .op_type = "ArgMax",
       .inputs = {floats({2, 0}, {})},
       .expected = {ints({1, 0}, {})}},
  });
}

TEST_CASE("running sums and products") {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor axis = ints({}, {1});
  run_cases({
      {.name = "rows",
       .op_type = "CumSum",
       .inputs = {x, axis},
       .expected = {floats({2, 3}, {1, 3, 6, 4, 9, 15})}},
      {.name = "columns",
       .op_type = "CumSum",
       .inputs = {x, ints({1}, {-2})},
       .expected = {floats({2, 3}, {1, 2, 3, 5, 7, 9})}},
      {.name = "exclusive",
       .op_type = "CumSum",
       .inputs = {x, axis},
       .attributes = {{"exclusive", int64_t{1}}},
       .expected = {floats({2, 3}, {0, 1, 3, 0, 4, 9})}},
      {.name = "reverse",
       .op_type = "CumSum",
       .inputs = {x, axis},
       .attributes = {{"reverse", int64_t{1}}},
       .expected = {floats({2, 3}, {6, 5, 3, 15, 11, 6})}},
      {.name = "both",
       .op_type = "CumProd",
       .inputs = {x, axis},
       .attributes = {{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}},
       .expected = {floats({2, 3}, {6, 3, 1, 30, 6, 1})}},
      {.name = "integers",
       .op_type = "CumSum",
       .inputs = {ints({3}, {1, 0, 1}), ints({}, {0})},
       .expected = {ints({3}, {1, 1, 2})}},
      {.name = "empty",
       .op_type = "CumSum",
       .inputs = {floats({0}, {}), ints({}, {0})},
       .expected = {floats({0}, {})}},
      {.name = "out of range",
       .op_type = "CumSum",
       .inputs = {x, ints({}, {2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "two axes",
       .op_type = "CumSum",
       .inputs = {x, ints({2}, {0, 1})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("the k largest") {
  const Tensor x = floats({2, 4}, {3, 1, 3, 2, kNaN, 0, -1, 5});
  const Tensor two = ints({1}, {2});
  run_cases({
      {.name = "rows",
       .op_type = "TopK",
       .inputs = {x, two},
       .expected = {floats({2, 2}, {3, 3, kNaN, 5}), ints({2, 2}, {0, 2, 0, 3})}},
      {.name = "smallest",
       .op_type = "TopK",
       .inputs = {x, two},
       .attributes = {{"largest", int64_t{0}}},
       .expected = {floats({2, 2}, {1, 2, -1, 0}), ints({2, 2}, {1, 3, 2, 1})}},
      {.name = "columns",
       .op_type = "TopK",
       .inputs = {x, ints({1}, {1})},
       .attributes = {{"axis", int64_t{0}}},
       .expected = {floats({1, 4}, {kNaN, 1, 3, 5}), ints({1, 4}, {1, 0, 0, 1})}},
      {.name = "none",
       .op_type = "TopK",
       .inputs = {x, ints({1}, {0})},
       .expected = {floats({2, 0}, {}), ints({2, 0}, {})}},
      {.name = "attribute",
       .op_type = "TopK",
       .inputs = {x},
       .attributes = {{"k", int64_t{1}}},
       .expected = {floats({2, 1}, {3, kNaN}), ints({2, 1}, {0, 0})},
       .opset = 9},
      {.name = "too many",
       .op_type = "TopK",
       .inputs = {x, ints({1}, {5})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative",
       .op_type = "TopK",
       .inputs = {x, ints({1}, {-1})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("global pooling keeps batch and channels") {
  const Tensor x = floats({2, 2, 2, 3}, {1, 2, 3, 4, 5, 9,  -1, -2, -3, -4, -5, -9,
                                         0, 0, 0, 0, 0, 12, 7,  7,  7,  7,  7,  7});
  run_cases({{.name = "mean",
              .op_type = "GlobalAveragePool",
              .inputs = {x},
              .expected = {floats({2, 2, 1, 1}, {4, -4, 2, 7})}},
             {.name = "maximum",
              .op_type = "GlobalMaxPool",
              .inputs = {x},
              .expected = {floats({2, 2, 1, 1}, {9, -1, 12, 7})}},
             {.name = "one axis, half precision",
              .op_type = "GlobalAveragePool",
              .inputs = {numbers(DType::kFloat16, {1, 2, 2}, {1, 2, 3, 5})},
              .expected = {numbers(DType::kFloat16, {1, 2, 1}, {1.5, 4})}},
             {.name = "no channels",
              .op_type = "GlobalAveragePool",
              .inputs = {floats({3}, {1, 2, 3})},
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
