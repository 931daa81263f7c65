#include "kernels/cpu/gemm_int8.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <string>

#include "base/error.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::for_each_isa;
using testing::random_floats;
using testing::same;

// The same as a kernel would leave it in memory.
struct Quantized {
  std::vector<int> q;
  float scale;
  int zero;
};

// The definition, without vectors.
Quantized quantize(const std::vector<float>& row) {
  float low = 0, high = 0;
  for (const float x : row) {
    if (!std::isfinite(x)) return {std::vector<int>(row.size()), NAN, 0};
    low = std::min(low, x);
    high = std::max(high, x);
  }
  Quantized result{std::vector<int>(row.size()), high / 255 - low / 255, 0};
  if (result.scale < 1e-30f) {
    result.scale = 0;
    return result;
  }
  const float inverse = 1 / result.scale;
  result.zero = static_cast<int>(std::nearbyint(-low * inverse));
  for (size_t i = 0; i < row.size(); ++i) {
    const int rounded = static_cast<int>(std::nearbyint(row[i] * inverse));
    result.q[i] = std::clamp(rounded + result.zero, 0, 255);
  }
  return result;
}

Quantized quantize_by_kernel(const VectorKernels& kernels, const std::vector<float>& row) {
  const auto k = static_cast<int64_t>(row.size());
  std::vector<uint32_t> groups(row.size() + 16);
  Quantized result{{}, -1, -1};
  kernels.quantize_rows(row.data(), 1, k, k, groups.data(), 0, &result.scale, &result.zero);
  for (size_t i = 0; i < row.size(); ++i) {
    if (kernels.int8_group == 4) {
      result.q.push_back(reinterpret_cast<const uint8_t*>(groups.data())[i]);
    } else {
      int16_t value;
      std::memcpy(&value, reinterpret_cast<const char*>(groups.data()) + 2 * i, 2);
      result.q.push_back(value);
    }
  }
  return result;
}

TEST_CASE("rows are quantized alike by every instruction set") {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<std::vector<float>> rows = {{0, 0, 0},
                                          {-1, -2, -3},
                                          {1, 2, 255},
                                          {-127.5f, 127.5f, 0.5f, -0.5f, 1.5f},
                                          {3e38f, -3e38f, 1e38f},
                                          {1e-35f, -1e-35f},
                                          {1e-27f, -1e-28f},
                                          {1, NAN, 2},
                                          {inf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                                          {1, -inf}};
  for (uint32_t n = 1; n < 70; ++n) rows.push_back(random_floats(n, n, 3.0f));
  for_each_isa([&](const VectorKernels& kernels) {
    for (const auto& row : rows) {
      CAPTURE(row.size());
      CAPTURE(row[0]);
      const Quantized expected = quantize(row), result = quantize_by_kernel(kernels, row);
      CHECK(same(result.scale, expected.scale));
      CHECK(result.zero == expected.zero);
      CHECK(result.q == expected.q);
    }
  });
}

std::vector<float> multiply(int64_t m, const std::vector<float>& a, const Int8Matrix& b,
                            const Epilogue& epilogue = {}, ThreadPool* pool = nullptr) {
  std::vector<std::byte> workspace(static_cast<size_t>(b.workspace(m)));
  std::vector<float> c(static_cast<size_t>(m * b.n()));
  const GemmProduct product = {&b, c.data(), b.n(), epilogue};
  gemm_int8(m, a.data(), b.k(), std::span(&product, 1), workspace.data(), pool);
  return c;
}

// Integers that quantization keeps: rows that span 255, columns whose largest is 127.
struct Integers {
  int64_t m, n, k;
  std::vector<float> a, b;  // [m, k], [k, n]

  Integers(int64_t rows, int64_t columns, int64_t depth, uint32_t seed)
      : m(rows), n(columns), k(depth) {
    std::mt19937 random(seed);
    const auto pick = [&](int low, int high) {
      // Often an extreme, which is what would saturate.
      const auto kind = random() % 4;
      if (kind == 0) return static_cast<float>(low);
      if (kind == 1) return static_cast<float>(high);
      return static_cast<float>(low + static_cast<int>(random() % (high - low + 1)));
    };
    for (int64_t i = 0; i < m; ++i) {
      const int low = -static_cast<int>(random() % 256);
      for (int64_t x = 0; x < k; ++x) a.push_back(pick(low, low + 255));
      a[static_cast<size_t>(i * k)] = static_cast<float>(low);
      a[static_cast<size_t>(i * k + k - 1)] = static_cast<float>(low + 255);
    }
    for (int64_t x = 0; x < k * n; ++x) b.push_back(x < n ? 127 : pick(-127, 127));
  }

  std::vector<float> product() const {
    std::vector<float> c;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        int64_t sum = 0;
        for (int64_t x = 0; x < k; ++x) {
          sum += static_cast<int64_t>(a[static_cast<size_t>(i * k + x)]) *
                 static_cast<int64_t>(b[static_cast<size_t>(x * n + j)]);
        }
        c.push_back(static_cast<float>(sum));
      }
    }
    return c;
  }
};

TEST_CASE("integer products are exact") {
  ThreadPool pool(2);
  std::mt19937 random(5);
  std::vector<std::array<int64_t, 3>> shapes = {{1, 1, 2}, {13, 33, 2000}, {200, 70, 300}};
  const auto up_to = [&](int64_t limit) { return static_cast<int64_t>(random()) % limit + 1; };
  for (int i = 0; i < 60; ++i) shapes.push_back({up_to(30), up_to(80), up_to(90) + 1});
  uint32_t seed = 0;
  for (const auto& shape : shapes) {
    const Integers p(shape[0], shape[1], shape[2], ++seed);
    const std::vector<float> expected = p.product();
    for_each_isa([&](const VectorKernels&) {
      CAPTURE(p.m);
      CAPTURE(p.n);
      CAPTURE(p.k);
      const Int8Matrix b(p.b.data(), p.k, p.n, p.n, false);
      CHECK(b.bytes() >= p.n * p.k);
      const std::vector<float> c = multiply(p.m, p.a, b);
      CHECK(c == expected);
      CHECK(multiply(p.m, p.a, b, {}, &pool) == expected);
    });
  }
}

TEST_CASE("the largest sums neither saturate nor overflow") {
  constexpr int64_t n = 17, m = 3;
  for (const int64_t k : {int64_t{64}, kInt8MaxDepth}) {
    std::vector<float> a(static_cast<size_t>(m * k), 255.0f), b(static_cast<size_t>(k * n), 127.0f);
    for (int64_t i = 0; i < k * n; ++i) {
      if (i % n % 2 == 1) b[static_cast<size_t>(i)] = -127;
    }
    for_each_isa([&](const VectorKernels&) {
      const std::vector<float> c = multiply(m, a, Int8Matrix(b.data(), k, n, n, false));
      const auto exact = static_cast<float>(255 * 127 * k);
      for (size_t i = 0; i < c.size(); ++i) CHECK(c[i] == (i % n % 2 == 1 ? -exact : exact));
    });
  }
  CHECK_THROWS_AS(Int8Matrix(nullptr, kInt8MaxDepth + 1, 1, 1, false), Error);
}

// |C - exact| in terms of what quantization may cost: half a step of A times |B|, and the reverse.
void check_error(const std::vector<float>& c, const std::vector<float>& a,
                 const std::vector<float>& b, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; ++i) {
    const float* row = a.data() + i * k;
    const auto [low, high] = std::minmax_element(row, row + k);
    const double a_step = (std::max(*high, 0.0f) - std::min(*low, 0.0f)) / 255.0;
    for (int64_t j = 0; j < n; ++j) {
      double exact = 0, a_sum = 0, b_sum = 0, b_largest = 0;
      for (int64_t x = 0; x < k; ++x) {
        const double w = b[static_cast<size_t>(x * n + j)];
        exact += row[x] * w;
        a_sum += std::abs(row[x]);
        b_sum += std::abs(w);
        b_largest = std::max(b_largest, std::abs(w));
      }
      const double b_step = b_largest / 127;
      const double bound =
          a_step * b_sum + b_step / 2 * a_sum + a_step * b_step / 2 * static_cast<double>(k) + 1e-5;
      REQUIRE(std::abs(c[static_cast<size_t>(i * n + j)] - exact) <= bound);
    }
  }
}

TEST_CASE("products of real numbers, transposed weights and epilogues") {
  constexpr int64_t m = 29, n = 41, k = 100;
  const std::vector<float> a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  const std::vector<float> bias = random_floats(n, 3), residual = random_floats(m * n, 4);
  std::vector<float> b_transposed(b.size());
  for (size_t i = 0; i < b.size(); ++i) b_transposed[i % n * k + i / n] = b[i];
  for_each_isa([&](const VectorKernels& kernels) {
    const Int8Matrix packed(b.data(), k, n, n, false);
    const std::vector<float> c = multiply(m, a, packed);
    check_error(c, a, b, m, n, k);
    const Int8Matrix transposed(b_transposed.data(), k, n, k, true);
    CHECK(multiply(m, a, transposed) == c);

    Epilogue epilogue = {.bias = bias.data()};
    std::vector<float> with_bias = multiply(m, a, packed, epilogue);
    for (size_t i = 0; i < c.size(); ++i) {
      REQUIRE(with_bias[i] == doctest::Approx(c[i] + bias[i % n]).epsilon(1e-5));
    }
    epilogue.activation = Activation::kGelu;
    epilogue.residual = residual.data();
    epilogue.residual_stride = n;
    kernels.gelu(with_bias.data(), with_bias.data(), m * n);
    kernels.add.vv(with_bias.data(), residual.data(), with_bias.data(), m * n);
    CHECK(multiply(m, a, packed, epilogue) == with_bias);
  });
}

TEST_CASE("a row of an int8 product does not depend on the other rows") {
  constexpr int64_t m = 50, n = 70, k = 90;
  ThreadPool pool(3);
  const std::vector<float> a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  const std::vector<float> bias = random_floats(n, 3);
  const Epilogue epilogue = {.bias = bias.data(), .activation = Activation::kGelu};
  for_each_isa([&](const VectorKernels&) {
    const Int8Matrix packed(b.data(), k, n, n, false);
    const std::vector<float> all = multiply(m, a, packed, epilogue, &pool);
    for (int64_t row = 0, rows = 1; row < m; row += rows, rows = std::min(1 + row % 15, m - row)) {
      const std::vector<float> part(a.begin() + row * k, a.begin() + (row + rows) * k);
      const std::vector<float> alone = multiply(rows, part, packed, epilogue);
      CHECK(same(alone.data(), all.data() + row * n, alone.size()));
    }
  });
}

TEST_CASE("numbers that are not finite stay in their rows and columns") {
  constexpr int64_t m = 3, n = 20, k = 9;
  std::vector<float> a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  a[k + 4] = NAN;
  b[2 * n + 7] = std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < k; ++i) b[i * n + 11] = 0;
  for_each_isa([&](const VectorKernels&) {
    const std::vector<float> c = multiply(m, a, Int8Matrix(b.data(), k, n, n, false));
    for (size_t i = 0; i < c.size(); ++i) {
      CHECK(std::isnan(c[i]) == (i / n == 1 || i % n == 7));
      if (i / n != 1 && i % n == 11) CHECK(c[i] == 0);
    }
  });
}

}  // namespace
}  // namespace hugot::cpu
