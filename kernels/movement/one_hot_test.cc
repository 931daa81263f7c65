#include <doctest/doctest.h>

#include <limits>

#include "graph/op.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

const Attributes kFirst = {{"axis", int64_t{0}}};

Tensor text(const Shape& shape, std::initializer_list<std::string> values) {
  return Tensor::from<std::string>(shape, values);
}

Tensor depth_of(double depth) { return numbers(DType::kInt64, {}, {depth}); }

}  // namespace

TEST_CASE("OneHot takes indices, depth and values of every type") {
  const Shape shape = {2, 3, 4};
  const std::initializer_list<double> on_at = {5, 2, 2, 2, 2, 5, 2, 2, 2, 2, 2, 5,
                                               2, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 5};
  for (const DType dtype :
       {DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64, DType::kUInt8, DType::kUInt16,
        DType::kUInt32, DType::kUInt64, DType::kFloat16, DType::kFloat32, DType::kFloat64}) {
    run_cases({{.name = str("indices of ", dtype_name(dtype)),
                .op_type = "OneHot",
                .inputs = {numbers(dtype, {2, 3}, {0, 1, 3, 1, 9, 3}), numbers(dtype, {}, {4}),
                           numbers(dtype, {2}, {2, 5})},
                .expected = {numbers(dtype, shape, on_at)}}});
  }
  const Tensor indices = numbers(DType::kInt64, {3}, {1, 0, 2});
  run_cases({
      {.name = "strings",
       .op_type = "OneHot",
       .inputs = {indices, numbers(DType::kInt64, {1}, {2}), text({2}, {"off", "on"})},
       .expected = {text({3, 2}, {"off", "on", "on", "off", "off", "off"})}},
      {.name = "bool",
       .op_type = "OneHot",
       .inputs = {indices, depth_of(2), Tensor::from<bool>({2}, {true, false})},
       .expected = {Tensor::from<bool>({3, 2}, {true, false, false, true, true, true})}},
      {.name = "bfloat16",
       .op_type = "OneHot",
       .inputs = {indices, depth_of(2), numbers(DType::kBFloat16, {2}, {0, 1})},
       .expected = {numbers(DType::kBFloat16, {3, 2}, {0, 1, 1, 0, 0, 0})}},
      {.name = "indices with a fraction",
       .op_type = "OneHot",
       .inputs = {numbers(DType::kFloat32, {4}, {1.9, -0.5, -1.5, NAN}),
                  numbers(DType::kFloat32, {1}, {2.7}), numbers(DType::kInt32, {2}, {0, 1})},
       .expected = {numbers(DType::kInt32, {4, 2}, {0, 1, 1, 0, 0, 1, 1, 0})}},
      {.name = "indices that int64 does not have",
       .op_type = "OneHot",
       .inputs = {Tensor::from<uint64_t>({2}, {std::numeric_limits<uint64_t>::max(), 0}),
                  depth_of(2), numbers(DType::kInt32, {2}, {0, 1})},
       .expected = {numbers(DType::kInt32, {2, 2}, {0, 0, 1, 0})}},
  });
}

TEST_CASE("OneHot along every axis") {
  const Tensor indices = numbers(DType::kInt64, {2, 2}, {0, 2, 1, 2});
  const Tensor values = numbers(DType::kFloat32, {2}, {-1, 3});
  const auto on_axis = [&](int64_t axis, const Shape& shape, std::initializer_list<double> y) {
    return Case{.name = str("axis ", axis),
                .op_type = "OneHot",
                .inputs = {indices, depth_of(3), values},
                .attributes = {{"axis", axis}},
                .expected = {numbers(DType::kFloat32, shape, y)}};
  };
  run_cases({
      on_axis(0, {3, 2, 2}, {3, -1, -1, -1, -1, -1, 3, -1, -1, 3, -1, 3}),
      on_axis(-3, {3, 2, 2}, {3, -1, -1, -1, -1, -1, 3, -1, -1, 3, -1, 3}),
      on_axis(1, {2, 3, 2}, {3, -1, -1, -1, -1, 3, -1, -1, 3, -1, -1, 3}),
      on_axis(2, {2, 2, 3}, {3, -1, -1, -1, -1, 3, -1, 3, -1, -1, -1, 3}),
      on_axis(-1, {2, 2, 3}, {3, -1, -1, -1, -1, 3, -1, 3, -1, -1, -1, 3}),
      {.name = "a scalar",
       .op_type = "OneHot",
       .inputs = {depth_of(1), depth_of(3), values},
       .expected = {numbers(DType::kFloat32, {3}, {-1, 3, -1})}},
      {.name = "negative indices count from the end",
       .op_type = "OneHot",
       .inputs = {numbers(DType::kInt32, {4}, {-1, -3, -4, 3}), depth_of(3), values},
       .expected = {numbers(DType::kFloat32, {4, 3},
                            {-1, -1, 3, 3, -1, -1, -1, -1, -1, -1, -1, -1})}},
      {.name = "negative indices of version 9 are off",
       .op_type = "OneHot",
       .inputs = {numbers(DType::kInt32, {2}, {-1, 1}), depth_of(3), values},
       .expected = {numbers(DType::kFloat32, {2, 3}, {-1, -1, -1, -1, 3, -1})},
       .opset = 9},
      {.name = "no indices",
       .op_type = "OneHot",
       .inputs = {numbers(DType::kInt64, {0, 2}, {}), depth_of(3), values},
       .attributes = kFirst,
       .expected = {numbers(DType::kFloat32, {3, 0, 2}, {})}},
      {.name = "depth 0",
       .op_type = "OneHot",
       .inputs = {indices, depth_of(0), values},
       .expected = {numbers(DType::kFloat32, {2, 2, 0}, {})}},
      {.name = "large",
       .op_type = "OneHot",
       .inputs = {random_tensor(DType::kInt64, {40, 50}, 0, 300, 1), depth_of(300),
                  numbers(DType::kFloat32, {2}, {0.25, 2})}},
  });
}

TEST_CASE("OneHot refuses what makes no tensor") {
  const Tensor indices = numbers(DType::kInt64, {2, 2}, {0, 2, 1, 2});
  const Tensor values = numbers(DType::kFloat32, {2}, {0, 1});
  const auto bad = [&](const char* name, std::vector<Tensor> inputs, int64_t axis = -1,
                       ErrorCode code = ErrorCode::kInvalidArgument) {
    return Case{.name = name,
                .op_type = "OneHot",
                .inputs = std::move(inputs),
                .attributes = {{"axis", axis}},
                .error = code};
  };
  const Tensor most = Tensor::scalar(std::numeric_limits<uint64_t>::max());
  run_cases({
      bad("axis 3", {indices, depth_of(3), values}, 3),
      bad("axis -4", {indices, depth_of(3), values}, -4),
      bad("two depths", {indices, numbers(DType::kInt64, {2}, {3, 3}), values}),
      bad("a negative depth", {indices, depth_of(-1), values}),
      bad("three values", {indices, depth_of(3), numbers(DType::kFloat32, {3}, {0, 1, 2})}),
      bad("more elements than int64 counts", {indices, most, values}),
      bad("an infinite depth", {indices, numbers(DType::kFloat32, {}, {INFINITY}), values}),
      bad("more bytes than there are addresses",
          {indices, Tensor::scalar<int64_t>(int64_t{1} << 55), values}),
      bad("more strings than there is memory",
          {indices, Tensor::scalar<int64_t>(int64_t{1} << 50), text({2}, {"a", "b"})}, -1,
          ErrorCode::kOutOfMemory),
      bad("rank 12",
          {Tensor(DType::kInt64, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0}), depth_of(2), values}, -1,
          ErrorCode::kUnsupported),
      bad("indices of bool", {Tensor::from<bool>({1}, {true}), depth_of(2), values}, -1,
          ErrorCode::kUnsupported),
  });
}

TEST_CASE("NonZero lists the places of every type") {
  const Tensor places = Tensor::from<int64_t>({2, 3}, {0, 0, 1, 0, 2, 1});
  for (const int opset : {9, 13}) {
    for (const DType dtype :
         {DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64, DType::kUInt8, DType::kUInt16,
          DType::kUInt32, DType::kUInt64, DType::kFloat16, DType::kBFloat16, DType::kFloat32,
          DType::kFloat64, DType::kBool}) {
      run_cases({{.name = str(dtype_name(dtype)),
                  .op_type = "NonZero",
                  .inputs = {numbers(dtype, {2, 3}, {1, 0, 1, 0, 1, 0})},
                  .expected = {places},
                  .opset = opset}});
    }
  }
  const Tensor none = Tensor(DType::kInt64, {1, 0});
  run_cases({
      {.name = "strings",
       .op_type = "NonZero",
       .inputs = {text({2, 3}, {"a", "", "0", "", " ", ""})},
       .expected = {places}},
      {.name = "complex",
       .op_type = "NonZero",
       .inputs = {Tensor::from<std::complex<float>>({2, 3}, {{1, 0}, {}, {0, 1}, {}, {2, 2}, {}})},
       .expected = {places}},
      {.name = "-0 and NaN",
       .op_type = "NonZero",
       .inputs = {numbers(DType::kFloat16, {3}, {-0.0, NAN, 6e-8})},
       .expected = {Tensor::from<int64_t>({1, 2}, {1, 2})}},
      {.name = "nothing",
       .op_type = "NonZero",
       .inputs = {numbers(DType::kFloat32, {4}, {0, 0, 0, 0})},
       .expected = {none}},
      {.name = "no elements",
       .op_type = "NonZero",
       .inputs = {numbers(DType::kFloat32, {0}, {})},
       .expected = {none}},
      {.name = "all",
       .op_type = "NonZero",
       .inputs = {numbers(DType::kInt64, {2, 2}, {7, 7, 7, 7})},
       .expected = {Tensor::from<int64_t>({2, 4}, {0, 0, 1, 1, 0, 1, 0, 1})}},
      {.name = "a scalar",
       .op_type = "NonZero",
       .inputs = {Tensor::scalar(3.0f)},
       .expected = {Tensor(DType::kInt64, {0, 1})}},
      {.name = "a scalar 0",
       .op_type = "NonZero",
       .inputs = {Tensor::scalar(0.0f)},
       .expected = {Tensor(DType::kInt64, {0, 0})}},
      {.name = "8 bits",
       .op_type = "NonZero",
       .inputs = {Tensor(DType::kFloat8E4M3FN, {2})},
       .error = ErrorCode::kUnsupported},
  });
}

// Exporters without Range wrote NonZero(ConstantOfShape(n)).
TEST_CASE("as many places as there are elements, when no element is 0") {
  const OpRegistry ops = builtin_ops();
  Graph graph;
  Fact ones = Fact::of(DType::kInt64, {Dim::symbol("S")});
  ones.uniform = Tensor::scalar<int64_t>(1);
  Node node;
  node.op_type = "NonZero";
  node.op = &ops.get("", "NonZero", 13);
  node.inputs = {graph.add_input("ones", ones)};
  node.outputs = {graph.add_value("places")};
  const ValueId places = node.outputs[0];
  graph.add_node(std::move(node));
  infer(graph);
  CHECK(graph.fact(places).to_string() == "int64[1,S]");
}

}  // namespace hugot::test
