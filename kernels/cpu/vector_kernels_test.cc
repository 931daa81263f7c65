#include "kernels/cpu/vector_kernels.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <string>

#include "base/error.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::bits;
using testing::for_each_isa;
using testing::random_floats;
using testing::same;
using testing::ulp_error;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double gelu_exact(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double sigmoid_exact(double x) { return 1 / (1 + std::exp(-x)); }
double gelu_tanh_exact(double x) {
  const double pi = 3.14159265358979323846;
  return x * sigmoid_exact(2 * std::sqrt(2 / pi) * (x + 0.044715 * x * x * x));
}

struct UnaryCase {
  const char* name;
  UnaryKernel VectorKernels::*kernel;
  double (*exact)(double);
  double max_ulp;       // bound in ulp ...
  double max_absolute;  // ... or absolute, whichever is looser
};

const UnaryCase kUnaryCases[] = {
    {"exp", &VectorKernels::exp, [](double x) { return std::exp(x); }, 2, 0},
    {"log", &VectorKernels::log, [](double x) { return std::log(x); }, 2, 0},
    {"erf", &VectorKernels::erf, [](double x) { return std::erf(x); }, 2, 0},
    {"tanh", &VectorKernels::tanh, [](double x) { return std::tanh(x); }, 2, 0},
    {"sigmoid", &VectorKernels::sigmoid, sigmoid_exact, 3, 1.2e-38},
    {"gelu", &VectorKernels::gelu, gelu_exact, 0, 3e-7},
    {"gelu_tanh", &VectorKernels::gelu_tanh, gelu_tanh_exact, 4, 3e-7},
    {"silu", &VectorKernels::silu, [](double x) { return x * sigmoid_exact(x); }, 4, 2e-36},
    {"relu", &VectorKernels::relu, [](double x) { return std::isnan(x) || x > 0 ? x : 0; }, 0, 0},
    {"sqrt", &VectorKernels::sqrt, [](double x) { return std::sqrt(x); }, 0.5, 0},
    {"reciprocal", &VectorKernels::reciprocal, [](double x) { return 1 / x; }, 0.5, 0},
    {"abs", &VectorKernels::abs, [](double x) { return std::abs(x); }, 0, 0},
    {"neg", &VectorKernels::neg, [](double x) { return -x; }, 0, 0},
};

// Every 4099th float of both signs: all magnitudes, and dense enough to meet each polynomial's
// worst place; special values and the neighbourhood of the switches between ranges.
std::vector<float> sweep() {
  std::vector<float> x;
  for (uint64_t i = 0; i < 0x7f800000u; i += 4099) {
    const float v = std::bit_cast<float>(static_cast<uint32_t>(i));
    x.push_back(v);
    x.push_back(-v);
  }
  for (int i = -200000; i <= 200000; ++i) x.push_back(static_cast<float>(i) * 0.00005f);
  for (float v : {0.0f, -0.0f, 1.0f, -1.0f, 0.625f, 0.92f, 88.72283f, 88.73f, 128.0f, -87.33655f,
                  -103.97208f, -104.5f, 1e-45f, 1.1754944e-38f, 3.4028235e38f, -3.4028235e38f}) {
    x.push_back(v);
  }
  return x;
}

TEST_CASE("unary kernels are as accurate as promised") {
  const std::vector<float> x = sweep();
  std::vector<float> y(x.size());
  for_each_isa([&](const VectorKernels& kernels) {
    for (const UnaryCase& c : kUnaryCases) {
      CAPTURE(c.name);
      (kernels.*c.kernel)(x.data(), y.data(), static_cast<int64_t>(x.size()));
      double worst_ulp = 0, worst_absolute = 0;
      float worst_at = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = c.exact(x[i]);
        const double absolute = std::abs(y[i] - exact);
        const double ulp = ulp_error(y[i], exact);
        worst_absolute = std::max(worst_absolute, std::isnan(absolute) ? 0 : absolute);
        if (absolute <= c.max_absolute * std::max(1.0, std::abs(exact))) continue;
        if (ulp > worst_ulp) {
          worst_ulp = ulp;
          worst_at = x[i];
        }
      }
      CAPTURE(worst_at);
      CHECK(worst_ulp <= c.max_ulp);
    }
  });
}

TEST_CASE("unary kernels at special values") {
  struct Special {
    UnaryKernel VectorKernels::*kernel;
    float x, y;
  };
  const Special cases[] = {
      {&VectorKernels::exp, kInf, kInf},
      {&VectorKernels::exp, -kInf, 0},
      {&VectorKernels::exp, 0, 1},
      {&VectorKernels::log, 0, -kInf},
      {&VectorKernels::log, -0.0f, -kInf},
      {&VectorKernels::log, kInf, kInf},
      {&VectorKernels::log, -1, kNan},
      {&VectorKernels::log, -kInf, kNan},
      {&VectorKernels::log, -1e-45f, kNan},
      {&VectorKernels::log, 1, 0},
      {&VectorKernels::erf, kInf, 1},
      {&VectorKernels::erf, -kInf, -1},
      {&VectorKernels::erf, -0.0f, -0.0f},
      {&VectorKernels::tanh, kInf, 1},
      {&VectorKernels::tanh, -kInf, -1},
      {&VectorKernels::tanh, -0.0f, -0.0f},
      {&VectorKernels::sigmoid, kInf, 1},
      {&VectorKernels::sigmoid, -kInf, 0},
      {&VectorKernels::gelu, kInf, kInf},
      {&VectorKernels::silu, kInf, kInf},
      {&VectorKernels::gelu_tanh, kInf, kInf},
      {&VectorKernels::relu, -kInf, 0},
      {&VectorKernels::sqrt, -1, kNan},
      {&VectorKernels::sqrt, -0.0f, -0.0f},
      {&VectorKernels::reciprocal, 0.0f, kInf},
      {&VectorKernels::reciprocal, -0.0f, -kInf},
      {&VectorKernels::abs, -0.0f, 0.0f},
      {&VectorKernels::neg, 0.0f, -0.0f},
  };
  for_each_isa([&](const VectorKernels& kernels) {
    for (const Special& c : cases) {
      CAPTURE(c.x);
      CAPTURE(&c - cases);
      float y = 42;
      (kernels.*c.kernel)(&c.x, &y, 1);
      CHECK(same(y, c.y));
    }
    for (const UnaryCase& c : kUnaryCases) {
      CAPTURE(c.name);
      float y = 0;
      (kernels.*c.kernel)(&kNan, &y, 1);
      CHECK(std::isnan(y));
    }
  });
}

// Runs `kernel(offset, n, out)` for many sizes and offsets; element i of the result must be
// expected[offset + i] bit for bit, and nothing around it may be written.
void check_positions(size_t size, const std::vector<float>& expected,
                     const std::function<void(size_t, size_t, float*)>& kernel) {
  for (size_t n = 0; n <= 67; ++n) {
    for (size_t offset = 0; offset < 9 && offset + n <= size; ++offset) {
      std::vector<float> out(n + 2, 7.0f);
      kernel(offset, n, out.data() + 1);
      REQUIRE(same(out.data() + 1, expected.data() + offset, n));
      REQUIRE(out.front() == 7.0f);
      REQUIRE(out.back() == 7.0f);
    }
  }
}

TEST_CASE("elementwise results do not depend on position, length or alignment") {
  constexpr size_t kSize = 96;
  const std::vector<float> a = random_floats(kSize, 1, 5), b = random_floats(kSize, 2, 5);
  const std::vector<float> c = random_floats(kSize, 3, 5);
  std::vector<float> expected(kSize);
  for_each_isa([&](const VectorKernels& kernels) {
    for (const UnaryCase& u : kUnaryCases) {
      CAPTURE(u.name);
      const UnaryKernel f = kernels.*u.kernel;
      for (size_t i = 0; i < kSize; ++i) f(&b[i], &expected[i], 1);
      for (float& x : expected) x = std::isnan(x) ? kNan : x;
      check_positions(kSize, expected, [&](size_t offset, size_t n, float* out) {
        f(b.data() + offset, out, static_cast<int64_t>(n));
        for (size_t i = 0; i < n; ++i) out[i] = std::isnan(out[i]) ? kNan : out[i];
      });
    }
    for (BinaryKernel VectorKernels::*member :
         {&VectorKernels::add, &VectorKernels::sub, &VectorKernels::mul, &VectorKernels::div,
          &VectorKernels::max, &VectorKernels::min}) {
      const BinaryKernel& f = kernels.*member;
      for (size_t i = 0; i < kSize; ++i) f.vv(&a[i], &b[i], &expected[i], 1);
      check_positions(kSize, expected, [&](size_t offset, size_t n, float* out) {
        f.vv(a.data() + offset, b.data() + offset, out, static_cast<int64_t>(n));
      });
      for (size_t i = 0; i < kSize; ++i) f.vv(&a[i], &b[0], &expected[i], 1);
      check_positions(kSize, expected, [&](size_t offset, size_t n, float* out) {
        f.vs(a.data() + offset, b[0], out, static_cast<int64_t>(n));
      });
      for (size_t i = 0; i < kSize; ++i) f.vv(&a[0], &b[i], &expected[i], 1);
      check_positions(kSize, expected, [&](size_t offset, size_t n, float* out) {
        f.sv(a[0], b.data() + offset, out, static_cast<int64_t>(n));
      });
    }
    for (size_t i = 0; i < kSize; ++i) kernels.mul_add(&a[i], &b[i], &c[i], &expected[i], 1);
    check_positions(kSize, expected, [&](size_t offset, size_t n, float* out) {
      kernels.mul_add(a.data() + offset, b.data() + offset, c.data() + offset, out,
                      static_cast<int64_t>(n));
    });
  });
}

TEST_CASE("binary kernels compute what they say") {
  const std::vector<float> a = {1, -2, 0.1f, kNan, 3, kInf, -kInf, 0};
  const std::vector<float> b = {3, 5, 0.7f, 1, kNan, 1, kInf, 0};
  const auto n = static_cast<int64_t>(a.size());
  for_each_isa([&](const VectorKernels& kernels) {
    std::vector<float> y(a.size());
    const auto check = [&](const BinaryKernel& f, float (*exact)(float, float)) {
      f.vv(a.data(), b.data(), y.data(), n);
      for (size_t i = 0; i < a.size(); ++i) {
        CAPTURE(i);
        CHECK(same(y[i], exact(a[i], b[i])));
      }
    };
    check(kernels.add, [](float x, float z) { return x + z; });
    check(kernels.sub, [](float x, float z) { return x - z; });
    check(kernels.mul, [](float x, float z) { return x * z; });
    check(kernels.div, [](float x, float z) { return x / z; });
    check(kernels.max,
          [](float x, float z) { return std::isnan(x) || std::isnan(z) ? kNan : std::max(x, z); });
    check(kernels.min,
          [](float x, float z) { return std::isnan(x) || std::isnan(z) ? kNan : std::min(x, z); });
    y = a;  // in place
    kernels.add.vv(y.data(), b.data(), y.data(), n);
    CHECK(y[0] == 4);
    kernels.sub.sv(10, b.data(), y.data(), n);
    CHECK(y[1] == 5);
    kernels.sub.vs(a.data(), 10, y.data(), n);
    CHECK(y[1] == -12);
  });
}

TEST_CASE("reductions") {
  for_each_isa([&](const VectorKernels& kernels) {
    for (size_t n = 0; n <= 300; n += n < 70 ? 1 : 23) {
      CAPTURE(n);
      const std::vector<float> x = random_floats(n + 3, 5), y = random_floats(n + 3, 6);
      const auto count = static_cast<int64_t>(n);
      double total = 0, squares = 0, product = 0, magnitude = 1;
      float high = -kInf, low = kInf;
      for (size_t i = 0; i < n; ++i) {
        total += x[i];
        magnitude += std::abs(x[i]);
        squares += static_cast<double>(x[i]) * x[i];
        product += static_cast<double>(x[i]) * y[i];
        high = std::max(high, x[i]);
        low = std::min(low, x[i]);
      }
      const double tolerance = 1e-6 * magnitude;
      CHECK(std::abs(kernels.sum(x.data(), count) - total) <= tolerance);
      CHECK(std::abs(kernels.sum_squares(x.data(), count) - squares) <= tolerance);
      CHECK(std::abs(kernels.dot(x.data(), y.data(), count) - product) <= tolerance);
      CHECK(kernels.reduce_max(x.data(), count) == high);
      CHECK(kernels.reduce_min(x.data(), count) == low);
      // The same values elsewhere in memory give the same bits.
      std::vector<float> shifted(n + 3);
      std::copy_n(x.begin(), n, shifted.begin() + 3);
      CHECK(bits(kernels.sum(x.data(), count)) == bits(kernels.sum(shifted.data() + 3, count)));
      CHECK(bits(kernels.sum(x.data(), count)) ==
            bits(find_isa("scalar").kernels->sum(x.data(), count)));
      for (size_t i = 0; i < n; i += 7) {
        std::vector<float> with_nan = x;
        with_nan[i] = kNan;
        CHECK(std::isnan(kernels.reduce_max(with_nan.data(), count)));
        CHECK(std::isnan(kernels.reduce_min(with_nan.data(), count)));
      }
    }
  });
}

TEST_CASE("softmax and log-softmax") {
  for_each_isa([&](const VectorKernels& kernels) {
    for (size_t n = 1; n <= 140; n += n < 68 ? 1 : 9) {
      CAPTURE(n);
      std::vector<float> x = random_floats(3 * n, 7, 20);
      if (n > 2) x[1] = -kInf;
      x[n] = 1000;
      std::vector<float> y(3 * n), z(3 * n), alone(n);
      kernels.softmax(x.data(), y.data(), 3, static_cast<int64_t>(n));
      kernels.log_softmax(x.data(), z.data(), 3, static_cast<int64_t>(n));
      for (size_t r = 0; r < 3; ++r) {
        const float* row = x.data() + r * n;
        const double max = *std::max_element(row, row + n);
        double total = 0;
        for (size_t i = 0; i < n; ++i) total += std::exp(row[i] - max);
        for (size_t i = 0; i < n; ++i) {
          const double exact = row[i] - max - std::log(total);
          CHECK(y[r * n + i] == doctest::Approx(std::exp(exact)).epsilon(2e-6).scale(1e-9));
          if (std::isinf(exact)) {
            CHECK(z[r * n + i] == exact);
          } else {
            CHECK(std::abs(z[r * n + i] - exact) <= 4e-7 * (1 + std::abs(exact)));
          }
        }
        kernels.softmax(row, alone.data(), 1, static_cast<int64_t>(n));
        CHECK(same(alone.data(), y.data() + r * n, n));
      }
      std::fill(x.begin(), x.end(), -kInf);
      kernels.softmax(x.data(), y.data(), 1, static_cast<int64_t>(n));
      CHECK(std::isnan(y[n - 1]));
    }
  });
}

TEST_CASE("normalization of rows") {
  constexpr float kEps = 1e-5f;
  for_each_isa([&](const VectorKernels& kernels) {
    for (size_t n = 1; n <= 400; n += n < 68 ? 1 : 83) {
      CAPTURE(n);
      const auto cols = static_cast<int64_t>(n);
      std::vector<float> x = random_floats(2 * n, 8), gamma = random_floats(n, 9);
      const std::vector<float> beta = random_floats(n, 10), r = random_floats(2 * n, 11);
      for (size_t i = 0; i < n; ++i) x[i] += 10;  // a mean far from zero
      std::vector<float> y(2 * n), plain(2 * n), rms(2 * n), sums(2 * n), fused(2 * n), in_place(x);
      float mean[2], inv_std[2], inv_rms[2];
      kernels.layer_norm(x.data(), gamma.data(), beta.data(), kEps, 2, cols, y.data(), mean,
                         inv_std);
      kernels.layer_norm(x.data(), nullptr, nullptr, kEps, 2, cols, plain.data(), nullptr, nullptr);
      kernels.rms_norm(x.data(), gamma.data(), kEps, 2, cols, rms.data(), inv_rms);
      for (size_t row = 0; row < 2; ++row) {
        const float* v = x.data() + row * n;
        double m = 0, variance = 0, squares = 0;
        for (size_t i = 0; i < n; ++i) m += v[i] / static_cast<double>(n);
        for (size_t i = 0; i < n; ++i) {
          variance += (v[i] - m) * (v[i] - m) / static_cast<double>(n);
          squares += static_cast<double>(v[i]) * v[i] / static_cast<double>(n);
        }
        const double scale = 1 / std::sqrt(variance + kEps);
        CHECK(mean[row] == doctest::Approx(m).epsilon(1e-6));
        if (n > 1) CHECK(inv_std[row] == doctest::Approx(scale).epsilon(2e-5));
        CHECK(inv_rms[row] == doctest::Approx(1 / std::sqrt(squares + kEps)).epsilon(1e-6));
        for (size_t i = 0; i < n && n > 1; ++i) {
          const double normal = (v[i] - m) * scale;
          const double tolerance = 2e-6 * scale + 2e-5 * std::abs(normal);
          CHECK(std::abs(plain[row * n + i] - normal) <= tolerance);
          CHECK(std::abs(y[row * n + i] - (normal * gamma[i] + beta[i])) <= tolerance + 1e-6);
          CHECK(std::abs(rms[row * n + i] - v[i] * inv_rms[row] * gamma[i]) <= 1e-5);
        }
      }
      // The fused sum is the sum followed by the norm, bit for bit, with and without its output,
      // in place too.
      kernels.add_layer_norm(x.data(), r.data(), gamma.data(), beta.data(), kEps, 2, cols,
                             sums.data(), fused.data(), nullptr, nullptr);
      std::vector<float> expected(2 * n);
      kernels.add.vv(x.data(), r.data(), expected.data(), 2 * cols);
      CHECK(same(sums.data(), expected.data(), 2 * n));
      kernels.layer_norm(expected.data(), gamma.data(), beta.data(), kEps, 2, cols, expected.data(),
                         nullptr, nullptr);
      CHECK(same(fused.data(), expected.data(), 2 * n));
      kernels.add_layer_norm(in_place.data(), r.data(), gamma.data(), beta.data(), kEps, 2, cols,
                             nullptr, in_place.data(), nullptr, nullptr);
      CHECK(same(in_place.data(), expected.data(), 2 * n));
    }
  });
}

TEST_CASE("the loop of multiply-adds says how much it did") {
  for_each_isa([&](const VectorKernels& kernels) {
    float y = 0;
    const int64_t once = kernels.multiply_add_loop(1, &y);
    CHECK(once > 0);
    CHECK(kernels.multiply_add_loop(100, &y) == 100 * once);
    CHECK(y == doctest::Approx(static_cast<double>(once)));  // every lane of every chain is 2
  });
}

TEST_CASE("choice of the instruction set") {
  CHECK(std::string(all_isas().back().name) == "scalar");
  CHECK(all_isas().back().supported());
  CHECK_THROWS_WITH_AS(find_isa("avx9"), doctest::Contains("unknown instruction set"), Error);
  const Isa& before = active_isa();
  {
    const ScopedIsa scoped(find_isa("scalar"));
    CHECK(std::string(active_isa().name) == "scalar");
    CHECK(std::string(active_kernels().name) == "scalar");
  }
  CHECK(&active_isa() == &before);
}

}  // namespace
}  // namespace hugot::cpu
