#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr Tolerance kExact = {0, 0};

Tensor f32(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

Tensor bytes(DType dtype, const Shape& shape, uint64_t seed) {
  return random_tensor(dtype, shape, dtype == DType::kInt8 ? -128 : 0,
                       dtype == DType::kInt8 ? 128 : 256, seed);
}

// x - zero in int32; zero points of rows ([.., m, 1]) or columns ([n]) broadcast.
Tensor centred(const Tensor& x, const Tensor& zero) {
  const Node cast = node_of({.name = {},
                             .op_type = "Cast",
                             .inputs = {x},
                             .attributes = {{"to", static_cast<int64_t>(DType::kInt32)}}});
  const Tensor wide = run_node(cast, {x})[0];
  if (!zero.defined()) return wide;
  const Tensor offset = run_node(cast, {zero})[0];
  return run_node(node_of({.name = {}, .op_type = "Sub", .inputs = {wide, offset}}),
                  {wide, offset})[0];
}

// The definition, on the integer kernel of MatMul.
Tensor product(const Tensor& a, const Tensor& b, const Tensor& a_zero = {},
               const Tensor& b_zero = {}) {
  const Tensor x = centred(a, a_zero), y = centred(b, b_zero);
  return run_node(node_of({.name = {}, .op_type = "MatMul", .inputs = {x, y}}), {x, y})[0];
}

Case integer(std::string name, std::vector<Tensor> inputs, const Tensor& expected) {
  return {.name = std::move(name),
          .op_type = "MatMulInteger",
          .inputs = std::move(inputs),
          .expected = {expected}};
}

}  // namespace

TEST_CASE("integer products of every pair of types") {
  for (const DType a : {DType::kInt8, DType::kUInt8}) {
    for (const DType b : {DType::kInt8, DType::kUInt8}) {
      const Tensor x = bytes(a, {3, 7, 33}, 1), w = bytes(b, {33, 19}, 2);
      const Tensor xs = bytes(a, {2, 1, 5, 9}, 3), ws = bytes(b, {3, 9, 4}, 4);
      const Tensor a_zero = numbers(a, {}, {100}), b_zero = numbers(b, {}, {7});
      run_cases({
          integer("no zero points", {x, w}, product(x, w)),
          integer("one each", {x, w, a_zero, b_zero}, product(x, w, a_zero, b_zero)),
          integer("lists of one", {x, w, numbers(a, {1}, {3}), numbers(b, {1}, {4})},
                  product(x, w, numbers(a, {}, {3}), numbers(b, {}, {4}))),
          integer("the right one alone", {x, w, {}, b_zero}, product(x, w, {}, b_zero)),
          integer("by column", {x, w, a_zero, bytes(b, {19}, 5)},
                  product(x, w, a_zero, bytes(b, {19}, 5))),
          integer("batches on both sides", {xs, ws, a_zero, b_zero},
                  product(xs, ws, a_zero, b_zero)),
          integer("by row of every matrix", {xs, ws, bytes(a, {2, 1, 5, 1}, 6), {}},
                  product(xs, ws, bytes(a, {2, 1, 5, 1}, 6))),
          integer("by column of every matrix", {xs, ws, {}, bytes(b, {3, 1, 4}, 7)},
                  product(xs, ws, {}, bytes(b, {3, 1, 4}, 7))),
          integer("by row of a matrix",
                  {bytes(a, {5, 9}, 8), bytes(b, {9, 4}, 9), bytes(a, {5}, 10)},
                  product(bytes(a, {5, 9}, 8), bytes(b, {9, 4}, 9),
                          bytes(a, {5}, 10).reshaped({5, 1}))),
          integer("a vector on the left", {bytes(a, {9}, 1), ws}, product(bytes(a, {9}, 1), ws)),
          integer("a vector on the right", {xs, bytes(b, {9}, 1)}, product(xs, bytes(b, {9}, 1))),
          integer("nothing to add", {bytes(a, {2, 0}, 1), bytes(b, {0, 3}, 1), a_zero, b_zero},
                  numbers(DType::kInt32, {2, 3}, {0, 0, 0, 0, 0, 0})),
          integer("nothing", {bytes(a, {0, 2}, 1), bytes(b, {2, 3}, 1)},
                  numbers(DType::kInt32, {0, 3}, {})),
      });
    }
  }
}

TEST_CASE("quantized products are rounded to even and saturated") {
  const auto u8 = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kUInt8, shape, values);
  };
  const Tensor one = f32({}, {1});
  const auto qlinear = [](std::string name, std::vector<Tensor> inputs, const Tensor& expected) {
    return Case{.name = std::move(name),
                .op_type = "QLinearMatMul",
                .inputs = std::move(inputs),
                .expected = {expected},
                .tolerance = kExact,
                .parameters = {1, 4, 6}};
  };
  const Tensor a = u8({2, 2}, {1, 2, 3, 4}), b = u8({2, 2}, {1, 0, 1, 5});
  const Tensor zero = u8({}, {0});
  // a . b = [[3, 10], [7, 20]]
  run_cases({
      qlinear("plain", {a, one, zero, b, one, zero, one, zero}, u8({2, 2}, {3, 10, 7, 20})),
      qlinear("ties", {a, one, zero, b, one, zero, f32({}, {2}), zero}, u8({2, 2}, {2, 5, 4, 10})),
      qlinear("to int8",
              {a, f32({}, {10}), zero, b, one, zero, one, numbers(DType::kInt8, {}, {-100})},
              numbers(DType::kInt8, {2, 2}, {-70, 0, -30, 100})),
      qlinear("saturates", {a, f32({}, {100}), zero, b, one, zero, one, u8({}, {3})},
              u8({2, 2}, {255, 255, 255, 255})),
      qlinear(
          "scales by row and column",
          {a, f32({2}, {1, 2}), u8({2}, {1, 0}), b, f32({2}, {1, 0.5}), u8({2}, {0, 5}), one, zero},
          // rows [0, 1], [3, 4]; columns [1, 1], [-5, 0]
          u8({2, 2}, {1, 0, 14, 0})),
      qlinear("float16 scales",
              {a, numbers(DType::kFloat16, {}, {1}), zero, b, numbers(DType::kFloat16, {}, {1}),
               zero, numbers(DType::kFloat16, {}, {0.5}), zero},
              u8({2, 2}, {6, 20, 14, 40})),
      {.name = "scales that do not fit",
       .op_type = "QLinearMatMul",
       .inputs = {a, f32({3}, {1, 2, 3}), zero, b, one, zero, one, zero},
       .error = ErrorCode::kInvalidArgument,
       .parameters = {1, 4, 6}},
      {.name = "zero points of another type",
       .op_type = "MatMulInteger",
       .inputs = {a, b, numbers(DType::kInt8, {}, {1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "matrices that do not fit",
       .op_type = "MatMulInteger",
       .inputs = {a, u8({3, 1}, {1, 2, 3})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "zero points that do not fit",
       .op_type = "MatMulInteger",
       .inputs = {a, b, zero, u8({3}, {1, 2, 3})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no bytes",
       .op_type = "MatMulInteger",
       .inputs = {a, numbers(DType::kInt16, {2, 2}, {1, 2, 3, 4})},
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("products of float8") {
  const auto e4m3 = [](const Shape& shape, std::initializer_list<double> values) {
    const Tensor wide = numbers(DType::kFloat32, shape, values);
    return run_node(node_of({.name = {},
                             .op_type = "Cast",
                             .inputs = {wide},
                             .attributes = {{"to", static_cast<int64_t>(DType::kFloat8E4M3FN)}}}),
                    {wide})[0];
  };
  const Tensor one = f32({}, {1});
  run_cases({{.name = "to float8",
              .op_type = "QLinearMatMul",
              .inputs = {e4m3({1, 2}, {1.5, 2}), one, e4m3({}, {0}), e4m3({2, 1}, {2, -0.5}), one,
                         e4m3({}, {0}), f32({}, {0.5}), e4m3({}, {0})},
              .expected = {e4m3({1, 1}, {4})},
              .parameters = {1, 4, 6}},
             {.name = "to int8",
              .op_type = "QLinearMatMul",
              .inputs = {e4m3({1, 2}, {1.5, 2}), one, e4m3({}, {0}), e4m3({2, 1}, {2, -0.5}), one,
                         e4m3({}, {0}), f32({}, {0.5}), numbers(DType::kInt8, {}, {3})},
              .expected = {numbers(DType::kInt8, {1, 1}, {7})},
              .parameters = {1, 4, 6}}});
}

TEST_CASE("products of integers become floats as separate nodes would make them") {
  const Tensor a = bytes(DType::kUInt8, {2, 5, 40}, 1), w = bytes(DType::kInt8, {40, 21}, 2);
  const Tensor a_scale = f32({}, {0.03}), w_scale = random_tensor(DType::kFloat32, {21}, 0, 0.1, 3);
  const Tensor a_zero = numbers(DType::kUInt8, {}, {120}), w_zero = bytes(DType::kInt8, {21}, 4);
  const Tensor bias = random_tensor(DType::kFloat32, {21}, -1, 1, 5);
  const Tensor residual = random_tensor(DType::kFloat32, {2, 5, 21}, -1, 1, 6);
  const Tensor sums = product(a, w, a_zero, w_zero);
  Tensor plain(DType::kFloat32, sums.shape()), whole(DType::kFloat32, sums.shape());
  for (int64_t i = 0; i < sums.size(); ++i) {
    const float factor = a_scale.data<float>()[0] * w_scale.data<float>()[i % 21];
    const float scaled = static_cast<float>(sums.data<int32_t>()[i]) * factor;
    const float biased = scaled + bias.data<float>()[i % 21];
    plain.data<float>()[i] = biased;
    whole.data<float>()[i] = std::max(biased, 0.0f) + residual.data<float>()[i];
  }
  const std::vector<Tensor> operands = {a, w, a_scale, w_scale, a_zero, w_zero, bias};
  std::vector<Tensor> with_residual = operands;
  with_residual.push_back(residual);
  const Node transpose = node_of({.name = {}, .op_type = "Transpose", .inputs = {w}});
  std::vector<Tensor> transposed = operands;
  transposed[1] = run_node(transpose, {w})[0];
  const auto fused = [](std::string name, std::vector<Tensor> inputs, const Tensor& expected) {
    return Case{.name = std::move(name),
                .op_type = "QuantizedLinear",
                .inputs = std::move(inputs),
                .expected = {expected},
                .domain = "hugot",
                .tolerance = kExact};
  };
  std::vector<Case> cases = {fused("bias", operands, plain),
                             fused("bias, activation, residual", with_residual, whole),
                             fused("transposed", transposed, plain),
                             fused("ms", operands, plain),
                             fused("a bias that does not fit", operands, plain),
                             fused("a residual that does not fit", with_residual, plain)};
  cases[1].attributes = {{"activation", std::string("relu")}};
  cases[2].attributes = {{"trans_w", int64_t{1}}};
  cases[3].op_type = "MatMulIntegerToFloat";
  cases[3].domain = "com.microsoft";
  for (size_t i = 4; i < cases.size(); ++i) {
    cases[i].inputs.back() = f32({2}, {1, 2});
    cases[i].expected.clear();
    cases[i].error = ErrorCode::kInvalidArgument;
  }
  run_cases(cases);
}

TEST_CASE("a dynamically quantized product is its parts") {
  const Tensor x = random_tensor(DType::kFloat32, {2, 3, 20}, -2, 3, 1);
  const Tensor w = bytes(DType::kUInt8, {20, 6}, 2);
  const Tensor scale = f32({}, {0.01}), zero = numbers(DType::kUInt8, {}, {128});
  const Tensor bias = random_tensor(DType::kFloat32, {6}, -1, 1, 3);
  const auto parts = run_node(
      node_of({.name = {}, .op_type = "DynamicQuantizeLinear", .inputs = {x}, .outputs = 3}), {x});
  const std::vector<Tensor> inputs = {parts[0], w, parts[1], scale, parts[2], zero, bias};
  const Tensor expected = run_node(node_of({.name = {},
                                            .op_type = "MatMulIntegerToFloat",
                                            .inputs = inputs,
                                            .domain = "com.microsoft"}),
                                   inputs)[0];
  run_cases({{.name = "dynamic",
              .op_type = "DynamicQuantizeMatMul",
              .inputs = {x, w, scale, zero, bias},
              .expected = {expected},
              .domain = "com.microsoft",
              .tolerance = kExact}});
}

}  // namespace hugot::test
