// Device kernel of MatMul: a block per tile of the result.
#include <algorithm>

#include "kernels/cuda/index.h"
#include "kernels/cuda/kernels.h"
#include "kernels/matmul/matmul.h"

namespace hugot::matmul {
namespace {

using cuda::StridedIndex;

constexpr int kTile = 16;
constexpr int64_t kMaxBlocks = 65535;  // along y and z

// What products are summed up in: integers wrap around.
template <class T, bool = std::is_integral_v<T>>
struct Accumulator {
  using type = T;
};
template <class T>
struct Accumulator<T, true> {
  using type = std::make_unsigned_t<T>;
};

// C[m, n] = A[m, k] B[k, n] for every batch. Tiles of A and B pass through shared memory; each
// thread sums up one element over ascending k.
template <class T>
__global__ void matmul_kernel(const T* a, StridedIndex a_batches, const T* b,
                              StridedIndex b_batches, T* c, int64_t batches, int64_t m, int64_t n,
                              int64_t k) {
  using Sum = typename Accumulator<T>::type;
  __shared__ T a_tile[kTile][kTile];
  __shared__ T b_tile[kTile][kTile];
  const int row_in_tile = static_cast<int>(threadIdx.y),
            column_in_tile = static_cast<int>(threadIdx.x);
  const int64_t column = int64_t{blockIdx.x} * kTile + column_in_tile;
  for (int64_t batch = blockIdx.z; batch < batches; batch += gridDim.z) {
    const T* a_batch = a + a_batches.offset(batch);
    const T* b_batch = b + b_batches.offset(batch);
    for (int64_t first = int64_t{blockIdx.y} * kTile; first < m;
         first += int64_t{gridDim.y} * kTile) {
      const int64_t row = first + row_in_tile;
      Sum sum = 0;
      for (int64_t depth = 0; depth < k; depth += kTile) {
        const int64_t a_column = depth + column_in_tile, b_row = depth + row_in_tile;
        a_tile[row_in_tile][column_in_tile] =
            row < m && a_column < k ? a_batch[row * k + a_column] : T{0};
        b_tile[row_in_tile][column_in_tile] =
            b_row < k && column < n ? b_batch[b_row * n + column] : T{0};
        __syncthreads();
        for (int i = 0; i < kTile; ++i) {
          sum += static_cast<Sum>(a_tile[row_in_tile][i]) *
                 static_cast<Sum>(b_tile[i][column_in_tile]);
        }
        __syncthreads();
      }
      if (row < m && column < n) c[(batch * m + row) * n + column] = static_cast<T>(sum);
    }
  }
}

unsigned blocks(int64_t count, int64_t size, int64_t most) {
  return static_cast<unsigned>(std::clamp<int64_t>((count + size - 1) / size, 1, most));
}

void matmul_on_device(KernelContext& ctx) {
  const Tensor& a = ctx.input(0);
  const Tensor& b = ctx.input(1);
  require(a.dtype() == b.dtype(), ErrorCode::kInvalidArgument, "cannot multiply ", describe(a),
          " by ", describe(b));
  const BatchedProduct plan = plan_product(a.shape(), b.shape());
  const Product& p = plan.product;
  dispatch(Types<float, double, int32_t, int64_t, uint32_t, uint64_t>{}, a.dtype(), [&]<class T>() {
    Tensor& c = ctx.output(0, a.dtype(), plan.shape);
    if (c.size() == 0) return;
    const dim3 grid(blocks(p.n, kTile, 0x7fffffff), blocks(p.m, kTile, kMaxBlocks),
                    blocks(plan.batches, 1, kMaxBlocks));
    cuda::launch("matmul", matmul_kernel<T>, grid, dim3(kTile, kTile), 0, *ctx.stream(),
                 a.data<T>(), cuda::index_of(plan.a), b.data<T>(), cuda::index_of(plan.b),
                 c.data<T>(), plan.batches, p.m, p.n, p.k);
  });
}

}  // namespace
}  // namespace hugot::matmul

namespace hugot::cuda {

void onnx_MatMul(KernelContext& ctx) { matmul::matmul_on_device(ctx); }

}  // namespace hugot::cuda
