// Derivatives of what elementwise and row kernels compute, and what backward passes need besides.
#ifndef HUGOT_KERNELS_CPU_SIMD_GRADIENT_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_GRADIENT_INL_H_

#include "kernels/cpu/simd/gemm-inl.h"
#include "kernels/cpu/simd/rows-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// The normal distribution function, and x times its density.
HWY_INLINE Block gelu_slope(const Block& x) {
  const Block t = each([&](int j) HUGOT_LAMBDA { return at_most(hn::Abs(x.v[j]), 20.0f); });
  const Block tail = normal_tail(t);
  const Block density = exp_nonpositive(
      each([&](int j) HUGOT_LAMBDA { return hn::Mul(hn::Mul(t.v[j], t.v[j]), set(-0.5f)); }));
  return each([&](int j) HUGOT_LAMBDA {
    const M negative = hn::Lt(x.v[j], hn::Zero(d));
    const V below = hn::IfThenElse(negative, tail.v[j], hn::Sub(set(1.0f), tail.v[j]));
    return hn::MulAdd(hn::Mul(x.v[j], density.v[j]), set(0.398942280f), below);
  });
}

// With u = 2c (x + b x^3) and s = sigmoid(u): s + x s (1 - s) u'.
HWY_INLINE Block gelu_tanh_slope(const Block& x) {
  constexpr float kScale = 1.59576912f;  // 2 sqrt(2/pi)
  constexpr float kCubic = kScale * 0.044715f;
  const Block s = sigmoid(each([&](int j) HUGOT_LAMBDA {
    const V x2 = hn::Mul(x.v[j], x.v[j]);
    return hn::Mul(x.v[j], hn::MulAdd(x2, set(kCubic), set(kScale)));
  }));
  return each([&](int j) HUGOT_LAMBDA {
    const V slope = hn::MulAdd(hn::Mul(x.v[j], x.v[j]), set(3 * kCubic), set(kScale));
    const V rest = hn::Mul(hn::Mul(s.v[j], hn::Sub(set(1.0f), s.v[j])), x.v[j]);
    return hn::MulAdd(rest, slope, s.v[j]);
  });
}

template <Block slope(const Block&)>
void times_slope(const float* x, const float* dy, float* dx, int64_t n) {
  map_blocks(dx, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    const Block f = slope(load_block(x + i, count, hn::Zero(d)));
    const Block g = load_block(dy + i, count, hn::Zero(d));
    return each([&](int j) HUGOT_LAMBDA { return hn::Mul(f.v[j], g.v[j]); });
  });
}

HWY_INLINE void layer_norm_gradient_row(const float* x, const float* gamma, const float* dy,
                                        float eps, int64_t n, float* dx, float* dgamma,
                                        float* dbeta) {
  const float mean = row_sum(x, n) / static_cast<float>(n);
  const float inv_std = inverse_sqrt(variance(x, mean, n) + eps);
  const V mean_v = set(mean), inv_v = set(inv_std);
  const auto z = [&](int64_t i, int64_t count)
                     HUGOT_LAMBDA { return hn::Mul(hn::Sub(load_n(x + i, count), mean_v), inv_v); };
  if (dgamma != nullptr) {
    map(dgamma, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
      return hn::MulAdd(load_n(dy + i, count), z(i, count), load_n(dgamma + i, count));
    });
  }
  if (dbeta != nullptr) binary_vv<add>(dbeta, dy, dbeta, n);
  if (dx == nullptr) return;
  // Lanes past the end have dz = 0.
  const auto dz = [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    const V v = load_n(dy + i, count);
    return gamma != nullptr ? hn::Mul(v, load_n(gamma + i, count)) : v;
  };
  const float factor = 1.0f / static_cast<float>(n);
  const V mean_dz = set(factor * fold_sum(n, [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
                          return hn::Add(acc, dz(i, count));
                        }));
  const V mean_dz_z = set(factor * fold_sum(n, [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
                            return hn::MulAdd(dz(i, count), z(i, count), acc);
                          }));
  map(dx, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    const V rest = hn::NegMulAdd(z(i, count), mean_dz_z, hn::Sub(dz(i, count), mean_dz));
    return hn::Mul(rest, inv_v);
  });
}

void layer_norm_gradient(const float* x, const float* gamma, const float* dy, float eps,
                         int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta) {
  for (int64_t r = 0; r < rows; ++r) {
    layer_norm_gradient_row(x + r * cols, gamma, dy + r * cols, eps, cols,
                            dx != nullptr ? dx + r * cols : nullptr, dgamma, dbeta);
  }
}

void softmax_gradient(const float* p, float scale, int64_t n, float* dp) {
  const V total = set(dot(p, dp, n)), factor = set(scale);
  map(dp, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    const V rest = hn::Sub(load_n(dp + i, count), total);
    return hn::Mul(hn::Mul(load_n(p + i, count), rest), factor);
  });
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_GRADIENT_INL_H_
