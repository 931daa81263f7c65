// Det: determinants by elimination with pivots, and its gradient.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/compute.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace matmul {
namespace {

// Brings the largest element of column k of a [n, n] into row k from the rows below, and swaps the
// same rows of `beside`, if there is one; `det` changes its sign with each swap. False when there
// are zeros only.
template <class C>
bool place_pivot(int64_t n, int64_t k, C& det, C* a, C* beside = nullptr) {
  int64_t pivot = k;
  for (int64_t i = k + 1; i < n; ++i) {
    if (std::abs(a[i * n + k]) > std::abs(a[pivot * n + k])) pivot = i;
  }
  if (a[pivot * n + k] == 0) return false;
  if (pivot == k) return true;
  std::swap_ranges(a + k * n, a + (k + 1) * n, a + pivot * n);
  if (beside != nullptr) std::swap_ranges(beside + k * n, beside + (k + 1) * n, beside + pivot * n);
  det = -det;
  return true;
}

// Of the matrix a [n, n], which is used up.
template <class C>
C determinant(C* a, int64_t n) {
  C result = 1;
  for (int64_t k = 0; k < n; ++k) {
    if (!place_pivot(n, k, result, a)) return 0;
    result *= a[k * n + k];
    for (int64_t i = k + 1; i < n; ++i) {
      const C factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k + 1; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return result;
}

// The inverse of a [n, n], which is used up, and its determinant; the inverse of a singular matrix
// is undefined.
template <class C>
C invert(C* a, int64_t n, C* inverse) {
  std::fill_n(inverse, n * n, C{0});
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  C det = 1;
  for (int64_t k = 0; k < n; ++k) {
    if (!place_pivot(n, k, det, a, inverse)) return 0;
    const C whole = a[k * n + k];
    det *= whole;
    for (int64_t j = 0; j < n; ++j) {
      a[k * n + j] /= whole;
      inverse[k * n + j] /= whole;
    }
    for (int64_t i = 0; i < n; ++i) {
      const C factor = a[i * n + k];
      if (i == k || factor == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        a[i * n + j] -= factor * a[k * n + j];
        inverse[i * n + j] -= factor * inverse[k * n + j];
      }
    }
  }
  return det;
}

// The derivatives of the determinant in the elements of x [n, n]: det times the transposed inverse,
// or the minors of a matrix that has none.
template <class C>
void cofactors(const C* x, int64_t n, C* to) {
  std::vector<C> work(x, x + n * n), inverse(static_cast<size_t>(n * n));
  const C det = invert(work.data(), n, inverse.data());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      if (det != 0) {
        to[i * n + j] = det * inverse[static_cast<size_t>(j * n + i)];
        continue;
      }
      C* minor = work.data();
      for (int64_t r = 0; r < n; ++r) {
        for (int64_t c = 0; c < n; ++c) {
          if (r != i && c != j) *minor++ = x[r * n + c];
        }
      }
      const C value = determinant(work.data(), n - 1);
      to[i * n + j] = (i + j) % 2 == 0 ? value : -value;
    }
  }
}

// hugot.DetGradient: that of x from that of the determinants and x.
void det_gradient(KernelContext& ctx) {
  const Tensor &dy = ctx.input(0), &x = ctx.input(1);
  const int rank = x.rank();
  if (rank < 2 || x.shape()[rank - 1] != x.shape()[rank - 2] || dy.dtype() != x.dtype() ||
      !(dy.shape() == Shape(x.shape().dims().first(static_cast<size_t>(rank) - 2)))) {
    fail(ErrorCode::kInvalidArgument, describe(dy), " are no gradients of determinants of ",
         describe(x));
  }
  const int64_t n = x.shape().back();
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    WideResult<T> result(ctx.output(0, x.dtype(), x.shape()));
    const Wide<T> matrices(x), shares(dy);
    const int64_t steps = std::min(n, int64_t{1} << 20);
    for_items(ctx.pool(), n == 0 ? 0 : dy.size(), 2 * steps * steps * steps,
              [&](int64_t i, int64_t end, int /*worker*/) {
                for (; i < end; ++i) {
                  C* to = result.data() + i * n * n;
                  cofactors(matrices.data() + i * n * n, n, to);
                  for (int64_t k = 0; k < n * n; ++k) to[k] *= shares.data()[i];
                }
              });
    result.store();
  });
}

void differentiate_det(GradientContext& g) {
  g.set(0, g.writer().op("DetGradient", {g.dy(), g.x()}, {}, "hugot"));
}

void infer_det_gradient(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(1).dtype;
  ctx.output(0).shape = ctx.input(1).shape;
}

void det(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const int rank = x.rank();
  if (rank < 2 || x.shape()[rank - 1] != x.shape()[rank - 2]) {
    fail(ErrorCode::kInvalidArgument, describe(x), " is no list of square matrices");
  }
  const int64_t n = x.shape().back();
  const Shape shape(x.shape().dims().first(static_cast<size_t>(rank) - 2));
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& y = ctx.output(0, x.dtype(), shape);
    const int64_t steps = std::min(n, int64_t{1} << 20);
    for_items(ctx.pool(), y.size(), steps * steps * steps,
              [&](int64_t begin, int64_t end, int /*worker*/) {
                std::vector<C> matrix(static_cast<size_t>(n * n));
                for (int64_t i = begin; i < end; ++i) {
                  convert_all(x.data<T>() + i * n * n, matrix.data(), n * n);
                  y.data<T>()[i] = convert<T>(determinant(matrix.data(), n));
                }
              });
  });
}

void infer_det(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  ctx.output(0).dtype = x.dtype;
  if (!x.shape) return;
  require(x.rank() >= 2, ErrorCode::kInvalidArgument, to_string(*x.shape),
          " is no list of square matrices");
  ctx.output(0).shape = Dims(x.shape->begin(), x.shape->end() - 2);
}

Batching batch_det(const BatchQuery& query) {
  const int64_t axes[] = {-2, -1};
  return query.input_fact(0).rank() > 2 ? batch_over_axes(query, axes) : Batching::kLoop;
}

}  // namespace
}  // namespace matmul

namespace ops {

OpDef onnx_Det(int) {
  return with_gradient(define({1, 1}, matmul::infer_det, matmul::det, matmul::batch_det),
                       matmul::differentiate_det);
}

OpDef hugot_DetGradient(int) {
  return define({2, 2}, matmul::infer_det_gradient, matmul::det_gradient);
}

}  // namespace ops
}  // namespace hugot
