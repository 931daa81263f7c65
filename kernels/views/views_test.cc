#include <doctest/doctest.h>

#include "graph/op.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor ints(std::initializer_list<int64_t> values) {
  return Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values);
}
Tensor floats(const Shape& shape) { return random_tensor(DType::kFloat32, shape, -1, 1, 7); }
Tensor strings(const Shape& shape, std::initializer_list<std::string> values) {
  return Tensor::from<std::string>(shape, values);
}
using Ints = std::vector<int64_t>;

}  // namespace

TEST_CASE("Reshape, Flatten, Squeeze, Unsqueeze and View keep the elements") {
  const Tensor x = floats({2, 3, 4});
  const Tensor empty = floats({0, 3});
  const Tensor row = floats({1, 3, 1});
  const Tensor text = strings({2}, {"a", "bc"});
  const Attributes allow_zero = {{"allowzero", int64_t{1}}};
  run_cases({
      {.name = "to a matrix",
       .op_type = "Reshape",
       .inputs = {x, ints({6, 4})},
       .expected = {x.reshaped({6, 4})}},
      {.name = "rest",
       .op_type = "Reshape",
       .inputs = {x, ints({4, -1})},
       .expected = {x.reshaped({4, 6})}},
      {.name = "version 1",
       .op_type = "Reshape",
       .inputs = {x},
       .attributes = {{"shape", std::vector<int64_t>{0, -1}}},
       .expected = {x.reshaped({2, 12})},
       .opset = 1},
      {.name = "version 5",
       .op_type = "Reshape",
       .inputs = {x, ints({-1})},
       .expected = {x.reshaped({24})},
       .opset = 5},
      {.name = "to a scalar",
       .op_type = "Reshape",
       .inputs = {floats({1, 1}), ints({})},
       .expected = {floats({1}).reshaped({})}},
      {.name = "nothing",
       .op_type = "Reshape",
       .inputs = {empty, ints({3, 0})},
       .attributes = allow_zero,
       .expected = {empty.reshaped({3, 0})}},
      {.name = "copied zero",
       .op_type = "Reshape",
       .inputs = {empty, ints({0, 1, 3})},
       .expected = {empty.reshaped({0, 1, 3})}},
      {.name = "strings",
       .op_type = "Reshape",
       .inputs = {text, ints({2, 1})},
       .expected = {text.reshaped({2, 1})}},
      {.name = "numbers",
       .op_type = "Reshape",
       .inputs = {ints({7, 8, 9}), ints({1, -1})},
       .expected = {ints({7, 8, 9}).reshaped({1, 3})}},
      {.name = "wrong size",
       .op_type = "Reshape",
       .inputs = {x, ints({5, 5})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "two rests",
       .op_type = "Reshape",
       .inputs = {x, ints({-1, -1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no rest fits",
       .op_type = "Reshape",
       .inputs = {x, ints({5, -1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "rest of nothing",
       .op_type = "Reshape",
       .inputs = {empty, ints({0, -1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative",
       .op_type = "Reshape",
       .inputs = {x, ints({-2, 12})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "overflow",
       .op_type = "Reshape",
       .inputs = {x, ints({int64_t{1} << 40, int64_t{1} << 40})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "default axis",
       .op_type = "Flatten",
       .inputs = {x},
       .expected = {x.reshaped({2, 12})}},
      {.name = "all",
       .op_type = "Flatten",
       .inputs = {x},
       .attributes = {{"axis", int64_t{0}}},
       .expected = {x.reshaped({1, 24})}},
      {.name = "end",
       .op_type = "Flatten",
       .inputs = {x},
       .attributes = {{"axis", int64_t{3}}},
       .expected = {x.reshaped({24, 1})}},
      {.name = "from the back",
       .op_type = "Flatten",
       .inputs = {x},
       .attributes = {{"axis", int64_t{-1}}},
       .expected = {x.reshaped({6, 4})}},
      {.name = "every 1", .op_type = "Squeeze", .inputs = {row}, .expected = {row.reshaped({3})}},
      {.name = "one axis",
       .op_type = "Squeeze",
       .inputs = {row, ints({-1})},
       .expected = {row.reshaped({1, 3})}},
      {.name = "attribute",
       .op_type = "Squeeze",
       .inputs = {row},
       .attributes = {{"axes", Ints{0}}},
       .expected = {row.reshaped({3, 1})},
       .opset = 11},
      {.name = "not 1",
       .op_type = "Squeeze",
       .inputs = {row, ints({1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "both ends",
       .op_type = "Unsqueeze",
       .inputs = {x, ints({0, -1})},
       .expected = {x.reshaped({1, 2, 3, 4, 1})}},
      {.name = "attribute",
       .op_type = "Unsqueeze",
       .inputs = {x},
       .attributes = {{"axes", Ints{1}}},
       .expected = {x.reshaped({2, 1, 3, 4})},
       .opset = 11},
      {.name = "twice",
       .op_type = "Unsqueeze",
       .inputs = {x, ints({0, 0})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "identity", .op_type = "Identity", .inputs = {x}, .expected = {x}},
      {.name = "given shape",
       .op_type = "View",
       .inputs = {x},
       .attributes = {{"shape", Ints{3, -1}}},
       .expected = {x.reshaped({3, 8})},
       .domain = "hugot"},
      {.name = "no shape",
       .op_type = "View",
       .inputs = {x},
       .domain = "hugot",
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("a 0 of Reshape copies the dimension") {
  const OpRegistry ops = builtin_ops();
  Node node;
  node.op_type = "Reshape";
  node.op = ops.find("", "Reshape", 14);
  node.inputs = {0, 1};
  node.outputs = {2};
  const Tensor x = floats({2, 3, 4}), target = ints({0, 0, 2, -1});
  const Tensor* inputs[] = {&x, &target};
  CHECK(identical(evaluate(node, inputs)[0], x.reshaped({2, 3, 2, 2})));
}

TEST_CASE("Dropout passes everything outside of training") {
  const Tensor x = floats({3, 4});
  Tensor mask(DType::kBool, {3, 4});
  std::fill_n(mask.data<bool>(), 12, true);
  const Tensor ratio = Tensor::scalar(0.3f);
  run_cases({
      {.name = "default", .op_type = "Dropout", .inputs = {x}, .expected = {x, mask}},
      {.name = "version 10",
       .op_type = "Dropout",
       .inputs = {x},
       .attributes = {{"ratio", 0.5f}},
       .expected = {x, mask},
       .opset = 10},
      {.name = "version 1, training without loss",
       .op_type = "Dropout",
       .inputs = {x},
       .attributes = {{"ratio", 0.0f}},
       .expected = {x, as_type(mask, DType::kFloat32)},
       .opset = 1},
      {.name = "version 6",
       .op_type = "Dropout",
       .inputs = {x},
       .attributes = {{"is_test", int64_t{1}}},
       .expected = {x, as_type(mask, DType::kFloat32)},
       .opset = 6},
      {.name = "inference",
       .op_type = "Dropout",
       .inputs = {x, ratio, Tensor::scalar(false)},
       .expected = {x, mask}},
      {.name = "ratio 0",
       .op_type = "Dropout",
       .inputs = {x, Tensor::scalar(0.0f), Tensor::scalar(true)},
       .expected = {x, mask}},
      {.name = "a ratio that leaves nothing",
       .op_type = "Dropout",
       .inputs = {x, Tensor::scalar(1.0f), Tensor::scalar(true)},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("Dropout in training") {
  const Tensor x = floats({2, 5});
  // numpy.random.RandomState(0).uniform(size=10) >= 0.6
  const bool kept[] = {false, true, true, false, false, true, false, true, true, false};
  Tensor y(DType::kFloat32, {2, 5}), mask(DType::kBool, {2, 5});
  for (int i = 0; i < 10; ++i) {
    mask.data<bool>()[i] = kept[i];
    y.data<float>()[i] = kept[i] ? x.data<float>()[i] * 2.5f : 0;
  }
  run_cases({{.name = "seed",
              .op_type = "Dropout",
              .inputs = {x, Tensor::scalar(0.6f), Tensor::scalar(true)},
              .attributes = {{"seed", int64_t{0}}},
              .expected = {y, mask},
              .parameters = {1}},
             {.name = "version 6",
              .op_type = "Dropout",
              .inputs = {x},
              .attributes = {{"ratio", 0.6f}, {"seed", int64_t{0}}},
              .expected = {y, as_type(mask, DType::kFloat32)},
              .opset = 6}});
}

TEST_CASE("Shape, Size, Constant, ConstantOfShape, Range, Expand, EyeLike") {
  const Tensor x = floats({2, 3, 4});
  const auto part = [](int64_t start, int64_t end) {
    return Attributes{{"start", start}, {"end", end}};
  };
  const Tensor seven = numbers(DType::kInt32, {1}, {7});
  const auto range = [](DType dtype, double start, double limit, double delta) {
    return std::vector<Tensor>{numbers(dtype, {}, {start}), numbers(dtype, {}, {limit}),
                               numbers(dtype, {}, {delta})};
  };
  run_cases({
      {.name = "all", .op_type = "Shape", .inputs = {x}, .expected = {ints({2, 3, 4})}},
      {.name = "middle",
       .op_type = "Shape",
       .inputs = {x},
       .attributes = part(1, -1),
       .expected = {ints({3})}},
      {.name = "clipped",
       .op_type = "Shape",
       .inputs = {x},
       .attributes = part(-9, 9),
       .expected = {ints({2, 3, 4})}},
      {.name = "backwards",
       .op_type = "Shape",
       .inputs = {x},
       .attributes = part(2, 1),
       .expected = {ints({})}},
      {.name = "scalar",
       .op_type = "Shape",
       .inputs = {Tensor::scalar(1.0f)},
       .expected = {ints({})}},
      {.name = "product",
       .op_type = "Size",
       .inputs = {x},
       .expected = {Tensor::scalar(int64_t{24})}},
      {.name = "tensor",
       .op_type = "Constant",
       .inputs = {},
       .attributes = {{"value", x}},
       .expected = {x}},
      {.name = "float",
       .op_type = "Constant",
       .inputs = {},
       .attributes = {{"value_float", 1.5f}},
       .expected = {Tensor::scalar(1.5f)}},
      {.name = "integers",
       .op_type = "Constant",
       .inputs = {},
       .attributes = {{"value_ints", Ints{3, 4}}},
       .expected = {ints({3, 4})}},
      {.name = "strings",
       .op_type = "Constant",
       .inputs = {},
       .attributes = {{"value_strings", std::vector<std::string>{"x", "yz"}}},
       .expected = {strings({2}, {"x", "yz"})}},
      {.name = "none", .op_type = "Constant", .inputs = {}, .error = ErrorCode::kInvalidData},
      {.name = "zeros",
       .op_type = "ConstantOfShape",
       .inputs = {ints({2, 2})},
       .expected = {numbers(DType::kFloat32, {2, 2}, {0, 0, 0, 0})}},
      {.name = "sevens",
       .op_type = "ConstantOfShape",
       .inputs = {ints({3})},
       .attributes = {{"value", seven}},
       .expected = {numbers(DType::kInt32, {3}, {7, 7, 7})}},
      {.name = "scalar",
       .op_type = "ConstantOfShape",
       .inputs = {ints({})},
       .attributes = {{"value", seven}},
       .expected = {seven.reshaped({})}},
      {.name = "negative",
       .op_type = "ConstantOfShape",
       .inputs = {ints({-1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "up",
       .op_type = "Range",
       .inputs = range(DType::kInt64, 2, 9, 3),
       .expected = {ints({2, 5, 8})}},
      {.name = "down",
       .op_type = "Range",
       .inputs = range(DType::kInt64, 5, 0, -2),
       .expected = {ints({5, 3, 1})}},
      {.name = "empty",
       .op_type = "Range",
       .inputs = range(DType::kInt64, 5, 5, 1),
       .expected = {ints({})}},
      {.name = "floats",
       .op_type = "Range",
       .inputs = range(DType::kFloat32, 1, 2, 0.25),
       .expected = {numbers(DType::kFloat32, {4}, {1, 1.25, 1.5, 1.75})}},
      {.name = "halves",
       .op_type = "Range",
       .inputs = range(DType::kFloat16, 0, 3, 1),
       .expected = {numbers(DType::kFloat16, {3}, {0, 1, 2})}},
      {.name = "no step",
       .op_type = "Range",
       .inputs = range(DType::kInt64, 0, 3, 0),
       .error = ErrorCode::kInvalidArgument},
      {.name = "both ways",
       .op_type = "Expand",
       .inputs = {ints({1, 2, 3}).reshaped({3, 1}), ints({2, 1, 2})},
       .expected = {numbers(DType::kInt64, {2, 3, 2}, {1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3})}},
      {.name = "scalar to nothing",
       .op_type = "Expand",
       .inputs = {Tensor::scalar(1.0f), ints({0, 2})},
       .expected = {floats({0, 2})}},
      {.name = "strings",
       .op_type = "Expand",
       .inputs = {strings({2, 1}, {"ab", "c"}), ints({2})},
       .expected = {strings({2, 2}, {"ab", "ab", "c", "c"})}},
      {.name = "misfit",
       .op_type = "Expand",
       .inputs = {x, ints({5})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "diagonal",
       .op_type = "EyeLike",
       .inputs = {floats({2, 3})},
       .attributes = {{"k", int64_t{1}}},
       .expected = {numbers(DType::kFloat32, {2, 3}, {0, 1, 0, 0, 0, 1})}},
      {.name = "far away",
       .op_type = "EyeLike",
       .inputs = {floats({2, 2})},
       .attributes = {{"k", INT64_MIN}, {"dtype", int64_t{7}}},
       .expected = {numbers(DType::kInt64, {2, 2}, {0, 0, 0, 0})}},
  });
}

TEST_CASE("a symbolic length goes through Shape, Gather, Unsqueeze, Concat into Reshape") {
  const OpRegistry ops = builtin_ops();
  Graph graph;
  const Dim s = Dim::symbol("S");
  const ValueId x = graph.add_input("x", Fact::of(DType::kFloat32, {1, s, 384}));
  const auto add = [&](const char* op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    Node node{.name = op,
              .op_type = op,
              .domain = "",
              .opset = 13,
              .op = ops.find("", op, 13),
              .attributes = std::move(attributes),
              .inputs = std::move(inputs),
              .outputs = {}};
    const ValueId out = graph.add_value(op);
    node.outputs = {out};
    graph.add_node(std::move(node));
    return out;
  };
  const ValueId shape = add("Shape", {x});
  const ValueId length =
      add("Gather", {shape, graph.add_initializer("one", Tensor::scalar(int64_t{1}))});
  const ValueId list = add("Unsqueeze", {length, graph.add_initializer("axes", ints({0}))});
  const ValueId target = add("Concat",
                             {graph.add_initializer("head", ints({1})), list,
                              graph.add_initializer("tail", ints({12, -1}))},
                             {{"axis", int64_t{0}}});
  const ValueId y = add("Reshape", {x, target});
  const ValueId mask =
      add("ConstantOfShape", {list}, {{"value", numbers(DType::kInt64, {1}, {1})}});
  infer(graph);
  CHECK(to_string(*graph.fact(target).symbolic) == "[1,S,12,-1]");
  CHECK(to_string(*graph.fact(y).shape) == "[1,S,12,32]");
  CHECK(to_string(*graph.fact(mask).shape) == "[S]");
  CHECK(to_int64s(*graph.fact(mask).uniform) == Ints{1});
}

}  // namespace hugot::test
