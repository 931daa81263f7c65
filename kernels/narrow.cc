#include "kernels/narrow.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hugot {
namespace {

// Sign, exponent and mantissa of a small float. Sources: OCP 8-bit floating point specification,
// OCP microscaling formats, and "8-bit numerical formats for deep neural networks" (FNUZ).
struct Format {
  int bits;
  int mantissa;
  int bias;
  double largest;
  uint8_t nan;       // the code that NaN gets
  uint8_t overflow;  // the code of a number that is too large when it does not saturate
  bool negative_zero;
};

constexpr Format kE4M3FN{8, 3, 7, 448.0, 0x7f, 0x7f, true};
constexpr Format kE4M3FNUZ{8, 3, 8, 240.0, 0x80, 0x80, false};
constexpr Format kE5M2{8, 2, 15, 57344.0, 0x7e, 0x7c, true};
constexpr Format kE5M2FNUZ{8, 2, 16, 57344.0, 0x80, 0x80, false};
constexpr Format kE2M1{4, 1, 1, 6.0, 0x8, 0x7, true};  // neither NaN nor inf: always saturates

const Format& format_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat8E4M3FN:
      return kE4M3FN;
    case DType::kFloat8E4M3FNUZ:
      return kE4M3FNUZ;
    case DType::kFloat8E5M2:
      return kE5M2;
    case DType::kFloat8E5M2FNUZ:
      return kE5M2FNUZ;
    default:
      return kE2M1;
  }
}

float decode(const Format& format, DType dtype, uint8_t code) {
  const int sign_bit = 1 << (format.bits - 1);
  const int magnitude = code & (sign_bit - 1);
  if (dtype != DType::kFloat4E2M1) {
    if (!format.negative_zero && code == sign_bit) return std::numeric_limits<float>::quiet_NaN();
    if (format.negative_zero && magnitude >= format.overflow) {
      const bool infinite = dtype == DType::kFloat8E5M2 && magnitude == format.overflow;
      const float value = infinite ? HUGE_VALF : std::numeric_limits<float>::quiet_NaN();
      return (code & sign_bit) != 0 ? -value : value;
    }
  }
  const int exponent = magnitude >> format.mantissa;
  const int fraction = magnitude & ((1 << format.mantissa) - 1);
  const int significand = exponent == 0 ? fraction : fraction + (1 << format.mantissa);
  const int scale = (exponent == 0 ? 1 : exponent) - format.bias - format.mantissa;
  const float value = std::ldexp(static_cast<float>(significand), scale);
  return (code & sign_bit) != 0 ? -value : value;
}

uint8_t encode(const Format& format, float x, bool saturate) {
  if (x != x) return format.nan;
  const auto sign = static_cast<uint8_t>(std::signbit(x) ? 1 << (format.bits - 1) : 0);
  const int lowest_exponent = 1 - format.bias;
  double value = std::abs(static_cast<double>(x));
  if (value != 0 && value < HUGE_VAL) {
    const double step =
        std::ldexp(1.0, std::max(std::ilogb(value), lowest_exponent) - format.mantissa);
    value = std::nearbyint(value / step) * step;
  }
  if (value > format.largest) {
    if (!saturate) return static_cast<uint8_t>(format.overflow | sign);
    value = format.largest;
  }
  if (value == 0) return format.negative_zero ? sign : uint8_t{0};
  const int exponent = std::ilogb(value);
  const int units =
      static_cast<int>(std::ldexp(value, format.mantissa - std::max(exponent, lowest_exponent)));
  const int code = exponent < lowest_exponent ? units
                                              : ((exponent + format.bias) << format.mantissa) +
                                                    units - (1 << format.mantissa);
  return static_cast<uint8_t>(code | sign);
}

// float8e8m0: a power of two, 2^(code - 127); 255 is NaN. There is neither zero nor sign.
float decode_scale(uint8_t code) {
  if (code == 255) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0f, code - 127);
}

uint8_t encode_scale(float x, const NarrowOptions& options) {
  constexpr uint8_t kNaN = 255;
  constexpr int kMaxCode = 254;
  if (x != x) return kNaN;
  const double value = std::abs(static_cast<double>(x));
  int code = -1;  // below the smallest power
  if (value == HUGE_VAL) {
    code = kMaxCode + 1;
  } else if (value != 0) {
    const int exponent = std::ilogb(value);
    const double rest = std::ldexp(value, -exponent);  // [1, 2)
    const bool up = options.scale_rounding == ScaleRounding::kUp     ? rest > 1.0
                    : options.scale_rounding == ScaleRounding::kDown ? false
                                                                     : rest >= 1.5;
    code = exponent + 127 + (up ? 1 : 0);
  }
  if (code < 0) return options.saturate ? uint8_t{0} : kNaN;
  if (code > kMaxCode) return options.saturate ? static_cast<uint8_t>(kMaxCode) : kNaN;
  return static_cast<uint8_t>(code);
}

// Element i of packed elements of 8, 4 or 2 bits.
uint8_t load(const void* bits, int width, int64_t i) {
  const int64_t position = i * width;
  const uint8_t byte = static_cast<const uint8_t*>(bits)[position / 8];
  return static_cast<uint8_t>((byte >> (position % 8)) & ((1 << width) - 1));
}

// Elements are stored in order, so the first one in a byte clears it.
void store(void* bits, int width, int64_t i, uint8_t code) {
  const int64_t position = i * width;
  uint8_t& byte = static_cast<uint8_t*>(bits)[position / 8];
  const int shift = static_cast<int>(position % 8);
  if (shift == 0) byte = 0;
  byte = static_cast<uint8_t>(byte | (code & ((1 << width) - 1)) << shift);
}

}  // namespace

bool is_narrow_float(DType dtype) {
  switch (dtype) {
    case DType::kFloat8E4M3FN:
    case DType::kFloat8E4M3FNUZ:
    case DType::kFloat8E5M2:
    case DType::kFloat8E5M2FNUZ:
    case DType::kFloat4E2M1:
    case DType::kFloat8E8M0:
      return true;
    default:
      return false;
  }
}

bool is_narrow_integer(DType dtype) {
  return dtype == DType::kInt4 || dtype == DType::kUInt4 || dtype == DType::kInt2 ||
         dtype == DType::kUInt2;
}

void decode_narrow_floats(DType dtype, const void* bits, float* y, int64_t n) {
  const int width = dtype_bits(dtype);
  for (int64_t i = 0; i < n; ++i) {
    const uint8_t code = load(bits, width, i);
    y[i] = dtype == DType::kFloat8E8M0 ? decode_scale(code) : decode(format_of(dtype), dtype, code);
  }
}

void decode_narrow_integers(DType dtype, const void* bits, int8_t* y, int64_t n) {
  const int width = dtype_bits(dtype);
  const bool with_sign = dtype == DType::kInt4 || dtype == DType::kInt2;
  const int sign_bit = 1 << (width - 1);
  for (int64_t i = 0; i < n; ++i) {
    const int code = load(bits, width, i);
    y[i] = static_cast<int8_t>(with_sign ? (code ^ sign_bit) - sign_bit : code);
  }
}

void encode_narrow_floats(DType dtype, const float* x, void* bits, int64_t n,
                          const NarrowOptions& options) {
  const int width = dtype_bits(dtype);
  const bool saturate = options.saturate || dtype == DType::kFloat4E2M1;
  for (int64_t i = 0; i < n; ++i) {
    store(bits, width, i,
          dtype == DType::kFloat8E8M0 ? encode_scale(x[i], options)
                                      : encode(format_of(dtype), x[i], saturate));
  }
}

void encode_narrow_integers(DType dtype, const int64_t* x, void* bits, int64_t n) {
  const int width = dtype_bits(dtype);
  for (int64_t i = 0; i < n; ++i) store(bits, width, i, static_cast<uint8_t>(x[i]));
}

}  // namespace hugot
