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

void gemm_bf16(int64_t m, const float* a, int64_t lda, const Bf16Matrix& b, float* c, int64_t ldc,
               const Epilogue& epilogue, ThreadPool* pool) {
  if (m <= 0 || b.n() == 0) return;
  const double work = static_cast<double>(m) * static_cast<double>(b.n() * b.k());
  for_gemm_pieces(m, b.panels_, work, pool, [&](const GemmPiece& piece) {
    GemmBf16Args args = {.m = piece.rows,
                         .n = b.n(),
                         .k = b.k(),
                         .a = a + piece.row * lda,
                         .lda = lda,
                         .b = b.data_.get(),
                         .c = c + piece.row * ldc,
                         .ldc = ldc,
                         .epilogue = epilogue,
                         .panel_begin = piece.panel_begin,
                         .panel_end = piece.panel_end};
    if (args.epilogue.residual != nullptr) {
      args.epilogue.residual += piece.row * epilogue.residual_stride;
    }
    b.kernels_.gemm_bf16(&args);
  });
}

}  // namespace hugot::cpu
