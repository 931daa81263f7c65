// Matrix products of quantized operands: MatMulInteger, QLinearMatMul, the engine's own
// QuantizedLinear, and their forms in com.microsoft.
//
// hugot.QuantizedLinear(a, w, a_scale, w_scale, a_zero?, w_zero?, bias?, residual?) is
// activation((a - a_zero)(w - w_zero) a_scale w_scale + bias) + residual: exact integers, scaled as
// the separate nodes do it. The first seven operands are those of MatMulIntegerToFloat.
#ifndef HUGOT_KERNELS_MATMUL_INTEGER_H_
#define HUGOT_KERNELS_MATMUL_INTEGER_H_

#include "graph/op.h"

namespace hugot::matmul {

// Where a node has the operands of its product; -1 for none.
struct IntegerSlots {
  int a = 0, b = 1;
  int a_zero = 2, b_zero = 3;
  int a_scale = -1, b_scale = -1;
};
inline constexpr IntegerSlots kMatMulIntegerSlots = {};
inline constexpr IntegerSlots kQuantizedLinearSlots = {
    .a_zero = 4, .b_zero = 5, .a_scale = 2, .b_scale = 3};
inline constexpr IntegerSlots kQLinearMatMulSlots = {
    .b = 3, .a_zero = 2, .b_zero = 5, .a_scale = 1, .b_scale = 4};
inline constexpr IntegerSlots kDynamicMatMulSlots = {.a_zero = -1, .b_zero = 3, .b_scale = 2};

// These pack the right-hand side when it is a constant matrix with constant zero points (and
// scales, where the product is scaled), and give null otherwise.
std::shared_ptr<const Prepared> prepare_matmul_integer(const Node& node,
                                                       std::span<const Tensor* const> constants,
                                                       BlockStore& store);
std::shared_ptr<const Prepared> prepare_qlinear_matmul(const Node& node,
                                                       std::span<const Tensor* const> constants,
                                                       BlockStore& store);
std::shared_ptr<const Prepared> prepare_quantized_linear(const Node& node,
                                                         std::span<const Tensor* const> constants,
                                                         BlockStore& store);
std::shared_ptr<const Prepared> prepare_dynamic_matmul(const Node& node,
                                                       std::span<const Tensor* const> constants,
                                                       BlockStore& store);

void matmul_integer(KernelContext& ctx);
void qlinear_matmul(KernelContext& ctx);
void quantized_linear(KernelContext& ctx);
void dynamic_quantize_matmul(KernelContext& ctx);

}  // namespace hugot::matmul

#endif  // HUGOT_KERNELS_MATMUL_INTEGER_H_
