#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::for_each_isa;
using testing::random_floats;
using testing::same;

struct Problem {
  int64_t m, n, k, lda, ldb, ldc, ldr;
  bool transposed, has_bias, has_residual;
  Activation activation;
  std::vector<float> a, b, bias, residual;

  Epilogue epilogue() const {
    return {.bias = has_bias ? bias.data() : nullptr,
            .activation = activation,
            .residual = has_residual ? residual.data() : nullptr,
            .residual_stride = ldr};
  }
  float b_at(int64_t i, int64_t j) const {
    return b[static_cast<size_t>(transposed ? j * ldb + i : i * ldb + j)];
  }
};

Problem make_problem(int64_t m, int64_t n, int64_t k, uint32_t seed) {
  std::mt19937 random(seed);
  const auto extra = [&] { return static_cast<int64_t>(random() % 5); };
  Problem p;
  p.m = m;
  p.n = n;
  p.k = k;
  p.transposed = random() % 2 == 0;
  p.has_bias = random() % 4 != 0;
  p.has_residual = random() % 2 == 0;
  p.activation = static_cast<Activation>(random() % 7);
  p.lda = k + extra();
  p.ldb = (p.transposed ? k : n) + extra();
  p.ldc = n + extra();
  p.ldr = p.ldc;
  const int64_t b_rows = p.transposed ? n : k;
  p.a = random_floats(static_cast<size_t>(m * p.lda), seed + 1);
  p.b = random_floats(static_cast<size_t>(b_rows * p.ldb), seed + 2);
  p.bias = random_floats(static_cast<size_t>(n), seed + 3);
  p.residual = random_floats(static_cast<size_t>(m * p.ldr), seed + 4);
  return p;
}

double activate(Activation activation, double x) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return x * sigmoid(2 * 0.7978845608028654 * (x + 0.044715 * x * x * x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kSilu:
      return x * sigmoid(x);
  }
  return NAN;
}

// C against float64; the gaps between the rows of C must be as they were (0).
void check_result(const Problem& p, const std::vector<float>& c) {
  double worst = 0;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.ldc; ++j) {
      const float value = c[static_cast<size_t>(i * p.ldc + j)];
      if (j >= p.n) {
        REQUIRE(value == 0);
        continue;
      }
      double exact = p.has_bias ? p.bias[static_cast<size_t>(j)] : 0.0;
      double magnitude = 1;
      for (int64_t x = 0; x < p.k; ++x) {
        const double term =
            static_cast<double>(p.a[static_cast<size_t>(i * p.lda + x)]) * p.b_at(x, j);
        exact += term;
        magnitude += std::abs(term);
      }
      exact = activate(p.activation, exact);
      if (p.has_residual) exact += p.residual[static_cast<size_t>(i * p.ldr + j)];
      worst = std::max(worst, std::abs(value - exact) / magnitude);
    }
  }
  CHECK(worst < 1e-6);
}

std::vector<float> run(const GemmProvider& provider, const Problem& p, ThreadPool* pool = nullptr) {
  const auto packed = provider.pack(p.b.data(), p.k, p.n, p.ldb, p.transposed);
  CHECK(packed->k() == p.k);
  CHECK(packed->n() == p.n);
  CHECK(packed->bytes() >= p.n * p.k * 4);
  std::vector<float> c(static_cast<size_t>(p.m * p.ldc));
  provider.run(p.m, p.a.data(), p.lda, *packed, c.data(), p.ldc, p.epilogue(), pool);
  return c;
}

std::vector<Problem> problems() {
  std::vector<Problem> result;
  uint32_t seed = 1;
  for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 13, 14}) {
    for (int64_t n : {1, 7, 16, 33}) {
      for (int64_t k : {1, 3, 40}) result.push_back(make_problem(m, n, k, seed++));
    }
  }
  std::mt19937 random(99);
  for (int i = 0; i < 40; ++i) {
    result.push_back(
        make_problem(1 + random() % 70, 1 + random() % 150, 1 + random() % 90, seed++));
  }
  result.push_back(make_problem(250, 130, 500, seed++));  // several blocks of rows
  // Rows on both sides of a tile's border, over pairs of panels with and without an odd one.
  for (int64_t m : {11, 12, 18, 19, 24, 25}) {
    for (int64_t n : {64, 96, 100}) result.push_back(make_problem(m, n, 17, seed++));
  }
  // K that is cut into parts: one and several blocks of rows, groups of panels, odd parts.
  for (int64_t m : {6, 7, 16, 100}) result.push_back(make_problem(m, 330, 1031, seed++));
  result.push_back(make_problem(97, 70, 769, seed++));
  result.push_back(make_problem(3, 5, 0, seed++));
  return result;
}

TEST_CASE("GEMM against float64, and its forms against each other") {
  ThreadPool pool(2);
  const std::vector<Problem> all = problems();
  for_each_isa([&](const VectorKernels&) {
    for (const Problem& p : all) {
      CAPTURE(p.m);
      CAPTURE(p.n);
      CAPTURE(p.k);
      CAPTURE(p.transposed);
      CAPTURE(static_cast<int>(p.activation));
      const std::vector<float> c = run(simd_gemm(), p);
      check_result(p, c);
      CHECK(same(run(simd_gemm(), p, &pool).data(), c.data(), c.size()));

      std::vector<float> unpacked(c.size());
      gemm(p.m, p.n, p.k, p.a.data(), p.lda, p.b.data(), p.ldb, p.transposed, unpacked.data(),
           p.ldc, p.epilogue());
      CHECK(same(unpacked.data(), c.data(), c.size()));
      std::vector<float> workspace(static_cast<size_t>(gemm_workspace(p.k, &pool)));
      std::fill(unpacked.begin(), unpacked.end(), 0.0f);
      gemm(p.m, p.n, p.k, p.a.data(), p.lda, p.b.data(), p.ldb, p.transposed, unpacked.data(),
           p.ldc, p.epilogue(), workspace.data(), &pool);
      CHECK(same(unpacked.data(), c.data(), c.size()));

      if (p.has_residual) {  // in place
        std::vector<float> in_place = p.residual;
        Epilogue epilogue = p.epilogue();
        epilogue.residual = in_place.data();
        const auto packed = simd_gemm().pack(p.b.data(), p.k, p.n, p.ldb, p.transposed);
        simd_gemm().run(p.m, p.a.data(), p.lda, *packed, in_place.data(), p.ldc, epilogue, nullptr);
        for (int64_t i = 0; i < p.m; ++i) {
          const auto row = static_cast<size_t>(i * p.ldc);
          REQUIRE(same(in_place.data() + row, c.data() + row, static_cast<size_t>(p.n)));
        }
      }
    }
  });
}

TEST_CASE("a row of a GEMM does not depend on the other rows") {
  ThreadPool pool(2);
  const std::vector<Problem> all = problems();
  for_each_isa([&](const VectorKernels&) {
    for (const Problem& p : all) {
      CAPTURE(p.m);
      CAPTURE(p.n);
      CAPTURE(p.k);
      const auto packed = simd_gemm().pack(p.b.data(), p.k, p.n, p.ldb, p.transposed);
      const std::vector<float> c = run(simd_gemm(), p, &pool);
      // Rows [i, i + rows) alone, for every i and a changing number of rows.
      for (int64_t i = 0; i < p.m; ++i) {
        const int64_t rows = std::min<int64_t>(1 + i % 4, p.m - i);
        Epilogue epilogue = p.epilogue();
        if (epilogue.residual != nullptr) epilogue.residual += i * p.ldr;
        std::vector<float> alone(static_cast<size_t>(rows * p.ldc));
        simd_gemm().run(rows, p.a.data() + i * p.lda, p.lda, *packed, alone.data(), p.ldc, epilogue,
                        nullptr);
        REQUIRE(same(alone.data(), c.data() + i * p.ldc, alone.size()));
      }
    }
  });
}

TEST_CASE("large products on several threads") {
  ThreadPool pool(3);
  for (int64_t m : {5, 400}) {
    const Problem p = make_problem(m, 500, 300, static_cast<uint32_t>(m));
    const std::vector<float> c = run(simd_gemm(), p);
    check_result(p, c);
    for (int round = 0; round < 5; ++round) {
      REQUIRE(same(run(simd_gemm(), p, &pool).data(), c.data(), c.size()));
    }
  }
}

TEST_CASE("float64 GEMM") {
  const int64_t m = 5, n = 7, k = 11;
  std::vector<double> a(55), b(77), transposed(77), c(35), d(35);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i % 13) - 6;
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      b[static_cast<size_t>(i * n + j)] = static_cast<double>((i * 3 + j * 5) % 17) - 8;
      transposed[static_cast<size_t>(j * k + i)] = b[static_cast<size_t>(i * n + j)];
    }
  }
  gemm_f64(m, n, k, a.data(), k, b.data(), n, false, c.data(), n);
  ThreadPool pool(2);
  gemm_f64(m, n, k, a.data(), k, transposed.data(), k, true, d.data(), n, &pool);
  CHECK(c == d);
  double exact = 0;
  for (size_t x = 0; x < 11; ++x) exact += a[2 * 11 + x] * b[x * 7 + 3];
  CHECK(c[2 * 7 + 3] == exact);
}

TEST_CASE("oneDNN gives the same products") {
  const GemmProvider* onednn = onednn_gemm();
  if (onednn == nullptr) return;
  CHECK(std::string(onednn->name()) == "onednn");
  CHECK(!onednn->batch_invariant());
  ThreadPool pool(2);
  for (const Problem& p : problems()) {
    if (p.k == 0) continue;
    CAPTURE(p.m);
    CAPTURE(p.n);
    CAPTURE(p.k);
    check_result(p, run(*onednn, p));
    check_result(p, run(*onednn, p, &pool));
  }
  const Problem p = make_problem(2, 3, 4, 1);
  const auto packed = simd_gemm().pack(p.b.data(), p.k, p.n, p.ldb, p.transposed);
  std::vector<float> c(16);
  CHECK_THROWS_AS(
      onednn->run(2, p.a.data(), p.lda, *packed, c.data(), p.ldc, p.epilogue(), nullptr), Error);
}

}  // namespace
}  // namespace hugot::cpu
