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

int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

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

int64_t int8_row_stride(int64_t k, int64_t group) {
  constexpr int64_t kVector = 16;
  return round_up(k, kVector) / group + kVector;
}

Int8Matrix::Int8Matrix(const float* b, int64_t k, int64_t n, int64_t row_stride, bool transposed)
    : PackedMatrix(k, n), kernels_(active_kernels()) {
  require(k <= kInt8MaxDepth, ErrorCode::kInvalidArgument, "int8: sums of ", k,
          " products may overflow");
  const int64_t width = kernels_.gemm_panel_width, group = kernels_.int8_group;
  panels_ = round_up(n, width) / width;
  groups_ = round_up(k, group) / group;
  data_.resize(static_cast<size_t>(panels_ * groups_ * group * width));
  scale_.resize(static_cast<size_t>(panels_ * width));
  sum_.resize(scale_.size());
  const int64_t row_step = transposed ? 1 : row_stride, column_step = transposed ? row_stride : 1;
  find_scales(b, k, n, row_step, column_step, scale_.data());
  for (int64_t j = 0; j < n; ++j) {
    const float scale = scale_[static_cast<size_t>(j)];
    if (!(scale > 0)) continue;  // zeros
    const float inverse = 1 / scale;
    int8_t* column = data_.data() + (j / width * groups_ * width + j % width) * group;
    int32_t sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      const float x = round_to_integer(b[i * row_step + j * column_step] * inverse);
      const auto q = static_cast<int8_t>(std::clamp(x, -kLargest, kLargest));
      column[i / group * width * group + i % group] = q;
      sum += q;
    }
    sum_[static_cast<size_t>(j)] = sum;
  }
}

int64_t Int8Matrix::bytes() const {
  return static_cast<int64_t>(data_.size() + scale_.size() * (sizeof(float) + sizeof(int32_t)));
}

int64_t Int8Matrix::workspace(int64_t m) const {
  const int64_t stride = int8_row_stride(k(), kernels_.int8_group);
  return m * (stride * int64_t{sizeof(uint32_t)} + int64_t{sizeof(float) + sizeof(int32_t)});
}

void gemm_int8(int64_t m, const float* a, int64_t lda, const Int8Matrix& b, float* c, int64_t ldc,
               const Epilogue& epilogue, std::byte* workspace, ThreadPool* pool) {
  if (m <= 0 || b.n() == 0) return;
  const int64_t stride = int8_row_stride(b.k(), b.kernels_.int8_group);
  auto* quantized = reinterpret_cast<uint32_t*>(workspace);
  auto* scale = reinterpret_cast<float*>(quantized + m * stride);
  auto* zero = reinterpret_cast<int32_t*>(scale + m);
  constexpr int64_t kRowsAtOnce = 32;
  parallel_for(pool, m, kRowsAtOnce, [&](int64_t begin, int64_t end) {
    b.kernels_.quantize_rows(a + begin * lda, end - begin, b.k(), lda, quantized + begin * stride,
                             stride, scale + begin, zero + begin);
  });
  const double work = static_cast<double>(m) * static_cast<double>(b.n() * b.k());
  for_gemm_pieces(m, b.panels_, work, pool, [&](const GemmPiece& piece) {
    GemmInt8Args args = {.m = piece.rows,
                         .n = b.n(),
                         .groups = b.groups_,
                         .a = quantized + piece.row * stride,
                         .a_stride = stride,
                         .a_scale = scale + piece.row,
                         .a_zero = zero + piece.row,
                         .b = b.data_.data(),
                         .b_scale = b.scale_.data(),
                         .b_sum = b.sum_.data(),
                         .c = c + piece.row * ldc,
                         .ldc = ldc,
                         .epilogue = epilogue,
                         .panel_begin = piece.panel_begin,
                         .panel_end = piece.panel_end};
    if (args.epilogue.residual != nullptr) {
      args.epilogue.residual += piece.row * epilogue.residual_stride;
    }
    b.kernels_.gemm_int8(&args);
  });
}

}  // namespace hugot::cpu
