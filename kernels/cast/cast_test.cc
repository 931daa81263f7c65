#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>

#include "kernels/narrow.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Attributes to(DType dtype) { return {{"to", static_cast<int64_t>(dtype)}}; }

Case cast(std::string name, const Tensor& from, const Tensor& expected) {
  return {.name = std::move(name),
          .op_type = "Cast",
          .inputs = {from},
          .attributes = to(expected.dtype()),
          .expected = {expected},
          .tolerance = Tolerance{0, 0}};
}

// A tensor of a type that is converted only, by its bits.
Tensor bits(DType dtype, const Shape& shape, std::initializer_list<uint8_t> bytes) {
  Tensor tensor(dtype, shape);
  REQUIRE(tensor.bytes() == bytes.size());
  std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t*>(tensor.raw()));
  return tensor;
}

}  // namespace

TEST_CASE("small numbers survive a cast between any two types") {
  const DType types[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                         DType::kInt8,    DType::kInt16,   DType::kInt32,   DType::kInt64,
                         DType::kUInt8,   DType::kUInt16,  DType::kUInt32,  DType::kUInt64};
  for (const DType from : types) {
    for (const DType target : types) {
      const std::string name = str(dtype_name(from), " to ", dtype_name(target));
      const Tensor x = numbers(from, {2, 3}, {0, 1, 2, 7, 100, 127});
      const Tensor y = numbers(target, {2, 3}, {0, 1, 2, 7, 100, 127});
      run_cases({cast(name, x, y),
                 cast("empty " + name, numbers(from, {0, 2}, {}), numbers(target, {0, 2}, {})),
                 cast("scalar " + name, numbers(from, {}, {3}), numbers(target, {}, {3})),
                 {.name = name,
                  .op_type = "CastLike",
                  .inputs = {x, numbers(target, {1}, {0})},
                  .expected = {y}}});
    }
    run_cases(
        {cast("to bool", numbers(from, {3}, {0, 1, 5}), numbers(DType::kBool, {3}, {0, 1, 1})),
         cast("from bool", numbers(DType::kBool, {2}, {0, 1}), numbers(from, {2}, {0, 1}))});
  }
}

TEST_CASE("version 1 names the type") {
  const Tensor x = numbers(DType::kFloat32, {3}, {0, 2.5, -7});
  const auto named = [&](const char* name) {
    return Case{.name = name,
                .op_type = "Cast",
                .inputs = {x},
                .attributes = {{"to", std::string(name)}},
                .opset = 1};
  };
  std::vector<Case> cases;
  for (const auto& [name, dtype] : std::map<const char*, DType>{{"FLOAT", DType::kFloat32},
                                                                {"DOUBLE", DType::kFloat64},
                                                                {"FLOAT16", DType::kFloat16},
                                                                {"INT8", DType::kInt8},
                                                                {"INT64", DType::kInt64},
                                                                {"BOOL", DType::kBool}}) {
    cases.push_back(named(name));
    cases.back().expected = {as_type(x, dtype)};
  }
  for (const char* name : {"float", "", "COMPLEX"}) {
    cases.push_back(named(name));
    cases.back().error = ErrorCode::kInvalidData;
  }
  run_cases(cases);
}

TEST_CASE("casts at the edges") {
  const Tensor x = numbers(DType::kFloat32, {8}, {2.9, -2.9, 300, -300, kInf, -kInf, kNaN, -0.0});
  run_cases({
      cast("cuts and saturates", x,
           numbers(DType::kInt8, {8}, {2, -2, 127, -128, 127, -128, 0, 0})),
      cast("unsigned", x, numbers(DType::kUInt8, {8}, {2, 0, 255, 0, 255, 0, 0, 0})),
      cast("int64", numbers(DType::kFloat32, {2}, {1e30, -1e30}),
           Tensor::from<int64_t>(
               {2}, {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()})),
      cast("bool", x, numbers(DType::kBool, {8}, {1, 1, 1, 1, 1, 1, 1, 0})),
      cast("integers wrap", numbers(DType::kInt16, {2}, {200, -200}),
           numbers(DType::kInt8, {2}, {-56, 56})),
      cast("too large for float16", numbers(DType::kFloat32, {2}, {65519, 65520}),
           numbers(DType::kFloat16, {2}, {65504, kInf})),
      // 1 + 2^-11 is halfway between two float16; the bit below decides, and float has lost it.
      cast("rounds once", Tensor::from<double>({2}, {1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-11}),
           numbers(DType::kFloat16, {2}, {1 + 0x1p-10, 1})),
      {.name = "no such type",
       .op_type = "Cast",
       .inputs = {x},
       .attributes = {{"to", int64_t{99}}},
       .error = ErrorCode::kInvalidData},
      {.name = "complex",
       .op_type = "Cast",
       .inputs = {x},
       .attributes = to(DType::kComplex64),
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("casts from and to text") {
  using Text = std::string;
  run_cases({
      cast("floats", Tensor::from<Text>({7}, {"3.25", "1e-5", "+INF", "-inf", "NaN", " 7 ", "+2"}),
           Tensor::from<float>({7}, {3.25f, 1e-5f, HUGE_VALF, -HUGE_VALF, NAN, 7.0f, 2.0f})),
      cast("integers", Tensor::from<Text>({3}, {"9007199254740993", "100.5", "-3"}),
           Tensor::from<int64_t>({3}, {9007199254740993, 100, -3})),
      cast("text of floats",
           Tensor::from<float>({6}, {0.1f, 1e5f, 1e-5f, 314.15926f, -HUGE_VALF, NAN}),
           Tensor::from<Text>({6}, {"0.1", "100000.0", "1e-05", "314.15927", "-INF", "NaN"})),
      cast("text of integers", Tensor::from<int64_t>({2}, {-5, 12}),
           Tensor::from<Text>({2}, {"-5", "12"})),
      cast("text stays", Tensor::from<Text>({1}, {"abc"}), Tensor::from<Text>({1}, {"abc"})),
      {.name = "no number",
       .op_type = "Cast",
       .inputs = {Tensor::from<Text>({1}, {"abc"})},
       .attributes = to(DType::kFloat32),
       .error = ErrorCode::kInvalidData},
      {.name = "two signs",
       .op_type = "Cast",
       .inputs = {Tensor::from<Text>({1}, {"+-1"})},
       .attributes = to(DType::kFloat32),
       .error = ErrorCode::kInvalidData},
      {.name = "nothing",
       .op_type = "Cast",
       .inputs = {Tensor::from<Text>({1}, {""})},
       .attributes = to(DType::kInt32),
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("every narrow float decodes and encodes to itself") {
  for (const DType dtype : {DType::kFloat8E4M3FN, DType::kFloat8E4M3FNUZ, DType::kFloat8E5M2,
                            DType::kFloat8E5M2FNUZ, DType::kFloat4E2M1, DType::kFloat8E8M0}) {
    CAPTURE(dtype_name(dtype));
    const int codes = 1 << dtype_bits(dtype);
    for (int code = 0; code < codes; ++code) {
      CAPTURE(code);
      const auto byte = static_cast<uint8_t>(code);
      float value = 0;
      decode_narrow_floats(dtype, &byte, &value, 1);
      if (value != value) continue;
      uint8_t back = 0;
      encode_narrow_floats(dtype, &value, &back, 1, {.saturate = false});
      CHECK(int{back} == code);
    }
  }
}

TEST_CASE("narrow types round, saturate and wrap") {
  const Tensor x = numbers(DType::kFloat32, {5}, {0.48033667, 1e6, kNaN, -kInf, -1e-7});
  const auto with = [&](const char* name, const Tensor& y, bool saturate) {
    Case test = cast(name, x, y);
    test.attributes["saturate"] = int64_t{saturate};
    return test;
  };
  run_cases({
      with("saturates", bits(DType::kFloat8E4M3FN, {5}, {0x2f, 0x7e, 0x7f, 0xfe, 0x80}), true),
      with("saturates", bits(DType::kFloat8E4M3FNUZ, {5}, {0x37, 0x7f, 0x80, 0xff, 0x00}), true),
      with("does not", bits(DType::kFloat8E4M3FN, {5}, {0x2f, 0x7f, 0x7f, 0xff, 0x80}), false),
      with("does not", bits(DType::kFloat8E5M2, {5}, {0x38, 0x7c, 0x7e, 0xfc, 0x80}), false),
      with("always saturates", bits(DType::kFloat4E2M1, {5}, {0x71, 0xf8, 0x08}), false),
      cast("integers wrap", numbers(DType::kFloat32, {3}, {-9, 9, 3}),
           bits(DType::kInt4, {3}, {0x97, 0x03})),
      cast("from 4 bits", bits(DType::kInt4, {3}, {0x97, 0x03}),
           numbers(DType::kInt8, {3}, {7, -7, 3})),
      cast("from 2 bits", bits(DType::kUInt2, {5}, {0xe4, 0x02}),
           numbers(DType::kFloat32, {5}, {0, 1, 2, 3, 2})),
  });
}

TEST_CASE("BitCast keeps the bits") {
  const auto to = [](DType dtype) { return Attributes{{"to", static_cast<int64_t>(dtype)}}; };
  const Tensor x = numbers(DType::kFloat32, {2, 1}, {1, -2});
  run_cases({
      {.name = "float to integer",
       .op_type = "BitCast",
       .inputs = {x},
       .attributes = to(DType::kUInt32),
       .expected = {Tensor::from<uint32_t>({2, 1}, {0x3f800000, 0xc0000000})}},
      {.name = "16 bits",
       .op_type = "BitCast",
       .inputs = {Tensor::from<uint16_t>({2}, {0x3f80, 0xc000})},
       .attributes = to(DType::kBFloat16),
       .expected = {numbers(DType::kBFloat16, {2}, {1, -2})}},
      {.name = "4 bits",
       .op_type = "BitCast",
       .inputs = {bits(DType::kInt4, {3}, {0x97, 0x03})},
       .attributes = to(DType::kUInt4),
       .expected = {bits(DType::kUInt4, {3}, {0x97, 0x03})}},
      {.name = "every bool is 0 or 1",
       .op_type = "BitCast",
       .inputs = {Tensor::from<uint8_t>({3}, {0, 1, 255})},
       .attributes = to(DType::kBool),
       .expected = {Tensor::from<bool>({3}, {false, true, true})}},
      {.name = "another width",
       .op_type = "BitCast",
       .inputs = {x},
       .attributes = to(DType::kFloat64),
       .error = ErrorCode::kInvalidArgument},
      {.name = "text",
       .op_type = "BitCast",
       .inputs = {Tensor::from<std::string>({1}, {"a"})},
       .attributes = to(DType::kUInt8),
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
