// CausalConvWithState: a depthwise convolution along time that sees the present and the past only,
// and hands on what the next call will see of the past.
#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/conv/conv.h"
#include "kernels/cpu/isa.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace conv {
namespace {

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

bool has_silu(const Node& node) {
  const std::string activation = node.get<std::string>("activation", "none");
  require(activation == "none" || activation == "silu" || activation == "swish",
          ErrorCode::kInvalidArgument, "attribute activation is ", activation);
  return activation != "none";
}

void silu(float* x, int64_t n) { cpu::active_kernels().silu(x, x, n); }
void silu(double* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] /= 1 + std::exp(-x[i]);
}

void infer(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  has_silu(ctx.node());
  const Fact &x = ctx.input(0), &w = ctx.input(1);
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.output(i).dtype = x.dtype;
  ctx.output(0).shape = x.shape;
  if (ctx.num_outputs() < 2 || !x.shape) return;
  require(x.rank() == 3, ErrorCode::kInvalidArgument, "an input ", to_string(*x.shape),
          " is not of rank 3");
  const Dim past = w.rank() == 3 ? (*w.shape)[2] - 1 : unknown_dim(ctx, 1, 2);
  ctx.output(1).shape = Dims{(*x.shape)[0], (*x.shape)[1], past};
}

void convolve_causally(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &w = ctx.input(1);
  const bool activates = has_silu(ctx.node());
  require(x.rank() == 3 && w.rank() == 3, ErrorCode::kInvalidArgument, "input ", describe(x),
          " and weight ", describe(w), " have to be of rank 3");
  const int64_t channels = x.shape()[1], steps = x.shape()[2], taps = w.shape()[2];
  const auto check = [&](int i, const Shape& shape) {
    const Tensor& tensor = ctx.input(i);
    if (tensor.dtype() != x.dtype() || !(tensor.shape() == shape)) {
      fail(ErrorCode::kInvalidArgument, "input ", i, " is ", describe(tensor), ", but has to be ",
           dtype_name(x.dtype()), shape.to_string());
    }
  };
  require(taps > 0, ErrorCode::kInvalidArgument, "the kernel has no element");
  const Shape state_shape{x.shape()[0], channels, taps - 1};
  check(1, {channels, 1, taps});
  if (has(ctx, 2)) check(2, {channels});
  if (has(ctx, 3)) check(3, state_shape);
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& y = ctx.output(0, x.dtype(), x.shape());
    const bool wants_state = ctx.num_outputs() > 1 && ctx.wants_output(1);
    T* state = wants_state ? ctx.output(1, x.dtype(), state_shape).template data<T>() : nullptr;
    const T* past = has(ctx, 3) ? ctx.input(3).data<T>() : nullptr;
    const T* bias = has(ctx, 2) ? ctx.input(2).data<T>() : nullptr;
    for_items(ctx.pool(), x.shape()[0] * channels, taps * steps + 16 * steps,
              [&](int64_t begin, int64_t end, int /*worker*/) {
                std::vector<T> all(static_cast<size_t>(taps - 1 + steps));
                std::vector<C> sums(static_cast<size_t>(steps));
                for (int64_t row = begin; row < end; ++row) {
                  const int64_t channel = row % channels;
                  if (past != nullptr) {
                    std::copy_n(past + row * (taps - 1), taps - 1, all.data());
                  } else {
                    std::fill_n(all.data(), taps - 1, T{});
                  }
                  std::copy_n(x.data<T>() + row * steps, steps, all.data() + taps - 1);
                  std::fill(sums.begin(), sums.end(),
                            bias == nullptr ? C{0} : static_cast<C>(bias[channel]));
                  for (int64_t k = 0; k < taps; ++k) {
                    const auto factor = static_cast<C>(w.data<T>()[channel * taps + k]);
                    const T* from = all.data() + k;
                    for (int64_t i = 0; i < steps; ++i) {
                      sums[static_cast<size_t>(i)] += factor * static_cast<C>(from[i]);
                    }
                  }
                  if (activates) silu(sums.data(), steps);
                  convert_all(sums.data(), y.data<T>() + row * steps, steps);
                  if (state != nullptr) {
                    std::copy_n(all.data() + steps, taps - 1, state + row * (taps - 1));
                  }
                }
              });
  });
}

}  // namespace
}  // namespace conv

namespace ops {

OpDef onnx_CausalConvWithState(int) {
  return with_gradient(define({2, 4}, conv::infer, conv::convolve_causally, nullptr, {1, 2}),
                       conv::rule::CausalConvWithState);
}

}  // namespace ops
}  // namespace hugot
