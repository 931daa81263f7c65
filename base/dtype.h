// Element types. The numbers are those of onnx.TensorProto.DataType.
#ifndef HUGOT_BASE_DTYPE_H_
#define HUGOT_BASE_DTYPE_H_

#include <bit>
#include <complex>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace hugot {

enum class DType : uint8_t {
  kUndefined = 0,
  kFloat32 = 1,
  kUInt8 = 2,
  kInt8 = 3,
  kUInt16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kFloat64 = 11,
  kUInt32 = 12,
  kUInt64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBFloat16 = 16,
  kFloat8E4M3FN = 17,
  kFloat8E4M3FNUZ = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2FNUZ = 20,
  kUInt4 = 21,
  kInt4 = 22,
  kFloat4E2M1 = 23,
  kFloat8E8M0 = 24,
  kUInt2 = 25,
  kInt2 = 26,
};

inline constexpr int kDTypeCount = 27;

// "float32", "int64", ...: numpy's names where numpy has the type.
std::string_view dtype_name(DType dtype);

// Bits of one element as stored in memory; 4- and 2-bit types are packed, the first element in the
// low bits. 0 for kUndefined and kString (whose elements are std::string objects).
int dtype_bits(DType dtype);

bool is_float(DType dtype);    // float16, bfloat16, float32, float64
bool is_integer(DType dtype);  // (u)int8 .. (u)int64; not bool

// IEEE 754 binary16, stored as its bits. Conversions round to nearest, ties to even.
struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float value);
  // Without branches, so that loops over it become vector code: exponent and mantissa, moved to
  // their places in a float, are the value times 2^-112, also for subnormals.
  explicit operator float() const {
    const float scaled =
        std::bit_cast<float>(static_cast<uint32_t>(bits & 0x7fffu) << 13) * 0x1p112f;
    const uint32_t inf_or_nan = scaled >= 65536.0f ? 0x7f800000u : 0u;
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | inf_or_nan | sign);
  }
};

// The upper half of a binary32, stored as its bits. Conversions round to nearest, ties to even.
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value);
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

namespace internal {
template <class T>
struct DTypeOf;
// clang-format off
template <> struct DTypeOf<float> { static constexpr DType value = DType::kFloat32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::kFloat64; };
template <> struct DTypeOf<Float16> { static constexpr DType value = DType::kFloat16; };
template <> struct DTypeOf<BFloat16> { static constexpr DType value = DType::kBFloat16; };
template <> struct DTypeOf<int8_t> { static constexpr DType value = DType::kInt8; };
template <> struct DTypeOf<int16_t> { static constexpr DType value = DType::kInt16; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::kInt32; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::kInt64; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::kUInt8; };
template <> struct DTypeOf<uint16_t> { static constexpr DType value = DType::kUInt16; };
template <> struct DTypeOf<uint32_t> { static constexpr DType value = DType::kUInt32; };
template <> struct DTypeOf<uint64_t> { static constexpr DType value = DType::kUInt64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::kBool; };
template <> struct DTypeOf<std::string> { static constexpr DType value = DType::kString; };
template <> struct DTypeOf<std::complex<float>> { static constexpr DType value = DType::kComplex64; };
template <> struct DTypeOf<std::complex<double>> { static constexpr DType value = DType::kComplex128; };
// clang-format on
}  // namespace internal

// The DType of a C++ element type: dtype_of<float> == DType::kFloat32.
template <class T>
inline constexpr DType dtype_of = internal::DTypeOf<std::remove_cv_t<T>>::value;

}  // namespace hugot

#endif  // HUGOT_BASE_DTYPE_H_
