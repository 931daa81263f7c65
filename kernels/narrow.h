// Element types of 8 bits and less that are only ever converted: the float8 family, float4e2m1,
// float8e8m0, and 4- and 2-bit integers (packed, the first element in the low bits).
#ifndef HUGOT_KERNELS_NARROW_H_
#define HUGOT_KERNELS_NARROW_H_

#include <cstdint>

#include "base/dtype.h"

namespace hugot {

bool is_narrow_float(DType dtype);
bool is_narrow_integer(DType dtype);

enum class ScaleRounding { kNearest, kUp, kDown };  // attribute round_mode, for float8e8m0 alone

struct NarrowOptions {
  bool saturate = true;  // attribute: too large becomes the largest number rather than NaN or inf
  ScaleRounding scale_rounding = ScaleRounding::kUp;
};

// Elements [0, n) of `bits` as numbers; exact.
void decode_narrow_floats(DType dtype, const void* bits, float* y, int64_t n);
void decode_narrow_integers(DType dtype, const void* bits, int8_t* y, int64_t n);

// Rounds to nearest, ties to even.
void encode_narrow_floats(DType dtype, const float* x, void* bits, int64_t n,
                          const NarrowOptions& options);
// Keeps the low bits.
void encode_narrow_integers(DType dtype, const int64_t* x, void* bits, int64_t n);

}  // namespace hugot

#endif  // HUGOT_KERNELS_NARROW_H_
