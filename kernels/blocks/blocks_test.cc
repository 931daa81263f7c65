#include "kernels/blocks/blocks.h"

#include <doctest/doctest.h>

#include <deque>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor bytes(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kUInt8, shape, values);
}
Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor random_bytes(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kUInt8, shape, 0, 256, seed);
}

Attributes sizes(int64_t n, int64_t k, int64_t bits, int64_t block) {
  return {{"N", n}, {"K", k}, {"bits", bits}, {"block_size", block}};
}

Case contrib(const std::string& op, const std::string& name, std::vector<Tensor> inputs,
             Attributes attributes, std::vector<Tensor> expected) {
  return {.name = name,
          .op_type = op,
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .expected = std::move(expected),
          .domain = "com.microsoft",
          .tolerance = Tolerance{1e-5, 1e-5},
          .parameters = {0, 1, 2, 3, 4, 5, 6, 7}};
}

// x W^T + bias in float64, W as decode() gives it.
Tensor product_of(const Tensor& x, const blocks::Matrix& w, const Tensor& bias) {
  const int64_t k = w.columns(), rows = x.size() / k;
  Tensor y(DType::kFloat32, x.shape().with(x.rank() - 1, w.rows()));
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t n = 0; n < w.rows(); ++n) {
    w.decode(n, 0, k, row.data());
    for (int64_t i = 0; i < rows; ++i) {
      double sum = bias.defined() ? static_cast<double>(bias.data<float>()[n]) : 0;
      for (int64_t j = 0; j < k; ++j) {
        sum += static_cast<double>(x.data<float>()[i * k + j]) *
               static_cast<double>(row[static_cast<size_t>(j)]);
      }
      y.data<float>()[i * w.rows() + n] = static_cast<float>(sum);
    }
  }
  return y;
}

std::vector<float> decoded(const blocks::Matrix& w, int64_t row, int64_t begin, int64_t end) {
  std::vector<float> out(static_cast<size_t>(end - begin));
  w.decode(row, begin, end, out.data());
  return out;
}

}  // namespace

TEST_CASE("codes of 1, 2, 4 and 8 bits, the first in the low bits") {
  std::deque<Tensor> tensors;  // matrices are views
  const auto kept = [&](Tensor tensor) -> const Tensor& {
    return tensors.emplace_back(std::move(tensor));
  };
  const Tensor codes = random_bytes({16}, 1);
  const auto four = blocks::Matrix::of_bits(1, 20, 4, 16, codes, kept(floats({2}, {2, 0.5})));
  const std::vector<float> row = decoded(four, 0, 0, 20);
  for (size_t i = 0; i < 20; ++i) {
    const uint8_t byte = codes.data<uint8_t>()[i / 2];
    const int code = i % 2 == 0 ? byte & 15 : byte >> 4;
    CHECK(row[i] == static_cast<float>(code - 8) * (i < 16 ? 2.0f : 0.5f));
  }
  CHECK(decoded(four, 0, 3, 18) == std::vector<float>(row.begin() + 3, row.begin() + 18));
  const auto two = blocks::Matrix::of_bits(1, 4, 2, 4, kept(bytes({1}, {0xE4})),
                                           kept(floats({1}, {1})), kept(bytes({1}, {1})));
  CHECK(decoded(two, 0, 0, 4) == std::vector<float>{-1, 0, 1, 2});
  const auto one = blocks::Matrix::of_bits(1, 8, 1, 8, kept(bytes({1}, {0xA1})),
                                           kept(floats({1}, {3})), kept(floats({1}, {0.5})));
  CHECK(decoded(one, 0, 0, 8) == std::vector<float>{1.5, -1.5, -1.5, -1.5, -1.5, 1.5, -1.5, 1.5});
  const auto groups = blocks::Matrix::of_bits(1, 4, 8, 2, kept(bytes({4}, {129, 130, 131, 132})),
                                              kept(floats({2}, {1, 10})), {},
                                              kept(numbers(DType::kInt32, {4}, {1, 0, 1, 0})));
  CHECK(decoded(groups, 0, 0, 4) == std::vector<float>{10, 2, 30, 4});
}

TEST_CASE("products with block-quantized weights") {
  for (const int64_t bits : {2, 4, 8}) {
    for (const int64_t k : {7, 16, 70}) {
      const int64_t n = 37, block = 16, blocks = (k + block - 1) / block;
      const Tensor codes = random_bytes({n, blocks, block * bits / 8}, 1);
      const Tensor scales = random_tensor(DType::kFloat32, {n, blocks}, -0.1, 0.1, 2);
      const Tensor zeros = random_bytes({n, (blocks * bits + 7) / 8}, 3);
      const Tensor x = random_tensor(DType::kFloat32, {2, 3, k}, -1, 1, 4);
      const Tensor bias = random_tensor(DType::kFloat32, {n}, -1, 1, 5);
      const auto w = blocks::Matrix::of_bits(n, k, bits, block, codes, scales, zeros);
      run_cases(
          {contrib("MatMulNBits", str(bits, " bits, ", k), {x, codes, scales, zeros, {}, bias},
                   sizes(n, k, bits, block), {product_of(x, w, bias)})});
    }
  }
  for (const int64_t table : {0, 1}) {
    const int64_t n = 5, k = 9, block = 16;
    const Tensor codes = random_bytes({23}, 1),
                 x = random_tensor(DType::kFloat32, {4, k}, -1, 1, 2);
    const Tensor scales = random_tensor(DType::kFloat32, {3}, 0, 1, 3);
    Attributes attributes = {{"N", n}, {"K", k}, {"block_size", block}, {"quant_type", table}};
    const auto w = blocks::Matrix::of_table(n, k, block, table, codes, scales);
    run_cases(
        {contrib("MatMulBnb4", "table", {x, codes, scales}, attributes, {product_of(x, w, {})})});
  }
}

TEST_CASE("sizes that do not fit are errors") {
  const Tensor x = floats({1, 4}, {1, 2, 3, 4}), codes = bytes({1, 1, 8}, {0, 0, 0, 0, 0, 0, 0, 0});
  const Tensor scale = floats({1}, {1});
  for (const Attributes& attributes :
       {sizes(2, 4, 4, 16), sizes(1, 400, 4, 16), sizes(1, 4, 3, 16), sizes(1, 4, 4, 0),
        sizes(int64_t{1} << 40, 4, 4, 16), sizes(-1, 4, 4, 16), sizes(1, 4, 8, 16)}) {
    Case test = contrib("MatMulNBits", "bad", {x, codes, scale}, attributes, {});
    CHECK_THROWS_AS(run_node(node_of(test), test.inputs), Error);
  }
}

TEST_CASE("rows of a block-quantized table") {
  const Tensor indices = numbers(DType::kInt64, {2}, {1, 0});
  Attributes attributes = {{"gather_axis", int64_t{0}},
                           {"quantize_axis", int64_t{1}},
                           {"block_size", int64_t{2}},
                           {"bits", int64_t{4}}};
  run_cases(
      {contrib("GatherBlockQuantized", "bytes",
               {bytes({2, 2}, {0x98, 0xBA, 0x10, 0x32}), indices, floats({2, 2}, {1, 2, 3, 4})},
               attributes, {floats({2, 4}, {-24, -21, -24, -20, 0, 1, 4, 6})})});
  Case bad = contrib("GatherBlockQuantized", "index",
                     {bytes({1, 1}, {0}), numbers(DType::kInt64, {1}, {1}), floats({1, 1}, {1})},
                     attributes, {});
  bad.error = ErrorCode::kInvalidArgument;
  run_cases({bad});
}

TEST_CASE("a mixture of experts") {
  // Two experts of one feature: relu(2 x) * 3 and relu(-x) * 10.
  const Tensor x = floats({2, 1}, {1, -2}), router = floats({2, 2}, {0, 5, 0, 5});
  const Tensor up = floats({2, 1, 1}, {2, -1}), down = floats({2, 1, 1}, {3, 10});
  run_cases({contrib("MoE", "best", {x, router, up, {}, down},
                     {{"k", int64_t{1}}, {"normalize_routing_weights", int64_t{1}}},
                     {floats({2, 1}, {0, 20})}),
             contrib("MoE", "both", {x, floats({2, 2}, {1, 1, 1, 1}), up, {}, down},
                     {{"k", int64_t{2}}}, {floats({2, 1}, {3, 10})})});
}

}  // namespace hugot::test
