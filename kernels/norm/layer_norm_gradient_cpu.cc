// Kernel of hugot.LayerNormalizationGradient; formulas in norm_gradient.cc.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/norm/norm.h"

namespace hugot::norm {
namespace {

// What so many rows add to the gradients of scale and bias is added first, and then the sums in
// their order: so they do not depend on threads.
constexpr int64_t kChunkRows = 64;

void gradient_of_rows(const float* x, const float* scale, const float* dy, float epsilon,
                      int64_t rows, int64_t cols, float* dx, float* dscale, float* dbias) {
  cpu::active_kernels().layer_norm_gradient(x, scale, dy, epsilon, rows, cols, dx, dscale, dbias);
}

void gradient_of_rows(const double* x, const double* scale, const double* dy, float epsilon,
                      int64_t rows, int64_t cols, double* dx, double* dscale, double* dbias) {
  const auto n = static_cast<double>(cols);
  for (int64_t r = 0; r < rows; ++r, x += cols, dy += cols) {
    double mean = 0, variance = 0, mean_dz = 0, mean_dz_z = 0;
    for (int64_t i = 0; i < cols; ++i) mean += x[i] / n;
    for (int64_t i = 0; i < cols; ++i) variance += (x[i] - mean) * (x[i] - mean) / n;
    const double inverse = 1 / std::sqrt(variance + static_cast<double>(epsilon));
    for (int64_t i = 0; i < cols; ++i) {
      const double z = (x[i] - mean) * inverse;
      mean_dz += dy[i] * scale[i] / n;
      mean_dz_z += dy[i] * scale[i] * z / n;
      if (dscale != nullptr) dscale[i] += dy[i] * z;
      if (dbias != nullptr) dbias[i] += dy[i];
    }
    for (int64_t i = 0; dx != nullptr && i < cols; ++i) {
      const double z = (x[i] - mean) * inverse;
      dx[r * cols + i] = inverse * (dy[i] * scale[i] - mean_dz - z * mean_dz_z);
    }
  }
}

template <class T>
void run(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const int64_t cols = x.shape().back(), rows = x.shape().product(0, x.rank() - 1);
  const auto epsilon = ctx.node().get("epsilon", 1e-5f);
  const auto result = [&](int i, const Shape& shape) {
    return ctx.wants_output(i) ? ctx.output(i, x.dtype(), shape).template data<T>() : nullptr;
  };
  T* dx = result(0, x.shape());
  T* const sums[] = {result(1, {cols}), result(2, {cols})};
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  T* partial = ctx.scratch_of<T>(2 * chunks * cols);
  std::fill_n(partial, 2 * chunks * cols, T{0});
  parallel_for(ctx.pool(), chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t row = chunk * kChunkRows, at = row * cols;
      T* own = partial + 2 * chunk * cols;
      gradient_of_rows(x.data<T>() + at, ctx.input(1).data<T>(), ctx.input(2).data<T>() + at,
                       epsilon, std::min(kChunkRows, rows - row), cols,
                       dx != nullptr ? dx + at : nullptr, sums[0] != nullptr ? own : nullptr,
                       sums[1] != nullptr ? own + cols : nullptr);
    }
  });
  for (int64_t which = 0; which < 2; ++which) {
    T* sum = sums[which];
    if (sum == nullptr) continue;
    std::fill_n(sum, cols, T{0});
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const T* own = partial + (2 * chunk + which) * cols;
      for (int64_t i = 0; i < cols; ++i) sum[i] += own[i];
    }
  }
}

}  // namespace

void layer_norm_gradient(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &scale = ctx.input(1), &dy = ctx.input(2);
  const DType dtype = x.dtype();
  require((dtype == DType::kFloat32 || dtype == DType::kFloat64) && scale.dtype() == dtype &&
              dy.dtype() == dtype,
          ErrorCode::kUnsupported, "LayerNormalization has gradients in float32 and float64, got ",
          describe(x), ", ", describe(scale), " and ", describe(dy));
  require(x.rank() > 0 && dy.shape() == x.shape() && scale.shape() == Shape{x.shape().back()},
          ErrorCode::kInvalidArgument, "x ", describe(x), ", scale ", describe(scale), " and dy ",
          describe(dy), " do not fit");
  dtype == DType::kFloat32 ? run<float>(ctx) : run<double>(ctx);
}

}  // namespace hugot::norm
