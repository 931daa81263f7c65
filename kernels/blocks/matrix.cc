// Decoding of block-quantized matrices, and products with them.
#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "kernels/blocks/blocks.h"
#include "kernels/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/dispatch.h"

namespace hugot::blocks {
namespace {

// The tables of bitsandbytes: NormalFloat of "QLoRA" (Dettmers et al. 2023), quantiles of a normal
// distribution scaled to [-1, 1]; and numbers of one sign, two exponent and one mantissa bit.
constexpr float kNormalFloat[16] = {-1.0f,
                                    -0.6961928009986877f,
                                    -0.5250730514526367f,
                                    -0.39491748809814453f,
                                    -0.28444138169288635f,
                                    -0.18477343022823334f,
                                    -0.09105003625154495f,
                                    0.0f,
                                    0.07958029955625534f,
                                    0.16093020141124725f,
                                    0.24611230194568634f,
                                    0.33791524171829224f,
                                    0.44070982933044434f,
                                    0.5626170039176941f,
                                    0.7229568362236023f,
                                    1.0f};
constexpr float kSmallFloat[16] = {
    0.0f,  5.208333333e-03f,  0.66666667f,  1.0f,  0.33333333f,  0.5f,  0.16666667f,  0.25f,
    -0.0f, -5.208333333e-03f, -0.66666667f, -1.0f, -0.33333333f, -0.5f, -0.16666667f, -0.25f};

constexpr int64_t kMaxDim = int64_t{1} << 31;  // products of two do not overflow

void check_dims(int64_t rows, int64_t columns, int64_t block) {
  require(rows > 0 && columns > 0 && rows < kMaxDim && columns < kMaxDim,
          ErrorCode::kInvalidArgument, "a matrix of ", rows, " rows and ", columns, " columns");
  require(block > 0 && block < kMaxDim, ErrorCode::kInvalidArgument, "a block of ", block,
          " numbers");
}

void check_size(const Tensor& tensor, const char* what, int64_t size) {
  require(tensor.size() == size, ErrorCode::kInvalidArgument, what, " are ", describe(tensor),
          ", needed are ", size, " elements");
}

// A list of numbers as float32: itself, or `wide`.
const float* as_floats(const Tensor& numbers, Tensor& wide) {
  if (numbers.dtype() == DType::kFloat32) return numbers.data<float>();
  wide = Tensor(DType::kFloat32, numbers.shape());
  dispatch(FloatTypes{}, numbers.dtype(),
           [&]<class T>() { convert_all(numbers.data<T>(), wide.data<float>(), numbers.size()); });
  return wide.data<float>();
}

template <int kBits>
void decode_as(const uint8_t* bytes, int64_t first, int64_t count, float zero, float scale,
               float* out) {
  constexpr int64_t kPerByte = 8 / kBits;
  constexpr unsigned kMask = (1u << kBits) - 1;
  const auto one = [&](int64_t k) {
    const unsigned byte = bytes[k / kPerByte];
    return (static_cast<float>(byte >> (k % kPerByte * kBits) & kMask) - zero) * scale;
  };
  int64_t i = 0;
  for (; i < count && (first + i) % kPerByte != 0; ++i) out[i] = one(first + i);
  const uint8_t* from = bytes + (first + i) / kPerByte;
  for (; i + kPerByte <= count; i += kPerByte, ++from) {
    const unsigned byte = *from;
    for (int64_t j = 0; j < kPerByte; ++j) {
      out[i + j] = (static_cast<float>(byte >> (j * kBits) & kMask) - zero) * scale;
    }
  }
  for (; i < count; ++i) out[i] = one(first + i);
}

}  // namespace

void decode_codes(const uint8_t* bytes, int bits, int64_t first, int64_t count, float zero,
                  float scale, float* out) {
  switch (bits) {
    case 1:
      return decode_as<1>(bytes, first, count, zero, scale, out);
    case 2:
      return decode_as<2>(bytes, first, count, zero, scale, out);
    case 4:
      return decode_as<4>(bytes, first, count, zero, scale, out);
    default:
      return decode_as<8>(bytes, first, count, zero, scale, out);
  }
}

Matrix Matrix::of_bits(int64_t rows, int64_t columns, int64_t bits, int64_t block,
                       const Tensor& codes, const Tensor& scales, const Tensor& zeros,
                       const Tensor& block_of_column) {
  check_dims(rows, columns, block);
  require(bits == 1 || bits == 2 || bits == 4 || bits == 8, ErrorCode::kUnsupported, bits,
          " bits are not supported");
  require(block * bits % 8 == 0, ErrorCode::kInvalidArgument, "a block of ", block,
          " numbers is no whole number of bytes");
  Matrix m;
  m.rows_ = rows;
  m.columns_ = columns;
  m.block_ = block;
  m.blocks_ = (columns + block - 1) / block;
  m.bits_ = static_cast<int>(bits);
  m.row_bytes_ = m.blocks_ * (block * bits / 8);
  require(m.row_bytes_ < kMaxDim, ErrorCode::kInvalidArgument, "rows of ", m.row_bytes_, " bytes");
  check_size(codes, "the codes", rows * m.row_bytes_);
  check_size(scales, "the scales", rows * m.blocks_);
  m.codes_ = codes.data<uint8_t>();
  m.scales_ = as_floats(scales, m.wide_scales_);
  if (zeros.defined() && zeros.dtype() == DType::kUInt8) {
    check_size(zeros, "the zero points", rows * ((m.blocks_ * bits + 7) / 8));
    m.packed_zeros_ = zeros.data<uint8_t>();
  } else if (zeros.defined()) {
    check_size(zeros, "the zero points", rows * m.blocks_);
    m.zeros_ = as_floats(zeros, m.wide_zeros_);
  }
  if (block_of_column.defined()) {
    require(block_of_column.size() >= columns, ErrorCode::kInvalidArgument, "the groups are ",
            describe(block_of_column), " for ", columns, " columns");
    m.block_of_column_ = block_of_column.data<int32_t>();
    for (int64_t k = 0; k < columns; ++k) {
      require(m.block_of_column_[k] >= 0 && m.block_of_column_[k] < m.blocks_,
              ErrorCode::kInvalidArgument, "column ", k, " is in group ", m.block_of_column_[k],
              " of ", m.blocks_);
    }
  }
  return m;
}

Matrix Matrix::of_table(int64_t rows, int64_t columns, int64_t block, int64_t table_number,
                        const Tensor& codes, const Tensor& scales) {
  check_dims(rows, columns, block);
  require(table_number == 0 || table_number == 1, ErrorCode::kInvalidData,
          "attribute quant_type is ", table_number, "; it must be 0 or 1");
  Matrix m;
  m.rows_ = rows;
  m.columns_ = columns;
  m.block_ = block;
  m.table_ = table_number == 1 ? kNormalFloat : kSmallFloat;
  const int64_t size = rows * columns;
  check_size(codes, "the codes", size / 2 + size % 2);
  check_size(scales, "the scales", (size - 1) / block + 1);
  m.codes_ = codes.data<uint8_t>();
  m.scales_ = as_floats(scales, m.wide_scales_);
  return m;
}

Matrix Matrix::of_floats(int64_t rows, int64_t columns, const float* data) {
  Matrix m;
  m.rows_ = rows;
  m.columns_ = columns;
  m.floats_ = data;
  return m;
}

float Matrix::zero(int64_t row, int64_t block) const {
  if (zeros_ != nullptr) return zeros_[row * blocks_ + block];
  if (packed_zeros_ == nullptr) return static_cast<float>(1 << (bits_ - 1));
  float code = 0;
  decode_codes(packed_zeros_ + row * ((blocks_ * bits_ + 7) / 8), bits_, block, 1, 0, 1, &code);
  return code;
}

void Matrix::decode_integers(int64_t row, int64_t begin, int64_t end, float* out) const {
  const uint8_t* bytes = codes_ + row * row_bytes_;
  for (int64_t k = begin; k < end;) {
    const int64_t block = block_of_column_ != nullptr ? block_of_column_[k] : k / block_;
    const int64_t stop = block_of_column_ != nullptr ? k + 1 : std::min(end, (block + 1) * block_);
    decode_codes(bytes, bits_, k, stop - k, zero(row, block), scales_[row * blocks_ + block],
                 out + (k - begin));
    k = stop;
  }
}

void Matrix::decode(int64_t row, int64_t begin, int64_t end, float* out) const {
  if (floats_ != nullptr) {
    std::copy_n(floats_ + row * columns_ + begin, end - begin, out);
    return;
  }
  if (table_ == nullptr) return decode_integers(row, begin, end, out);
  for (int64_t i = row * columns_ + begin, last = row * columns_ + end; i < last; ++i) {
    const unsigned byte = codes_[i / 2];
    *out++ = table_[i % 2 == 0 ? byte >> 4 : byte & 15] * scales_[i / block_];
  }
}

// ---------------------------------------------------------------------------------------------
// Products

namespace {

constexpr int64_t kStretch = 64;  // columns of W that are decoded at a time

int64_t thread_scratch(const Matrix& w) {
  const int64_t width = cpu::gemm_panel_width();
  return (width * (w.columns() + kStretch) + 15) / 16 * 16;
}

// Rows [panel * width, ..) of W as a panel of the right-hand side: [columns, width], zeros behind
// the last row.
void fill_panel(const Matrix& w, int64_t panel, float* out, float* rows) {
  const int64_t width = cpu::gemm_panel_width(), first = panel * width;
  const int64_t count = std::min(width, w.rows() - first);
  std::fill_n(rows, width * kStretch, 0.0f);
  for (int64_t k = 0; k < w.columns(); k += kStretch) {
    const int64_t stretch = std::min(kStretch, w.columns() - k);
    for (int64_t n = 0; n < count; ++n) w.decode(first + n, k, k + stretch, rows + n * kStretch);
    for (int64_t i = 0; i < stretch; ++i) {
      float* to = out + (k + i) * width;
      for (int64_t n = 0; n < width; ++n) to[n] = rows[n * kStretch + i];
    }
  }
}

}  // namespace

int64_t product_scratch(const Matrix& w, const ThreadPool* pool) {
  return thread_scratch(w) * (pool != nullptr ? pool->size() : 1);
}

void product(int64_t m, const float* x, const Matrix& w, const float* bias, float* y,
             float* scratch, ThreadPool* pool) {
  const int64_t width = cpu::gemm_panel_width(), part = thread_scratch(w);
  const int64_t panels = (w.rows() + width - 1) / width;
  const auto work = [&](int64_t begin, int64_t end, int worker) {
    float* panel = scratch + worker * part;
    for (int64_t p = begin; p < end; ++p) {
      fill_panel(w, p, panel, panel + width * w.columns());
      cpu::gemm_panel(m, w.rows(), w.columns(), x, w.columns(), panel, p, y, w.rows(),
                      {.bias = bias});
    }
  };
  if (m == 0) return;
  if (pool == nullptr) return work(0, panels, 0);
  pool->parallel_for_workers(panels, 1, work);
}

}  // namespace hugot::blocks
