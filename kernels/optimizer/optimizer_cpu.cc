#include <cmath>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/optimizer/optimizer.h"

namespace hugot::optimizer {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements that make a task for another thread

using OptimizerTypes = Types<float, double>;

double number(const KernelContext& ctx, int i) {
  const Tensor& tensor = ctx.input(i);
  require(tensor.size() == 1, ErrorCode::kInvalidArgument, "input ", i,
          " has to be one number, but is ", describe(tensor));
  double value = 0;
  dispatch(JoinTypes<OptimizerTypes, Types<int64_t>>{}, tensor.dtype(),
           [&]<class T>() { value = static_cast<double>(*tensor.data<T>()); });
  return value;
}

double attribute(const KernelContext& ctx, std::string_view name, double fallback) {
  return ctx.node().get(name, static_cast<float>(fallback));
}

// Calls step(x, g, s) for every element, in float64: x and the states s[0..kStates) are to be
// changed.
template <int kStates, class Step>
void run(KernelContext& ctx, Step&& step) {
  const int tensors = tensors_of(ctx.num_inputs(), ctx.num_outputs(), kStates);
  for (int t = 0; t < tensors; ++t) {
    const Tensor& x = ctx.input(2 + t);
    for (int k = 1; k < 2 + kStates; ++k) {
      const Tensor& other = ctx.input(2 + k * tensors + t);
      require(other.dtype() == x.dtype() && other.shape() == x.shape(), ErrorCode::kInvalidArgument,
              "a gradient or state of ", describe(other), " does not belong to ", describe(x));
    }
    dispatch(OptimizerTypes{}, x.dtype(), [&]<class T>() {
      const T* g = ctx.input(2 + tensors + t).template data<T>();
      const T* old[kStates];
      T* now[kStates];
      T* y = ctx.output(t, x.dtype(), x.shape()).template data<T>();
      for (int k = 0; k < kStates; ++k) {
        old[k] = ctx.input(2 + (2 + k) * tensors + t).template data<T>();
        now[k] = ctx.output((1 + k) * tensors + t, x.dtype(), x.shape()).template data<T>();
      }
      parallel_for(ctx.pool(), x.size(), kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          double value = static_cast<double>(x.data<T>()[i]), states[kStates];
          for (int k = 0; k < kStates; ++k) states[k] = static_cast<double>(old[k][i]);
          step(value, static_cast<double>(g[i]), states);
          y[i] = static_cast<T>(value);
          for (int k = 0; k < kStates; ++k) now[k][i] = static_cast<T>(states[k]);
        }
      });
    });
  }
}

}  // namespace

void adagrad(KernelContext& ctx) {
  const double rate = number(ctx, 0) / (1 + number(ctx, 1) * attribute(ctx, "decay_factor", 0));
  const double decay = attribute(ctx, "norm_coefficient", 0);
  const double epsilon = attribute(ctx, "epsilon", 1e-6);
  run<1>(ctx, [=](double& x, double g, double* s) {
    g += decay * x;
    s[0] += g * g;
    x -= rate * g / (std::sqrt(s[0]) + epsilon);
  });
}

void adam(KernelContext& ctx) {
  const double count = number(ctx, 1);
  const double alpha = attribute(ctx, "alpha", 0.9), beta = attribute(ctx, "beta", 0.999);
  const double decay = attribute(ctx, "norm_coefficient", 0);
  const double final_decay = attribute(ctx, "norm_coefficient_post", 0);
  const double epsilon = attribute(ctx, "epsilon", 1e-6);
  double rate = number(ctx, 0);
  if (count > 0) rate *= std::sqrt(1 - std::pow(beta, count)) / (1 - std::pow(alpha, count));
  run<2>(ctx, [=](double& x, double g, double* s) {
    g += decay * x;
    s[0] = alpha * s[0] + (1 - alpha) * g;
    s[1] = beta * s[1] + (1 - beta) * g * g;
    x = (1 - final_decay) * (x - rate * s[0] / (std::sqrt(s[1]) + epsilon));
  });
}

void momentum(KernelContext& ctx) {
  const auto& mode = ctx.node().at<std::string>("mode");
  const bool nesterov = mode == "nesterov";
  require(nesterov || mode == "standard", ErrorCode::kInvalidArgument, "mode ", mode,
          " is neither standard nor nesterov");
  const double rate = number(ctx, 0);
  const double alpha = ctx.node().at<float>("alpha");
  const double decay = ctx.node().at<float>("norm_coefficient");
  const double beta = number(ctx, 1) > 0 ? ctx.node().at<float>("beta") : 1.0f;
  run<1>(ctx, [=](double& x, double g, double* s) {
    g += decay * x;
    s[0] = alpha * s[0] + beta * g;
    x -= rate * (nesterov ? g + alpha * s[0] : s[0]);
  });
}

}  // namespace hugot::optimizer
