// Numbers as text, as Cast converts them from and to strings.
#ifndef HUGOT_KERNELS_NUMBER_TEXT_H_
#define HUGOT_KERNELS_NUMBER_TEXT_H_

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kernels/convert.h"

namespace hugot {

// Integers in decimal, bool as 1 or 0, floats as the shortest text that reads back as the same
// number, without exponent where numpy writes none ("0.0001", "1e-05", "100000.0"), and NaN, INF,
// -INF.
template <class T>
std::string number_to_text(T value) {
  char text[64];
  if constexpr (is_half<T>) {
    return number_to_text(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else {
    if (value != value) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-INF" : "INF";
    const T magnitude = std::abs(value);
    const bool plain =
        magnitude == 0 || (magnitude >= static_cast<T>(1e-4) && magnitude < static_cast<T>(1e16));
    const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
    const auto end = std::to_chars(text, text + sizeof text, value, format).ptr;
    std::string result(text, end);
    if (plain && result.find('.') == std::string::npos) result += ".0";
    return result;
  }
}

// Reads a number in plain or scientific notation, or inf, infinity and nan in any case, with an
// optional sign. For integers a fraction is cut off. Throws kInvalidData for any other text.
template <class T>
T text_to_number(std::string_view text) {
  const auto bad = [&] {
    fail(ErrorCode::kInvalidData, "cannot convert the text '", text.substr(0, 40), "' to a number");
  };
  std::string_view digits = text;
  while (!digits.empty() && digits.front() == ' ') digits.remove_prefix(1);
  while (!digits.empty() && digits.back() == ' ') digits.remove_suffix(1);
  if (!digits.empty() && digits.front() == '+') {
    digits.remove_prefix(1);
    if (!digits.empty() && digits.front() == '-') bad();
  }
  const char* last = digits.data() + digits.size();
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    T value{};
    const auto [end, code] = std::from_chars(digits.data(), last, value);
    if (code == std::errc() && end == last) return value;
  }
  std::conditional_t<std::is_same_v<T, float>, float, double> value = 0;
  const auto [end, code] = std::from_chars(digits.data(), last, value);
  if (end != last || code == std::errc::invalid_argument) bad();
  if (code == std::errc::result_out_of_range) {  // inf or 0; from_chars leaves that open
    return convert<T>(std::strtod(std::string(digits).c_str(), nullptr));
  }
  return convert<T>(value);
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_NUMBER_TEXT_H_
