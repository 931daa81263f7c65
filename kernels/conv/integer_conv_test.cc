#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor bytes(DType dtype, const Shape& shape, uint64_t seed) {
  return random_tensor(dtype, shape, dtype == DType::kInt8 ? -128 : 0,
                       dtype == DType::kInt8 ? 128 : 256, seed);
}

// x - zero in float64; `zero` has one number, or one for each index of the first axis.
Tensor centred(const Tensor& x, const Tensor& zero) {
  Tensor y = as_type(x, DType::kFloat64);
  if (!zero.defined()) return y;
  const std::vector<double> offsets = as_doubles(zero);
  const int64_t size = x.size() / static_cast<int64_t>(offsets.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    y.data<double>()[i] -= offsets[static_cast<size_t>(i / std::max<int64_t>(size, 1))];
  }
  return y;
}

// The definition: Conv of what the numbers stand for, exact in float64.
Tensor convolved(const Tensor& x, const Tensor& w, const Tensor& x_zero, const Tensor& w_zero,
                 const Attributes& attributes) {
  const Tensor wide_x = centred(x, x_zero), wide_w = centred(w, w_zero);
  const Case conv = {
      .name = {}, .op_type = "Conv", .inputs = {wide_x, wide_w}, .attributes = attributes};
  return run_node(node_of(conv), {wide_x, wide_w})[0];
}

void check(const Shape& x_shape, const Shape& w_shape, const Attributes& attributes) {
  for (const DType x_type : {DType::kInt8, DType::kUInt8}) {
    for (const DType w_type : {DType::kInt8, DType::kUInt8}) {
      const Tensor x = bytes(x_type, x_shape, 1), w = bytes(w_type, w_shape, 2);
      const int64_t filters = w_shape[0];
      for (const bool by_filter : {false, true}) {
        const Tensor x_zero = numbers(x_type, {}, {90});
        const Tensor w_zero = by_filter ? bytes(w_type, {filters}, 3) : numbers(w_type, {}, {5});
        const Tensor sums = convolved(x, w, x_zero, w_zero, attributes);
        const Tensor w_scale = by_filter ? random_tensor(DType::kFloat32, {filters}, 0.01, 0.1, 4)
                                         : Tensor::scalar<float>(0.0625f);
        const Tensor bias = random_tensor(DType::kInt32, {filters}, -1000, 1000, 5);
        Tensor y(DType::kUInt8, sums.shape());
        const int64_t outputs = sums.shape().product(2, sums.rank());
        for (int64_t i = 0; i < sums.size(); ++i) {
          const int64_t filter = i / std::max<int64_t>(outputs, 1) % filters;
          const float factor = 0.5f * w_scale.data<float>()[by_filter ? filter : 0] / 4.0f;
          const float sum =
              static_cast<float>(sums.data<double>()[i] + bias.data<int32_t>()[filter]);
          y.data<uint8_t>()[i] =
              static_cast<uint8_t>(std::clamp(std::nearbyint(sum * factor) + 128, 0.0f, 255.0f));
        }
        run_cases({{.name = "integers",
                    .op_type = "ConvInteger",
                    .inputs = {x, w, x_zero, w_zero},
                    .attributes = attributes,
                    .expected = {as_type(sums, DType::kInt32)}},
                   {.name = "quantized",
                    .op_type = "QLinearConv",
                    .inputs = {x, Tensor::scalar<float>(0.5f), x_zero, w, w_scale, w_zero,
                               Tensor::scalar<float>(4.0f), Tensor::scalar<uint8_t>(128), bias},
                    .attributes = attributes,
                    .expected = {y},
                    .tolerance = Tolerance{0, 0},
                    .parameters = {1, 4, 6}}});
      }
    }
  }
}

}  // namespace

TEST_CASE("convolutions of integers are exact, with padding by the zero point") {
  using List = std::vector<int64_t>;
  check({2, 3, 9, 8}, {5, 3, 3, 3}, {{"pads", List{1, 1, 1, 1}}});
  check({1, 4, 30, 31}, {6, 2, 3, 2},
        {{"group", int64_t{2}}, {"strides", List{2, 1}}, {"dilations", List{1, 2}}});
  check({2, 4, 11}, {4, 1, 3}, {{"group", int64_t{4}}, {"auto_pad", std::string("SAME_UPPER")}});
  check({1, 2, 3, 4, 5}, {3, 2, 2, 2, 2}, {});
  check({1, 7, 5, 5}, {20, 7, 1, 1}, {});
  check({0, 2, 5}, {3, 2, 2}, {});
}

TEST_CASE("without zero points they are 0") {
  const Tensor x = bytes(DType::kUInt8, {1, 2, 6}, 1), w = bytes(DType::kInt8, {3, 2, 3}, 2);
  const Tensor sums = convolved(x, w, {}, {}, {});
  run_cases({{.name = "none",
              .op_type = "ConvInteger",
              .inputs = {x, w},
              .expected = {as_type(sums, DType::kInt32)}}});
}

TEST_CASE("integer convolutions refuse what does not fit") {
  const Tensor x = bytes(DType::kUInt8, {1, 2, 6}, 1), w = bytes(DType::kInt8, {3, 2, 3}, 2);
  const auto refused = [](std::vector<Tensor> inputs, ErrorCode code, Attributes attributes = {}) {
    return Case{.name = "refused",
                .op_type = "ConvInteger",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .error = code};
  };
  const auto bad = ErrorCode::kInvalidArgument;
  run_cases({
      refused({x, w, numbers(DType::kInt8, {}, {1})}, bad),
      refused({x, w, numbers(DType::kUInt8, {2}, {1, 2})}, bad),
      refused({x, w, {}, numbers(DType::kInt8, {2}, {1, 2})}, bad),
      refused({x, bytes(DType::kInt8, {3, 3, 3}, 1)}, bad),
      refused({x, w}, bad, {{"group", int64_t{0}}}),
      refused({x, numbers(DType::kInt16, {1, 2, 1}, {1, 2})}, ErrorCode::kUnsupported),
      refused({bytes(DType::kUInt8, {2, 6}, 1), bytes(DType::kInt8, {3, 2}, 2)}, bad),
  });
}

}  // namespace hugot::test
