#include "kernels/cpu/gemm_quantized.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::for_each_isa;
using testing::random_floats;

// Operands of one product, as lists of numbers; extremes are frequent.
struct Operands {
  int64_t m, n, k;
  bool a_signed, b_signed;
  std::vector<int32_t> a, b, a_zero, b_zero;

  // zeros: 0 none, 1 one for all, 2 one for each row and column.
  Operands(int64_t rows, int64_t columns, int64_t depth, bool a_is_signed, bool b_is_signed,
           int zeros, uint32_t seed)
      : m(rows), n(columns), k(depth), a_signed(a_is_signed), b_signed(b_is_signed) {
    std::mt19937 random(seed);
    const auto pick = [&](bool is_signed) {
      const int32_t low = is_signed ? -128 : 0;
      const uint32_t kind = random() % 4;
      return kind == 0 ? low : kind == 1 ? low + 255 : low + static_cast<int32_t>(random() % 256);
    };
    for (int64_t i = 0; i < m * k; ++i) a.push_back(pick(a_signed));
    for (int64_t i = 0; i < k * n; ++i) b.push_back(pick(b_signed));
    for (int64_t i = 0; i < (zeros == 2 ? m : 1); ++i) {
      a_zero.push_back(zeros == 0 ? 0 : pick(a_signed));
    }
    for (int64_t i = 0; zeros > 0 && i < (zeros == 2 ? n : 1); ++i)
      b_zero.push_back(pick(b_signed));
  }

  std::vector<int32_t> product() const {
    std::vector<int32_t> c;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        int64_t sum = 0;
        for (int64_t x = 0; x < k; ++x) {
          const int32_t zero = b_zero.empty() ? 0 : one_of<int32_t>(b_zero, j);
          sum += int64_t{a[static_cast<size_t>(i * k + x)] - one_of<int32_t>(a_zero, i)} *
                 (b[static_cast<size_t>(x * n + j)] - zero);
        }
        c.push_back(static_cast<int32_t>(sum));
      }
    }
    return c;
  }

  QuantizedMatrix packed(bool transposed, std::span<const float> scale = {}) const {
    std::vector<uint8_t> bytes(b.size());
    for (int64_t i = 0; i < k * n; ++i) {
      const int64_t to = transposed ? i % n * k + i / n : i;
      bytes[static_cast<size_t>(to)] = static_cast<uint8_t>(b[static_cast<size_t>(i)]);
    }
    const Tensor tensor(b_signed ? DType::kInt8 : DType::kUInt8, {k, n}, bytes.data());
    return QuantizedMatrix(tensor, 0, b_zero, scale, k, n, transposed ? k : n, transposed);
  }

  std::vector<uint8_t> a_bytes() const { return {a.begin(), a.end()}; }
};

std::vector<int32_t> multiply(const Operands& p, bool transposed, ThreadPool* pool) {
  const QuantizedMatrix b = p.packed(transposed);
  CHECK(b.bytes() >= p.n * p.k);
  const std::vector<uint8_t> a = p.a_bytes();
  std::vector<std::byte> workspace(static_cast<size_t>(b.workspace(p.m)));
  std::vector<int32_t> c(static_cast<size_t>(p.m * p.n), -1);
  multiply_integers(p.m, {a.data(), p.a_signed, p.k, p.a_zero, {}}, b, c.data(), p.n,
                    workspace.data(), pool);
  return c;
}

}  // namespace

TEST_CASE("products of bytes with zero points are exact") {
  ThreadPool pool(2);
  std::mt19937 random(7);
  std::vector<std::array<int64_t, 3>> shapes = {
      {1, 1, 1}, {1, 1, 0}, {3, 17, 0}, {200, 70, 300}, {5, 40, 4001}};
  const auto up_to = [&](int64_t limit) { return static_cast<int64_t>(random()) % limit + 1; };
  for (int i = 0; i < 40; ++i) shapes.push_back({up_to(30), up_to(80), up_to(90)});
  uint32_t seed = 0;
  for (const auto& shape : shapes) {
    ++seed;
    const Operands p(shape[0], shape[1], shape[2], (seed & 1) != 0, (seed & 2) != 0,
                     static_cast<int>(seed % 3), seed);
    CAPTURE(p.m);
    CAPTURE(p.n);
    CAPTURE(p.k);
    const std::vector<int32_t> expected = p.product();
    for_each_isa([&](const VectorKernels&) {
      CHECK(multiply(p, false, nullptr) == expected);
      CHECK(multiply(p, true, &pool) == expected);
    });
  }
}

TEST_CASE("sums beyond 32 bits wrap around") {
  constexpr int64_t k = 140000, n = 3;
  const std::vector<uint8_t> a(k, 255), b(k * n, 255);
  const int32_t zero[] = {0};
  for_each_isa([&](const VectorKernels&) {
    const Tensor tensor(DType::kUInt8, {k, n}, b.data());
    const QuantizedMatrix packed(tensor, 0, {}, {}, k, n, n, false);
    std::vector<std::byte> workspace(static_cast<size_t>(packed.workspace(1)));
    std::vector<int32_t> c(n);
    multiply_integers(1, {a.data(), false, k, zero, {}}, packed, c.data(), n, workspace.data());
    for (const int32_t x : c) CHECK(x == static_cast<int32_t>(uint32_t{255 * 255} * uint32_t{k}));
  });
}

TEST_CASE("scaled products round as separate nodes do") {
  constexpr int64_t m = 23, n = 41, k = 100;
  const Operands p(m, n, k, false, true, 2, 3);
  const std::vector<float> scales = random_floats(n, 1), row_scales = random_floats(m, 2);
  const std::vector<float> bias = random_floats(n, 3), residual = random_floats(m * n, 4);
  const std::vector<int32_t> sums = p.product();
  std::vector<float> expected;
  for (size_t i = 0; i < sums.size(); ++i) {
    const float factor = row_scales[i / n] * scales[i % n];
    const float scaled = static_cast<float>(sums[i]) * factor;
    const float biased = scaled + bias[i % n];
    expected.push_back((biased < 0 ? 0 : biased) + residual[i]);
  }
  const std::vector<uint8_t> a = p.a_bytes();
  for_each_isa([&](const VectorKernels&) {
    const QuantizedMatrix b = p.packed(false, scales);
    std::vector<std::byte> workspace(static_cast<size_t>(b.workspace(m)));
    std::vector<float> c(m * n);
    const Epilogue epilogue = {bias.data(), Activation::kRelu, residual.data(), n};
    multiply_quantized(m, {a.data(), false, k, p.a_zero, row_scales}, b, c.data(), n, epilogue,
                       workspace.data());
    CHECK(c == expected);
  });
}

TEST_CASE("zero points and scales fit the columns") {
  const Tensor b = Tensor::from<int8_t>({2, 3}, {0, 0, 0, 0, 0, 0});
  const int32_t zero[2] = {};
  const float scale[2] = {};
  CHECK_THROWS_AS(QuantizedMatrix(b, 0, zero, {}, 2, 3, 3, false), Error);
  CHECK_THROWS_AS(QuantizedMatrix(b, 0, {}, scale, 2, 3, 3, false), Error);
}

TEST_CASE("the range of numbers has zero in it") {
  for_each_isa([&](const VectorKernels& kernels) {
    for (size_t n = 0; n < 70; ++n) {
      std::vector<float> x = random_floats(n, static_cast<uint32_t>(n));
      float low = -1, high = -1;
      CHECK(kernels.range(x.data(), static_cast<int64_t>(n), &low, &high) == 0);
      float least = 0, most = 0;
      for (const float v : x) least = std::min(least, v), most = std::max(most, v);
      CHECK(low == least);
      CHECK(high == most);
      for (const float odd : {NAN, HUGE_VALF}) {
        if (n == 0) continue;
        x[n - 1] = odd;
        CHECK(std::isnan(kernels.range(x.data(), static_cast<int64_t>(n), &low, &high)));
      }
    }
  });
}

TEST_CASE("bytes from floats: ties, saturation, what is no number") {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {0,    1,     -1,   0.5f,  1.5f, 2.5f, -0.5f, 300,
                                -300, 1e30f, -inf, inf,   NAN,  254,  255,   256,
                                -127, -128,  -129, 0.25f, 3e9f, -3e9, 127.5f};
  for_each_isa([&](const VectorKernels& kernels) {
    for (const float scale : {1.0f, 0.5f, -2.0f, 3.0f, 0.0f}) {
      for (const int32_t zero : {0, 128, -128, 7, 255}) {
        CAPTURE(scale);
        CAPTURE(zero);
        const auto reference = [&](float value, double low, double high) {
          const float quotient = value / scale;
          if (std::isnan(quotient)) return static_cast<int>(low);
          return static_cast<int>(
              std::clamp(std::nearbyint(static_cast<double>(quotient)) + zero, low, high));
        };
        const auto n = static_cast<int64_t>(x.size());
        std::vector<uint8_t> u(x.size());
        std::vector<int8_t> s(x.size());
        kernels.quantize_uint8(x.data(), n, scale, zero, u.data());
        kernels.quantize_int8(x.data(), n, scale, zero, s.data());
        for (size_t i = 0; i < x.size(); ++i) {
          CAPTURE(x[i]);
          CHECK(int{u[i]} == reference(x[i], 0, 255));
          CHECK(int{s[i]} == reference(x[i], -128, 127));
        }
      }
    }
  });
}

}  // namespace hugot::cpu
