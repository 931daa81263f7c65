// Kernel of hugot.LinearWeightGradient: dW = X^T dY and dbias = column sums of dY, over all rows.
#include <algorithm>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/matmul/matmul.h"

namespace hugot::matmul {
namespace {

// Columns of one task, and rows that are added one after the other: the sums of so many are then
// added to the total. Neither depends on threads.
constexpr int64_t kColumns = 128;
constexpr int64_t kChunkRows = 64;

void add_row(const float* x, float* sum, int64_t n) {
  cpu::active_kernels().add.vv(sum, x, sum, n);
}
void add_row(const double* x, double* sum, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += x[i];
}

template <class T>
void column_sums(const T* x, int64_t rows, int64_t cols, T* sums, ThreadPool* pool) {
  const int64_t tasks = (cols + kColumns - 1) / kColumns;
  parallel_for(rows * cols < (1 << 14) ? nullptr : pool, tasks, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kColumns, last = std::min(end * kColumns, cols);
    for (int64_t col = first; col < last; col += kColumns) {
      const int64_t count = std::min(kColumns, last - col);
      std::fill_n(sums + col, count, T{0});
      for (int64_t row = 0; row < rows; row += kChunkRows) {
        T chunk[kColumns] = {};
        for (int64_t r = row; r < std::min(row + kChunkRows, rows); ++r) {
          add_row(x + r * cols + col, chunk, count);
        }
        add_row(chunk, sums + col, count);
      }
    }
  });
}

// C [m, n] = A^T B for A [rows, m] and B [rows, n].
void product_of_rows(const float* a, int64_t m, const float* b, int64_t n, int64_t rows, float* c,
                     KernelContext& ctx) {
  // Rows of the transpose begin at different sets of the cache.
  const int64_t stride = (rows + 15) / 16 * 16 + 16;
  const int64_t packed = cpu::gemm_packed_floats(n, rows);
  float* memory = ctx.scratch_of<float>(m * stride + packed);
  cpu::transpose(a, rows, m, m, memory, stride, ctx.pool());
  cpu::gemm_of_packed(m, n, rows, memory, stride, b, n, false, c, n, {}, memory + m * stride,
                      ctx.pool());
}

void product_of_rows(const double* a, int64_t m, const double* b, int64_t n, int64_t rows,
                     double* c, KernelContext& ctx) {
  parallel_for(ctx.pool(), m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::fill_n(c + i * n, n, 0.0);
      for (int64_t r = 0; r < rows; ++r) {
        const double value = a[r * m + i];
        for (int64_t j = 0; j < n; ++j) c[i * n + j] += value * b[r * n + j];
      }
    }
  });
}

template <class T>
void run(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &dy = ctx.input(1);
  const int64_t k = x.shape().back(), n = dy.shape().back();
  const int64_t rows = x.shape().product(0, x.rank() - 1);
  const bool transposed = ctx.node().get<int64_t>("trans_w", 0) != 0;
  const T *a = x.data<T>(), *b = dy.data<T>();
  T* dw = ctx.output(0, x.dtype(), transposed ? Shape{n, k} : Shape{k, n}).data<T>();
  T* dbias = ctx.wants_output(1) ? ctx.output(1, x.dtype(), {n}).data<T>() : nullptr;
  if (transposed) {
    product_of_rows(b, n, a, k, rows, dw, ctx);
  } else {
    product_of_rows(a, k, b, n, rows, dw, ctx);
  }
  if (dbias != nullptr) column_sums(b, rows, n, dbias, ctx.pool());
}

}  // namespace

void linear_weight_gradient(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &dy = ctx.input(1);
  const DType dtype = x.dtype();
  require((dtype == DType::kFloat32 || dtype == DType::kFloat64) && dy.dtype() == dtype,
          ErrorCode::kUnsupported, "Linear has gradients in float32 and float64, got ", describe(x),
          " and ", describe(dy));
  const bool fits = x.rank() > 0 && x.rank() == dy.rank() &&
                    x.shape().with(x.rank() - 1, 1) == dy.shape().with(x.rank() - 1, 1);
  require(fits, ErrorCode::kInvalidArgument, "input ", describe(x), " and gradient ", describe(dy),
          " do not have the same rows");
  dtype == DType::kFloat32 ? run<float>(ctx) : run<double>(ctx);
}

}  // namespace hugot::matmul
