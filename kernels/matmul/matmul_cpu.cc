// Kernels of MatMul, Gemm and Linear.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <type_traits>

#include "base/error.h"
#include "kernels/cpu/gemm_bf16.h"
#include "kernels/cpu/gemm_int8.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/multiply.h"
#include "kernels/strided.h"

namespace hugot::matmul {
namespace {

using MatrixTypes = JoinTypes<FloatTypes, Types<int32_t, int64_t, uint32_t, uint64_t>>;

const PackedWeight* packed_weight(const KernelContext& ctx) {
  return static_cast<const PackedWeight*>(ctx.prepared());
}

std::shared_ptr<const Prepared> pack(std::span<const Tensor* const> constants, bool transposed,
                                     BlockStore& store,
                                     WeightPrecision precision = WeightPrecision::kFloat32) {
  const Tensor* b = constants.size() > 1 ? constants[1] : nullptr;
  if (b == nullptr || b->dtype() != DType::kFloat32 || b->rank() < 2 || b->size() == 0) return {};
  const int64_t rows = b->shape()[b->rank() - 2], cols = b->shape().back();
  if (rows * cols != b->size()) return {};
  const int64_t k = transposed ? cols : rows, n = transposed ? rows : cols;
  if (precision == WeightPrecision::kInt8 && k <= cpu::kInt8MaxDepth) {
    return std::make_shared<PackedWeight>(
        precision, std::make_shared<cpu::Int8Matrix>(*b, k, n, cols, transposed, store));
  }
  if (precision == WeightPrecision::kBFloat16) {
    return std::make_shared<PackedWeight>(
        precision, std::make_shared<cpu::Bf16Matrix>(*b, k, n, cols, transposed, store));
  }
  return std::make_shared<PackedWeight>(WeightPrecision::kFloat32,
                                        cpu::simd_gemm().pack(*b, k, n, cols, transposed, store));
}

}  // namespace

std::shared_ptr<const Prepared> prepare_matmul(const Node& /*node*/,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store) {
  return pack(constants, false, store);
}

void matmul(KernelContext& ctx) {
  const Tensor& a = ctx.input(0);
  const Tensor& b = ctx.input(1);
  require(a.dtype() == b.dtype(), ErrorCode::kInvalidArgument, "cannot multiply ", describe(a),
          " by ", describe(b));
  const BatchedProduct batched = plan_product(a.shape(), b.shape());
  const Product& p = batched.product;
  Tensor& c = ctx.output(0, a.dtype(), batched.shape);
  if (c.size() == 0) return;
  if (const PackedWeight* weight = packed_weight(ctx)) {
    cpu::simd_gemm().run(p.m, a.data<float>(), p.k, weight->matrix(), c.data<float>(), p.n, {},
                         ctx.pool());
    return;
  }
  dispatch(MatrixTypes{}, a.dtype(), [&]<class T>() {
    using C = Compute<T>;
    in_compute_type<T>(a, b, c, [&](const Tensor& wide_a, const Tensor& wide_b, Tensor& wide_c) {
      multiply_batches<C>(ctx, batched, wide_a.data<C>(), wide_b.data<C>(), wide_c.data<C>());
    });
  });
}

std::shared_ptr<const Prepared> prepare_gemm(const Node& node,
                                             std::span<const Tensor* const> constants,
                                             BlockStore& store) {
  return pack(constants, node.get<int64_t>("transB", 0) != 0, store);
}

namespace {

// C of Gemm under numpy's broadcasting to [m, n]; strides in elements.
struct Addend {
  const Tensor* tensor = nullptr;
  int64_t row_stride = 0, column_stride = 0;
};

Addend addend_of(const KernelContext& ctx, const Shape& shape) {
  if (ctx.num_inputs() < 3 || !ctx.has_input(2)) return {};
  const Tensor& c = ctx.input(2);
  require(c.dtype() == ctx.input(0).dtype() && broadcast(c.shape(), shape) == shape,
          ErrorCode::kInvalidArgument, "cannot add ", describe(c), " to a product ",
          shape.to_string());
  const int64_t rows = c.rank() < 2 ? 1 : c.shape()[c.rank() - 2];
  const int64_t cols = c.rank() < 1 ? 1 : c.shape().back();
  return {&c, rows == 1 ? 0 : cols, cols == 1 ? 0 : 1};
}

// Y = alpha * Y + beta * C
template <class T>
void scale_and_add(float alpha, float beta, const Addend& addend, Tensor& y) {
  if (alpha == 1.0f && addend.tensor == nullptr) return;
  const int64_t rows = y.shape()[0], cols = y.shape()[1];
  const T* c = addend.tensor != nullptr ? addend.tensor->data<T>() : nullptr;
  T* out = y.data<T>();
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j, ++out) {
      const T add = c == nullptr ? T{0} : c[i * addend.row_stride + j * addend.column_stride];
      if constexpr (std::is_integral_v<T>) {
        if (alpha == 1.0f && beta == 1.0f) {  // exact, and wraps around
          using U = std::make_unsigned_t<T>;
          *out = static_cast<T>(static_cast<U>(*out) + static_cast<U>(add));
        } else {
          *out = convert<T>(static_cast<double>(alpha) * static_cast<double>(*out) +
                            static_cast<double>(beta) * static_cast<double>(add));
        }
      } else {
        *out = static_cast<T>(alpha) * *out + static_cast<T>(beta) * add;
      }
    }
  }
}

// The transposed matrix; the tensor itself when nothing is to be done.
Tensor transposed_if(const Tensor& tensor, bool transpose, ThreadPool* pool) {
  if (!transpose) return tensor;
  const int64_t rows = tensor.shape()[0], cols = tensor.shape()[1];
  Tensor result(tensor.dtype(), {cols, rows});
  StridedView view;
  view.add(cols, 1);
  view.add(rows, cols);
  copy_view(tensor, view, result, pool);
  return result;
}

}  // namespace

void gemm(KernelContext& ctx) {
  const Tensor& b = ctx.input(1);
  require(ctx.input(0).rank() == 2 && b.rank() == 2 && ctx.input(0).dtype() == b.dtype(),
          ErrorCode::kInvalidArgument, "Gemm multiplies matrices, got ", describe(ctx.input(0)),
          " and ", describe(b));
  const Node& node = ctx.node();
  const Tensor a = transposed_if(ctx.input(0), node.get<int64_t>("transA", 0) != 0, ctx.pool());
  const bool transposed = node.get<int64_t>("transB", 0) != 0;
  const Product p = {a.shape()[0], b.shape()[transposed ? 0 : 1], a.shape()[1], transposed};
  require(b.shape()[transposed ? 1 : 0] == p.k, ErrorCode::kInvalidArgument, "matrices ",
          a.shape().to_string(), " and ", b.shape().to_string(), transposed ? "^T" : "",
          " do not fit");
  const Shape shape = {p.m, p.n};
  const Addend addend = addend_of(ctx, shape);
  const auto alpha = node.get<float>("alpha", 1.0f), beta = node.get<float>("beta", 1.0f);
  Tensor& y = ctx.output(0, a.dtype(), shape);
  if (y.size() == 0) return;

  if (a.dtype() == DType::kFloat32) {
    // A bias row with factors 1 is what every exported linear layer has.
    const bool bias = addend.tensor != nullptr && alpha == 1.0f && beta == 1.0f &&
                      addend.row_stride == 0 && addend.tensor->size() == p.n;
    cpu::Epilogue epilogue;
    if (bias) epilogue.bias = addend.tensor->data<float>();
    if (const PackedWeight* weight = packed_weight(ctx)) {
      cpu::simd_gemm().run(p.m, a.data<float>(), p.k, weight->matrix(), y.data<float>(), p.n,
                           epilogue, ctx.pool());
    } else {
      cpu::gemm(p.m, p.n, p.k, a.data<float>(), p.k, b.data<float>(), transposed ? p.k : p.n,
                transposed, y.data<float>(), p.n, epilogue,
                ctx.scratch_of<float>(cpu::gemm_workspace(p.k, ctx.pool())), ctx.pool());
    }
    if (!bias) scale_and_add<float>(alpha, beta, addend, y);
    return;
  }
  dispatch(MatrixTypes{}, a.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Addend wide_addend = addend;
    Tensor wide_c;
    if constexpr (is_half<T>) {
      if (addend.tensor != nullptr) {
        wide_c = widened<T>(*addend.tensor);
        wide_addend.tensor = &wide_c;
      }
    }
    in_compute_type<T>(a, b, y, [&](const Tensor& wide_a, const Tensor& wide_b, Tensor& wide_y) {
      multiply(p, wide_a.data<C>(), wide_b.data<C>(), wide_y.data<C>(), nullptr, ctx.pool());
      scale_and_add<C>(alpha, beta, wide_addend, wide_y);
    });
  });
}

cpu::Activation activation_of(const Node& node) {
  const std::string name = node.get<std::string>("activation", "none");
  if (name == "none") return cpu::Activation::kNone;
  if (name == "relu") return cpu::Activation::kRelu;
  if (name == "gelu") return cpu::Activation::kGelu;
  if (name == "gelu_tanh") return cpu::Activation::kGeluTanh;
  if (name == "tanh") return cpu::Activation::kTanh;
  if (name == "sigmoid") return cpu::Activation::kSigmoid;
  if (name == "silu") return cpu::Activation::kSilu;
  fail(ErrorCode::kUnsupported, "activation ", name, " of Linear is not supported");
}

WeightPrecision precision_of(const Node& node) {
  const std::string name = node.get<std::string>("precision", "fp32");
  if (name == "fp32") return WeightPrecision::kFloat32;
  if (name == "bf16") return WeightPrecision::kBFloat16;
  if (name == "int8") return WeightPrecision::kInt8;
  fail(ErrorCode::kUnsupported, "precision ", name, " of Linear is not supported");
}

std::shared_ptr<const Prepared> prepare_linear(const Node& node,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store) {
  return pack(constants, node.get<int64_t>("trans_w", 0) != 0, store, precision_of(node));
}

namespace {

double activated(cpu::Activation activation, double x) {
  switch (activation) {
    case cpu::Activation::kNone:
      return x;
    case cpu::Activation::kRelu:
      return x < 0 ? 0 : x;
    case cpu::Activation::kGelu:
      return x / 2 * (1 + std::erf(x * std::numbers::sqrt2 / 2));
    case cpu::Activation::kGeluTanh:
      return x / 2 * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case cpu::Activation::kTanh:
      return std::tanh(x);
    case cpu::Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case cpu::Activation::kSilu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

// For exactness rather than speed; shapes have been checked.
void linear_f64(KernelContext& ctx, const Product& p, const Shape& shape) {
  const auto optional = [&](int i) {
    return i < ctx.num_inputs() && ctx.has_input(i) ? ctx.input(i).data<double>() : nullptr;
  };
  const double *bias = optional(2), *residual = optional(3);
  const cpu::Activation activation = activation_of(ctx.node());
  double* y = ctx.output(0, DType::kFloat64, shape).data<double>();
  multiply(p, ctx.input(0).data<double>(), ctx.input(1).data<double>(), y, nullptr, ctx.pool());
  for (int64_t i = 0; i < p.m * p.n; ++i) {
    y[i] = activated(activation, bias != nullptr ? y[i] + bias[i % p.n] : y[i]);
    if (residual != nullptr) y[i] += residual[i];
  }
}

// y = activation(x . weight + bias) + residual for m rows.
void multiply_packed(KernelContext& ctx, const PackedWeight& weight, int64_t m, const float* x,
                     float* y, const cpu::Epilogue& epilogue) {
  const cpu::PackedMatrix& matrix = weight.matrix();
  const int64_t k = matrix.k(), n = matrix.n();
  switch (weight.precision()) {
    case WeightPrecision::kFloat32:
      return cpu::simd_gemm().run(m, x, k, matrix, y, n, epilogue, ctx.pool());
    case WeightPrecision::kBFloat16:
      return cpu::gemm_bf16(m, x, k, static_cast<const cpu::Bf16Matrix&>(matrix), y, n, epilogue,
                            ctx.pool());
    case WeightPrecision::kInt8: {
      const auto& int8 = static_cast<const cpu::Int8Matrix&>(matrix);
      std::byte* workspace = ctx.scratch_of<std::byte>(int8.workspace(m));
      return cpu::gemm_int8(m, x, k, int8, y, n, epilogue, workspace, ctx.pool());
    }
  }
}

}  // namespace

void linear(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Tensor& w = ctx.input(1);
  const bool wide = x.dtype() == DType::kFloat64;
  require((wide || x.dtype() == DType::kFloat32) && w.dtype() == x.dtype(), ErrorCode::kUnsupported,
          "Linear computes in float32 and float64, got ", describe(x), " and ", describe(w));
  const bool transposed = ctx.node().get<int64_t>("trans_w", 0) != 0;
  require(x.rank() > 0 && w.rank() == 2 && w.shape()[transposed ? 1 : 0] == x.shape().back(),
          ErrorCode::kInvalidArgument, "input ", describe(x), " and weight ", describe(w),
          " do not fit");
  const int64_t k = x.shape().back(), n = w.shape()[transposed ? 0 : 1];
  const int64_t m = x.shape().product(0, x.rank() - 1);
  const Shape shape = x.shape().with(x.rank() - 1, n);
  const bool has_bias = ctx.num_inputs() > 2 && ctx.has_input(2);
  const bool has_residual = ctx.num_inputs() > 3 && ctx.has_input(3);
  if (has_bias) {
    require(ctx.input(2).shape() == Shape{n}, ErrorCode::kInvalidArgument, "the bias is ",
            describe(ctx.input(2)), " for ", n, " columns");
  }
  if (has_residual && !(ctx.input(3).shape() == shape)) {
    fail(ErrorCode::kInvalidArgument, "the residual is ", describe(ctx.input(3)), " for a result ",
         shape.to_string());
  }
  if (wide) return linear_f64(ctx, {m, n, k, transposed}, shape);
  cpu::Epilogue epilogue;
  epilogue.activation = activation_of(ctx.node());
  if (has_bias) epilogue.bias = ctx.input(2).data<float>();
  if (has_residual) {
    epilogue.residual = ctx.input(3).data<float>();
    epilogue.residual_stride = n;
  }
  Tensor& y = ctx.output(0, DType::kFloat32, shape);
  // A weight that is no constant is packed for this run only.
  std::shared_ptr<const Prepared> own;
  const PackedWeight* weight = packed_weight(ctx);
  if (weight == nullptr && precision_of(ctx.node()) != WeightPrecision::kFloat32) {
    const Tensor* const inputs[] = {nullptr, &w};
    own = prepare_linear(ctx.node(), inputs, fresh_blocks());
    weight = static_cast<const PackedWeight*>(own.get());
  }
  if (weight != nullptr) {
    multiply_packed(ctx, *weight, m, x.data<float>(), y.data<float>(), epilogue);
  } else {
    cpu::gemm(m, n, k, x.data<float>(), k, w.data<float>(), transposed ? k : n, transposed,
              y.data<float>(), n, epilogue,
              ctx.scratch_of<float>(cpu::gemm_workspace(k, ctx.pool())), ctx.pool());
  }
}

}  // namespace hugot::matmul
