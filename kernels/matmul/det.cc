// Det: determinants by elimination with pivots.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace matmul {
namespace {

// Of the matrix a [n, n], which is used up.
template <class C>
C determinant(C* a, int64_t n) {
  C result = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; ++i) {
      if (std::abs(a[i * n + k]) > std::abs(a[pivot * n + k])) pivot = i;
    }
    if (a[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      std::swap_ranges(a + k * n, a + (k + 1) * n, a + pivot * n);
      result = -result;
    }
    result *= a[k * n + k];
    for (int64_t i = k + 1; i < n; ++i) {
      const C factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k + 1; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return result;
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

OpDef onnx_Det(int) { return define({1, 1}, matmul::infer_det, matmul::det, matmul::batch_det); }

}  // namespace ops
}  // namespace hugot
