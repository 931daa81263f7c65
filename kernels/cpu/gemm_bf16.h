// Products with weights stored as bfloat16: half the memory.
//
// With AVX512_BF16 the rows of A are rounded to bfloat16, too, and products are summed in float32.
// On other processors A stays float32, and the result is bitwise that of simd_gemm() for the
// rounded weights on the same instruction set. In both cases a row of C depends on no other row.
#ifndef HUGOT_KERNELS_CPU_GEMM_BF16_H_
#define HUGOT_KERNELS_CPU_GEMM_BF16_H_

#include <cstddef>

#include "kernels/cpu/gemm.h"

namespace hugot::cpu {

// A constant matrix rounded to bfloat16, for the instruction set that is active when it is made.
class Bf16Matrix final : public PackedMatrix {
 public:
  // Rounds and packs b, which is [k, n] with the given row stride, or the transpose [n, k] when
  // `transposed`.
  Bf16Matrix(FloatSource b, int64_t k, int64_t n, int64_t row_stride, bool transposed,
             BlockStore& store = fresh_blocks());

  int64_t bytes() const override;
  // Bytes of scratch memory for a product with m rows, aligned to 64 bytes.
  int64_t workspace(int64_t m) const;

 private:
  friend void gemm_bf16(int64_t m, const float* a, int64_t lda,
                        std::span<const GemmProduct> products, std::byte* workspace,
                        ThreadPool* pool);

  const VectorKernels& kernels_;
  int64_t panels_, groups_;
  std::shared_ptr<const uint16_t> data_;
};

// C = activation(A . B + bias) + residual for each product, whose B are Bf16Matrix of equal k; like
// simd_gemm_group.
void gemm_bf16(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
               std::byte* workspace, ThreadPool* pool = nullptr);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_GEMM_BF16_H_
