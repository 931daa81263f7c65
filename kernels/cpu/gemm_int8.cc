#include "kernels/cpu/gemm_int8.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pieces.h"

namespace hugot::cpu {
namespace {

constexpr float kLargest = 127;
constexpr float kSmallestScale = 1e-30f;  // whose reciprocal is finite

// The nearest integer for |x| < 2^22, faster than the function of the library.
float round_to_integer(float x) {
  constexpr float kMagic = 12582912;  // 1.5 * 2^23: the sum has no bits for a fraction
  return (x + kMagic) - kMagic;
}

// The scale of every column: largest absolute value / 127. 0 for columns of zeros, NaN for those
// with an element that is not finite.
void find_scales(const float* b, int64_t k, int64_t n, int64_t row_step, int64_t column_step,
                 float* scale) {
  std::fill(scale, scale + n, 0.0f);
  const auto include = [](float& largest, float x) {
    // The order of the operands lets NaN stay.
    largest =
        std::isfinite(x) ? std::max(largest, std::abs(x)) : std::numeric_limits<float>::quiet_NaN();
  };
  if (row_step == 1) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < k; ++i) include(scale[j], b[j * column_step + i]);
    }
  } else {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j) include(scale[j], b[i * row_step + j]);
    }
  }
  for (int64_t j = 0; j < n; ++j) {
    scale[j] /= kLargest;
    if (scale[j] < kSmallestScale) scale[j] = 0;
  }
}

}  // namespace

Int8Matrix::Int8Matrix(FloatSource b, int64_t k, int64_t n, int64_t row_stride, bool transposed,
                       BlockStore& store)
    : PackedMatrix(k, n), kernels_(active_kernels()) {
  require(k <= kInt8MaxDepth, ErrorCode::kInvalidArgument, "int8: sums of ", k,
          " products may overflow");
  const int64_t width = kernels_.gemm_panel_width, group = kernels_.int8_group;
  panels_ = ceil_div(n, width);
  groups_ = ceil_div(k, group);
  const int64_t row_step = transposed ? 1 : row_stride, column_step = transposed ? row_stride : 1;
  const auto columns = static_cast<size_t>(panels_ * width);
  scale_ = store.array<float>(columns, [&](float* scale) {
    std::fill_n(scale, columns, 0.0f);
    find_scales(b.get(), k, n, row_step, column_step, scale);
  });
  // The place of element i of column j.
  const auto place = [=, groups = groups_](int64_t i, int64_t j) {
    return (j / width * groups * width + j % width) * group + i / group * width * group + i % group;
  };
  const auto size = static_cast<size_t>(panels_ * groups_ * group * width);
  data_ = store.array<int8_t>(size, [&](int8_t* data) {
    std::fill_n(data, size, int8_t{0});
    const float* const elements = b.get();
    for (int64_t j = 0; j < n; ++j) {
      const float scale = scale_.get()[j];
      if (!(scale > 0)) continue;  // zeros
      const float inverse = 1 / scale;
      for (int64_t i = 0; i < k; ++i) {
        const float x = round_to_integer(elements[i * row_step + j * column_step] * inverse);
        data[place(i, j)] = static_cast<int8_t>(std::clamp(x, -kLargest, kLargest));
      }
    }
  });
  sum_ = store.array<int32_t>(columns, [&](int32_t* sums) {
    std::fill_n(sums, columns, 0);
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < k; ++i) sums[j] += data_.get()[place(i, j)];
    }
  });
}

int64_t Int8Matrix::bytes() const {
  const int64_t width = kernels_.gemm_panel_width;
  return panels_ * width *
         (groups_ * kernels_.int8_group + int64_t{sizeof(float) + sizeof(int32_t)});
}

int64_t Int8Matrix::workspace(int64_t m) const {
  const int64_t stride = group_row_stride(k(), kernels_.int8_group);
  return m * (stride * int64_t{sizeof(uint32_t)} + int64_t{sizeof(float) + sizeof(int32_t)});
}

void gemm_int8(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
               std::byte* workspace, ThreadPool* pool) {
  if (m <= 0 || products.empty()) return;
  const auto matrix = [&](size_t i) -> const Int8Matrix& {
    return static_cast<const Int8Matrix&>(*products[i].b);
  };
  const int64_t k = matrix(0).k();
  const VectorKernels& kernels = matrix(0).kernels_;
  const int64_t stride = group_row_stride(k, kernels.int8_group);
  auto* quantized = reinterpret_cast<uint32_t*>(workspace);
  auto* scale = reinterpret_cast<float*>(quantized + m * stride);
  auto* zero = reinterpret_cast<int32_t*>(scale + m);
  constexpr int64_t kRowsAtOnce = 8;
  parallel_for(pool, m, kRowsAtOnce, [&](int64_t begin, int64_t end) {
    kernels.quantize_rows(a + begin * lda, end - begin, k, lda, quantized + begin * stride, stride,
                          scale + begin, zero + begin);
  });
  double work = 0;
  for (const GemmProduct& product : products) {
    work += static_cast<double>(m) * static_cast<double>(product.b->n() * k);
  }
  for_gemm_pieces(
      m, products.size(), [&](size_t i) { return matrix(i).panels_; }, work, pool,
      [&](size_t i, const GemmPiece& piece) {
        const Int8Matrix& b = matrix(i);
        const GemmProduct& product = products[i];
        const GemmInt8Args args = {.m = piece.rows,
                                   .n = b.n(),
                                   .groups = b.groups_,
                                   .a = quantized + piece.row * stride,
                                   .a_stride = stride,
                                   .a_scale = scale + piece.row,
                                   .a_zero = zero + piece.row,
                                   .b = b.data_.get(),
                                   .b_scale = b.scale_.get(),
                                   .b_sum = b.sum_.get(),
                                   .c = product.c + piece.row * product.ldc,
                                   .ldc = product.ldc,
                                   .epilogue = product.epilogue.from_row(piece.row),
                                   .panel_begin = piece.panel_begin,
                                   .panel_end = piece.panel_end};
        b.kernels_.gemm_int8(&args);
      });
}

}  // namespace hugot::cpu
