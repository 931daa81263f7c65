// Numbers of few bits in blocks that have a scale each, and the products that read such weights:
// MatMulNBits, MatMulBnb4, GatherBlockQuantized, MoE and QMoE of com.microsoft.
#ifndef HUGOT_KERNELS_BLOCKS_BLOCKS_H_
#define HUGOT_KERNELS_BLOCKS_BLOCKS_H_

#include <cstdint>
#include <functional>
#include <span>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "graph/op.h"
#include "kernels/cpu/vector_kernels.h"

namespace hugot::blocks {

// A matrix W [rows, columns] of codes that stand for numbers. A view on tensors that must outlive
// it; thread-safe.
//
// Codes of integers: a row is packed from a byte on, the first code in the low bits, and stands for
// (code - zero) * scale; zero is 2^(bits - 1) unless given. Codes of tables (NF4 and FP4 of
// bitsandbytes): all rows are one stream, the first code in the high bits of a byte, and stands for
// table[code] * scale; blocks follow each other in the stream.
class Matrix {
 public:
  // What MatMulNBits has: codes [rows, blocks, bytes of a block], scales [rows * blocks], zeros
  // packed like codes (each row from a byte on) or of the type of the scales, one for each block,
  // and the block of each column, where they do not follow each other. Undefined tensors are
  // omitted. Throws kInvalidArgument where sizes do not fit.
  static Matrix of_bits(int64_t rows, int64_t columns, int64_t bits, int64_t block,
                        const Tensor& codes, const Tensor& scales, const Tensor& zeros = {},
                        const Tensor& block_of_column = {});
  // What MatMulBnb4 has. `table_number`: 0 FP4, 1 NF4.
  static Matrix of_table(int64_t rows, int64_t columns, int64_t block, int64_t table_number,
                         const Tensor& codes, const Tensor& scales);
  // Numbers as they are: float32 [rows, columns].
  static Matrix of_floats(int64_t rows, int64_t columns, const float* data);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  // Elements [begin, end) of a row.
  void decode(int64_t row, int64_t begin, int64_t end, float* out) const;

 private:
  void decode_integers(int64_t row, int64_t begin, int64_t end, float* out) const;
  float zero(int64_t row, int64_t block) const;

  int64_t rows_ = 0, columns_ = 0, block_ = 1, blocks_ = 0;  // blocks_: of a row
  int bits_ = 4;
  const float* table_ = nullptr;
  const float* floats_ = nullptr;
  const uint8_t* codes_ = nullptr;
  int64_t row_bytes_ = 0;
  const float* scales_ = nullptr;
  Tensor wide_scales_, wide_zeros_;  // memory of their float32 forms
  const uint8_t* packed_zeros_ = nullptr;
  const float* zeros_ = nullptr;
  const int32_t* block_of_column_ = nullptr;
};

// The first codes of `bytes`, from code `first` on, as (code - zero) * scale.
void decode_codes(const uint8_t* bytes, int bits, int64_t first, int64_t count, float zero,
                  float scale, float* out);

// Y [m, W.rows()] = X [m, W.columns()] W^T + bias, with columns of W decoded panel by panel. The
// bits of a row of Y depend on its row of X alone. `scratch` holds product_scratch() floats.
int64_t product_scratch(const Matrix& w, const ThreadPool* pool);
void product(int64_t m, const float* x, const Matrix& w, const float* bias, float* y,
             float* scratch, ThreadPool* pool);

// What attributes and inputs 1.. of MatMulNBits, MatMulBnb4 and hugot.DequantizeBlocks (whose first
// input is what is input 1 there) describe. `first`: where they begin.
Matrix matrix_of(const KernelContext& ctx, int first);

// x rounded as attribute accuracy_level = 4 means it: in each block of a row to 255 levels between
// minus and plus its largest absolute value.
void round_to_bytes(const float* x, int64_t rows, int64_t columns, int64_t block, float* out);

// True when the node asks for that: other engines do it, and files are tuned with it.
inline bool rounds_operand(const Node& node) { return node.get<int64_t>("accuracy_level", 0) == 4; }

void matmul(KernelContext& ctx);
void dequantize(KernelContext& ctx);
void gather(KernelContext& ctx);
void mixture(KernelContext& ctx);            // MoE
void quantized_mixture(KernelContext& ctx);  // QMoE

}  // namespace hugot::blocks

#endif  // HUGOT_KERNELS_BLOCKS_BLOCKS_H_
