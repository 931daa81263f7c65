#include "kernels/convert.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

namespace hugot {
namespace {

// The value of a binary16 by its definition.
float value_of_half(uint32_t bits) {
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  const uint32_t sign = (bits & 0x8000u) << 16;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(mantissa + 0x400u),
                                                     static_cast<int>(exponent) - 25);
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("every float16 and bfloat16 widens to its value and narrows back") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    Float16 half;
    half.bits = static_cast<uint16_t>(bits);
    BFloat16 brain;
    brain.bits = half.bits;
    const auto same = [](float a, float b) {
      return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
    };
    if (!same(static_cast<float>(half), value_of_half(bits)) ||
        !same(static_cast<float>(brain), std::bit_cast<float>(bits << 16))) {
      FAIL_CHECK("bits ", bits);
    }
    const auto value = static_cast<float>(half);
    if (value == value && convert<Float16>(value).bits != half.bits) FAIL_CHECK("bits ", bits);
  }
}

TEST_CASE("float64 is rounded to 16 bits once") {
  // Between two neighbours, a little above and below the middle, where float has only the middle.
  for (const auto& [low, step] : {std::pair{1.0, 0x1p-10},
                                  {1.5, 0x1p-10},
                                  {1024.0, 1.0},
                                  {0x1p-14, 0x1p-24},
                                  {0x1p-24, 0x1p-24}}) {
    const double middle = low + step / 2;
    const auto rounded = [](double x) { return double{static_cast<float>(convert<Float16>(x))}; };
    CHECK(rounded(middle * (1 + 0x1p-40)) == low + step);
    CHECK(rounded(middle * (1 - 0x1p-40)) == low);
  }
  CHECK(convert<Float16>(std::numeric_limits<double>::max()).bits == 0x7c00);
  CHECK(convert<BFloat16>(1 + 0x1p-8 + 0x1p-40).bits == BFloat16(1 + 0x1p-7f).bits);
}

TEST_CASE("floats that no integer holds saturate") {
  CHECK(convert<int64_t>(0x1p63f) == std::numeric_limits<int64_t>::max());
  CHECK(convert<int64_t>(-0x1p63f) == std::numeric_limits<int64_t>::min());
  CHECK(convert<uint64_t>(0x1p64) == std::numeric_limits<uint64_t>::max());
  CHECK(convert<int32_t>(2147483647.0) == 2147483647);
  CHECK(convert<uint8_t>(-1.0f) == 0);
  CHECK(convert<int8_t>(std::numeric_limits<float>::quiet_NaN()) == 0);
}

}  // namespace hugot
