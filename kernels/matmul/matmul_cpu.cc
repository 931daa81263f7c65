// Kernels of MatMul and Gemm.
#include <algorithm>
#include <type_traits>

#include "base/error.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/multiply.h"
#include "kernels/strided.h"

namespace hugot::matmul {
namespace {

using MatrixTypes = JoinTypes<FloatTypes, Types<int32_t, int64_t, uint32_t, uint64_t>>;

}  // namespace

std::shared_ptr<const Prepared> prepare_matmul(const Node& /*node*/,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store) {
  return pack_weights(constants, 1, false, store);
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
  if (const PackedWeights* weight = packed_weights(ctx)) {
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
  return pack_weights(constants, 1, node.get<int64_t>("transB", 0) != 0, store);
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
    if (const PackedWeights* weight = packed_weights(ctx)) {
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

}  // namespace hugot::matmul
