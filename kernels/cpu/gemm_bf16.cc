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
      panels_(ceil_div(n, kernels_.gemm_panel_width)),
      groups_(ceil_div(k, kernels_.bf16_group)) {
  const int64_t width = kernels_.gemm_panel_width, group = kernels_.bf16_group;
  const int64_t panel_size = groups_ * group * width;
  data_ = store.array<uint16_t>(static_cast<size_t>(panels_ * panel_size), [&](uint16_t* out) {
    std::vector<float> panel(static_cast<size_t>(panel_size));  // zeros past k
    for (int64_t p = 0; p < panels_; ++p) {
      kernels_.gemm_pack(b.get(), k, n, row_stride, transposed, p, p + 1, panel.data());
      for (int64_t g = 0; g < groups_; ++g) {
        const float* const rows = panel.data() + g * group * width;
        for (int64_t column = 0; column < width; ++column) {
          for (int64_t step = 0; step < group; ++step) {
            *out++ = BFloat16(rows[step * width + column]).bits;
          }
        }
      }
    }
  });
}

int64_t Bf16Matrix::bytes() const {
  return panels_ * groups_ * kernels_.bf16_group * kernels_.gemm_panel_width *
         static_cast<int64_t>(sizeof(uint16_t));
}

int64_t Bf16Matrix::workspace(int64_t m) const {
  if (kernels_.round_to_bf16 == nullptr) return 0;
  return m * group_row_stride(k(), kernels_.bf16_group) * int64_t{sizeof(uint32_t)};
}

void gemm_bf16(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
               std::byte* workspace, ThreadPool* pool) {
  if (m <= 0 || products.empty()) return;
  const auto matrix = [&](size_t i) -> const Bf16Matrix& {
    return static_cast<const Bf16Matrix&>(*products[i].b);
  };
  const int64_t k = matrix(0).k();
  const VectorKernels& kernels = matrix(0).kernels_;
  const void* rows = a;
  int64_t stride = lda;
  if (kernels.round_to_bf16 != nullptr) {
    auto* const rounded = reinterpret_cast<uint32_t*>(workspace);
    rows = rounded;
    stride = group_row_stride(k, kernels.bf16_group);
    constexpr int64_t kRowsAtOnce = 8;
    parallel_for(pool, m, kRowsAtOnce, [&](int64_t begin, int64_t end) {
      kernels.round_to_bf16(a + begin * lda, end - begin, k, lda, rounded + begin * stride, stride);
    });
  }
  double work = 0;
  for (const GemmProduct& product : products) {
    work += static_cast<double>(m) * static_cast<double>(product.b->n() * k);
  }
  for_gemm_pieces(
      m, products.size(), [&](size_t i) { return matrix(i).panels_; }, work, pool,
      [&](size_t i, const GemmPiece& piece) {
        const Bf16Matrix& b = matrix(i);
        const GemmProduct& product = products[i];
        const GemmBf16Args args = {.m = piece.rows,
                                   .n = b.n(),
                                   .groups = b.groups_,
                                   .a = static_cast<const uint32_t*>(rows) + piece.row * stride,
                                   .a_stride = stride,
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
