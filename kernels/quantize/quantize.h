// Quantization: numbers as small integers (or small floats) with a scale and a zero point,
// x = scale (q - zero).
#ifndef HUGOT_KERNELS_QUANTIZE_QUANTIZE_H_
#define HUGOT_KERNELS_QUANTIZE_QUANTIZE_H_

#include <cstdint>

#include "graph/op.h"

namespace hugot::quantize {

// The numbers that a quantized type can hold. REQUIRES: an integer type of at most 16 bits.
struct Range {
  int32_t low, high;
};
Range range_of(DType dtype);

// Types that QuantizeLinear rounds to integers.
bool is_quantized_integer(DType dtype);

// The element type of the quantized tensor: that of the zero point (kUndefined: there is none), or
// what attribute output_dtype says, or uint8. Throws kInvalidArgument when the two disagree, and
// kUnsupported for types that nothing is quantized to.
DType quantized_type(const Node& node, DType zero_point);

// Attribute output_dtype of DequantizeLinear, or the type of the scale.
DType dequantized_type(const Node& node, DType scale);

void quantize_linear(KernelContext& ctx);
void dequantize_linear(KernelContext& ctx);
void dynamic_quantize_linear(KernelContext& ctx);

// Gradient rules: quantize_gradient.cc.
namespace rule {
GradientRule DequantizeLinear, QuantizeLinear;
}  // namespace rule

}  // namespace hugot::quantize

#endif  // HUGOT_KERNELS_QUANTIZE_QUANTIZE_H_
