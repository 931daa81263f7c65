// Device kernels of operators that compute every element alone: a thread per element.
#include <cmath>

#include "kernels/cuda/index.h"
#include "kernels/cuda/kernels.h"
#include "kernels/elementwise/elementwise.h"

namespace hugot::elementwise {
namespace {

using cuda::StridedIndex;

constexpr int kThreads = 256;

// Integers wrap around.
struct AddElements {
  using Elements = cuda::DeviceNumbers;
  template <class T>
  __device__ T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    } else {
      return a + b;
    }
  }
};

struct SubtractElements {
  using Elements = cuda::DeviceNumbers;
  template <class T>
  __device__ T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    } else {
      return a - b;
    }
  }
};

struct MultiplyElements {
  using Elements = cuda::DeviceNumbers;
  template <class T>
  __device__ T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    } else {
      return a * b;
    }
  }
};

// Dividing an integer by zero is an error, which a device cannot report: integers run on the host.
struct DivideElements {
  using Elements = Types<float, double>;
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a / b;
  }
};

struct GeluElements {
  bool tanh;
  explicit GeluElements(const Node& node)
      : tanh(node.get<std::string>("approximate", "none") == "tanh") {}
  template <class T>
  __device__ T operator()(T x) const {
    constexpr auto kSqrtHalf = static_cast<T>(0.70710678118654752440);
    constexpr auto kSqrt2OverPi = static_cast<T>(0.79788456080286535588);
    constexpr auto kCubic = static_cast<T>(0.044715);
    if (tanh) return x / 2 * (1 + std::tanh(kSqrt2OverPi * (x + kCubic * x * x * x)));
    return x / 2 * (1 + std::erf(x * kSqrtHalf));
  }
};

struct TanhElements {
  explicit TanhElements(const Node& /*node*/) {}
  template <class T>
  __device__ T operator()(T x) const {
    return std::tanh(x);
  }
};

template <class F, class T>
__global__ void unary_kernel(F f, const T* x, T* y, int64_t count) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    y[i] = f(x[i]);
  }
}

template <class F, class T>
__global__ void binary_kernel(F f, const T* a, StridedIndex at_a, const T* b, StridedIndex at_b,
                              T* y, int64_t count) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    y[i] = f(a[at_a.offset(i)], b[at_b.offset(i)]);
  }
}

template <class F>
void unary_on_device(KernelContext& ctx) {
  const F f(ctx.node());
  const Tensor& x = ctx.input(0);
  dispatch(Types<float, double>{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), x.shape());
    if (y.size() == 0) return;
    cuda::launch("unary elementwise", unary_kernel<F, T>, cuda::blocks_for(y.size(), kThreads),
                 kThreads, 0, *ctx.stream(), f, x.data<T>(), y.data<T>(), y.size());
  });
}

template <class F>
void binary_on_device(KernelContext& ctx) {
  const Tensor& a = ctx.input(0);
  const Tensor& b = ctx.input(1);
  require(a.dtype() == b.dtype(), ErrorCode::kInvalidArgument, "operands have different types, ",
          dtype_name(a.dtype()), " and ", dtype_name(b.dtype()));
  const Shape shape_b = shape_of_b(ctx.node(), a.shape(), b.shape());
  const Shape shape = broadcast(a.shape(), shape_b);
  dispatch(typename F::Elements{}, a.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, a.dtype(), shape);
    if (y.size() == 0) return;
    const BroadcastPlan plan(shape, {&a.shape(), &shape_b});
    cuda::launch("binary elementwise", binary_kernel<F, T>, cuda::blocks_for(y.size(), kThreads),
                 kThreads, 0, *ctx.stream(), F{}, a.data<T>(), cuda::index_of(plan, 0), b.data<T>(),
                 cuda::index_of(plan, 1), y.data<T>(), y.size());
  });
}

}  // namespace
}  // namespace hugot::elementwise

namespace hugot::cuda {

using namespace elementwise;  // NOLINT: the room's own names

void onnx_Add(KernelContext& ctx) { elementwise::binary_on_device<AddElements>(ctx); }
void onnx_Div(KernelContext& ctx) { elementwise::binary_on_device<DivideElements>(ctx); }
void onnx_Gelu(KernelContext& ctx) { elementwise::unary_on_device<GeluElements>(ctx); }
void onnx_Mul(KernelContext& ctx) { elementwise::binary_on_device<MultiplyElements>(ctx); }
void onnx_Sub(KernelContext& ctx) { elementwise::binary_on_device<SubtractElements>(ctx); }
void onnx_Tanh(KernelContext& ctx) { elementwise::unary_on_device<TanhElements>(ctx); }

}  // namespace hugot::cuda
