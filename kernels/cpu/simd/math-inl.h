// Elementary functions on blocks of vectors. The polynomials are minimax fits in the stated error,
// with coefficients rounded one after the other and the rest fitted again; vector_kernels_test.cc
// checks the error bounds of the functions.
#ifndef HUGOT_KERNELS_CPU_SIMD_MATH_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_MATH_INL_H_

#include "kernels/cpu/simd/common-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
HWY_INLINE Block polynomial(const Block& /*x*/, float c0) {
  return each([&](int) HUGOT_LAMBDA { return set(c0); });
}
template <class... C>
HWY_INLINE Block polynomial(const Block& x, float c0, C... c) {
  const Block rest = polynomial(x, c...);
  return each([&](int j) HUGOT_LAMBDA { return hn::MulAdd(rest.v[j], x.v[j], set(c0)); });
}

// max(x, bound) and min(x, bound) that keep a NaN in x.
HWY_INLINE V at_least(V x, float bound) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Max(set(bound), x);  // the second operand when one is NaN
#else
  return hn::IfThenElse(hn::Lt(x, set(bound)), set(bound), x);
#endif
}
HWY_INLINE V at_most(V x, float bound) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Min(set(bound), x);
#else
  return hn::IfThenElse(hn::Gt(x, set(bound)), set(bound), x);
#endif
}

// Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the mantissa.
constexpr float kRoundMagic = 12582912.0f;
constexpr int32_t kRoundMagicBits = 0x4b400000;

// e^x = 2^n e^r with |r| <= ln(2)/2.
struct ExpParts {
  VI n[kBlockVectors];
  Block mantissa;  // e^r
};

// |x| must be below 2^15 or so.
HWY_INLINE ExpParts exp_parts(const Block& x) {
  ExpParts parts;
  const Block r = each([&](int j) HUGOT_LAMBDA {
    const V shifted = hn::MulAdd(x.v[j], set(1.44269504f), set(kRoundMagic));
    parts.n[j] = hn::Sub(hn::BitCast(di, shifted), hn::Set(di, kRoundMagicBits));
    const V n = hn::Sub(shifted, set(kRoundMagic));
    // ln 2 in two parts; the first has so few bits that its product with n is exact.
    return hn::NegMulAdd(n, set(0x1.7f7d1cp-20f), hn::NegMulAdd(n, set(0x1.62e4p-1f), x.v[j]));
  });
  // (e^r - 1 - r) / r^2, relative error of e^r 3.5e-9
  const Block q =
      polynomial(r, 0.5f, 0x1.55548ap-3f, 0x1.5554bap-5f, 0x1.123f8cp-7f, 0x1.6d815ep-10f);
  parts.mantissa = each([&](int j) HUGOT_LAMBDA {
    return hn::Add(hn::MulAdd(hn::Mul(r.v[j], r.v[j]), q.v[j], r.v[j]), set(1.0f));
  });
  return parts;
}

// 2^n for -127 <= n <= 127 (-127 gives 0).
HWY_INLINE V power_of_two(VI n) {
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

HWY_INLINE Block exp(const Block& x) {
  // Beyond these bounds the result is 0 or infinity anyway.
  const ExpParts parts = exp_parts(
      each([&](int j) HUGOT_LAMBDA { return at_most(at_least(x.v[j], -104.0f), 89.0f); }));
  return each([&](int j) HUGOT_LAMBDA {
    // Two factors, because 2^n alone may leave the range of normal numbers.
    const VI half = hn::ShiftRight<1>(parts.n[j]);
    const V scaled = hn::Mul(parts.mantissa.v[j], power_of_two(half));
    return hn::Mul(scaled, power_of_two(hn::Sub(parts.n[j], half)));
  });
}

// e^x for x <= 0 (or NaN), with results below the normal numbers replaced by 0.
HWY_INLINE Block exp_nonpositive(const Block& x) {
  const ExpParts parts =
      exp_parts(each([&](int j) HUGOT_LAMBDA { return at_least(x.v[j], -88.0f); }));
  return each([&](int j)
                  HUGOT_LAMBDA { return hn::Mul(parts.mantissa.v[j], power_of_two(parts.n[j])); });
}

HWY_INLINE Block log(const Block& x) {
  // x = 2^e m with sqrt(1/2) <= m < sqrt(2); f = m - 1
  Block e;
  const Block f = each([&](int j) HUGOT_LAMBDA {
    const M tiny = hn::Lt(x.v[j], set(0x1p-126f));  // zero, subnormal, negative
    const V scaled = hn::IfThenElse(tiny, hn::Mul(x.v[j], set(0x1p23f)), x.v[j]);
    const VI bits = hn::BitCast(di, scaled);
    const VI exponent = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));
    e.v[j] = hn::ConvertTo(d, exponent);
    e.v[j] = hn::IfThenElse(tiny, hn::Sub(e.v[j], set(23.0f)), e.v[j]);
    return hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent))), set(1.0f));
  });
  // (log(1 + f) - f + f^2/2) / f^3, relative error of the logarithm 6e-9
  const Block q = polynomial(f, 0x1.555554p-2f, -0x1.000232p-2f, 0x1.99a056p-3f, -0x1.546f36p-3f,
                             0x1.22d006p-3f, -0x1.0d9a7cp-3f, 0x1.05b34ap-3f, -0x1.3924cap-4f);
  return each([&](int j) HUGOT_LAMBDA {
    const V f2 = hn::Mul(f.v[j], f.v[j]);
    V y = hn::Mul(hn::Mul(f.v[j], f2), q.v[j]);
    y = hn::MulAdd(e.v[j], set(-2.12194440e-4f), y);  // ln 2 in two parts, 355/512 the first
    y = hn::NegMulAdd(f2, set(0.5f), y);
    y = hn::MulAdd(e.v[j], set(0.693359375f), hn::Add(f.v[j], y));
    const V infinity = hn::Inf(d);
    y = hn::IfThenElse(hn::Lt(x.v[j], infinity), y, x.v[j]);  // infinity and NaN stay
    y = hn::IfThenElse(hn::Eq(x.v[j], hn::Zero(d)), hn::Neg(infinity), y);
    return hn::IfThenElse(hn::Lt(x.v[j], hn::Zero(d)), hn::NaN(d), y);
  });
}

// Two ranges: an odd polynomial near zero, 1 - exp(polynomial) beyond. The idea is N. Juffa's.
HWY_INLINE Block erf(const Block& x) {
  const Block s = each([&](int j) HUGOT_LAMBDA { return hn::Mul(x.v[j], x.v[j]); });
  // erf(x)/x - 1, relative error 9e-10 for |x| <= 0.93
  const Block near = polynomial(s, 0x1.06eba8p-3f, -0x1.81274p-2f, 0x1.ce2d64p-4f, -0x1.b8011ap-6f,
                                0x1.544a1ap-8f, -0x1.a60a2ep-11f, 0x1.4f676p-14f);
  // -log(erfc(t))/t - 1 on [0.9, 3.95], relative error of erf 9e-10
  const Block t = each([&](int j) HUGOT_LAMBDA { return at_most(hn::Abs(x.v[j]), 3.95f); });
  const Block far = polynomial(t, 0x1.0772ep-3f, 0x1.4538aep-1f, 0x1.b2d3bep-4f, -0x1.8435b4p-6f,
                               0x1.d9342ep-9f, -0x1.4a1fc2p-12f, 0x1.5df666p-17f);
  const Block erfc = exp_nonpositive(
      each([&](int j) HUGOT_LAMBDA { return hn::Neg(hn::MulAdd(t.v[j], far.v[j], t.v[j])); }));
  return each([&](int j) HUGOT_LAMBDA {
    const V y_far = hn::CopySign(hn::Sub(set(1.0f), erfc.v[j]), x.v[j]);
    const V y_near = hn::MulAdd(x.v[j], near.v[j], x.v[j]);
    return hn::IfThenElse(hn::Gt(t.v[j], set(0.92f)), y_far, y_near);
  });
}

HWY_INLINE Block tanh(const Block& x) {
  const Block s = each([&](int j) HUGOT_LAMBDA { return hn::Mul(x.v[j], x.v[j]); });
  // (tanh(x) - x)/x^3, relative error of tanh 6e-9 for |x| <= 0.64
  const Block near = polynomial(s, -0x1.55552ap-2f, 0x1.110538p-3f, -0x1.b7fa68p-5f, 0x1.507138p-6f,
                                -0x1.6e26a4p-8f);
  const Block e = exp_nonpositive(
      each([&](int j) HUGOT_LAMBDA { return hn::Mul(hn::Abs(x.v[j]), set(-2.0f)); }));
  return each([&](int j) HUGOT_LAMBDA {
    const V one = set(1.0f);
    const V y_far = hn::Div(hn::Sub(one, e.v[j]), hn::Add(one, e.v[j]));
    const V y_near = hn::MulAdd(hn::Mul(x.v[j], s.v[j]), near.v[j], x.v[j]);
    const M far = hn::Gt(hn::Abs(x.v[j]), set(0.625f));
    return hn::CopySign(hn::IfThenElse(far, y_far, y_near), x.v[j]);  // -0 stays -0
  });
}

HWY_INLINE Block sigmoid(const Block& x) {
  const Block e =
      exp_nonpositive(each([&](int j) HUGOT_LAMBDA { return hn::Neg(hn::Abs(x.v[j])); }));
  return each([&](int j) HUGOT_LAMBDA {
    const V numerator = hn::IfThenElse(hn::Lt(x.v[j], hn::Zero(d)), e.v[j], set(1.0f));
    return hn::Div(numerator, hn::Add(set(1.0f), e.v[j]));
  });
}

HWY_INLINE Block silu(const Block& x) {
  const Block s = sigmoid(x);
  return each([&](int j) HUGOT_LAMBDA { return hn::Mul(x.v[j], s.v[j]); });
}

// Q(t) = erfc(t/sqrt 2)/2 = 2^p(t) for 0 <= t <= 20, with an error of 2.3e-8 / t. One polynomial
// serves all sizes: beyond 6 it falls so fast that Q vanishes.
HWY_INLINE Block normal_tail(const Block& t) {
  const Block p =
      polynomial(t, -1.0f, -0x1.26afb6p+0f, -0x1.d61fb2p-2f, -0x1.b064f6p-5f, 0x1.e84beep-8f,
                 -0x1.b6a876p-12f, -0x1.3931b4p-14f, 0x1.19b19ap-16f, -0x1.103152p-20f);
  VI exponent[kBlockVectors];
  const Block r = each([&](int j) HUGOT_LAMBDA {
    const V bounded = at_least(p.v[j], -125.0f);
    const V shifted = hn::Add(bounded, set(kRoundMagic));
    exponent[j] = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
    return hn::Sub(bounded, hn::Sub(shifted, set(kRoundMagic)));
  });
  // 2^r, relative error 9.3e-8
  const Block mantissa = polynomial(r, 1.0f, 0x1.62e42ap-1f, 0x1.ebf9c2p-3f, 0x1.c6b6d8p-5f,
                                    0x1.3ce8aep-7f, 0x1.5bda58p-10f);
  return each([&](int j) HUGOT_LAMBDA {
    return hn::BitCast(d, hn::Add(hn::BitCast(di, mantissa.v[j]), exponent[j]));
  });
}

// x/2 (1 + erf(x/sqrt 2)) = max(x, 0) - |x| Q(|x|)
HWY_INLINE Block gelu(const Block& x) {
  const Block t = each([&](int j) HUGOT_LAMBDA { return at_most(hn::Abs(x.v[j]), 20.0f); });
  const Block tail = normal_tail(t);
  return each(
      [&](int j) HUGOT_LAMBDA { return hn::NegMulAdd(t.v[j], tail.v[j], at_least(x.v[j], 0.0f)); });
}

// x/2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
HWY_INLINE Block gelu_tanh(const Block& x) {
  constexpr float kScale = 1.59576912f;  // 2 sqrt(2/pi)
  const Block s = sigmoid(each([&](int j) HUGOT_LAMBDA {
    const V x2 = hn::Mul(x.v[j], x.v[j]);
    return hn::Mul(x.v[j], hn::MulAdd(x2, set(kScale * 0.044715f), set(kScale)));
  }));
  return each([&](int j) HUGOT_LAMBDA { return hn::Mul(x.v[j], s.v[j]); });
}

// max and min that give NaN when either operand is NaN.
HWY_INLINE V max_nan(V a, V b) {
  return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::IsNaN(b)), hn::Add(a, b), hn::Max(a, b));
}
HWY_INLINE V min_nan(V a, V b) {
  return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::IsNaN(b)), hn::Add(a, b), hn::Min(a, b));
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_MATH_INL_H_
