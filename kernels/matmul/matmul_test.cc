#include <doctest/doctest.h>

#include <cmath>

#include "graph/op.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -1, 1, seed);
}
Attributes flags(std::initializer_list<const char*> names) {
  Attributes attributes;
  for (const char* name : names) attributes[name] = int64_t{1};
  return attributes;
}

double activated(const std::string& name, double x) {
  if (name == "relu") return std::max(x, 0.0);
  if (name == "gelu") return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
  if (name == "gelu_tanh") {
    return x / 2 *
           (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  }
  if (name == "tanh") return std::tanh(x);
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "silu") return x / (1 + std::exp(-x));
  return x;
}

// activation(X . W + bias) + residual in float64; W is [k, n].
Tensor linear_reference(const Tensor& x, const Tensor& w, const Tensor& bias,
                        const std::string& activation, const Tensor& residual) {
  const int64_t k = w.shape()[0], n = w.shape()[1];
  Tensor y(DType::kFloat32, x.shape().with(x.rank() - 1, n));
  for (int64_t i = 0; i < y.size(); ++i) {
    double sum = bias.defined() ? bias.data<float>()[i % n] : 0;
    for (int64_t j = 0; j < k; ++j) {
      sum += static_cast<double>(x.data<float>()[i / n * k + j]) * w.data<float>()[j * n + i % n];
    }
    sum = activated(activation, sum) + (residual.defined() ? residual.data<float>()[i] : 0);
    y.data<float>()[i] = static_cast<float>(sum);
  }
  return y;
}

Tensor transposed(const Tensor& x) {
  Tensor y(x.dtype(), {x.shape()[1], x.shape()[0]});
  for (int64_t i = 0; i < y.size(); ++i) {
    y.data<float>()[i] = x.data<float>()[i % x.shape()[0] * x.shape()[1] + i / x.shape()[0]];
  }
  return y;
}

// The node's only output; with its packed weight or without.
Tensor run(const char* domain, const char* op_type, const std::vector<Tensor>& inputs,
           Attributes attributes, bool packed) {
  static const OpRegistry ops = builtin_ops();
  OpDef op = ops.get(domain, op_type, kNewest);
  if (!packed) op.prepare = nullptr;
  Node node;
  node.op_type = op_type;
  node.op = &op;
  node.attributes = std::move(attributes);
  node.outputs = {0};
  std::vector<const Tensor*> arguments;
  for (const Tensor& input : inputs) {
    node.inputs.push_back(static_cast<ValueId>(arguments.size()));
    arguments.push_back(&input);
  }
  return evaluate(node, arguments)[0];
}

}  // namespace

TEST_CASE("MatMul agrees with float64 for every combination of shapes") {
  const std::vector<std::pair<Shape, Shape>> forms = {{{4}, {4}},
                                                      {{4}, {4, 5}},
                                                      {{3, 4}, {4}},
                                                      {{3, 4}, {4, 5}},
                                                      {{2, 3, 4}, {4, 5}},
                                                      {{2, 3, 4}, {2, 4, 5}},
                                                      {{2, 1, 3, 4}, {5, 4, 6}},
                                                      {{4}, {2, 4, 5}},
                                                      {{2, 3, 4}, {4}},
                                                      {{1, 3, 4}, {7, 4, 5}},
                                                      {{0, 4}, {4, 5}},
                                                      {{3, 0}, {0, 5}},
                                                      {{2, 0, 4}, {4, 0}},
                                                      {{70, 67}, {67, 131}},
                                                      {{9, 13, 33}, {9, 33, 17}},
                                                      {{3, 4}, {1, 1, 4, 2}}};
  uint64_t seed = 0;
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    for (const auto& [a, b] : forms) {
      // The error is relative to the sum of the products' sizes, not to what cancellation leaves.
      Tolerance tolerance = default_tolerance(dtype);
      tolerance.absolute = tolerance.relative * static_cast<double>(a.back() + 1);
      run_cases({{.name = str(dtype_name(dtype), a.to_string(), " . ", b.to_string()),
                  .op_type = "MatMul",
                  .inputs = {random_tensor(dtype, a, -1, 1, ++seed),
                             random_tensor(dtype, b, -1, 1, ++seed)},
                  .tolerance = tolerance}});
    }
  }
}

TEST_CASE("MatMul of integers wraps, and misfits are errors") {
  const Tensor big = numbers(DType::kInt32, {1, 2}, {2147483647, 1});
  run_cases({
      {.name = "int32",
       .op_type = "MatMul",
       .inputs = {big, numbers(DType::kInt32, {2, 1}, {2, 5})},
       .expected = {numbers(DType::kInt32, {1, 1}, {3})}},
      {.name = "uint64",
       .op_type = "MatMul",
       .inputs = {numbers(DType::kUInt64, {1, 2}, {3, 4}),
                  numbers(DType::kUInt64, {2, 2}, {1, 2, 3, 4})},
       .expected = {numbers(DType::kUInt64, {1, 2}, {15, 22})}},
      {.name = "int8",
       .op_type = "MatMul",
       .inputs = {Tensor(DType::kInt8, {1, 1}), Tensor(DType::kInt8, {1, 1})},
       .error = ErrorCode::kUnsupported},
      {.name = "inner dimensions",
       .op_type = "MatMul",
       .inputs = {floats({2, 3}, 1), floats({2, 3}, 2)},
       .error = ErrorCode::kInvalidArgument},
      {.name = "batches",
       .op_type = "MatMul",
       .inputs = {floats({2, 3, 3}, 1), floats({3, 3, 3}, 2)},
       .error = ErrorCode::kInvalidArgument},
      {.name = "scalar",
       .op_type = "MatMul",
       .inputs = {Tensor::scalar(1.0f), floats({3}, 2)},
       .error = ErrorCode::kInvalidArgument},
      {.name = "types",
       .op_type = "MatMul",
       .inputs = {big, floats({2, 1}, 1)},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("Gemm agrees with float64") {
  uint64_t seed = 100;
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16}) {
    for (const auto& c : std::vector<std::optional<Shape>>{
             std::nullopt, Shape{}, Shape{1}, Shape{5}, Shape{1, 5}, Shape{3, 1}, Shape{3, 5}}) {
      for (int form = 0; form < 8; ++form) {
        const bool trans_a = (form & 1) != 0, trans_b = (form & 2) != 0, factors = (form & 4) != 0;
        Attributes attributes = {{"transA", int64_t{trans_a}}, {"transB", int64_t{trans_b}}};
        if (factors) {
          attributes["alpha"] = 0.5f;
          attributes["beta"] = -2.0f;
        }
        Tolerance tolerance = default_tolerance(dtype);
        tolerance.absolute = 8 * tolerance.relative;
        run_cases(
            {{.name = str(dtype_name(dtype), " form ", form, " C ", c ? c->to_string() : "none"),
              .op_type = "Gemm",
              .inputs = {random_tensor(dtype, trans_a ? Shape{4, 3} : Shape{3, 4}, -1, 1, ++seed),
                         random_tensor(dtype, trans_b ? Shape{5, 4} : Shape{4, 5}, -1, 1, ++seed),
                         c ? random_tensor(dtype, *c, -1, 1, ++seed) : Tensor()},
              .attributes = attributes,
              .tolerance = tolerance}});
      }
    }
  }
  const Tensor a = numbers(DType::kInt32, {1, 2}, {1, 2}),
               b = numbers(DType::kInt32, {2, 1}, {3, 4});
  run_cases({
      {.name = "integers",
       .op_type = "Gemm",
       .inputs = {a, b, numbers(DType::kInt32, {1}, {5})},
       .expected = {numbers(DType::kInt32, {1, 1}, {16})}},
      {.name = "integers with a factor",
       .op_type = "Gemm",
       .inputs = {a, b},
       .attributes = {{"alpha", 0.5f}},
       .expected = {numbers(DType::kInt32, {1, 1}, {5})}},
      {.name = "C too large",
       .op_type = "Gemm",
       .inputs = {floats({1, 2}, 1), floats({2, 3}, 2), floats({2, 3}, 3)},
       .error = ErrorCode::kInvalidArgument},
      {.name = "rank 3",
       .op_type = "Gemm",
       .inputs = {floats({1, 1, 2}, 1), floats({2, 3}, 2)},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("Linear agrees with float64") {
  uint64_t seed = 500;
  for (const Shape& shape : {Shape{1, 5, 12}, Shape{3, 12}, Shape{2, 33, 12}, Shape{0, 12}}) {
    for (const char* activation :
         {"none", "relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "silu"}) {
      for (int form = 0; form < 8; ++form) {
        const Tensor x = floats(shape, ++seed), w = floats({12, 37}, ++seed);
        const Tensor bias = (form & 1) != 0 ? floats({37}, ++seed) : Tensor();
        const Tensor residual =
            (form & 2) != 0 ? floats(shape.with(shape.rank() - 1, 37), ++seed) : Tensor();
        Attributes attributes = flags({});
        if ((form & 4) != 0) attributes = flags({"trans_w"});
        attributes["activation"] = std::string(activation);
        Case test = {.name = str(activation, " ", shape.to_string(), " form ", form),
                     .op_type = "Linear",
                     .inputs = {x, (form & 4) != 0 ? transposed(w) : w, bias, residual},
                     .attributes = attributes,
                     .expected = {linear_reference(x, w, bias, activation, residual)},
                     .domain = "hugot",
                     .tolerance = Tolerance{1e-5, 2e-6}};
        run_cases({test, in_float64(test)});
      }
    }
  }
  const Tensor x = floats({2, 3}, 1), w = floats({3, 4}, 2);
  run_cases({
      {.name = "weight",
       .op_type = "Linear",
       .inputs = {x, transposed(w)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "bias",
       .op_type = "Linear",
       .inputs = {x, w, floats({3}, 3)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "residual",
       .op_type = "Linear",
       .inputs = {x, w, {}, floats({4}, 3)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "activation",
       .op_type = "Linear",
       .inputs = {x, w},
       .attributes = {{"activation", std::string("softsign")}},
       .domain = "hugot",
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("Linear with narrow weights") {
  const Tensor x = floats({2, 9, 40}, 1), w = floats({40, 37}, 2), bias = floats({37}, 3);
  const Tensor residual = floats({2, 9, 37}, 4);
  // Errors of 40 products of numbers up to 1: at most 40 times the rounding, usually the root of
  // it.
  const std::pair<const char*, double> precisions[] = {{"bf16", 0.02}, {"int8", 0.06}};
  for (const auto& [precision, tolerance] : precisions) {
    for (const bool transpose : {false, true}) {
      Attributes attributes = transpose ? flags({"trans_w"}) : flags({});
      attributes["precision"] = std::string(precision);
      attributes["activation"] = std::string("gelu");
      const Case test = {.name = str(precision, transpose ? " transposed" : ""),
                         .op_type = "Linear",
                         .inputs = {x, transpose ? transposed(w) : w, bias, residual},
                         .attributes = attributes,
                         .expected = {linear_reference(x, w, bias, "gelu", residual)},
                         .domain = "hugot",
                         .tolerance = Tolerance{0, tolerance}};
      run_cases({test});
      Case exact = in_float64(test);  // ignores the precision
      exact.tolerance = Tolerance{1e-5, 2e-6};
      run_cases({exact});
    }
  }
  run_cases({{.name = "precision",
              .op_type = "Linear",
              .inputs = {floats({2, 3}, 1), floats({3, 4}, 2)},
              .attributes = {{"precision", std::string("int3")}},
              .domain = "hugot",
              .error = ErrorCode::kUnsupported}});
}

TEST_CASE("LinearGroup is bitwise several Linear") {
  const Tensor x = floats({2, 9, 40}, 1);
  const int64_t widths[] = {37, 64, 3};
  for (const char* precision : {"fp32", "bf16", "int8"}) {
    for (const bool transpose : {false, true}) {
      Attributes attributes = transpose ? flags({"trans_w"}) : flags({});
      attributes["precision"] = std::string(precision);
      Case group = {.name = str(precision, transpose ? " transposed" : ""),
                    .op_type = "LinearGroup",
                    .inputs = {x},
                    .attributes = attributes,
                    .domain = "hugot",
                    .outputs = 3};
      std::vector<Tensor> wanted;
      for (uint64_t i = 0; i < 3; ++i) {
        const Tensor w = floats({40, widths[i]}, 10 + i);
        const Tensor bias = i == 1 ? Tensor() : floats({widths[i]}, 20 + i);
        const Case alone = {.name = group.name,
                            .op_type = "Linear",
                            .inputs = {x, transpose ? transposed(w) : w, bias},
                            .attributes = attributes,
                            .domain = "hugot"};
        group.inputs.push_back(alone.inputs[1]);
        group.inputs.push_back(bias);
        wanted.push_back(run_node(node_of(alone), alone.inputs)[0]);
      }
      const std::vector<Tensor> got = run_node(node_of(group), group.inputs);
      for (size_t i = 0; i < 3; ++i) CHECK(identical(got[i], wanted[i]));
      group.tolerance = std::string(precision) == "fp32"   ? Tolerance{1e-5, 2e-6}
                        : std::string(precision) == "bf16" ? Tolerance{0, 0.02}
                                                           : Tolerance{0, 0.06};
      run_cases({group});
    }
  }
  run_cases({{.name = "weight",
              .op_type = "LinearGroup",
              .inputs = {x, floats({40, 4}, 2), {}, floats({39, 4}, 2), {}},
              .domain = "hugot",
              .outputs = 2,
              .error = ErrorCode::kInvalidArgument},
             {.name = "inputs",
              .op_type = "LinearGroup",
              .inputs = {x, floats({40, 4}, 2), {}},
              .domain = "hugot",
              .outputs = 2,
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("a row has the same bits alone, among others, and with an unpacked weight") {
  const int64_t rows = 67, k = 96, n = 71;
  const Tensor x = floats({rows, k}, 1), w = floats({k, n}, 2), bias = floats({n}, 3);
  const Attributes gelu = {{"activation", std::string("gelu")}};
  const auto narrow = [](const char* precision) {
    return Attributes{{"precision", std::string(precision)}};
  };
  struct Form {
    const char *domain, *op;
    std::vector<Tensor> rest;
    Attributes attributes;
  };
  for (const Form& form : {Form{"", "MatMul", {w}, {}}, Form{"", "Gemm", {w, bias}, {}},
                           Form{"hugot", "Linear", {w, bias}, gelu},
                           Form{"hugot", "Linear", {w, bias}, narrow("bf16")},
                           Form{"hugot", "Linear", {w, bias}, narrow("int8")}}) {
    CAPTURE(form.op);
    const auto with = [&](const Tensor& first, bool packed) {
      std::vector<Tensor> inputs = {first};
      inputs.insert(inputs.end(), form.rest.begin(), form.rest.end());
      return run(form.domain, form.op, inputs, form.attributes, packed);
    };
    const Tensor all = with(x, true);
    CHECK(identical(with(x, false), all));
    for (int64_t count : {1, 2, 5, 13, 66}) {
      for (int64_t begin = 0; begin + count <= rows; begin += 11) {
        const Tensor part(DType::kFloat32, {count, k}, x.data<float>() + begin * k);
        const Tensor expected(DType::kFloat32, {count, n}, all.data<float>() + begin * n);
        CHECK(identical(with(part, true), expected));
        CHECK(identical(with(part, false), expected));
      }
    }
  }
}

}  // namespace hugot::test
