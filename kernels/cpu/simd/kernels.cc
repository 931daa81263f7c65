// All kernels of one instruction set. The build compiles this file once for each, with the flags
// that make Highway choose it, HUGOT_ISA naming the set and its namespace, and HUGOT_HWY_TARGET the
// Highway target that the flags must have led to.
#include "kernels/cpu/simd/attention-inl.h"
#include "kernels/cpu/simd/conv-inl.h"
#include "kernels/cpu/simd/elementwise-inl.h"
#include "kernels/cpu/simd/gemm-inl.h"
#include "kernels/cpu/simd/gemm_bf16-inl.h"
#include "kernels/cpu/simd/gemm_int8-inl.h"
#include "kernels/cpu/simd/gradient-inl.h"
#include "kernels/cpu/simd/math-inl.h"
#include "kernels/cpu/simd/peak-inl.h"
#include "kernels/cpu/simd/pool-inl.h"
#include "kernels/cpu/simd/rows-inl.h"

static_assert(HWY_TARGET == HUGOT_HWY_TARGET, "compiler flags do not lead to this Highway target");

#define HUGOT_STRING_OF(x) #x
#define HUGOT_STRING(x) HUGOT_STRING_OF(x)

namespace hugot::cpu::HUGOT_ISA {

extern const VectorKernels kVectorKernels;
const VectorKernels kVectorKernels = {
    .name = HUGOT_STRING(HUGOT_ISA),
    .exp = unary_kernel<exp>,
    .log = unary_kernel<log>,
    .erf = unary_kernel<erf>,
    .tanh = unary_kernel<tanh>,
    .sigmoid = unary_kernel<sigmoid>,
    .gelu = unary_kernel<gelu>,
    .gelu_tanh = unary_kernel<gelu_tanh>,
    .silu = unary_kernel<silu>,
    .relu = unary_kernel<each_vector<relu>>,
    .sqrt = unary_kernel<each_vector<sqrt>>,
    .reciprocal = unary_kernel<each_vector<reciprocal>>,
    .abs = unary_kernel<each_vector<abs>>,
    .neg = unary_kernel<each_vector<neg>>,
    .add = kBinary<add>,
    .sub = kBinary<sub>,
    .mul = kBinary<mul>,
    .div = kBinary<div>,
    .max = kBinary<max_nan>,
    .min = kBinary<min_nan>,
    .mul_add = mul_add,
    .sum = sum,
    .sum_squares = sum_squares,
    .dot = dot,
    .reduce_max = reduce_max,
    .reduce_min = reduce_min,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .layer_norm = layer_norm,
    .add_layer_norm = add_layer_norm,
    .rms_norm = rms_norm,
    .gelu_gradient = times_slope<gelu_slope>,
    .gelu_tanh_gradient = times_slope<gelu_tanh_slope>,
    .layer_norm_gradient = layer_norm_gradient,
    .softmax_gradient = softmax_gradient,
    .transpose = transpose,
    .gemm_panel_width = kPanelWidth,
    .gemm_tile_panels = kTilePanels,
    .gemm_pack = gemm_pack,
    .gemm = gemm,
    .int8_group = kInt8Group,
    .quantize_rows = quantize_rows,
    .gemm_int8 = gemm_int8,
    .pack_bytes = pack_bytes,
    .range = range,
    .quantize_uint8 = quantize_uint8,
    .quantize_int8 = quantize_int8,
    .bf16_group = kBf16Group,
    .round_to_bf16 = kRoundToBf16,
    .gemm_bf16 = gemm_bf16,
    .conv_block = kConvVectors * kLanes,
    .conv = conv,
    .pad_rows = pad_rows,
    .pool_max = pool_max,
    .pool_sum = pool_sum,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .multiply_add_loop = multiply_add_loop,
};

}  // namespace hugot::cpu::HUGOT_ISA
