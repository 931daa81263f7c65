// Forms of operators that the rooms' own cases do not have, or not where they are differentiable.
#include <doctest/doctest.h>

#include "tests/gradient_check.h"
#include "tests/graph_builder.h"

namespace hugot::test {
namespace {

using Ints = std::vector<int64_t>;

Tensor reals(const Shape& shape, uint64_t seed, double low = -2, double high = 2) {
  return random_tensor(DType::kFloat64, shape, low, high, seed);
}

Tensor ints(const Shape& shape, std::initializer_list<int64_t> values) {
  return Tensor::from<int64_t>(shape, values);
}

Tensor list(std::initializer_list<int64_t> values) {
  return ints({static_cast<int64_t>(values.size())}, values);
}

void check(std::initializer_list<Case> cases) {
  for (const Case& test : cases) {
    INFO("case: ", test.op_type, " ", test.name);
    CHECK(check_gradients(test, 100) > 0);
  }
}

}  // namespace

TEST_CASE("gradients of elementwise operators") {
  const Tensor x = reals({3, 4}, 1), positive = reals({3, 4}, 2, 0.1, 3);
  check({
      {.name = "fmod",
       .op_type = "Mod",
       .inputs = {x, reals({4}, 3, 0.3, 0.9)},
       .attributes = {{"fmod", int64_t{1}}}},
      {.name = "powers of anything", .op_type = "Pow", .inputs = {positive, x}},
      {.name = "whole exponents",
       .op_type = "Pow",
       .inputs = {x, numbers(DType::kInt64, {4}, {0, 1, 2, 3})}},
      {.name = "powers of zero",
       .op_type = "Pow",
       .inputs = {numbers(DType::kFloat64, {4}, {0, 0, 0, 1}),
                  numbers(DType::kFloat64, {4}, {0, 2, 3, 0})}},
      {.name = "limits",
       .op_type = "Clip",
       .inputs = {x, numbers(DType::kFloat64, {}, {-0.5}), numbers(DType::kFloat64, {}, {0.7})}},
      {.name = "upper limit",
       .op_type = "Clip",
       .inputs = {x, {}, numbers(DType::kFloat64, {1}, {0.7})}},
      {.name = "limits cross",
       .op_type = "Clip",
       .inputs = {x, numbers(DType::kFloat64, {}, {1}), numbers(DType::kFloat64, {}, {0.5})}},
      {.name = "attributes",
       .op_type = "Clip",
       .inputs = {x},
       .attributes = {{"min", -0.5f}, {"max", 0.5f}},
       .opset = 6},
      {.name = "broadcast branches",
       .op_type = "Where",
       .inputs = {numbers(DType::kBool, {3, 1}, {1, 0, 1}), reals({4}, 5), reals({3, 4}, 6)}},
      {.name = "three", .op_type = "Max", .inputs = {x, reals({4}, 7), reals({3, 1}, 8)}},
      {.name = "three", .op_type = "Min", .inputs = {x, reals({4}, 7), reals({3, 1}, 8)}},
      {.name = "three", .op_type = "Mean", .inputs = {x, reals({4}, 7), reals({3, 1}, 8)}},
      {.name = "one axis",
       .op_type = "Mul",
       .inputs = {reals({2, 3, 4}, 1), reals({3}, 2)},
       .attributes = {{"axis", int64_t{1}}, {"broadcast", int64_t{1}}},
       .opset = 6},
      {.name = "one axis",
       .op_type = "Div",
       .inputs = {reals({2, 3, 4}, 1), reals({2, 3}, 2, 0.5, 2)},
       .attributes = {{"axis", int64_t{0}}, {"broadcast", int64_t{1}}},
       .opset = 6},
      {.name = "one axis",
       .op_type = "Sub",
       .inputs = {reals({2, 3, 4}, 1), reals({3}, 2)},
       .attributes = {{"axis", int64_t{-2}}, {"broadcast", int64_t{1}}},
       .opset = 6},
      {.name = "slopes", .op_type = "PRelu", .inputs = {reals({2, 3, 4}, 1), reals({3, 1}, 2)}},
      {.name = "tanh form",
       .op_type = "Gelu",
       .inputs = {x},
       .attributes = {{"approximate", std::string("tanh")}}},
      {.name = "attributes",
       .op_type = "Selu",
       .inputs = {x},
       .attributes = {{"alpha", 0.7f}, {"gamma", 1.5f}}},
      {.name = "attributes", .op_type = "Celu", .inputs = {x}, .attributes = {{"alpha", 0.7f}}},
      {.name = "attributes", .op_type = "Swish", .inputs = {x}, .attributes = {{"alpha", 0.7f}}},
      {.name = "attributes",
       .op_type = "Shrink",
       .inputs = {x},
       .attributes = {{"lambd", 0.7f}, {"bias", 0.2f}}},
      {.name = "to itself", .op_type = "Cast", .inputs = {x}, .attributes = {{"to", int64_t{11}}}},
  });
}

TEST_CASE("gradients of reductions") {
  const Tensor x = reals({2, 3, 4}, 1);
  Tensor zeros = x.clone();
  for (const int64_t i : {0, 5, 6}) zeros.data<double>()[i] = 0;
  for (const char* type : {"ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                           "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}) {
    check({
        {.name = "all axes",
         .op_type = type,
         .inputs = {x},
         .attributes = {{"keepdims", int64_t{0}}}},
        {.name = "no axes",
         .op_type = type,
         .inputs = {x},
         .attributes = {{"noop_with_empty_axes", int64_t{1}}}},
        {.name = "two axes",
         .op_type = type,
         .inputs = {x, list({-1, 0})},
         .attributes = {{"keepdims", int64_t{0}}}},
        {.name = "attribute",
         .op_type = type,
         .inputs = {x},
         .attributes = {{"axes", Ints{1}}, {"keepdims", int64_t{0}}},
         .opset = 11},
        {.name = "zeros", .op_type = type, .inputs = {zeros, list({2})}},
    });
  }
  check({
      {.name = "log", .op_type = "ReduceLogSum", .inputs = {reals({2, 3}, 1, 0.1, 2), list({1})}},
      {.name = "to a row", .op_type = "SumTo", .inputs = {x, list({1, 4})}, .domain = "hugot"},
      {.name = "to a scalar", .op_type = "SumTo", .inputs = {x, list({})}, .domain = "hugot"},
      {.name = "to itself", .op_type = "SumTo", .inputs = {x, list({2, 3, 4})}, .domain = "hugot"},
      {.name = "first two",
       .op_type = "TopK",
       .inputs = {x, list({2})},
       .attributes = {{"axis", int64_t{1}}},
       .outputs = 2},
      {.name = "values only", .op_type = "TopK", .inputs = {x, list({2})}},
  });
  for (const int64_t exclusive : {0, 1}) {
    for (const int64_t reverse : {0, 1}) {
      const Attributes attributes = {{"exclusive", exclusive}, {"reverse", reverse}};
      for (const char* type : {"CumSum", "CumProd"}) {
        for (const int64_t axis : {1, -1}) {
          check({{.name = str(exclusive, reverse),
                  .op_type = type,
                  .inputs = {x, Tensor::scalar(axis)},
                  .attributes = attributes},
                 {.name = str(exclusive, reverse, " with zeros"),
                  .op_type = type,
                  .inputs = {zeros, Tensor::scalar(axis)},
                  .attributes = attributes}});
        }
      }
    }
  }
}

TEST_CASE("gradients of normalizations") {
  const Tensor x = reals({2, 3, 4}, 1), scale = reals({4}, 2, 0.5, 2), bias = reals({4}, 3);
  const auto axis = [](int64_t a) { return Attributes{{"axis", a}, {"stash_type", int64_t{11}}}; };
  const std::vector<Tensor> channels = {x, reals({3}, 2, 0.5, 2), reals({3}, 3), reals({3}, 4),
                                        reals({3}, 5, 0.3, 2)};
  const Attributes training = {{"training_mode", int64_t{1}}, {"momentum", 0.7f}};
  check({
      {.name = "statistics",
       .op_type = "LayerNormalization",
       .inputs = {x, scale, bias},
       .attributes = axis(-1),
       .outputs = 3},
      {.name = "two axes",
       .op_type = "LayerNormalization",
       .inputs = {x, reals({3, 4}, 2), reals({3, 4}, 3)},
       .attributes = axis(1),
       .outputs = 3},
      {.name = "no bias",
       .op_type = "LayerNormalization",
       .inputs = {x, scale},
       .attributes = axis(-1)},
      {.name = "scale by row",
       .op_type = "LayerNormalization",
       .inputs = {x, reals({3, 1}, 2)},
       .attributes = axis(-1)},
      {.name = "one axis",
       .op_type = "RMSNormalization",
       .inputs = {x, scale},
       .attributes = axis(-1)},
      {.name = "two axes",
       .op_type = "RMSNormalization",
       .inputs = {x, reals({3, 4}, 2)},
       .attributes = axis(1)},
      {.name = "statistics",
       .op_type = "SimplifiedLayerNormalization",
       .inputs = {x, scale},
       .attributes = axis(-1),
       .outputs = 2},
      {.name = "inference", .op_type = "BatchNormalization", .inputs = channels},
      {.name = "old", .op_type = "BatchNormalization", .inputs = channels, .opset = 9},
      {.name = "training",
       .op_type = "BatchNormalization",
       .inputs = channels,
       .attributes = training,
       .outputs = 3},
      {.name = "rows",
       .op_type = "BatchNormalization",
       .inputs = {reals({4, 3}, 1), channels[1], channels[2], channels[3], channels[4]},
       .attributes = training},
      {.name = "probabilities",
       .op_type = "Softmax",
       .inputs = {x},
       .attributes = {{"axis", int64_t{1}}}},
      {.name = "flattened",
       .op_type = "Softmax",
       .inputs = {x},
       .attributes = {{"axis", int64_t{1}}},
       .opset = 11},
      {.name = "flattened to columns",
       .op_type = "LogSoftmax",
       .inputs = {x},
       .attributes = {{"axis", int64_t{3}}},
       .opset = 1},
  });
}

TEST_CASE("gradients of views") {
  const Tensor x = reals({2, 1, 3}, 1);
  const Tensor off = numbers(DType::kBool, {}, {0}), on = numbers(DType::kBool, {}, {1});
  const Tensor ratio = numbers(DType::kFloat32, {}, {0});
  check({
      {.name = "new axes", .op_type = "Expand", .inputs = {x, list({4, 2, 5, 1})}},
      {.name = "by a zero", .op_type = "Reshape", .inputs = {x, list({0, -1})}},
      {.name = "axes", .op_type = "Squeeze", .inputs = {x, list({1})}},
      {.name = "every axis of length 1", .op_type = "Squeeze", .inputs = {x}},
      {.name = "axes", .op_type = "Unsqueeze", .inputs = {x, list({0, -1})}},
      {.name = "matrix",
       .op_type = "Flatten",
       .inputs = {x},
       .attributes = {{"axis", int64_t{-1}}}},
      {.name = "inference", .op_type = "Dropout", .inputs = {x, ratio, off}, .outputs = 2},
      {.name = "nothing dropped", .op_type = "Dropout", .inputs = {x, ratio, on}},
      {.name = "old", .op_type = "Dropout", .inputs = {x}, .opset = 7},
  });
}

TEST_CASE("gradients of operators that move elements") {
  const Tensor x = reals({2, 3, 4}, 1);
  const auto mode = [](const char* name) { return Attributes{{"mode", std::string(name)}}; };
  check({
      {.name = "reversed axes", .op_type = "Transpose", .inputs = {x}},
      {.name = "rotated axes",
       .op_type = "Transpose",
       .inputs = {x},
       .attributes = {{"perm", Ints{1, 2, 0}}}},
      {.name = "three",
       .op_type = "Concat",
       .inputs = {x, reals({2, 0, 4}, 2), reals({2, 5, 4}, 3)},
       .attributes = {{"axis", int64_t{-2}}}},
      {.name = "version 1", .op_type = "Concat", .inputs = {x, reals({2, 1, 4}, 2)}, .opset = 1},
      {.name = "sizes",
       .op_type = "Split",
       .inputs = {x, list({1, 3})},
       .attributes = {{"axis", int64_t{-1}}},
       .outputs = 2},
      {.name = "by number",
       .op_type = "Split",
       .inputs = {x},
       .attributes = {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}},
       .outputs = 2},
      {.name = "attribute",
       .op_type = "Split",
       .inputs = {x},
       .attributes = {{"axis", int64_t{2}}, {"split", Ints{3, 1}}},
       .opset = 11,
       .outputs = 2},
      {.name = "block",
       .op_type = "Slice",
       .inputs = {x, list({1, -3}), list({9, -1}), list({1, -1})}},
      {.name = "far bounds",
       .op_type = "Slice",
       .inputs = {x, list({INT64_MIN, 1}), list({INT64_MAX, INT64_MAX})}},
      {.name = "steps of 1",
       .op_type = "Slice",
       .inputs = {x, list({1}), list({3}), list({2}), list({1})}},
      {.name = "backwards",
       .op_type = "Slice",
       .inputs = {x, list({-1, 0}), list({INT64_MIN, 3}), list({2, 1}), list({-2, 2})}},
      {.name = "int32",
       .op_type = "Slice",
       .inputs = {x, numbers(DType::kInt32, {1}, {1}), numbers(DType::kInt32, {1}, {2}),
                  numbers(DType::kInt32, {1}, {1})}},
      {.name = "attributes",
       .op_type = "Slice",
       .inputs = {x},
       .attributes = {{"starts", Ints{1}}, {"ends", Ints{-1}}, {"axes", Ints{2}}},
       .opset = 9},
      {.name = "rows", .op_type = "Gather", .inputs = {x, ints({2, 2}, {1, 0, -1, 1})}},
      {.name = "columns",
       .op_type = "Gather",
       .inputs = {x, ints({2, 2}, {1, 0, -1, 1})},
       .attributes = {{"axis", int64_t{-1}}}},
      {.name = "one",
       .op_type = "Gather",
       .inputs = {x, Tensor::scalar<int64_t>(-1)},
       .attributes = {{"axis", int64_t{1}}}},
      {.name = "one row", .op_type = "Gather", .inputs = {x, Tensor::scalar<int64_t>(1)}},
      {.name = "int32",
       .op_type = "Gather",
       .inputs = {x, numbers(DType::kInt32, {3}, {0, 0, 2})},
       .attributes = {{"axis", int64_t{1}}}},
      {.name = "repeated",
       .op_type = "GatherElements",
       .inputs = {x, ints({2, 2, 3}, {0, 0, 1, 2, 2, -1, 0, 0, 0, 1, 1, 1})},
       .attributes = {{"axis", int64_t{1}}}},
      {.name = "tuples", .op_type = "GatherND", .inputs = {x, ints({3, 2}, {0, 1, 1, -1, 0, 1})}},
      {.name = "batch",
       .op_type = "GatherND",
       .inputs = {x, ints({2, 2, 1}, {0, 2, 1, 1})},
       .attributes = {{"batch_dims", int64_t{1}}}},
      {.name = "repeats", .op_type = "Tile", .inputs = {x, list({2, 1, 3})}},
      {.name = "lower",
       .op_type = "Trilu",
       .inputs = {x, Tensor::scalar<int64_t>(1)},
       .attributes = {{"upper", int64_t{0}}}},
      {.name = "upper", .op_type = "Trilu", .inputs = {x}},
      {.name = "constant",
       .op_type = "Pad",
       .inputs = {x, list({1, 0, -1, 0, 2, 3}), numbers(DType::kFloat64, {}, {0.5})}},
      {.name = "some axes",
       .op_type = "Pad",
       .inputs = {x, list({1, 2}), numbers(DType::kFloat64, {1}, {0.5}), list({-1})}},
      {.name = "edge",
       .op_type = "Pad",
       .inputs = {x, list({1, 0, 2, 0, 2, 3})},
       .attributes = mode("edge")},
      {.name = "reflect",
       .op_type = "Pad",
       .inputs = {x, list({1, 0, 2, 0, 2, 3})},
       .attributes = mode("reflect")},
      {.name = "wrap",
       .op_type = "Pad",
       .inputs = {x, list({1, 0, 2, 0, 2, 3})},
       .attributes = mode("wrap")},
      {.name = "old",
       .op_type = "Pad",
       .inputs = {x},
       .attributes = {{"pads", Ints{0, 1, 0, 1, 0, 1}}, {"value", 0.5f}},
       .opset = 2},
      {.name = "first name",
       .op_type = "Scatter",
       .inputs = {reals({3, 2}, 1), ints({1, 2}, {2, 0}), reals({1, 2}, 2)},
       .opset = 9},
  });
  for (const char* reduction : {"none", "add", "mul", "max", "min"}) {
    const Attributes attributes = {{"axis", int64_t{1}}, {"reduction", std::string(reduction)}};
    const Attributes blocks = {{"reduction", std::string(reduction)}};
    Tensor zeros = reals({2, 4}, 3);
    for (const int64_t i : {1, 4, 6}) zeros.data<double>()[i] = 0;
    const Tensor index = ints({2, 4}, {0, 2, 0, 0, -1, 1, -1, 1}), tuples = ints({3, 1}, {1, 0, 1});
    check({
        {.name = reduction,
         .op_type = "ScatterElements",
         .inputs = {reals({2, 3}, 1), index, reals({2, 4}, 2)},
         .attributes = attributes},
        {.name = str(reduction, " zeros"),
         .op_type = "ScatterElements",
         .inputs = {reals({2, 3}, 1), index, zeros},
         .attributes = attributes},
        {.name = reduction,
         .op_type = "ScatterND",
         .inputs = {reals({2, 3}, 1), tuples, reals({3, 3}, 2)},
         .attributes = blocks},
    });
  }
}

TEST_CASE("gradients of matrix products") {
  const auto options = [](int64_t a, int64_t b) {
    return Attributes{{"transA", a}, {"transB", b}, {"alpha", 0.7f}, {"beta", 1.3f}};
  };
  check({
      {.name = "rows", .op_type = "MatMul", .inputs = {reals({2, 3, 4}, 1), reals({4, 5}, 2)}},
      {.name = "vectors", .op_type = "MatMul", .inputs = {reals({4}, 1), reals({4}, 2)}},
      {.name = "vector left",
       .op_type = "MatMul",
       .inputs = {reals({4}, 1), reals({2, 3, 4, 5}, 2)}},
      {.name = "vector left of a matrix",
       .op_type = "MatMul",
       .inputs = {reals({4}, 1), reals({4, 5}, 2)}},
      {.name = "vector right", .op_type = "MatMul", .inputs = {reals({2, 3, 4}, 1), reals({4}, 2)}},
      {.name = "repeated left",
       .op_type = "MatMul",
       .inputs = {reals({3, 4}, 1), reals({2, 4, 5}, 2)}},
      {.name = "repeated both",
       .op_type = "MatMul",
       .inputs = {reals({2, 1, 3, 4}, 1), reals({3, 4, 5}, 2)}},
      {.name = "plain",
       .op_type = "Gemm",
       .inputs = {reals({3, 4}, 1), reals({4, 5}, 2), reals({5}, 3)},
       .attributes = options(0, 0)},
      {.name = "A transposed",
       .op_type = "Gemm",
       .inputs = {reals({4, 3}, 1), reals({4, 5}, 2), reals({3, 1}, 3)},
       .attributes = options(1, 0)},
      {.name = "B transposed",
       .op_type = "Gemm",
       .inputs = {reals({3, 4}, 1), reals({5, 4}, 2), reals({}, 3)},
       .attributes = options(0, 1)},
      {.name = "both transposed",
       .op_type = "Gemm",
       .inputs = {reals({4, 3}, 1), reals({5, 4}, 2)},
       .attributes = options(1, 1)},
  });
}

TEST_CASE("gradients of attention") {
  const auto q = reals({2, 3, 8}, 1), k = reals({2, 5, 4}, 2), v = reals({2, 5, 6}, 3);
  const Tensor past_k = reals({2, 2, 4, 2}, 4), past_v = reals({2, 2, 4, 3}, 5);
  const auto with = [](Attributes more) {
    more.insert({{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}});
    return more;
  };
  Tensor visible(DType::kBool, {3, 5});  // the second query sees nothing
  for (int64_t i = 0; i < 15; ++i) visible.data<bool>()[i] = i / 5 != 1 && i % 3 != 0;
  const std::vector<Tensor> all = {q, k, v, reals({3, 9}, 6), past_k, past_v};
  check({
      {.name = "grouped heads",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = with({})},
      {.name = "four axes",
       .op_type = "Attention",
       .inputs = {reals({2, 4, 3, 2}, 1), reals({2, 2, 5, 2}, 2), reals({2, 2, 5, 3}, 3)}},
      {.name = "same heads",
       .op_type = "Attention",
       .inputs = {reals({1, 2, 3, 2}, 1), reals({1, 2, 5, 2}, 2), reals({1, 2, 5, 3}, 3)}},
      {.name = "causal",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = with({{"is_causal", int64_t{1}}})},
      {.name = "bias",
       .op_type = "Attention",
       .inputs = {q, k, v, reals({4, 3, 5}, 6)},
       .attributes = with({{"scale", 0.4f}})},
      {.name = "short mask",
       .op_type = "Attention",
       .inputs = {q, k, v, reals({3, 2}, 6)},
       .attributes = with({})},
      {.name = "bool mask",
       .op_type = "Attention",
       .inputs = {q, k, v, visible},
       .attributes = with({})},
      {.name = "soft cap",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = with({{"softcap", 0.8f}})},
      {.name = "windows",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = with({{"left_window_size", int64_t{1}}, {"right_window_size", INT64_MAX}})},
      {.name = "lengths",
       .op_type = "Attention",
       .inputs = {q, k, v, {}, {}, {}, list({5, 3})},
       .attributes = with({{"is_causal", int64_t{1}}})},
      {.name = "fused",
       .op_type = "Attention",
       .inputs = {q, k, v, reals({1, 4, 3, 5}, 6)},
       .attributes = {{"num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}, {"scale", 0.4f}},
       .domain = "hugot"},
      {.name = "fused, one bias per query",
       .op_type = "Attention",
       .inputs = {q, k, v, reals({2, 1, 3, 1}, 6)},
       .attributes = {{"num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}, {"scale", 0.4f}},
       .domain = "hugot"},
  });
  for (const int64_t mode : {0, 1, 2, 3}) {
    check({{.name = str("all outputs, mode ", mode),
            .op_type = "Attention",
            .inputs = all,
            .attributes = with(
                {{"qk_matmul_output_mode", mode}, {"softcap", 1.5f}, {"is_causal", int64_t{1}}}),
            .outputs = 4}});
  }
}

TEST_CASE("gradients of nothing") {
  const Tensor x = reals({2, 3, 4}, 1);
  for (const Case& test : std::initializer_list<Case>{
           {.name = "no elements",
    .op_type = "Mul",
    .inputs = {Tensor(DType::kFloat64, {0, 4}), reals({4}, 1)}},
           {.name = "no elements",
           .op_type = "Expand",
           .inputs = {reals({2, 1, 4}, 1), list({2, 0, 4})}},
           {.name = "nothing",
           .op_type = "Gather",
           .inputs = {x, list({})},
           .attributes = {{"axis", int64_t{1}}}},
           {.name = "no rows", .op_type = "MatMul", .inputs = {reals({0, 4}, 1), reals({4, 5}, 2)}},
           {.name = "nothing to add",
           .op_type = "MatMul",
           .inputs = {reals({3, 0}, 1), reals({0, 5}, 2)}}}) {
    INFO("case: ", test.op_type, " ", test.name);
    check_gradients(test);
  }
}

}  // namespace hugot::test
