// Exact products of 8-bit integers with zero points, for operators whose operands are quantized
// already. Their sums are those of int32 arithmetic, whatever the instruction set.
#ifndef HUGOT_KERNELS_CPU_GEMM_QUANTIZED_H_
#define HUGOT_KERNELS_CPU_GEMM_QUANTIZED_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/gemm.h"

namespace hugot::cpu {

// Scale and zero point of float32 numbers that become uint8, as DynamicQuantizeLinear defines them.
struct DynamicScale {
  float scale = 1;
  int32_t zero = 0;
};
// For the numbers x[0, n). 0 counts as one of them; when it is the only one, the scale is 1. The
// scale is NaN or infinite when a number is, and the zero point 0.
DynamicScale dynamic_scale(const float* x, int64_t n);

// One element of a list that holds a number for each of many, or one for all.
template <class T>
T one_of(std::span<const T> list, int64_t i) {
  return list[list.size() == 1 ? 0 : static_cast<size_t>(i)];
}

// A constant right-hand side, packed for the instruction set that is active when it is made.
// Immutable, shared between threads.
class QuantizedMatrix final : public PackedMatrix {
 public:
  // Element q of column j stands for scale[j] (q - zero[j]). b, the elements of an int8 or uint8
  // tensor from `offset` on, is [k, n] with the given row stride, or the transpose [n, k] when
  // `transposed`. `zero` has numbers of the type of b; both lists have n elements, or one for all
  // columns, or none for zeros and ones. The matrix lies in blocks of `store`.
  QuantizedMatrix(const Tensor& b, int64_t offset, std::span<const int32_t> zero,
                  std::span<const float> scale, int64_t k, int64_t n, int64_t row_stride,
                  bool transposed, BlockStore& store = fresh_blocks());

  int64_t bytes() const override;
  // Bytes that a product with m rows needs.
  int64_t workspace(int64_t m) const;

 private:
  friend class QuantizedProduct;

  const VectorKernels& kernels_;
  int64_t panels_, groups_;
  std::shared_ptr<const int8_t> data_;
  std::shared_ptr<const int32_t> sum_;  // by column, of b - zero; whole panels, as the following
  std::vector<float> scale_;
  std::vector<int32_t> zero_;  // empty: zeros
};

// m rows on the left: element q of row i stands for scale[i] (q - zero[i]). Both lists have m
// elements or one for all rows; `scale` may be empty for integer results.
struct QuantizedRows {
  const void* data = nullptr;  // [m, k] int8 or uint8
  bool is_signed = false;
  int64_t stride = 0;  // elements from one row to the next
  std::span<const int32_t> zero;
  std::span<const float> scale;
};

// C[m, n] = sum over k of (a - zero) (b - zero), modulo 2^32. `workspace` holds b.workspace(m)
// bytes, 4-byte aligned.
void multiply_integers(int64_t m, const QuantizedRows& a, const QuantizedMatrix& b, int32_t* c,
                       int64_t ldc, std::byte* workspace, ThreadPool* pool = nullptr);

// C = activation(scale_a scale_b sum + bias) + residual, with the same sums: rounded after the
// product of the scales, after the product with it, and after each sum.
void multiply_quantized(int64_t m, const QuantizedRows& a, const QuantizedMatrix& b, float* c,
                        int64_t ldc, const Epilogue& epilogue, std::byte* workspace,
                        ThreadPool* pool = nullptr);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_GEMM_QUANTIZED_H_
