// What the tests of this folder share.
#ifndef HUGOT_KERNELS_CPU_TESTING_H_
#define HUGOT_KERNELS_CPU_TESTING_H_

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/isa.h"

namespace hugot::cpu::testing {

// Calls body(kernels) with each supported instruction set active in turn.
template <class Body>
void for_each_isa(const Body& body) {
  for (const Isa& isa : all_isas()) {
    if (!isa.supported()) continue;
    CAPTURE(isa.name);
    const ScopedIsa scoped(isa);
    body(*isa.kernels);
  }
}

inline std::vector<float> random_floats(size_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> value(-scale, scale);
  std::vector<float> result(n);
  for (float& x : result) x = value(random);
  return result;
}

inline uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }

// The same value: equal bits, or both NaN.
inline bool same(float a, float b) {
  return bits(a) == bits(b) || (std::isnan(a) && std::isnan(b));
}

inline bool same(const float* a, const float* b, size_t n) {
  return n == 0 || std::memcmp(a, b, n * sizeof(float)) == 0;
}

// Distance of a float32 result from the exact value, in units of the exact value's last place.
inline double ulp_error(float result, double exact) {
  if (std::isnan(exact)) return std::isnan(result) ? 0 : INFINITY;
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(result)) return rounded == result ? 0 : INFINITY;
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(result - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

}  // namespace hugot::cpu::testing

#endif  // HUGOT_KERNELS_CPU_TESTING_H_
