#include "kernels/cpu/gemm_bf16.h"

#include "base/dtype.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::for_each_isa;
using testing::random_floats;
using testing::same;

std::vector<float> multiply(int64_t m, const std::vector<float>& a, const Bf16Matrix& b,
                            const Epilogue& epilogue, ThreadPool* pool = nullptr) {
  std::vector<float> c(static_cast<size_t>(m * b.n()));
  const GemmProduct product = {&b, c.data(), b.n(), epilogue};
  std::vector<std::byte> workspace(static_cast<size_t>(b.workspace(m)));
  gemm_bf16(m, a.data(), b.k(), std::span(&product, 1), workspace.data(), pool);
  return c;
}

std::vector<float> rounded(std::vector<float> x) {
  for (float& v : x) v = static_cast<float>(BFloat16(v));
  return x;
}

TEST_CASE("bfloat16 weights give the result of float32 for rounded numbers") {
  ThreadPool pool(2);
  std::mt19937 random(3);
  for (uint32_t round = 0; round < 60; ++round) {
    const int64_t m = 1 + random() % 40, n = 1 + random() % 90, k = random() % 100;
    const bool transposed = round % 2 == 0;
    const auto a = random_floats(static_cast<size_t>(m * k), round);
    const auto b = random_floats(static_cast<size_t>(k * n), round + 100);
    const auto bias = random_floats(static_cast<size_t>(n), round + 200);
    const auto residual = random_floats(static_cast<size_t>(m * n), round + 300);
    Epilogue epilogue;
    if (round % 3 != 0) epilogue.bias = bias.data();
    epilogue.activation = static_cast<Activation>(round % 7);
    if (round % 5 > 1) epilogue.residual = residual.data();
    epilogue.residual_stride = n;
    const int64_t stride = transposed ? k : n;
    for_each_isa([&](const VectorKernels& kernels) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      std::vector<float> expected(static_cast<size_t>(m * n));
      const bool rounds_a = kernels.round_to_bf16 != nullptr;
      gemm(m, n, k, (rounds_a ? rounded(a) : a).data(), k, rounded(b).data(), stride, transposed,
           expected.data(), n, epilogue);
      const Bf16Matrix packed(b.data(), k, n, stride, transposed);
      CHECK(packed.bytes() >= n * k * 2);
      const std::vector<float> c = multiply(m, a, packed, epilogue);
      if (rounds_a) {  // sums of pairs are rounded in a way of their own
        for (size_t i = 0; i < c.size(); ++i) {
          CHECK(c[i] == doctest::Approx(expected[i]).epsilon(1e-5).scale(10));
        }
      } else {
        CHECK(same(c.data(), expected.data(), c.size()));
      }
      CHECK(multiply(m, a, packed, epilogue, &pool) == c);
    });
  }
}

TEST_CASE("a row of a product with bfloat16 weights depends on no other row") {
  constexpr int64_t m = 37, n = 70, k = 131;
  const auto a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  for_each_isa([&](const VectorKernels&) {
    const Bf16Matrix packed(b.data(), k, n, n, false);
    const std::vector<float> all = multiply(m, a, packed, {});
    for (int64_t row = 0; row < m; ++row) {
      const std::vector<float> alone(a.begin() + row * k, a.begin() + (row + 1) * k);
      CHECK(same(multiply(1, alone, packed, {}).data(), all.data() + row * n, n));
    }
  });
}

TEST_CASE("a large product with bfloat16 weights on several threads") {
  ThreadPool pool(3);
  constexpr int64_t m = 400, n = 100, k = 300;
  const auto a = random_floats(m * k, 1), b = random_floats(k * n, 2);
  for_each_isa([&](const VectorKernels&) {
    const Bf16Matrix packed(b.data(), k, n, n, false);
    CHECK(multiply(m, a, packed, {}, &pool) == multiply(m, a, packed, {}));
  });
}

}  // namespace
}  // namespace hugot::cpu
