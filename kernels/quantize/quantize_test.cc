
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/quantize/granularity.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr Tolerance kExact = {0, 0};

Tensor f32(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

// A tensor of a packed or small type by its bytes.
Tensor bits(DType dtype, const Shape& shape, std::initializer_list<uint8_t> bytes) {
  Tensor tensor(dtype, shape);
  REQUIRE(tensor.bytes() == bytes.size());
  std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t*>(tensor.raw()));
  return tensor;
}

Case quantize(std::string name, std::vector<Tensor> inputs, const Tensor& expected,
              Attributes attributes = {}) {
  return {.name = std::move(name),
          .op_type = "QuantizeLinear",
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .expected = {expected},
          .tolerance = kExact};
}

Case dequantize(std::string name, std::vector<Tensor> inputs, const Tensor& expected,
                Attributes attributes = {}) {
  return {.name = std::move(name),
          .op_type = "DequantizeLinear",
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .expected = {expected},
          .tolerance = kExact};
}

Case refused(std::string op_type, std::vector<Tensor> inputs, ErrorCode code,
             Attributes attributes = {}) {
  return {.name = "refused",
          .op_type = std::move(op_type),
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .error = code};
}

Attributes output_dtype(DType dtype) { return {{"output_dtype", static_cast<int64_t>(dtype)}}; }

}  // namespace

TEST_CASE("quantized numbers are rounded to even and saturated") {
  const Tensor x = f32({12}, {0, 0.5, 1.5, 2.5, -0.5, -1.5, 300, -300, kInf, -kInf, kNaN, 127.5});
  const Tensor one = f32({}, {1});
  run_cases({
      quantize("uint8 by default", {x, one},
               numbers(DType::kUInt8, {12}, {0, 0, 2, 2, 0, 0, 255, 0, 255, 0, 0, 128})),
      quantize("int8", {x, one, numbers(DType::kInt8, {}, {0})},
               numbers(DType::kInt8, {12}, {0, 0, 2, 2, 0, -2, 127, -128, 127, -128, -128, 127})),
      quantize("the zero point is added after rounding", {x, one, numbers(DType::kInt8, {}, {3})},
               numbers(DType::kInt8, {12}, {3, 3, 5, 5, 3, 1, 127, -128, 127, -128, -128, 127})),
      quantize("int16", {f32({3}, {1e6, -1e6, 40000.5}), one, numbers(DType::kInt16, {}, {-10000})},
               numbers(DType::kInt16, {3}, {32767, -32768, 30000})),
      quantize("uint16", {f32({3}, {1e6, -5, 40000.5}), one, numbers(DType::kUInt16, {}, {2})},
               numbers(DType::kUInt16, {3}, {65535, 0, 40002})),
      quantize("a negative scale", {f32({4}, {1, -2, 3, 600}), f32({}, {-2})},
               numbers(DType::kUInt8, {4}, {0, 1, 0, 0})),
      quantize("a scale of zero", {f32({3}, {1, -1, 0}), f32({}, {0})},
               numbers(DType::kUInt8, {3}, {255, 0, 0})),
      quantize("int32 is divided as float32",
               {numbers(DType::kInt32, {3}, {5, -7, 1 << 30}), f32({}, {2}),
                numbers(DType::kInt8, {}, {0})},
               numbers(DType::kInt8, {3}, {2, -4, 127})),
      quantize("one number", {f32({}, {7}), f32({}, {2})}, numbers(DType::kUInt8, {}, {4})),
      quantize("nothing", {f32({0, 3}, {}), one}, numbers(DType::kUInt8, {0, 3}, {})),
  });
}

TEST_CASE("quantization to packed and to small types") {
  const Tensor x = f32({4}, {-9, 1.5, 7.4, 20});
  run_cases({
      quantize("int4", {x, f32({}, {1})}, bits(DType::kInt4, {4}, {0x28, 0x77}),
               output_dtype(DType::kInt4)),
      quantize("uint4 by the zero point", {x, f32({}, {1}), bits(DType::kUInt4, {}, {1})},
               bits(DType::kUInt4, {4}, {0x30, 0xf8})),
      quantize("int2", {x, f32({}, {1})}, bits(DType::kInt2, {4}, {0b01010110}),
               output_dtype(DType::kInt2)),
      quantize("float8 saturates", {f32({3}, {1, 1000, -1000}), f32({}, {0.5})},
               bits(DType::kFloat8E4M3FN, {3}, {0x40, 0x7e, 0xfe}),
               output_dtype(DType::kFloat8E4M3FN)),
      quantize(
          "float8 that does not saturate", {f32({2}, {1, 1000}), f32({}, {0.5})},
          bits(DType::kFloat8E4M3FN, {2}, {0x40, 0x7f}),
          {{"output_dtype", static_cast<int64_t>(DType::kFloat8E4M3FN)}, {"saturate", int64_t{0}}}),
      quantize("float4", {f32({2}, {2, -100}), f32({}, {2})}, bits(DType::kFloat4E2M1, {2}, {0xf2}),
               output_dtype(DType::kFloat4E2M1)),
      quantize("a scale that is a power of two",
               {f32({2}, {8, 12}), bits(DType::kFloat8E8M0, {}, {129})},
               numbers(DType::kUInt8, {2}, {2, 3})),
      quantize("a quotient in float16", {f32({1}, {2049}), f32({}, {1})},
               numbers(DType::kUInt16, {1}, {2048}),
               {{"precision", static_cast<int64_t>(DType::kFloat16)},
                {"output_dtype", static_cast<int64_t>(DType::kUInt16)}}),
  });
}

TEST_CASE("scales by axis and by block") {
  const auto without_gradient = [](Case test) {
    test.parameters = {1};
    return test;
  };
  const Tensor x = f32({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  const auto u8 = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kUInt8, shape, values);
  };
  run_cases({
      quantize("axis 1 by default", {x, f32({2}, {1, 0.5})},
               u8({2, 2, 3}, {1, 2, 3, 8, 10, 12, 7, 8, 9, 20, 22, 24})),
      quantize("the last axis", {x, f32({3}, {1, 0.5, 0.25}), u8({3}, {0, 1, 2})},
               u8({2, 2, 3}, {1, 5, 14, 4, 11, 26, 7, 17, 38, 10, 23, 50}),
               {{"axis", int64_t{-1}}}),
      quantize("the first axis", {x, f32({2}, {1, 0.5})},
               u8({2, 2, 3}, {1, 2, 3, 4, 5, 6, 14, 16, 18, 20, 22, 24}), {{"axis", int64_t{0}}}),
      quantize("a list has one axis", {f32({3}, {1, 2, 3}), f32({3}, {1, 0.5, 0.25})},
               u8({3}, {1, 4, 12})),
      quantize("blocks along the last axis, the last one shorter",
               {x, f32({2, 2, 2}, {1, 0.5, 1, 0.25, 0.5, 1, 2, 1})},
               u8({2, 2, 3}, {1, 2, 6, 4, 5, 24, 14, 16, 9, 5, 6, 12}),
               {{"axis", int64_t{2}}, {"block_size", int64_t{2}}}),
      quantize("blocks along another axis", {x, f32({2, 1, 3}, {1, 0.5, 1, 0.5, 1, 0.5})},
               u8({2, 2, 3}, {1, 4, 3, 4, 10, 6, 14, 8, 18, 20, 11, 24}),
               {{"axis", int64_t{1}}, {"block_size", int64_t{2}}}),
      dequantize("axis 1", {u8({1, 2, 2}, {3, 4, 5, 6}), f32({2}, {2, -1}), u8({2}, {1, 10})},
                 f32({1, 2, 2}, {4, 6, 5, 4})),
      without_gradient(dequantize(
          "blocks", {u8({2, 3}, {1, 2, 3, 4, 5, 6}), f32({2, 2}, {1, 2, 3, 4})},
          f32({2, 3}, {1, 2, 6, 12, 15, 24}), {{"axis", int64_t{1}}, {"block_size", int64_t{2}}})),
  });
}

TEST_CASE("every quantized type is dequantized") {
  const Tensor two = f32({}, {2});
  run_cases({
      dequantize(
          "int8",
          {numbers(DType::kInt8, {3}, {-128, 127, 0}), two, numbers(DType::kInt8, {}, {127})},
          f32({3}, {-510, 0, -254})),
      dequantize(
          "uint16",
          {numbers(DType::kUInt16, {2}, {0, 65535}), two, numbers(DType::kUInt16, {}, {65535})},
          f32({2}, {-131070, 0})),
      dequantize("int32", {numbers(DType::kInt32, {2}, {-3, 1 << 30}), two},
                 f32({2}, {-6, 2147483648.0})),
      dequantize("int4", {bits(DType::kInt4, {3}, {0x78, 0x0f}), two}, f32({3}, {-16, 14, -2})),
      dequantize("uint2", {bits(DType::kUInt2, {4}, {0b11100100}), two}, f32({4}, {0, 2, 4, 6})),
      dequantize("float8", {bits(DType::kFloat8E5M2, {2}, {0x3c, 0xc0}), two}, f32({2}, {2, -4})),
      dequantize("float4", {bits(DType::kFloat4E2M1, {2}, {0xf2}), two}, f32({2}, {2, -12})),
      dequantize("to the type of the scale",
                 {numbers(DType::kInt8, {2}, {3, -3}), numbers(DType::kFloat16, {}, {0.5})},
                 numbers(DType::kFloat16, {2}, {1.5, -1.5})),
      dequantize("to another type", {numbers(DType::kInt8, {2}, {3, -3}), f32({}, {0.5})},
                 numbers(DType::kBFloat16, {2}, {1.5, -1.5}), output_dtype(DType::kBFloat16)),
      dequantize(
          "a negative scale",
          {numbers(DType::kUInt8, {2}, {3, 5}), f32({}, {-0.5}), numbers(DType::kUInt8, {}, {4})},
          f32({2}, {0.5, -0.5})),
      dequantize("nothing", {numbers(DType::kUInt8, {2, 0}, {}), two}, f32({2, 0}, {})),
  });
}

TEST_CASE("dynamic quantization takes the range with zero in it") {
  const auto dynamic = [](std::string name, const Tensor& x, const Tensor& y, double scale,
                          double zero) {
    return Case{.name = std::move(name),
                .op_type = "DynamicQuantizeLinear",
                .inputs = {x},
                .expected = {y, f32({}, {scale}), numbers(DType::kUInt8, {}, {zero})},
                .tolerance = kExact};
  };
  const auto u8 = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kUInt8, shape, values);
  };
  run_cases({
      dynamic("both signs", f32({4}, {-127, 0, 128, 0.5}), u8({4}, {0, 127, 255, 127}), 1, 127),
      dynamic("positive", f32({2, 2}, {1, 2, 255, 0.5}), u8({2, 2}, {1, 2, 255, 0}), 1, 0),
      dynamic("negative", f32({2}, {-255, -2}), u8({2}, {0, 253}), 1, 255),
      dynamic("zeros", f32({3}, {0, 0, 0}), u8({3}, {0, 0, 0}), 1, 0),
      dynamic("nothing", f32({0}, {}), u8({0}, {}), 1, 0),
      dynamic("NaN", f32({2}, {1, kNaN}), u8({2}, {0, 0}), kNaN, 0),
      dynamic("infinity", f32({2}, {1, kInf}), u8({2}, {0, 0}), kInf, 0),
  });
}

TEST_CASE("dynamic quantization of many numbers, one thread or two") {
  const Tensor x = random_tensor(DType::kFloat32, {100, 401}, -3, 5, 1);
  const float low = *std::min_element(x.data<float>(), x.data<float>() + x.size());
  const float high = *std::max_element(x.data<float>(), x.data<float>() + x.size());
  const float scale = (high - low) / 255;
  const float zero = std::nearbyint(-low / scale);
  Tensor y(DType::kUInt8, x.shape());
  for (int64_t i = 0; i < x.size(); ++i) {
    y.data<uint8_t>()[i] = static_cast<uint8_t>(
        std::clamp(std::nearbyint(x.data<float>()[i] / scale) + zero, 0.0f, 255.0f));
  }
  run_cases({{.name = "many",
              .op_type = "DynamicQuantizeLinear",
              .inputs = {x},
              .expected = {y, f32({}, {static_cast<double>(scale)}),
                           numbers(DType::kUInt8, {}, {static_cast<double>(zero)})},
              .tolerance = kExact}});
}

TEST_CASE("operands that do not fit are refused") {
  const Tensor x = f32({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor one = f32({}, {1});
  const Attributes block = {{"axis", int64_t{1}}, {"block_size", int64_t{2}}};
  const auto bad = ErrorCode::kInvalidArgument;
  run_cases({
      refused("QuantizeLinear", {x, f32({2}, {1, 2})}, bad),
      refused("QuantizeLinear", {x, f32({3}, {1, 2, 3})}, bad, {{"axis", int64_t{7}}}),
      refused("QuantizeLinear", {x, f32({2, 3}, {1, 2, 3, 4, 5, 6})}, bad, block),
      refused("QuantizeLinear", {x, f32({2, 2}, {1, 2, 3, 4})}, bad, {{"block_size", int64_t{-2}}}),
      refused("QuantizeLinear", {x, f32({2, 2}, {1, 2, 3, 4})}, bad,
              {{"block_size", std::numeric_limits<int64_t>::max()}}),
      refused("QuantizeLinear", {x, f32({3}, {1, 2, 3}), numbers(DType::kUInt8, {2}, {1, 2})}, bad),
      refused("QuantizeLinear", {f32({}, {1}), f32({2}, {1, 2})}, bad),
      refused("QuantizeLinear", {x, one, numbers(DType::kInt8, {}, {0})}, bad,
              output_dtype(DType::kUInt8)),
      refused("QuantizeLinear", {x, one}, ErrorCode::kUnsupported, output_dtype(DType::kInt64)),
      refused("QuantizeLinear", {x, one}, ErrorCode::kInvalidData, {{"output_dtype", int64_t{99}}}),
      refused("QuantizeLinear", {x, one}, ErrorCode::kInvalidData, {{"precision", int64_t{2}}}),
      refused("QuantizeLinear", {numbers(DType::kInt64, {1}, {1}), one}, ErrorCode::kUnsupported),
      refused("DequantizeLinear", {x, one}, ErrorCode::kUnsupported),
      refused("DequantizeLinear", {numbers(DType::kInt8, {1}, {1}), numbers(DType::kInt8, {}, {1})},
              ErrorCode::kUnsupported),
      refused("DequantizeLinear",
              {numbers(DType::kInt8, {1}, {1}), one, numbers(DType::kUInt8, {}, {1})}, bad),
      refused("DynamicQuantizeLinear", {numbers(DType::kFloat64, {1}, {1})},
              ErrorCode::kUnsupported),
  });
}

TEST_CASE("runs cover every element once") {
  const auto check = [](const Shape& x, const Shape& scale, Attributes attributes) {
    Node node;
    node.attributes = std::move(attributes);
    const quantize::Granularity granularity(node, x, scale);
    int64_t next = 0;
    for (int64_t i = 0; i < granularity.run_count(); ++i) {
      const auto run = granularity.run(i);
      CHECK(run.at == next);
      CHECK(run.count > 0);
      CHECK(run.scale + run.step * (run.count - 1) < scale.size());
      next += run.count;
    }
    CHECK(next == x.size());
  };
  check({3, 50000}, {}, {});
  check({2, 3, 4}, {3}, {});
  check({2, 3, 4}, {4}, {{"axis", int64_t{2}}});
  check({2, 5, 4}, {2, 3, 4}, {{"block_size", int64_t{2}}});
  check({2, 5}, {2, 2}, {{"block_size", int64_t{3}}});
  check({0, 5}, {0, 2}, {{"block_size", int64_t{3}}});
}

}  // namespace hugot::test
