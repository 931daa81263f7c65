#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"

namespace hugot::norm {
namespace {

// The input as [batch, channels, inner]; without axis 1 there is one channel.
struct Layout {
  int64_t batch, channels, inner;
  Layout(const Node& node, const Shape& shape) : batch(shape.rank() > 0 ? shape[0] : 1) {
    const int axis = batch_norm_inner(node, shape.rank());
    channels = shape.rank() > 1 ? shape.product(1, axis) : 1;
    inner = shape.rank() > 1 ? shape.product(axis, shape.rank()) : 1;
  }
};

// Statistics and parameters are used in float64: there is one of each per channel.
std::vector<double> per_channel(const Tensor& tensor, int64_t channels) {
  require(tensor.size() == channels, ErrorCode::kInvalidArgument,
          "expected one number for each of ", channels, " channels, got ", describe(tensor));
  std::vector<double> values(static_cast<size_t>(channels));
  dispatch(FloatTypes{}, tensor.dtype(),
           [&]<class T>() { convert_all(tensor.data<T>(), values.data(), channels); });
  return values;
}

struct Statistics {
  std::vector<double> mean, variance;
};

// Mean and population variance of each channel of the batch.
template <class T>
Statistics statistics_of(const T* x, const Layout& layout) {
  const auto channels = static_cast<size_t>(layout.channels);
  Statistics result{std::vector<double>(channels), std::vector<double>(channels)};
  const auto count = static_cast<double>(layout.batch * layout.inner);
  const auto average = [&](int64_t c, auto function) {
    double sum = 0;
    for (int64_t b = 0; b < layout.batch; ++b) {
      const T* row = x + (b * layout.channels + c) * layout.inner;
      for (int64_t i = 0; i < layout.inner; ++i) sum += function(convert<double>(row[i]));
    }
    return sum / count;
  };
  for (size_t c = 0; c < channels; ++c) {
    const auto channel = static_cast<int64_t>(c);
    const double mean = average(channel, [](double v) { return v; });
    result.mean[c] = mean;
    result.variance[c] = average(channel, [mean](double v) { return (v - mean) * (v - mean); });
  }
  return result;
}

// old * momentum + now * (1 - momentum)
void store_statistics(KernelContext& ctx, int output, const Tensor& before, double momentum,
                      const std::vector<double>& old, const std::vector<double>& now) {
  if (!ctx.wants_output(output)) return;
  Tensor& running = ctx.output(output, before.dtype(), before.shape());
  dispatch(FloatTypes{}, before.dtype(), [&]<class T>() {
    for (size_t c = 0; c < now.size(); ++c) {
      running.data<T>()[c] = convert<T>(old[c] * momentum + now[c] * (1 - momentum));
    }
  });
}

}  // namespace

bool trains_batch_norm(const Node& node) {
  const int version = node.op->since_version;
  if (version >= 14) return node.get<int64_t>("training_mode", 0) != 0;
  if (version < 7) return node.get<int64_t>("is_test", 0) == 0;
  return node.outputs.size() > 1;
}

int batch_norm_inner(const Node& node, int rank) {
  return node.get<int64_t>("spatial", 1) != 0 ? std::min(rank, 2) : rank;
}

void batch_norm(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Layout layout(ctx.node(), x.shape());
  const bool training = trains_batch_norm(ctx.node());
  const std::vector<double> scale = per_channel(ctx.input(1), layout.channels);
  const std::vector<double> bias = per_channel(ctx.input(2), layout.channels);
  const Statistics given{per_channel(ctx.input(3), layout.channels),
                         per_channel(ctx.input(4), layout.channels)};
  const auto epsilon = static_cast<double>(ctx.node().get("epsilon", 1e-5f));
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    const Statistics used = training ? statistics_of(x.data<T>(), layout) : given;
    T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
    for (int64_t line = 0; line < layout.batch * layout.channels; ++line) {
      using C = Compute<T>;
      const auto c = static_cast<size_t>(line % layout.channels);
      const auto mean = static_cast<C>(used.mean[c]);
      const auto factor = static_cast<C>(scale[c] / std::sqrt(used.variance[c] + epsilon));
      const auto shift = static_cast<C>(bias[c]);
      const T* from = x.data<T>() + line * layout.inner;
      T* to = y + line * layout.inner;
      for (int64_t i = 0; i < layout.inner; ++i) {
        to[i] = convert<T>((convert<C>(from[i]) - mean) * factor + shift);
      }
    }
    // In inference of old versions, too, where nothing moves them.
    const auto momentum = training ? static_cast<double>(ctx.node().get("momentum", 0.9f)) : 1.0;
    store_statistics(ctx, 1, ctx.input(3), momentum, given.mean, used.mean);
    store_statistics(ctx, 2, ctx.input(4), momentum, given.variance, used.variance);
    store_statistics(ctx, 3, ctx.input(3), 0, used.mean, used.mean);
    store_statistics(ctx, 4, ctx.input(4), 0, used.variance, used.variance);
  });
}

}  // namespace hugot::norm
