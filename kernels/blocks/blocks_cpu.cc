// Kernels of MatMulNBits, MatMulBnb4, hugot.DequantizeBlocks and GatherBlockQuantized.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/blocks/blocks.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/narrow.h"

namespace hugot::blocks {
namespace {

// Input i, undefined when it is omitted.
Tensor optional_input(const KernelContext& ctx, int i) {
  return i < ctx.num_inputs() && ctx.has_input(i) ? ctx.input(i) : Tensor();
}

void require_float32(const Tensor& tensor, const char* what) {
  require(tensor.dtype() == DType::kFloat32, ErrorCode::kUnsupported, what, " ", describe(tensor),
          " have to be float32");
}

}  // namespace

Matrix matrix_of(const KernelContext& ctx, int first) {
  const Node& node = ctx.node();
  const auto rows = node.at<int64_t>("N"), columns = node.at<int64_t>("K");
  const auto block = node.at<int64_t>("block_size");
  const Tensor &codes = ctx.input(first), &scales = ctx.input(first + 1);
  if (node.has("quant_type")) {
    return Matrix::of_table(rows, columns, block, node.at<int64_t>("quant_type"), codes, scales);
  }
  require(node.get<int64_t>("weight_prepacked", 0) == 0, ErrorCode::kUnsupported,
          "weights in the layout of another engine");
  return Matrix::of_bits(rows, columns, node.get<int64_t>("bits", 4), block, codes, scales,
                         optional_input(ctx, first + 2), optional_input(ctx, first + 3));
}

void round_to_bytes(const float* x, int64_t rows, int64_t columns, int64_t block, float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t begin = 0; begin < columns; begin += block) {
      const int64_t count = std::min(block, columns - begin);
      const float* from = x + row * columns + begin;
      float* to = out + row * columns + begin;
      float most = 0;
      for (int64_t i = 0; i < count; ++i) most = std::max(most, std::abs(from[i]));
      const float scale = most > 0 ? most / 127.0f : 1.0f;
      for (int64_t i = 0; i < count; ++i) to[i] = std::nearbyint(from[i] / scale) * scale;
    }
  }
}

void matmul(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Matrix w = matrix_of(ctx, 1);
  require_float32(x, "the rows");
  require(x.rank() > 0 && x.shape().back() == w.columns(), ErrorCode::kInvalidArgument, "rows ",
          describe(x), " do not fit a matrix with ", w.columns(), " columns");
  const bool table = ctx.node().has("quant_type");
  require(!table || ctx.node().get<int64_t>("transB", 1) != 0, ErrorCode::kUnsupported,
          "a weight that is not transposed");
  const Tensor bias = table ? Tensor() : optional_input(ctx, 5);
  if (bias.defined()) {
    require_float32(bias, "the bias");
    require(bias.size() == w.rows(), ErrorCode::kInvalidArgument, "a bias ", describe(bias),
            " for ", w.rows(), " columns");
  }
  Tensor& y = ctx.output(0, DType::kFloat32, x.shape().with(x.rank() - 1, w.rows()));
  const int64_t rows = x.size() / w.columns(), scratch = product_scratch(w, ctx.pool());
  const bool rounded = rounds_operand(ctx.node());
  float* memory = ctx.scratch_of<float>(scratch + (rounded ? x.size() : 0));
  const float* operand = x.data<float>();
  if (rounded) {
    round_to_bytes(operand, rows, w.columns(), ctx.node().at<int64_t>("block_size"),
                   memory + scratch);
    operand = memory + scratch;
  }
  product(rows, operand, w, bias.defined() ? bias.data<float>() : nullptr, y.data<float>(), memory,
          ctx.pool());
}

void dequantize(KernelContext& ctx) {
  const Matrix w = matrix_of(ctx, 0);
  const DType dtype = ctx.input(1).dtype();
  Tensor& out = ctx.output(0, dtype, {w.rows(), w.columns()});
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    parallel_for(ctx.pool(), w.rows(), 16, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(w.columns()));
      for (int64_t n = begin; n < end; ++n) {
        w.decode(n, 0, w.columns(), row.data());
        convert_all(row.data(), out.data<T>() + n * w.columns(), w.columns());
      }
    });
  });
}

// ---------------------------------------------------------------------------------------------
// GatherBlockQuantized

namespace {

// Codes and zero points of any of the storage forms.
struct Codes {
  const Tensor* tensor = nullptr;
  int bits = 8;     // of a code in bytes; 0: elements of a 4-bit type
  int64_t row = 1;  // codes in a row, which begins with a byte

  // Codes [first, first + count) of the whole, which lie in one row, as numbers.
  void read(int64_t first, int64_t count, float* out) const {
    const auto* bytes = static_cast<const uint8_t*>(tensor->raw());
    if (bits != 0) {
      const int64_t row_bytes = (row * bits + 7) / 8;
      decode_codes(bytes + first / row * row_bytes, bits, first % row, count, 0, 1, out);
      return;
    }
    decode_codes(bytes, 4, first, count, 0, 1, out);
    if (tensor->dtype() == DType::kUInt4) return;
    for (int64_t i = 0; i < count; ++i) out[i] -= out[i] > 7 ? 16.0f : 0.0f;
  }
};

struct Gathering {
  Codes codes, zeros;
  bool has_zeros = false;
  float default_zero = 0;
  Shape shape;  // of the data, in codes
  int gather_axis = 0, quantize_axis = 0;
  int64_t block = 1;
  int64_t length = 1, inner = 1;  // of the quantized axis, and elements behind an index of it
  int64_t blocks = 1;
  std::vector<float> scales;

  // The dequantized codes [first, first + count) of the data.
  void decode(int64_t first, int64_t count, float* out) const {
    for (int64_t i = 0; i < count;) {
      const int64_t at = first + i, q = at / inner % length;
      // A run within a block, or of neighbours with a scale each.
      const int64_t left = inner == 1 ? std::min(block - q % block, length - q) : 1;
      const int64_t run = std::min(left, count - i);
      const int64_t scale = (at / (inner * length) * blocks + q / block) * inner + at % inner;
      float zero = default_zero;
      if (has_zeros) zeros.read(scale, 1, &zero);
      codes.read(at, run, out + i);
      const float factor = scales[static_cast<size_t>(scale)];
      for (int64_t j = i; j < i + run; ++j) out[j] = (out[j] - zero) * factor;
      i += run;
    }
  }
};

Gathering gathering_of(const KernelContext& ctx) {
  const Node& node = ctx.node();
  const Tensor &data = ctx.input(0), &scales = ctx.input(2);
  Gathering g;
  const bool bytes = data.dtype() == DType::kUInt8;
  const auto bits = bytes ? node.get<int64_t>("bits", 4) : int64_t{4};
  require(bytes || data.dtype() == DType::kUInt4 || data.dtype() == DType::kInt4,
          ErrorCode::kUnsupported, "data ", describe(data), " are not supported");
  require(bits == 2 || bits == 4 || bits == 8, ErrorCode::kUnsupported, bits,
          " bits are not supported");
  require(data.rank() > 0 && scales.rank() == data.rank(), ErrorCode::kInvalidArgument, "data ",
          describe(data), " and scales ", describe(scales), " differ in rank");
  g.gather_axis = normalize_axis(node.get<int64_t>("gather_axis", 0), data.rank());
  g.quantize_axis = normalize_axis(node.get<int64_t>("quantize_axis", 1), data.rank());
  g.block = node.get<int64_t>("block_size", 128);
  require(g.block > 0, ErrorCode::kInvalidArgument, "attribute block_size is ", g.block);
  g.shape = data.shape();
  if (bytes) {
    require(g.quantize_axis == data.rank() - 1 && g.shape.back() <= (int64_t{1} << 56),
            ErrorCode::kUnsupported, "bytes that are packed along another axis than the last");
    g.shape = g.shape.with(data.rank() - 1, g.shape.back() * (8 / bits));
  }
  g.length = g.shape[g.quantize_axis];
  for (int axis = g.quantize_axis + 1; axis < data.rank(); ++axis) g.inner *= g.shape[axis];
  g.blocks = scales.shape()[g.quantize_axis];
  require(scales.shape() == g.shape.with(g.quantize_axis, g.blocks) &&
              g.blocks == g.length / g.block + (g.length % g.block != 0),
          ErrorCode::kInvalidArgument, "scales ", describe(scales), " do not fit data ",
          describe(data), " with blocks of ", g.block);
  g.codes = {&data, bytes ? static_cast<int>(bits) : 0, g.shape.back()};
  g.default_zero = bytes ? static_cast<float>(1 << (bits - 1)) : 0.0f;
  g.has_zeros = ctx.num_inputs() > 3 && ctx.has_input(3);
  if (g.has_zeros) {
    const Tensor& zeros = ctx.input(3);
    const int64_t row = scales.shape().back();
    g.zeros = {&zeros, bytes ? static_cast<int>(bits) : 0, row};
    const Shape wanted =
        bytes ? scales.shape().with(data.rank() - 1, (row * bits + 7) / 8) : scales.shape();
    require(zeros.dtype() == data.dtype() && zeros.shape() == wanted, ErrorCode::kInvalidArgument,
            "zero points ", describe(zeros), " do not fit scales ", describe(scales));
  }
  g.scales.resize(static_cast<size_t>(scales.size()));
  dispatch(FloatTypes{}, scales.dtype(),
           [&]<class T>() { convert_all(scales.data<T>(), g.scales.data(), scales.size()); });
  return g;
}

}  // namespace

void gather(KernelContext& ctx) {
  const Gathering g = gathering_of(ctx);
  const std::vector<int64_t> indices = to_int64s(ctx.input(1));
  const auto axis = static_cast<size_t>(g.gather_axis);
  std::vector<int64_t> dims(g.shape.begin(), g.shape.begin() + axis);
  const Shape& own = ctx.input(1).shape();
  dims.insert(dims.end(), own.begin(), own.end());
  dims.insert(dims.end(), g.shape.begin() + axis + 1, g.shape.end());
  require(dims.size() <= static_cast<size_t>(Shape::kMaxRank), ErrorCode::kUnsupported,
          "a result with ", dims.size(), " axes");
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < g.gather_axis; ++i) outer *= g.shape[i];
  for (int i = g.gather_axis + 1; i < g.shape.rank(); ++i) inner *= g.shape[i];
  const int64_t count = g.shape[g.gather_axis], picked = std::ssize(indices);
  const DType dtype = ctx.input(2).dtype();
  Tensor& out = ctx.output(0, dtype, Shape(dims));
  if (out.size() == 0) return;
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    parallel_for(ctx.pool(), outer * picked, 8, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(inner));
      for (int64_t i = begin; i < end; ++i) {
        int64_t index = indices[static_cast<size_t>(i % picked)];
        if (index < 0) index += count;
        require(index >= 0 && index < count, ErrorCode::kInvalidArgument, "index ", index,
                " is outside of an axis of ", count);
        g.decode((i / picked * count + index) * inner, inner, row.data());
        convert_all(row.data(), out.data<T>() + i * inner, inner);
      }
    });
  });
}

}  // namespace hugot::blocks
