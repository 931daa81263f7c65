#include "kernels/cpu/gemm_quantized.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/cpu/gemm_int8.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/pieces.h"

namespace hugot::cpu {
namespace {

// The kernels multiply 0..255 by -128..127. Other operands are shifted there together with their
// zero points, which changes no difference.
constexpr int32_t kShift = 128;

bool fits(size_t size, int64_t count) {
  return size == 1 || size == static_cast<size_t>(std::max<int64_t>(count, 0));
}

}  // namespace

DynamicScale dynamic_scale(const float* x, int64_t n) {
  constexpr float kLargest = 255;
  const VectorKernels& kernels = active_kernels();
  float low = 0, high = 0;
  if (kernels.range(x, n, &low, &high) != 0) {  // NaN: there are infinite ones, or no numbers
    low = kernels.reduce_min(x, n);
    high = kernels.reduce_max(x, n);
    if (low > 0) low = 0;
    if (high < 0) high = 0;
  }
  DynamicScale result;
  if (low == high) return result;
  result.scale = (high - low) / kLargest;
  const float zero = std::clamp(0 - low / result.scale, 0.0f, kLargest);
  if (zero == zero) result.zero = static_cast<int32_t>(std::nearbyint(zero));
  return result;
}

QuantizedMatrix::QuantizedMatrix(const Tensor& b, int64_t offset, std::span<const int32_t> zero,
                                 std::span<const float> scale, int64_t k, int64_t n,
                                 int64_t row_stride, bool transposed, BlockStore& store)
    : PackedMatrix(k, n), kernels_(active_kernels()) {
  require((zero.empty() || fits(zero.size(), n)) && (scale.empty() || fits(scale.size(), n)),
          ErrorCode::kInvalidArgument, zero.size(), " zero points and ", scale.size(),
          " scales do not fit ", n, " columns");
  const bool is_signed = b.dtype() == DType::kInt8;
  const int64_t width = kernels_.gemm_panel_width, group = kernels_.int8_group;
  panels_ = ceil_div(n, width);
  groups_ = ceil_div(k, group);
  const auto columns = static_cast<size_t>(panels_ * width);
  scale_.resize(columns);
  for (int64_t j = 0; j < n; ++j) {
    const int32_t zero_point = (zero.empty() ? 0 : one_of(zero, j)) - (is_signed ? 0 : kShift);
    if (zero_point != 0 && zero_.empty()) zero_.resize(columns);
    if (!zero_.empty()) zero_[static_cast<size_t>(j)] = zero_point;
    scale_[static_cast<size_t>(j)] = scale.empty() ? 1.0f : one_of(scale, j);
  }

  // The place of element i of column j.
  const auto place = [=, groups = groups_](int64_t i, int64_t j) {
    return (j / width * groups * width + j % width) * group + i / group * width * group + i % group;
  };
  const int64_t row_step = transposed ? 1 : row_stride, column_step = transposed ? row_stride : 1;
  const auto size = static_cast<size_t>(panels_ * groups_ * group * width);
  data_ = store.array<int8_t>(size, [&](int8_t* data) {
    std::fill_n(data, size, int8_t{0});
    const auto* bytes = static_cast<const uint8_t*>(b.raw()) + offset;
    const uint8_t flip = is_signed ? 0 : kShift;  // the highest bit: -128 modulo 256
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < k; ++i) {
        data[place(i, j)] = static_cast<int8_t>(bytes[i * row_step + j * column_step] ^ flip);
      }
    }
  });
  // Modulo 2^32, as the kernels compute.
  sum_ = store.array<int32_t>(columns, [&](int32_t* sums) {
    std::fill_n(sums, columns, 0);
    for (int64_t j = 0; j < n; ++j) {
      uint32_t sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        sum += static_cast<uint32_t>(int32_t{data_.get()[place(i, j)]});
      }
      const int32_t zero_point = zero_.empty() ? 0 : zero_[static_cast<size_t>(j)];
      sums[j] =
          static_cast<int32_t>(sum - static_cast<uint32_t>(k) * static_cast<uint32_t>(zero_point));
    }
  });
}

int64_t QuantizedMatrix::bytes() const {
  const auto columns = static_cast<int64_t>(scale_.size());
  return columns * (groups_ * kernels_.int8_group + int64_t{sizeof(float) + sizeof(int32_t)}) +
         std::ssize(zero_) * int64_t{sizeof(int32_t)};
}

int64_t QuantizedMatrix::workspace(int64_t m) const {
  const int64_t stride = group_row_stride(k(), kernels_.int8_group);
  return m * (stride * int64_t{sizeof(uint32_t)} + int64_t{sizeof(float) + 2 * sizeof(int32_t)});
}

class QuantizedProduct {
 public:
  static void run(int64_t m, const QuantizedRows& a, const QuantizedMatrix& b, bool integers,
                  float* c, int64_t ldc, const Epilogue& epilogue, std::byte* workspace,
                  ThreadPool* pool) {
    if (m <= 0 || b.n() == 0) return;
    require(fits(a.zero.size(), m) && (integers || fits(a.scale.size(), m)), ErrorCode::kInternal,
            "zero points or scales do not fit the rows");
    const VectorKernels& kernels = b.kernels_;
    const int64_t stride = group_row_stride(b.k(), kernels.int8_group);
    auto* rows = reinterpret_cast<uint32_t*>(workspace);
    auto* scale = reinterpret_cast<float*>(rows + m * stride);
    auto* zero = reinterpret_cast<int32_t*>(scale + m);
    int32_t* sum = zero + m;
    const auto* bytes = static_cast<const uint8_t*>(a.data);
    const uint8_t flip = a.is_signed ? kShift : 0;
    constexpr int64_t kRowsAtOnce = 32;
    parallel_for(pool, m, kRowsAtOnce, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        zero[i] = one_of(a.zero, i) + flip;
        scale[i] = integers ? 1.0f : one_of(a.scale, i);
      }
      kernels.pack_bytes(bytes + begin * a.stride, flip, end - begin, b.k(), a.stride,
                         rows + begin * stride, stride, sum + begin);
    });
    const double work = static_cast<double>(m) * static_cast<double>(b.n() * b.k());
    for_gemm_pieces(m, b.panels_, work, pool, [&](const GemmPiece& piece) {
      const GemmInt8Args args = {.m = piece.rows,
                                 .n = b.n(),
                                 .groups = b.groups_,
                                 .a = rows + piece.row * stride,
                                 .a_stride = stride,
                                 .a_scale = scale + piece.row,
                                 .a_zero = zero + piece.row,
                                 .a_sum = sum + piece.row,
                                 .b = b.data_.get(),
                                 .b_scale = b.scale_.data(),
                                 .b_sum = b.sum_.get(),
                                 .b_zero = b.zero_.empty() ? nullptr : b.zero_.data(),
                                 .integers = integers,
                                 .c = c + piece.row * ldc,
                                 .ldc = ldc,
                                 .epilogue = epilogue.from_row(piece.row),
                                 .panel_begin = piece.panel_begin,
                                 .panel_end = piece.panel_end};
      kernels.gemm_int8(&args);
    });
  }
};

void multiply_integers(int64_t m, const QuantizedRows& a, const QuantizedMatrix& b, int32_t* c,
                       int64_t ldc, std::byte* workspace, ThreadPool* pool) {
  // The kernel moves whole vectors of bits; their type is the caller's business.
  QuantizedProduct::run(m, a, b, true, reinterpret_cast<float*>(c), ldc, {}, workspace, pool);
}

void multiply_quantized(int64_t m, const QuantizedRows& a, const QuantizedMatrix& b, float* c,
                        int64_t ldc, const Epilogue& epilogue, std::byte* workspace,
                        ThreadPool* pool) {
  QuantizedProduct::run(m, a, b, false, c, ldc, epilogue, workspace, pool);
}

}  // namespace hugot::cpu
