// Conversion of numbers between element types, with every case defined.
#ifndef HUGOT_KERNELS_CONVERT_H_
#define HUGOT_KERNELS_CONVERT_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/dispatch.h"

namespace hugot {

// The float nearest to `value` whose last bit records that something was cut off. Rounding it again
// to 22 bits or fewer gives what rounding `value` once would have given (round to odd).
inline float round_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (!(std::abs(value) < HUGE_VAL) || static_cast<double>(nearest) == value) return nearest;
  if (std::isinf(nearest)) return nearest;
  auto bits = std::bit_cast<uint32_t>(nearest);
  if (std::abs(static_cast<double>(nearest)) > std::abs(value)) --bits;  // towards zero
  return std::bit_cast<float>(bits | 1u);
}

// float to integer cuts towards zero and saturates, NaN gives 0; integer to integer wraps; anything
// to bool is "not 0" (NaN is true); to a float type rounds to nearest, ties to even, once (int64
// and uint64 beyond 2^53 become float64 first).
template <class To, class From>
inline To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (is_half<From>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{0};
  } else if constexpr (is_half<To>) {
    if constexpr (std::is_same_v<From, float>) {
      return To(value);
    } else {
      return To(round_to_odd(static_cast<double>(value)));
    }
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // Limits as powers of two are exact in every float type; max() itself may not be.
    constexpr From kAbove =
        static_cast<From>(uint64_t{1} << (std::numeric_limits<To>::digits - 1)) * 2;
    constexpr From kLowest = static_cast<From>(std::numeric_limits<To>::min());
    if (value >= kAbove) return std::numeric_limits<To>::max();
    if (value <= kLowest) return std::numeric_limits<To>::min();
    return value == value ? static_cast<To>(value) : To{0};
  } else {
    return static_cast<To>(value);
  }
}

// y[i] = convert(x[i]) for i < n.
template <class To, class From>
void convert_all(const From* x, To* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_CONVERT_H_
