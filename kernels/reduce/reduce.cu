// Device kernels of reductions: a block per output.
#include <algorithm>

#include "kernels/cuda/index.h"
#include "kernels/cuda/kernels.h"
#include "kernels/reduce/reduce.h"

namespace hugot::reduce {
namespace {

using cuda::StridedIndex;

constexpr int kLanes = 32;
constexpr int kMaxThreads = 256;

// Sums are kept in float64 for floats and modulo 2^64 for integers, as on the host.
template <class T>
using SumOf = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

// The sum over a warp's lanes, in lane 0.
template <class S>
__device__ S sum_of_warp(S sum) {
  for (unsigned distance = kLanes / 2; distance > 0; distance /= 2) {
    sum += __shfl_down_sync(0xffffffffu, sum, distance);
  }
  return sum;
}

// The sum over a block's threads, in thread 0. Every thread has to call it.
template <class S>
__device__ S sum_of_block(S sum) {
  __shared__ S partial[kMaxThreads / kLanes];
  const unsigned lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  sum = sum_of_warp(sum);
  if (lane == 0) partial[warp] = sum;
  __syncthreads();
  if (warp == 0) sum = sum_of_warp(lane < blockDim.x / kLanes ? partial[lane] : S{0});
  __syncthreads();  // `partial` may be written again
  return sum;
}

template <class T>
__device__ T mean_of(SumOf<T> sum, int64_t count) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(sum / static_cast<double>(count));
  } else if (count == 0) {
    return T{0};
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(static_cast<int64_t>(sum) / count);
  } else {
    return static_cast<T>(sum / static_cast<uint64_t>(count));
  }
}

template <class T, bool kMean>
__global__ void sum_kernel(const T* x, StridedIndex kept, StridedIndex reduced, T* y,
                           int64_t outputs, int64_t count) {
  for (int64_t o = blockIdx.x; o < outputs; o += gridDim.x) {
    const T* from = x + kept.offset(o);
    SumOf<T> sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      sum += static_cast<SumOf<T>>(from[reduced.offset(i)]);
    }
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) y[o] = kMean ? mean_of<T>(sum, count) : static_cast<T>(sum);
  }
}

template <bool kMean>
void sum(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Reduction plan = plan_reduction(ctx, ctx.input(0).shape());
  dispatch(cuda::DeviceNumbers{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), plan.shape);
    if (y.size() == 0) return;
    StridedIndex kept, reduced;
    for (const Reduction::Axis& axis : plan.axes) {
      (axis.reduced ? reduced : kept).add(axis.length, axis.step);
    }
    const int64_t warps = (plan.count + kLanes - 1) / kLanes;
    const auto threads =
        static_cast<unsigned>(std::clamp<int64_t>(warps * kLanes, kLanes, kMaxThreads));
    cuda::launch("sum", sum_kernel<T, kMean>, cuda::blocks_for(plan.outputs, 1), threads, 0,
                 *ctx.stream(), x.data<T>(), kept, reduced, y.data<T>(), plan.outputs, plan.count);
  });
}

}  // namespace
}  // namespace hugot::reduce

namespace hugot::cuda {

void onnx_ReduceMean(KernelContext& ctx) { reduce::sum<true>(ctx); }
void onnx_ReduceSum(KernelContext& ctx) { reduce::sum<false>(ctx); }

}  // namespace hugot::cuda
