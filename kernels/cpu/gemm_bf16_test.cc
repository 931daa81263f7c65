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
  gemm_bf16(m, a.data(), b.k(), std::span(&product, 1), pool);
  return c;
}

TEST_CASE("bfloat16 weights give the bits of float32 for rounded weights") {
  ThreadPool pool(2);
  std::mt19937 random(3);
  for (uint32_t round = 0; round < 60; ++round) {
    const int64_t m = 1 + random() % 40, n = 1 + random() % 90, k = random() % 100;
    const bool transposed = round % 2 == 0;
    const auto a = random_floats(static_cast<size_t>(m * k), round);
    const auto b = random_floats(static_cast<size_t>(k * n), round + 100);
    const auto bias = random_floats(static_cast<size_t>(n), round + 200);
    const auto residual = random_floats(static_cast<size_t>(m * n), round + 300);
    std::vector<float> rounded;
    for (const float x : b) rounded.push_back(static_cast<float>(BFloat16(x)));
    Epilogue epilogue;
    if (round % 3 != 0) epilogue.bias = bias.data();
    epilogue.activation = static_cast<Activation>(round % 7);
    if (round % 5 > 1) epilogue.residual = residual.data();
    epilogue.residual_stride = n;
    const int64_t stride = transposed ? k : n;
    for_each_isa([&](const VectorKernels&) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      std::vector<float> expected(static_cast<size_t>(m * n));
      gemm(m, n, k, a.data(), k, rounded.data(), stride, transposed, expected.data(), n, epilogue);
      const Bf16Matrix packed(b.data(), k, n, stride, transposed);
      CHECK(packed.bytes() >= n * k * 2);
      const std::vector<float> c = multiply(m, a, packed, epilogue);
      CHECK(same(c.data(), expected.data(), c.size()));
      CHECK(multiply(m, a, packed, epilogue, &pool) == c);
    });
  }
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
