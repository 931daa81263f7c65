#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const std::vector<DType> kFloats = {DType::kFloat32, DType::kFloat64, DType::kFloat16,
                                    DType::kBFloat16};
const std::vector<DType> kIntegers = {DType::kInt8,   DType::kInt16, DType::kInt32,
                                      DType::kInt64,  DType::kUInt8, DType::kUInt16,
                                      DType::kUInt32, DType::kUInt64};

Tensor bools(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kBool, shape, values);
}
Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor ints(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kInt64, shape, values);
}

struct Function {
  const char* name;
  double low, high;  // where it is tried
  std::function<double(double)> formula;
  Attributes attributes = {};
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::log1p(std::exp(x)); }
double clamp(double x) { return std::min(std::max(x, 0.0), 1.0); }

const Function kFunctions[] = {
    {"Abs", -9, 9, [](double x) { return std::abs(x); }},
    {"Acos", -1, 1, [](double x) { return std::acos(x); }},
    {"Acosh", 1, 9, [](double x) { return std::acosh(x); }},
    {"Asin", -1, 1, [](double x) { return std::asin(x); }},
    {"Asinh", -9, 9, [](double x) { return std::asinh(x); }},
    {"Atan", -9, 9, [](double x) { return std::atan(x); }},
    {"Atanh", -0.9, 0.9, [](double x) { return std::atanh(x); }},
    {"Ceil", -9, 9, [](double x) { return std::ceil(x); }},
    {"Celu", -9, 9, [](double x) { return x < 0 ? 2 * std::expm1(x / 2) : x; }, {{"alpha", 2.0f}}},
    {"Cos", -9, 9, [](double x) { return std::cos(x); }},
    {"Cosh", -5, 5, [](double x) { return std::cosh(x); }},
    {"Elu", -9, 9, [](double x) { return x < 0 ? 2 * std::expm1(x) : x; }, {{"alpha", 2.0f}}},
    {"Erf", -5, 5, [](double x) { return std::erf(x); }},
    {"Exp", -20, 20, [](double x) { return std::exp(x); }},
    {"Floor", -9, 9, [](double x) { return std::floor(x); }},
    {"Gelu", -9, 9, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }},
    {"Gelu",
     -9,
     9,
     [](double x) {
       return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
     },
     {{"approximate", std::string("tanh")}}},
    {"HardSigmoid", -9, 9, [](double x) { return clamp(0.25 * x + 0.5); }, {{"alpha", 0.25f}}},
    {"HardSwish", -9, 9, [](double x) { return x * clamp(x / 6 + 0.5); }},
    {"LeakyRelu", -9, 9, [](double x) { return x < 0 ? 0.125 * x : x; }, {{"alpha", 0.125f}}},
    {"Log", 1e-3, 100, [](double x) { return std::log(x); }},
    {"Mish", -9, 9, [](double x) { return x * std::tanh(softplus(x)); }},
    {"Neg", -9, 9, [](double x) { return -x; }},
    {"Reciprocal", 0.1, 9, [](double x) { return 1 / x; }},
    {"Relu", -9, 9, [](double x) { return std::max(x, 0.0); }},
    {"Round", -9, 9, [](double x) { return std::nearbyint(x); }},
    {"Selu",
     -9,
     9,
     [](double x) { return 1.5 * (x < 0 ? 2 * std::expm1(x) : x); },
     {{"alpha", 2.0f}, {"gamma", 1.5f}}},
    {"Shrink",
     -2,
     2,
     [](double x) { return x < -0.5  ? x + 0.25
                           : x > 0.5 ? x - 0.25
                                     : 0; },
     {{"bias", 0.25f}}},
    {"Sigmoid", -20, 20, sigmoid},
    {"Sign", -9, 9, [](double x) { return (x > 0) - (x < 0); }},
    {"Sin", -9, 9, [](double x) { return std::sin(x); }},
    {"Sinh", -5, 5, [](double x) { return std::sinh(x); }},
    {"Softplus", -20, 20, softplus},
    {"Softsign", -9, 9, [](double x) { return x / (1 + std::abs(x)); }},
    {"Sqrt", 0, 100, [](double x) { return std::sqrt(x); }},
    {"Swish", -9, 9, [](double x) { return x * sigmoid(x); }},
    {"Swish", -9, 9, [](double x) { return x * sigmoid(1.5 * x); }, {{"alpha", 1.5f}}},
    {"Tan", -1, 1, [](double x) { return std::tan(x); }},
    {"Tanh", -9, 9, [](double x) { return std::tanh(x); }},
    {"ThresholdedRelu", -9, 9, [](double x) { return x > 2 ? x : 0; }, {{"alpha", 2.0f}}},
};

Tensor as(DType dtype, const Tensor& x) {
  Tensor y(dtype, x.shape());
  const std::vector<double> values = as_doubles(x);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    if (dtype == DType::kFloat32) y.data<float>()[at] = static_cast<float>(values[i]);
    if (dtype == DType::kFloat64) y.data<double>()[at] = values[i];
    if (dtype == DType::kFloat16) y.data<Float16>()[at] = Float16(static_cast<float>(values[i]));
    if (dtype == DType::kBFloat16) y.data<BFloat16>()[at] = BFloat16(static_cast<float>(values[i]));
  }
  return y;
}

}  // namespace

TEST_CASE("functions of one number follow their formulas in every float type and size") {
  uint64_t seed = 1;
  for (const Function& function : kFunctions) {
    for (const DType dtype : kFloats) {
      for (const Shape& shape :
           {Shape{}, Shape{0}, Shape{3, 0}, Shape{1}, Shape{7}, Shape{5, 67}}) {
        const Tensor x = random_tensor(dtype, shape, function.low, function.high, ++seed);
        Tolerance tolerance = default_tolerance(dtype);
        tolerance.absolute = std::max(tolerance.absolute, dtype == DType::kFloat64 ? 0 : 1e-6);
        run_cases({{.name = str(dtype_name(dtype), shape.to_string()),
                    .op_type = function.name,
                    .inputs = {x},
                    .attributes = function.attributes,
                    .expected = {as(dtype, mapped(x, function.formula))},
                    .tolerance = tolerance}});
      }
    }
  }
}

TEST_CASE("a long tensor is split between threads") {
  for (const char* op : {"Exp", "Gelu", "Sin", "Neg"}) {
    run_cases({{.name = "long",
                .op_type = op,
                .inputs = {random_tensor(DType::kFloat32, {3, 40001}, -4, 4, 5)}}});
  }
  run_cases({{.name = "long",
              .op_type = "Add",
              .inputs = {random_tensor(DType::kFloat32, {300, 401}, -4, 4, 6),
                         random_tensor(DType::kFloat32, {300, 1}, -4, 4, 7)}}});
}

TEST_CASE("special numbers") {
  const Tensor x = floats({5}, {-kInf, kInf, kNaN, 0, -0.0});
  run_cases({
      {.name = "special",
       .op_type = "IsNaN",
       .inputs = {x},
       .expected = {bools({5}, {0, 0, 1, 0, 0})}},
      {.name = "special",
       .op_type = "IsInf",
       .inputs = {x},
       .expected = {bools({5}, {1, 1, 0, 0, 0})}},
      {.name = "positive only",
       .op_type = "IsInf",
       .inputs = {x},
       .attributes = {{"detect_negative", int64_t{0}}},
       .expected = {bools({5}, {0, 1, 0, 0, 0})}},
      {.name = "special",
       .op_type = "Relu",
       .inputs = {x},
       .expected = {floats({5}, {0, kInf, kNaN, 0, 0})}},
      {.name = "special",
       .op_type = "Sign",
       .inputs = {x},
       .expected = {floats({5}, {-1, 1, kNaN, 0, 0})}},
      {.name = "special",
       .op_type = "Softplus",
       .inputs = {x},
       .expected = {floats({5}, {0, kInf, kNaN, std::log(2.0), std::log(2.0)})}},
      {.name = "special",
       .op_type = "Sigmoid",
       .inputs = {x},
       .expected = {floats({5}, {0, 1, kNaN, 0.5, 0.5})}},
      {.name = "ties",
       .op_type = "Round",
       .inputs = {floats({5}, {0.5, 1.5, 2.5, -0.5, -2.5})},
       .expected = {floats({5}, {0, 2, 2, 0, -2})}},
      {.name = "NaN wins",
       .op_type = "Max",
       .inputs = {x, floats({}, {1})},
       .expected = {floats({5}, {1, kInf, kNaN, 1, 1})}},
      {.name = "NaN wins",
       .op_type = "Min",
       .inputs = {floats({}, {1}), x},
       .expected = {floats({5}, {-kInf, 1, kNaN, 0, 0})}},
      {.name = "nothing equals NaN",
       .op_type = "Equal",
       .inputs = {x, x},
       .expected = {bools({5}, {1, 1, 0, 1, 1})}},
  });
}

TEST_CASE("binary operators broadcast") {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{}, {}},
                                                       {{}, {3}},
                                                       {{3}, {}},
                                                       {{0}, {1}},
                                                       {{2, 0, 3}, {3}},
                                                       {{5}, {5}},
                                                       {{4, 67}, {67}},
                                                       {{4, 67}, {4, 1}},
                                                       {{4, 1}, {1, 67}},
                                                       {{2, 3, 4}, {3, 1}},
                                                       {{2, 1, 4}, {3, 1}},
                                                       {{1, 3, 1, 5}, {2, 1, 4, 1}},
                                                       {{2, 3, 4, 5}, {2, 1, 1, 5}}};
  uint64_t seed = 100;
  for (const char* op : {"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Max", "Min", "Sum", "Mean",
                         "Less", "GreaterOrEqual", "Equal"}) {
    for (const DType dtype : kFloats) {
      for (const auto& [a, b] : shapes) {
        if (std::string(op) == "PRelu" && !(broadcast(a, b) == a)) continue;
        run_cases({{.name = str(dtype_name(dtype), a.to_string(), b.to_string()),
                    .op_type = op,
                    .inputs = {random_tensor(dtype, a, 0.5, 3, ++seed),
                               random_tensor(dtype, b, 0.5, 3, ++seed)}}});
      }
    }
  }
  run_cases({{.name = "do not fit",
              .op_type = "Add",
              .inputs = {floats({2}, {1, 2}), floats({3}, {1, 2, 3})},
              .error = ErrorCode::kInvalidArgument},
             {.name = "two types",
              .op_type = "Add",
              .inputs = {floats({1}, {1}), ints({1}, {1})},
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("integers") {
  for (const DType dtype : kIntegers) {
    const Tensor a = numbers(dtype, {4}, {7, 100, 3, 0});
    const Tensor b = numbers(dtype, {4}, {2, 7, 3, 5});
    const auto name = std::string(dtype_name(dtype));
    run_cases({
        {.name = name,
         .op_type = "Add",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {9, 107, 6, 5})}},
        {.name = name,
         .op_type = "Div",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {3, 14, 1, 0})}},
        {.name = name,
         .op_type = "Mod",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {1, 2, 0, 0})}},
        {.name = name,
         .op_type = "Max",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {7, 100, 3, 5})}},
        {.name = name,
         .op_type = "Min",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {2, 7, 3, 0})}},
        {.name = name,
         .op_type = "BitwiseAnd",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {2, 4, 3, 0})}},
        {.name = name,
         .op_type = "BitwiseOr",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {7, 103, 3, 5})}},
        {.name = name,
         .op_type = "BitwiseXor",
         .inputs = {a, b},
         .expected = {numbers(dtype, {4}, {5, 99, 0, 5})}},
        {.name = name, .op_type = "Less", .inputs = {a, b}, .expected = {bools({4}, {0, 0, 0, 1})}},
        {.name = name,
         .op_type = "Clip",
         .inputs = {a, numbers(dtype, {}, {2}), numbers(dtype, {}, {9})},
         .expected = {numbers(dtype, {4}, {7, 9, 3, 2})}},
        {.name = "by zero " + name,
         .op_type = "Div",
         .inputs = {a, numbers(dtype, {}, {0})},
         .error = ErrorCode::kInvalidData},
        {.name = "by zero " + name,
         .op_type = "Mod",
         .inputs = {a, numbers(dtype, {}, {0})},
         .error = ErrorCode::kInvalidData},
    });
  }
  const Tensor lowest = ints({1}, {-0x1p63});
  run_cases({
      {.name = "cuts",
       .op_type = "Div",
       .inputs = {ints({4}, {-7, 7, -7, 7}), ints({4}, {2, -2, -2, 2})},
       .expected = {ints({4}, {-3, -3, 3, 3})}},
      {.name = "sign of the divisor",
       .op_type = "Mod",
       .inputs = {ints({4}, {-7, 7, -7, 7}), ints({4}, {3, -3, -3, 3})},
       .expected = {ints({4}, {2, -2, -1, 1})}},
      {.name = "sign of the dividend",
       .op_type = "Mod",
       .inputs = {ints({4}, {-7, 7, -7, 7}), ints({4}, {3, -3, -3, 3})},
       .attributes = {{"fmod", int64_t{1}}},
       .expected = {ints({4}, {-1, 1, -1, 1})}},
      {.name = "floats need fmod",
       .op_type = "Mod",
       .inputs = {floats({}, {1}), floats({}, {1})},
       .error = ErrorCode::kInvalidData},
      {.name = "lowest by -1",
       .op_type = "Div",
       .inputs = {lowest, ints({}, {-1})},
       .expected = {lowest}},
      {.name = "lowest", .op_type = "Abs", .inputs = {lowest}, .expected = {lowest}},
      {.name = "power",
       .op_type = "Pow",
       .inputs = {ints({3}, {2, 3, -2}), ints({3}, {10, 0, 3})},
       .expected = {ints({3}, {1024, 1, -8})}},
      {.name = "negative power",
       .op_type = "Pow",
       .inputs = {ints({4}, {2, 1, -1, -1}), ints({4}, {-1, -5, -3, -2})},
       .expected = {ints({4}, {0, 1, -1, 1})}},
      {.name = "float power of integers",
       .op_type = "Pow",
       .inputs = {ints({2}, {4, 9}), floats({}, {0.5})},
       .expected = {ints({2}, {2, 3})}},
      {.name = "integer power of floats",
       .op_type = "Pow",
       .inputs = {floats({3}, {2, 3, 1.5}), ints({3}, {3, 2, 4})},
       .expected = {floats({3}, {8, 9, 5.0625})}},
      {.name = "square",
       .op_type = "Pow",
       .inputs = {random_tensor(DType::kFloat32, {3, 33}, -3, 3, 1), floats({}, {2})}},
      {.name = "cube",
       .op_type = "Pow",
       .inputs = {random_tensor(DType::kFloat32, {3, 33}, -3, 3, 1), floats({1}, {3})}},
      {.name = "left",
       .op_type = "BitShift",
       .inputs = {numbers(DType::kUInt8, {3}, {1, 200, 3}), numbers(DType::kUInt8, {3}, {3, 1, 9})},
       .attributes = {{"direction", std::string("LEFT")}},
       .expected = {numbers(DType::kUInt8, {3}, {8, 144, 0})}},
      {.name = "not",
       .op_type = "BitwiseNot",
       .inputs = {ints({2}, {0, 5})},
       .expected = {ints({2}, {-1, -6})}},
  });
}

TEST_CASE("logic, strings and selection") {
  const Tensor a = bools({2, 2}, {0, 0, 1, 1});
  const Tensor b = bools({2}, {0, 1});
  const Tensor words = Tensor::from<std::string>({2}, {"one", "two"});
  const Tensor word = Tensor::scalar<std::string>("two");
  run_cases({
      {.name = "2x2",
       .op_type = "And",
       .inputs = {a, b},
       .expected = {bools({2, 2}, {0, 0, 0, 1})}},
      {.name = "2x2", .op_type = "Or", .inputs = {a, b}, .expected = {bools({2, 2}, {0, 1, 1, 1})}},
      {.name = "2x2",
       .op_type = "Xor",
       .inputs = {a, b},
       .expected = {bools({2, 2}, {0, 1, 1, 0})}},
      {.name = "2", .op_type = "Not", .inputs = {b}, .expected = {bools({2}, {1, 0})}},
      {.name = "false everywhere",
       .op_type = "And",
       .inputs = {a, bools({}, {0})},
       .expected = {bools({2, 2}, {0, 0, 0, 0})}},
      {.name = "strings",
       .op_type = "Equal",
       .inputs = {words, word},
       .expected = {bools({2}, {0, 1})}},
      {.name = "strings",
       .op_type = "Where",
       .inputs = {b, words, word},
       .expected = {Tensor::from<std::string>({2}, {"two", "two"})}},
      {.name = "vectors",
       .op_type = "Where",
       .inputs = {b, ints({2}, {1, 2}), ints({2}, {3, 4})},
       .expected = {ints({2}, {3, 2})}},
      {.name = "true",
       .op_type = "Where",
       .inputs = {bools({1}, {1}), floats({2}, {1, 2}), floats({2, 1}, {3, 4})},
       .expected = {floats({2, 2}, {1, 2, 1, 2})}},
      {.name = "mask",
       .op_type = "Where",
       .inputs = {bools({2, 1, 2}, {1, 0, 0, 1}), floats({3, 1}, {1, 2, 3}), floats({}, {-9})},
       .expected = {floats({2, 3, 2}, {1, -9, 2, -9, 3, -9, -9, 1, -9, 2, -9, 3})}},
      {.name = "empty",
       .op_type = "Where",
       .inputs = {bools({0}, {}), floats({}, {1}), floats({1}, {2})},
       .expected = {floats({0}, {})}},
      {.name = "condition of numbers",
       .op_type = "Where",
       .inputs = {ints({}, {1}), ints({}, {1}), ints({}, {1})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("clip takes limits from inputs or attributes") {
  const Tensor x = floats({4}, {-2, 0.5, 7, kNaN});
  run_cases({
      {.name = "no limits", .op_type = "Clip", .inputs = {x}, .expected = {x}},
      {.name = "only above",
       .op_type = "Clip",
       .inputs = {x, Tensor(), floats({}, {1})},
       .expected = {floats({4}, {-2, 0.5, 1, kNaN})}},
      {.name = "low above high",
       .op_type = "Clip",
       .inputs = {x, floats({}, {3}), floats({}, {1})},
       .expected = {floats({4}, {1, 1, 1, kNaN})}},
      {.name = "attributes",
       .op_type = "Clip",
       .inputs = {x},
       .attributes = {{"min", 0.0f}},
       .expected = {floats({4}, {0, 0.5, 7, kNaN})},
       .opset = 6},
      {.name = "two limits in one",
       .op_type = "Clip",
       .inputs = {x, floats({2}, {1, 2})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("any number of operands") {
  const Tensor a = floats({2, 1}, {1, 2}), b = floats({3}, {10, 20, 30}), c = floats({}, {-1});
  run_cases({
      {.name = "one", .op_type = "Sum", .inputs = {a}, .expected = {a}},
      {.name = "three",
       .op_type = "Sum",
       .inputs = {a, b, c},
       .expected = {floats({2, 3}, {10, 20, 30, 11, 21, 31})}},
      {.name = "three", .op_type = "Mean", .inputs = {a, a, a}, .expected = {a}},
      {.name = "three",
       .op_type = "Max",
       .inputs = {a, c, b},
       .expected = {floats({2, 3}, {10, 20, 30, 10, 20, 30})}},
      {.name = "the first is the smallest",
       .op_type = "Min",
       .inputs = {c, a, b},
       .expected = {floats({2, 3}, {-1, -1, -1, -1, -1, -1})}},
      {.name = "integers",
       .op_type = "Max",
       .inputs = {ints({1}, {3}), ints({2}, {1, 5}), ints({1}, {4})},
       .expected = {ints({2}, {4, 5})}},
  });
}

TEST_CASE("before version 7 operand B is placed by an axis") {
  const Tensor a = numbers(DType::kFloat32, {2, 3, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  run_cases({{.name = "axis 1",
              .op_type = "Add",
              .inputs = {a, floats({3}, {100, 200, 300})},
              .attributes = {{"axis", int64_t{1}}, {"broadcast", int64_t{1}}},
              .expected = {floats({2, 3, 2},
                                  {100, 101, 202, 203, 304, 305, 106, 107, 208, 209, 310, 311})},
              .opset = 6},
             {.name = "a slope for each channel",
              .op_type = "PRelu",
              .inputs = {numbers(DType::kFloat32, {1, 2, 2}, {-1, 1, -1, -2}), floats({2}, {3, 4})},
              .expected = {floats({1, 2, 2}, {-3, 1, -4, -8})},
              .opset = 6},
             {.name = "one slope",
              .op_type = "PRelu",
              .inputs = {floats({2}, {-1, 1}), floats({1}, {3})},
              .expected = {floats({2}, {-3, 1})},
              .opset = 1},
             {.name = "does not fit",
              .op_type = "Add",
              .inputs = {a, floats({1, 3}, {1, 2, 3})},
              .attributes = {{"axis", int64_t{2}}, {"broadcast", int64_t{1}}},
              .opset = 6,
              .error = ErrorCode::kInvalidData}});
}

TEST_CASE("activations of com.microsoft") {
  const Tensor x = random_tensor(DType::kFloat32, {3, 35}, -4, 4, 9);
  const Tensor bias = random_tensor(DType::kFloat32, {35}, -1, 1, 10);
  for (const char* op : {"BiasGelu", "FastGelu"}) {
    run_cases({{.name = "bias", .op_type = op, .inputs = {x, bias}, .domain = "com.microsoft"}});
  }
  for (const char* op : {"Gelu", "FastGelu", "QuickGelu"}) {
    run_cases({{.name = "plain", .op_type = op, .inputs = {x}, .domain = "com.microsoft"}});
  }
}

}  // namespace hugot::test
