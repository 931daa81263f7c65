// Batches of matrix products in every element type, for the kernels of this room.
#ifndef HUGOT_KERNELS_MATMUL_MULTIPLY_H_
#define HUGOT_KERNELS_MATMUL_MULTIPLY_H_

#include <algorithm>
#include <type_traits>

#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/matmul/matmul.h"

namespace hugot::matmul {

// Integers wrap around. Narrow ones would be promoted to int, which must not overflow.
template <class T>
void multiply(const Product& p, const T* a, const T* b, T* c, float* /*workspace*/,
              ThreadPool* pool) {
  using U = std::make_unsigned_t<T>;
  using Wide = std::common_type_t<U, unsigned>;
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(p.n * p.k, 1));
  parallel_for(p.m <= grain ? nullptr : pool, p.m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      U* row = reinterpret_cast<U*>(c + i * p.n);
      std::fill_n(row, p.n, U{0});
      for (int64_t x = 0; x < p.k; ++x) {
        const auto value = static_cast<Wide>(a[i * p.k + x]);
        const T* column = p.transposed ? b + x : b + x * p.n;
        const int64_t step = p.transposed ? p.k : 1;
        for (int64_t j = 0; j < p.n; ++j) {
          row[j] = static_cast<U>(row[j] + value * static_cast<Wide>(column[j * step]));
        }
      }
    }
  });
}

inline void multiply(const Product& p, const float* a, const float* b, float* c, float* workspace,
                     ThreadPool* pool) {
  cpu::gemm(p.m, p.n, p.k, a, p.k, b, p.transposed ? p.k : p.n, p.transposed, c, p.n, {}, workspace,
            pool);
}

inline void multiply(const Product& p, const double* a, const double* b, double* c,
                     float* /*workspace*/, ThreadPool* pool) {
  cpu::gemm_f64(p.m, p.n, p.k, a, p.k, b, p.transposed ? p.k : p.n, p.transposed, c, p.n, pool);
}

// float16 and bfloat16 are widened, multiplied in float and rounded once.
template <class T>
Tensor widened(const Tensor& tensor) {
  Tensor wide(DType::kFloat32, tensor.shape());
  convert_all(tensor.data<T>(), wide.data<float>(), tensor.size());
  return wide;
}

// Calls body(a, b, c) with three tensors of the type that T is computed in.
template <class T, class Body>
void in_compute_type(const Tensor& a, const Tensor& b, Tensor& c, Body&& body) {
  if constexpr (is_half<T>) {
    Tensor wide(DType::kFloat32, c.shape());
    body(widened<T>(a), widened<T>(b), wide);
    convert_all(wide.data<float>(), c.data<T>(), c.size());
  } else {
    body(a, b, c);
  }
}

template <class T>
void multiply_batches(KernelContext& ctx, const BatchedProduct& plan, const T* a, const T* b,
                      T* c) {
  const Product& p = plan.product;
  const auto run = [&](int64_t begin, int64_t end, float* workspace, ThreadPool* pool) {
    Odometer a_at = plan.a, b_at = plan.b;
    a_at.seek(begin);
    b_at.seek(begin);
    for (int64_t i = begin; i < end; ++i, a_at.next(), b_at.next()) {
      multiply(p, a + a_at.offset(), b + b_at.offset(), c + i * p.m * p.n, workspace, pool);
    }
  };
  ThreadPool* pool = ctx.pool();
  constexpr bool kWorkspace = std::is_same_v<T, float>;
  if (pool != nullptr && plan.batches >= 2 * pool->size()) {
    const int64_t grain = std::max<int64_t>(1, plan.batches / (4 * pool->size()));
    // Every thread's part is aligned.
    const int64_t size = kWorkspace ? (cpu::gemm_workspace(p.k, nullptr) + 15) / 16 * 16 : 0;
    float* workspaces = ctx.scratch_of<float>(size * pool->size());
    pool->parallel_for_workers(plan.batches, grain, [&](int64_t begin, int64_t end, int worker) {
      run(begin, end, workspaces + worker * size, nullptr);
    });
  } else {
    float* workspace = kWorkspace ? ctx.scratch_of<float>(cpu::gemm_workspace(p.k, pool)) : nullptr;
    run(0, plan.batches, workspace, pool);
  }
}

}  // namespace hugot::matmul

#endif  // HUGOT_KERNELS_MATMUL_MULTIPLY_H_
