// Kernels of products of quantized operands.
#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/cpu/gemm_quantized.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/matmul/integer.h"
#include "kernels/matmul/matmul.h"
#include "kernels/narrow.h"

namespace hugot::matmul {
namespace {

bool is_byte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

using Scales = std::vector<float>;

template <class T>
std::vector<T> as_list(const Tensor* tensor) {
  std::vector<T> list;
  if (tensor == nullptr) return list;
  list.resize(static_cast<size_t>(tensor->size()));
  using Sources = Types<float, Float16, BFloat16, int8_t, uint8_t>;
  dispatch(Sources{}, tensor->dtype(),
           [&]<class From>() { convert_all(tensor->data<From>(), list.data(), tensor->size()); });
  return list;
}

// A number of a tensor that is a list or one for all.
template <class T>
T number_in(const Tensor& tensor, int64_t i) {
  T number{};
  if (tensor.size() == 1) i = 0;
  using Sources = Types<float, Float16, BFloat16, int8_t, uint8_t>;
  dispatch(Sources{}, tensor.dtype(),
           [&]<class From>() { number = convert<T>(tensor.data<From>()[i]); });
  return number;
}

void check_zero(const Tensor& operand, const Tensor* zero) {
  require(zero == nullptr || zero->dtype() == operand.dtype(), ErrorCode::kInvalidArgument,
          "a zero point of another type than ", describe(operand));
}

// A constant right-hand side.
class PackedIntegers final : public Prepared {
 public:
  PackedIntegers(int input, std::unique_ptr<const cpu::QuantizedMatrix> matrix)
      : input_(input), matrix_(std::move(matrix)) {}
  size_t bytes() const override { return static_cast<size_t>(matrix_->bytes()); }
  bool replaces_input(int i) const override { return i == input_; }
  const cpu::QuantizedMatrix& matrix() const { return *matrix_; }

 private:
  int input_;
  std::unique_ptr<const cpu::QuantizedMatrix> matrix_;
};

// Matrix `index` of b, with its part of the zero points and scales of all columns.
std::unique_ptr<const cpu::QuantizedMatrix> pack_matrix(const Tensor& b, int64_t index,
                                                        const Product& p, const Tensor* zero,
                                                        const Tensor* scale,
                                                        BlockStore& store = fresh_blocks()) {
  require(is_byte(b.dtype()), ErrorCode::kUnsupported, "cannot multiply ", describe(b));
  check_zero(b, zero);
  std::vector<int32_t> zeros = as_list<int32_t>(zero);
  Scales scales = as_list<float>(scale);
  // One list for each matrix, or the same for all.
  const auto n = static_cast<size_t>(p.n), begin = static_cast<size_t>(index) * n;
  const auto part = [&](auto& list) {
    if (list.size() <= n ||
        list.size() != static_cast<size_t>(b.size() / std::max<int64_t>(p.k, 1)))
      return;
    list = {list.begin() + static_cast<std::ptrdiff_t>(begin),
            list.begin() + static_cast<std::ptrdiff_t>(begin + n)};
  };
  part(zeros);
  part(scales);
  return std::make_unique<const cpu::QuantizedMatrix>(
      b, index * p.k * p.n, zeros, scales, p.k, p.n, p.transposed ? p.k : p.n, p.transposed, store);
}

std::shared_ptr<const Prepared> prepare(std::span<const Tensor* const> constants, const Node& node,
                                        const IntegerSlots& slots, bool scaled, BlockStore& store) {
  const auto known = [&](int i) {  // constant, or not there
    const auto at = static_cast<size_t>(i);
    return i < 0 || at >= constants.size() || node.input(at) == kNoValue ||
           constants[at] != nullptr;
  };
  const auto constant = [&](int i) -> const Tensor* {
    return i < 0 || static_cast<size_t>(i) >= constants.size() ? nullptr
                                                               : constants[static_cast<size_t>(i)];
  };
  const Tensor* b = constant(slots.b);
  if (b == nullptr || !is_byte(b->dtype()) || b->rank() < 2 || b->size() == 0 ||
      !known(slots.b_zero) || (scaled && constant(slots.b_scale) == nullptr)) {
    return {};
  }
  const int64_t rows = b->shape()[b->rank() - 2], columns = b->shape().back();
  if (rows * columns != b->size()) return {};
  const bool transposed = node.get<int64_t>("trans_w", 0) != 0;
  const Product p = {0, transposed ? rows : columns, transposed ? columns : rows, transposed};
  return std::make_shared<PackedIntegers>(
      slots.b, pack_matrix(*b, 0, p, constant(slots.b_zero),
                           scaled ? constant(slots.b_scale) : nullptr, store));
}

// The product of a node's operands, matrix by matrix.
class IntegerProduct {
 public:
  // `a` stands for the input that slots.a names.
  IntegerProduct(KernelContext& ctx, const IntegerSlots& slots, bool scaled, const Tensor& a)
      : ctx_(ctx), slots_(slots), scaled_(scaled), a_(a), b_(ctx.input(slots.b)) {
    require(is_byte(a_.dtype()) && is_byte(b_.dtype()), ErrorCode::kUnsupported, "cannot multiply ",
            describe(a_), " by ", describe(b_));
    if (ctx.node().get<int64_t>("trans_w", 0) != 0) {
      require(a_.rank() > 0 && b_.rank() == 2 && b_.shape()[1] == a_.shape().back(),
              ErrorCode::kInvalidArgument, "input ", describe(a_), " and weight ", describe(b_),
              " do not fit");
      plan_.product = {a_.shape().product(0, a_.rank() - 1), b_.shape()[0], b_.shape()[1], true};
      plan_.shape = a_.shape().with(a_.rank() - 1, b_.shape()[0]);
    } else {
      plan_ = plan_product(a_.shape(), b_.shape());
    }
    rows_ = a_.rank() < 2 ? 1 : a_.shape().product(0, a_.rank() - 1);
    matrix_rows_ = a_.rank() < 2 ? 1 : a_.shape()[a_.rank() - 2];
  }

  const BatchedProduct& plan() const { return plan_; }
  // An operand; null when it is absent.
  const Tensor* operand(int i) const {
    return i >= 0 && i < ctx_.num_inputs() && ctx_.has_input(i) ? &ctx_.input(i) : nullptr;
  }

  // Zero points and scales of all rows instead of those in the slots.
  void set_rows(int32_t zero, float scale) { fixed_ = {zero, scale}; }

  // Calls multiply(rows of A, matrix, place in C, first row of A, index of the matrix, workspace)
  // for every product. extra_memory() is there meanwhile.
  template <class Multiply>
  void run(int64_t extra, const Multiply& multiply) {
    const Product& p = plan_.product;
    const auto* packed = static_cast<const PackedIntegers*>(ctx_.prepared());
    std::unique_ptr<const cpu::QuantizedMatrix> own;
    const auto matrix = [&](int64_t index) -> const cpu::QuantizedMatrix& {
      if (packed != nullptr) return packed->matrix();
      if (!own || plan_.batches > 1) {
        own = pack_matrix(b_, index, p, operand(slots_.b_zero),
                          scaled_ ? operand(slots_.b_scale) : nullptr);
      }
      return *own;
    };
    check_zero(a_, operand(slots_.a_zero));
    const int64_t lists = rows_ * int64_t{sizeof(int32_t) + sizeof(float)};
    std::byte* scratch =
        ctx_.scratch_of<std::byte>(round_up(extra) + lists + matrix(0).workspace(p.m));
    extra_ = scratch;
    auto* zero = reinterpret_cast<int32_t*>(scratch + round_up(extra));
    auto* scale = reinterpret_cast<float*>(zero + rows_);
    auto* workspace = reinterpret_cast<std::byte*>(scale + rows_);
    fill_rows(slots_.a_zero, fixed_ ? fixed_->zero : 0, zero);
    fill_rows(scaled_ ? slots_.a_scale : -1, fixed_ ? fixed_->scale : 1.0f, scale);

    Odometer a_at = plan_.a, b_at = plan_.b;
    const int64_t size = std::max<int64_t>(p.k * p.n, 1);
    for (int64_t i = 0; i < plan_.batches; ++i, a_at.next(), b_at.next()) {
      const int64_t row = plan_.batches == 1 || p.k == 0 ? 0 : a_at.offset() / p.k;
      const int64_t index = plan_.batches == 1 ? 0 : b_at.offset() / size;
      const auto count = static_cast<size_t>(std::min(p.m, rows_ - row));
      const cpu::QuantizedRows a = {static_cast<const uint8_t*>(a_.raw()) + row * p.k,
                                    a_.dtype() == DType::kInt8,
                                    p.k,
                                    {zero + row, count},
                                    {scale + row, count}};
      multiply(a, matrix(index), i * p.m * p.n, row, index, workspace);
    }
  }
  // The `extra` bytes of scratch memory that run() was asked for.
  std::byte* extra_memory() const { return extra_; }

  // One number for each row of A from a scale or zero point: one for all rows (of a text), one for
  // each row of a matrix, or one for each row of all matrices.
  template <class T>
  void fill_rows(int slot, T fallback, T* list) const {
    const Tensor* tensor = operand(slot);
    if (tensor == nullptr) {
      std::fill(list, list + rows_, fallback);
      return;
    }
    const auto boundaries = ctx_.segments();
    if (!boundaries.empty()) {
      const int64_t width = rows_ / std::max<int64_t>(boundaries.back(), 1);  // rows of a token
      for (size_t i = 0; i + 1 < boundaries.size(); ++i) {
        const T number = number_in<T>(ctx_.input_of_segment(slot, i), 0);
        std::fill(list + boundaries[i] * width, list + boundaries[i + 1] * width, number);
      }
      return;
    }
    const int64_t count = tensor->size();
    if (count == 1) {
      std::fill(list, list + rows_, number_in<T>(*tensor, 0));
      return;
    }
    const bool by_matrix = tensor->rank() == 1 && count == matrix_rows_;
    require(by_matrix || count == rows_, ErrorCode::kInvalidArgument, "scales or zero points ",
            describe(*tensor), " do not fit the rows of ", describe(a_));
    for (int64_t i = 0; i < rows_; ++i) list[i] = number_in<T>(*tensor, i % count);
  }

  int64_t rows() const { return rows_; }

 private:
  struct Fixed {
    int32_t zero;
    float scale;
  };
  static int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

  KernelContext& ctx_;
  const IntegerSlots& slots_;
  bool scaled_;
  const Tensor &a_, &b_;
  BatchedProduct plan_;
  int64_t rows_, matrix_rows_;
  std::optional<Fixed> fixed_;
  std::byte* extra_ = nullptr;
};

// What follows the product with scales: bias, activation, residual.
cpu::Epilogue epilogue_of(const KernelContext& ctx, const IntegerProduct& product, int bias,
                          int residual) {
  const int64_t n = product.plan().product.n;
  cpu::Epilogue epilogue;
  epilogue.activation = activation_of(ctx.node());
  if (const Tensor* tensor = product.operand(bias)) {
    require(tensor->shape() == Shape{n} && tensor->dtype() == DType::kFloat32,
            ErrorCode::kInvalidArgument, "the bias is ", describe(*tensor), " for ", n, " columns");
    epilogue.bias = tensor->data<float>();
  }
  if (const Tensor* tensor = product.operand(residual)) {
    require(tensor->shape() == product.plan().shape && tensor->dtype() == DType::kFloat32,
            ErrorCode::kInvalidArgument, "the residual is ", describe(*tensor), " for a result ",
            product.plan().shape.to_string());
    epilogue.residual = tensor->data<float>();
    epilogue.residual_stride = n;
  }
  return epilogue;
}

void multiply_to_float(KernelContext& ctx, IntegerProduct& product, const cpu::Epilogue& epilogue) {
  const Product& p = product.plan().product;
  float* y = ctx.output(0, DType::kFloat32, product.plan().shape).data<float>();
  if (p.m * p.n * product.plan().batches == 0) return;
  product.run(0, [&](const cpu::QuantizedRows& a, const cpu::QuantizedMatrix& b, int64_t at,
                     int64_t /*row*/, int64_t /*index*/, std::byte* workspace) {
    cpu::Epilogue own = epilogue;
    if (own.residual != nullptr) own.residual += at;
    cpu::multiply_quantized(p.m, a, b, y + at, p.n, own, workspace, ctx.pool());
  });
}

// -- QLinearMatMul

// The sums of one matrix as quantized numbers: y = saturate(round(sum * factor) + zero), where the
// factor is a_scale b_scale / y_scale in float32.
template <class Q>
void requantize(int64_t m, int64_t n, const int32_t* sums, const float* a_scale,
                const float* b_scale, bool per_column, float y_scale, int32_t zero,
                std::vector<float>& row, Q* y) {
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  row.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const float factor = a_scale[i] * b_scale[per_column ? j : 0] / y_scale;
      row[static_cast<size_t>(j)] = static_cast<float>(sums[i * n + j]) * factor;
    }
    if constexpr (std::is_same_v<Q, uint8_t>) {
      kernels.quantize_uint8(row.data(), n, 1, zero, y + i * n);
    } else {
      kernels.quantize_int8(row.data(), n, 1, zero, y + i * n);
    }
  }
}

const Tensor& single(const KernelContext& ctx, int i, std::string_view what) {
  const Tensor& tensor = ctx.input(i);
  require(tensor.size() == 1, ErrorCode::kInvalidArgument, what, " of the result is ",
          describe(tensor), " instead of one number");
  return tensor;
}

// Columns' scales of matrix `index`.
std::span<const float> column_scales(const Scales& all, int64_t index, int64_t n) {
  const std::span<const float> list(all);
  if (list.size() == 1 || std::ssize(list) == n) return list;
  require(std::ssize(list) >= (index + 1) * n, ErrorCode::kInvalidArgument, list.size(),
          " scales do not fit ", n, " columns");
  return list.subspan(static_cast<size_t>(index * n), static_cast<size_t>(n));
}

void multiply_to_bytes(KernelContext& ctx) {
  const IntegerSlots& slots = kQLinearMatMulSlots;
  IntegerProduct product(ctx, slots, false, ctx.input(slots.a));
  const Product& p = product.plan().product;
  const float y_scale = number_in<float>(single(ctx, 6, "the scale"), 0);
  const Tensor& y_zero = single(ctx, 7, "the zero point");
  require(is_byte(y_zero.dtype()), ErrorCode::kUnsupported, "the result cannot be ",
          dtype_name(y_zero.dtype()));
  Tensor& y = ctx.output(0, y_zero.dtype(), product.plan().shape);
  if (y.size() == 0) return;
  std::vector<float> a_scales(static_cast<size_t>(product.rows()));
  product.fill_rows(slots.a_scale, 1.0f, a_scales.data());
  const Scales b_scales = as_list<float>(&ctx.input(slots.b_scale));
  std::vector<float> row;
  product.run(p.m * p.n * int64_t{sizeof(int32_t)},
              [&](const cpu::QuantizedRows& a, const cpu::QuantizedMatrix& b, int64_t at,
                  int64_t first, int64_t index, std::byte* workspace) {
                auto* sums = reinterpret_cast<int32_t*>(product.extra_memory());
                cpu::multiply_integers(p.m, a, b, sums, p.n, workspace, ctx.pool());
                const auto scales = column_scales(b_scales, index, p.n);
                dispatch(Types<uint8_t, int8_t>{}, y.dtype(), [&]<class Q>() {
                  requantize(p.m, p.n, sums, a_scales.data() + first, scales.data(),
                             scales.size() > 1, y_scale, number_in<int32_t>(y_zero, 0), row,
                             y.data<Q>() + at);
                });
              });
}

// Float8 operands are multiplied as the numbers that they are: exact products, sums in float32.
Tensor decoded(const Tensor& tensor) {
  Tensor wide(DType::kFloat32, tensor.shape());
  if (is_narrow_float(tensor.dtype())) {
    decode_narrow_floats(tensor.dtype(), tensor.raw(), wide.data<float>(), tensor.size());
  } else {
    dispatch(Types<int8_t, uint8_t>{}, tensor.dtype(),
             [&]<class T>() { convert_all(tensor.data<T>(), wide.data<float>(), tensor.size()); });
  }
  return wide;
}

void multiply_small_floats(KernelContext& ctx) {
  const IntegerSlots& slots = kQLinearMatMulSlots;
  for (const int i : {slots.a_scale, slots.a_zero, slots.b_scale, slots.b_zero, 6, 7}) {
    require(ctx.input(i).size() == 1, ErrorCode::kUnsupported,
            "float8 products have one scale and zero point for each tensor");
  }
  const auto centred = [&](int i, int zero) {
    Tensor tensor = decoded(ctx.input(i));
    const float offset = decoded(ctx.input(zero)).data<float>()[0];
    float* x = tensor.data<float>();
    std::for_each(x, x + tensor.size(), [&](float& value) { value -= offset; });
    return tensor;
  };
  const Tensor a = centred(slots.a, slots.a_zero), b = centred(slots.b, slots.b_zero);
  const BatchedProduct plan = plan_product(a.shape(), b.shape());
  const Product& p = plan.product;
  const float factor = number_in<float>(ctx.input(slots.a_scale), 0) *
                       number_in<float>(ctx.input(slots.b_scale), 0) /
                       number_in<float>(ctx.input(6), 0);
  const Tensor& y_zero = ctx.input(7);
  const float zero = decoded(y_zero).data<float>()[0];
  Tensor& y = ctx.output(0, y_zero.dtype(), plan.shape);
  std::vector<float> sums(static_cast<size_t>(y.size()));
  Odometer a_at = plan.a, b_at = plan.b;
  for (int64_t i = 0; i < plan.batches; ++i, a_at.next(), b_at.next()) {
    cpu::gemm(p.m, p.n, p.k, a.data<float>() + a_at.offset(), p.k, b.data<float>() + b_at.offset(),
              p.n, false, sums.data() + i * p.m * p.n, p.n, {},
              ctx.scratch_of<float>(cpu::gemm_workspace(p.k, ctx.pool())), ctx.pool());
  }
  if (y.dtype() == DType::kUInt8 || y.dtype() == DType::kInt8) {
    for (float& sum : sums) sum *= factor;
    const cpu::VectorKernels& kernels = cpu::active_kernels();
    if (y.dtype() == DType::kUInt8) {
      kernels.quantize_uint8(sums.data(), y.size(), 1, static_cast<int32_t>(zero),
                             y.data<uint8_t>());
    } else {
      kernels.quantize_int8(sums.data(), y.size(), 1, static_cast<int32_t>(zero), y.data<int8_t>());
    }
    return;
  }
  require(is_narrow_float(y.dtype()) && y.dtype() != DType::kFloat8E8M0, ErrorCode::kUnsupported,
          "the result cannot be ", dtype_name(y.dtype()));
  for (float& sum : sums) sum = sum * factor + zero;
  encode_narrow_floats(y.dtype(), sums.data(), y.raw(), y.size(), {});
}

}  // namespace

std::shared_ptr<const Prepared> prepare_matmul_integer(const Node& node,
                                                       std::span<const Tensor* const> constants,
                                                       BlockStore& store) {
  return prepare(constants, node, kMatMulIntegerSlots, false, store);
}
std::shared_ptr<const Prepared> prepare_qlinear_matmul(const Node& node,
                                                       std::span<const Tensor* const> constants,
                                                       BlockStore& store) {
  return prepare(constants, node, kQLinearMatMulSlots, false, store);
}
std::shared_ptr<const Prepared> prepare_quantized_linear(const Node& node,
                                                         std::span<const Tensor* const> constants,
                                                         BlockStore& store) {
  return prepare(constants, node, kQuantizedLinearSlots, true, store);
}
std::shared_ptr<const Prepared> prepare_dynamic_matmul(const Node& node,
                                                       std::span<const Tensor* const> constants,
                                                       BlockStore& store) {
  return prepare(constants, node, kDynamicMatMulSlots, true, store);
}

void matmul_integer(KernelContext& ctx) {
  IntegerProduct product(ctx, kMatMulIntegerSlots, false, ctx.input(0));
  const Product& p = product.plan().product;
  Tensor& y = ctx.output(0, DType::kInt32, product.plan().shape);
  if (y.size() == 0) return;
  product.run(0, [&](const cpu::QuantizedRows& a, const cpu::QuantizedMatrix& b, int64_t at,
                     int64_t /*row*/, int64_t /*index*/, std::byte* workspace) {
    cpu::multiply_integers(p.m, a, b, y.data<int32_t>() + at, p.n, workspace, ctx.pool());
  });
}

void qlinear_matmul(KernelContext& ctx) {
  const bool small_floats = is_narrow_float(ctx.input(kQLinearMatMulSlots.a).dtype()) ||
                            is_narrow_float(ctx.input(kQLinearMatMulSlots.b).dtype());
  if (small_floats || is_narrow_float(ctx.input(7).dtype())) return multiply_small_floats(ctx);
  multiply_to_bytes(ctx);
}

void quantized_linear(KernelContext& ctx) {
  IntegerProduct product(ctx, kQuantizedLinearSlots, true, ctx.input(0));
  multiply_to_float(ctx, product, epilogue_of(ctx, product, 6, 7));
}

void dynamic_quantize_matmul(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  require(x.dtype() == DType::kFloat32, ErrorCode::kUnsupported, "the input is ", describe(x));
  const cpu::DynamicScale dynamic = cpu::dynamic_scale(x.data<float>(), x.size());
  Tensor a(DType::kUInt8, x.shape());
  cpu::active_kernels().quantize_uint8(x.data<float>(), x.size(), dynamic.scale, dynamic.zero,
                                       a.data<uint8_t>());
  IntegerProduct product(ctx, kDynamicMatMulSlots, true, a);
  product.set_rows(dynamic.zero, dynamic.scale);
  multiply_to_float(ctx, product, epilogue_of(ctx, product, 4, -1));
}

}  // namespace hugot::matmul
