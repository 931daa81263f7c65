// Kernel of hugot.GeluGradient: dx = dy gelu'(x).
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/elementwise/elementwise.h"

namespace hugot::elementwise {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements that make a task for another thread

double slope(double x, bool approximate) {
  if (!approximate) {
    const double density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    return (1 + std::erf(x * std::numbers::sqrt2 / 2)) / 2 + x * density;
  }
  constexpr double kScale = 0.79788456080286535588;  // sqrt(2 / pi)
  constexpr double kCubic = 0.044715;
  const double t = std::tanh(kScale * (x + kCubic * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * kScale * (1 + 3 * kCubic * x * x);
}

}  // namespace

void gelu_gradient(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &dy = ctx.input(1);
  const DType dtype = x.dtype();
  require((dtype == DType::kFloat32 || dtype == DType::kFloat64) && dy.dtype() == dtype,
          ErrorCode::kUnsupported, "Gelu has a gradient in float32 and float64, got ", describe(x),
          " and ", describe(dy));
  require(x.shape() == dy.shape(), ErrorCode::kInvalidArgument, "x ", describe(x), " and dy ",
          describe(dy), " do not fit");
  const auto form = ctx.node().get<std::string>("approximate", "none");
  require(form == "none" || form == "tanh", ErrorCode::kInvalidData, "attribute approximate is '",
          form, "'; it must be none or tanh");
  const bool approximate = form == "tanh";
  Tensor& dx = ctx.output(0, dtype, x.shape());
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  const auto kernel = approximate ? kernels.gelu_tanh_gradient : kernels.gelu_gradient;
  parallel_for(ctx.pool(), x.size(), kGrain, [&](int64_t begin, int64_t end) {
    if (dtype == DType::kFloat32) {
      kernel(x.data<float>() + begin, dy.data<float>() + begin, dx.data<float>() + begin,
             end - begin);
      return;
    }
    for (int64_t i = begin; i < end; ++i) {
      dx.data<double>()[i] = dy.data<double>()[i] * slope(x.data<double>()[i], approximate);
    }
  });
}

}  // namespace hugot::elementwise
