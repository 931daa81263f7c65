#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"

namespace hugot::norm {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements that make a task for another thread

// y = (x - mean) / sqrt(variance + epsilon) over one row.
template <class C>
void normalize_row(const C* x, double epsilon, int64_t n, C* y) {
  if constexpr (std::is_same_v<C, float>) {
    cpu::active_kernels().layer_norm(x, nullptr, nullptr, static_cast<float>(epsilon), 1, n, y,
                                     nullptr, nullptr);
  } else {
    C mean = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i) mean += x[i];
    mean /= static_cast<C>(n);
    for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const C factor = 1 / std::sqrt(squares / static_cast<C>(n) + epsilon);
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * factor;
  }
}

template <class C>
std::vector<C> parameter(const Tensor& tensor, DType dtype, int64_t count) {
  require(tensor.dtype() == dtype && tensor.size() == count, ErrorCode::kInvalidArgument,
          "scale and bias have to be ", dtype_name(dtype), "[", count, "], but one is ",
          describe(tensor));
  std::vector<C> values(static_cast<size_t>(count));
  dispatch(FloatTypes{}, dtype,
           [&]<class T>() { convert_all(tensor.data<T>(), values.data(), count); });
  return values;
}

}  // namespace

void group_norm(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  require(x.rank() >= 2, ErrorCode::kInvalidArgument,
          "the input has to have a batch and a channel axis, but is ", describe(x));
  const int64_t channels = x.shape()[1];
  const int64_t groups = group_count(ctx.node(), channels);
  const int64_t inner = x.shape().product(2, x.rank());
  const auto epsilon = static_cast<double>(ctx.node().get("epsilon", 1e-5f));
  const bool by_group =
      ctx.node().op->name == "GroupNormalization" && ctx.node().op->since_version < 21;
  const int64_t parameters = by_group ? groups : channels;
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    const std::vector<C> scale = parameter<C>(ctx.input(1), x.dtype(), parameters);
    const std::vector<C> bias = parameter<C>(ctx.input(2), x.dtype(), parameters);
    T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
    if (x.size() == 0) return;
    const int64_t per_group = channels / groups;
    const int64_t cols = per_group * inner;
    const auto run = [&](int64_t begin, int64_t end) {
      std::vector<C> row(static_cast<size_t>(cols));
      for (int64_t r = begin; r < end; ++r) {
        convert_all(x.data<T>() + r * cols, row.data(), cols);
        normalize_row(row.data(), epsilon, cols, row.data());
        for (int64_t c = 0; c < per_group; ++c) {
          const int64_t group = r % groups;
          const auto p = static_cast<size_t>(by_group ? group : group * per_group + c);
          const C* from = row.data() + c * inner;
          T* to = y + r * cols + c * inner;
          for (int64_t i = 0; i < inner; ++i) to[i] = convert<T>(from[i] * scale[p] + bias[p]);
        }
      }
    };
    parallel_for(ctx.pool(), x.shape()[0] * groups, std::max<int64_t>(kGrain / cols, 1), run);
  });
}

}  // namespace hugot::norm
