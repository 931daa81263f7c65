#include "kernels/cpu/gemm_bf16.h"

#include <vector>

#include "base/dtype.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pieces.h"

namespace hugot::cpu {

Bf16Matrix::Bf16Matrix(FloatSource b, int64_t k, int64_t n, int64_t row_stride, bool transposed,
                       BlockStore& store)
    : PackedMatrix(k, n),
      kernels_(active_kernels()),
      panels_((n + kernels_.gemm_panel_width - 1) / kernels_.gemm_panel_width) {
  const auto panel_size = static_cast<size_t>(k * kernels_.gemm_panel_width);
  data_ = store.array<uint16_t>(static_cast<size_t>(panels_) * panel_size, [&](uint16_t* out) {
    std::vector<float> panel(panel_size);
    for (int64_t p = 0; p < panels_; ++p) {
      kernels_.gemm_pack(b.get(), k, n, row_stride, transposed, p, p + 1, panel.data());
      for (const float x : panel) *out++ = BFloat16(x).bits;
    }
  });
}

int64_t Bf16Matrix::bytes() const {
  return panels_ * k() * kernels_.gemm_panel_width * static_cast<int64_t>(sizeof(uint16_t));
}

void gemm_bf16(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
               ThreadPool* pool) {
  const auto matrix = [&](size_t i) -> const Bf16Matrix& {
    return static_cast<const Bf16Matrix&>(*products[i].b);
  };
  double work = 0;
  for (const GemmProduct& product : products) {
    work += static_cast<double>(m) * static_cast<double>(product.b->n() * product.b->k());
  }
  if (m <= 0) return;
  for_gemm_pieces(
      m, products.size(), [&](size_t i) { return matrix(i).panels_; }, work, pool,
      [&](size_t i, const GemmPiece& piece) {
        const Bf16Matrix& b = matrix(i);
        const GemmProduct& product = products[i];
        const GemmBf16Args args = {.m = piece.rows,
                                   .n = b.n(),
                                   .k = b.k(),
                                   .a = a + piece.row * lda,
                                   .lda = lda,
                                   .b = b.data_.get(),
                                   .c = product.c + piece.row * product.ldc,
                                   .ldc = product.ldc,
                                   .epilogue = product.epilogue.from_row(piece.row),
                                   .panel_begin = piece.panel_begin,
                                   .panel_end = piece.panel_end};
        b.kernels_.gemm_bf16(&args);
      });
}

}  // namespace hugot::cpu
