#include "kernels/cpu/gemm_bf16.h"

#include "base/dtype.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pieces.h"

namespace hugot::cpu {

Bf16Matrix::Bf16Matrix(const float* b, int64_t k, int64_t n, int64_t row_stride, bool transposed)
    : PackedMatrix(k, n), kernels_(active_kernels()) {
  const int64_t width = kernels_.gemm_panel_width;
  panels_ = (n + width - 1) / width;
  data_.resize(static_cast<size_t>(panels_ * k * width));
  std::vector<float> panel(static_cast<size_t>(k * width));
  for (int64_t p = 0; p < panels_; ++p) {
    kernels_.gemm_pack(b, k, n, row_stride, transposed, p, p + 1, panel.data());
    uint16_t* out = data_.data() + p * k * width;
    for (size_t i = 0; i < panel.size(); ++i) out[i] = BFloat16(panel[i]).bits;
  }
}

int64_t Bf16Matrix::bytes() const { return static_cast<int64_t>(data_.size() * sizeof(uint16_t)); }

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
        GemmBf16Args args = {.m = piece.rows,
                             .n = b.n(),
                             .k = b.k(),
                             .a = a + piece.row * lda,
                             .lda = lda,
                             .b = b.data_.data(),
                             .c = product.c + piece.row * product.ldc,
                             .ldc = product.ldc,
                             .epilogue = product.epilogue,
                             .panel_begin = piece.panel_begin,
                             .panel_end = piece.panel_end};
        if (args.epilogue.residual != nullptr) {
          args.epilogue.residual += piece.row * args.epilogue.residual_stride;
        }
        b.kernels_.gemm_bf16(&args);
      });
}

}  // namespace hugot::cpu
