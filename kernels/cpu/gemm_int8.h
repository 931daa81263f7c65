// Products with weights in 8 bits. Sums are exact integers, so the bits of a row of C depend on
// that row of A (and of the residual), on B and on the bias alone, as gemm.h promises for float32.
//
// Weights are symmetric, with a scale per column: round(w / scale) in -127..127. Activations are
// quantized for every product, with a scale and a zero point per row, to 0..255. Seven bits, which
// would allow a faster instruction on AVX2, cost three times the error.
#ifndef HUGOT_KERNELS_CPU_GEMM_INT8_H_
#define HUGOT_KERNELS_CPU_GEMM_INT8_H_

#include <cstddef>
#include <memory>

#include "kernels/cpu/gemm.h"

namespace hugot::cpu {

// Longest sum that stays in int32 whatever the operands are.
inline constexpr int64_t kInt8MaxDepth = 65536;

// A quantized constant matrix, for the instruction set that is active when it is made.
class Int8Matrix final : public PackedMatrix {
 public:
  // Quantizes and packs b, which is [k, n] with the given row stride, or the transpose [n, k] when
  // `transposed`. A column with an element that is not finite has results NaN.
  // REQUIRES: k <= kInt8MaxDepth
  Int8Matrix(FloatSource b, int64_t k, int64_t n, int64_t row_stride, bool transposed,
             BlockStore& store = fresh_blocks());

  int64_t bytes() const override;
  // Bytes that gemm_int8 needs for m rows.
  int64_t workspace(int64_t m) const;

 private:
  friend void gemm_int8(int64_t m, const float* a, int64_t lda,
                        std::span<const GemmProduct> products, std::byte* workspace,
                        ThreadPool* pool);

  const VectorKernels& kernels_;
  int64_t panels_, groups_;
  std::shared_ptr<const float> scale_;  // by column; whole panels
  std::shared_ptr<const int8_t> data_;
  std::shared_ptr<const int32_t> sum_;  // of the quantized column
};

// C = activation(A . B + bias) + residual for each product, whose B are Int8Matrix of equal k; A is
// quantized once for all of them. `workspace` holds B.workspace(m) bytes of any of them, 4-byte
// aligned.
void gemm_int8(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
               std::byte* workspace, ThreadPool* pool = nullptr);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_GEMM_INT8_H_
