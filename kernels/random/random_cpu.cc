#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/random/random.h"

namespace hugot::random {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements that make a task for another thread

// A key that no other call of this process gets, and hardly one of another process.
uint64_t fresh_key() {
  static const uint64_t process = [] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }();
  static std::atomic<uint64_t> calls{0};
  return process + calls.fetch_add(1, std::memory_order_relaxed) * 0xD1342543DE82EF95u;
}

uint64_t key_of(const Node& node) {
  if (!node.has("seed")) return fresh_key();
  return std::bit_cast<uint32_t>(node.at<float>("seed"));
}

// Output 0 of the type and shape that the node gives or its input has.
Tensor& output_of(KernelContext& ctx) {
  const Node& node = ctx.node();
  if (ctx.num_inputs() == 0) {
    return ctx.output(0, output_dtype(node, DType::kFloat32), given_shape(node));
  }
  return ctx.output(0, output_dtype(node, ctx.input(0).dtype()), ctx.input(0).shape());
}

// y[i] = draw(i)
template <class Draw>
void draw_floats(KernelContext& ctx, Draw&& draw) {
  Tensor& y = output_of(ctx);
  dispatch(FloatTypes{}, y.dtype(), [&]<class T>() {
    T* to = y.data<T>();
    parallel_for(ctx.pool(), y.size(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = convert<T>(draw(static_cast<uint64_t>(i)));
    });
  });
}

}  // namespace

Stream::Stream(const Node& node) : Stream(key_of(node)) {}

double Stream::normal(uint64_t i) const {
  const double radius = std::sqrt(-2 * std::log(1 - uniform(2 * i)));
  return radius * std::cos(2 * std::numbers::pi * uniform(2 * i + 1));
}

void normal(KernelContext& ctx) {
  const double mean = ctx.node().get("mean", 0.0f), scale = ctx.node().get("scale", 1.0f);
  const Stream stream(ctx.node());
  draw_floats(ctx, [&](uint64_t i) { return mean + scale * stream.normal(i); });
}

void uniform(KernelContext& ctx) {
  const double low = ctx.node().get("low", 0.0f), high = ctx.node().get("high", 1.0f);
  const Stream stream(ctx.node());
  draw_floats(ctx, [&](uint64_t i) { return low + (high - low) * stream.uniform(i); });
}

void bernoulli(KernelContext& ctx) {
  const Tensor& p = ctx.input(0);
  const Stream stream(ctx.node());
  Tensor& y = output_of(ctx);
  dispatch(FloatTypes{}, p.dtype(), [&]<class P>() {
    dispatch(NumberAndBoolTypes{}, y.dtype(), [&]<class T>() {
      for (int64_t i = 0; i < p.size(); ++i) {
        const auto probability = convert<double>(p.data<P>()[i]);
        if (!(probability >= 0 && probability <= 1)) {
          fail(ErrorCode::kInvalidArgument, probability, " is no probability");
        }
        const bool one = stream.uniform(static_cast<uint64_t>(i)) < probability;
        y.data<T>()[i] = convert<T>(one ? 1.0f : 0.0f);
      }
    });
  });
}

void multinomial(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  require(x.rank() == 2, ErrorCode::kInvalidArgument,
          "the input has to be [batch, classes], but is ", describe(x));
  const auto samples = ctx.node().get<int64_t>("sample_size", 1);
  require(samples >= 0, ErrorCode::kInvalidArgument, "a sample size of ", samples);
  const int64_t batch = x.shape()[0], classes = x.shape()[1];
  require(classes > 0 || batch * samples == 0, ErrorCode::kInvalidArgument,
          "there is no class to draw");
  const Stream stream(ctx.node());
  Tensor& y = ctx.output(0, output_dtype(ctx.node(), DType::kInt32), {batch, samples});
  std::vector<double> sums(static_cast<size_t>(classes));  // of the probabilities up to each class
  dispatch(FloatTypes{}, x.dtype(), [&]<class X>() {
    dispatch(Types<int32_t, int64_t>{}, y.dtype(), [&]<class T>() {
      for (int64_t b = 0; b < batch && samples > 0; ++b) {
        const X* row = x.data<X>() + b * classes;
        convert_all(row, sums.data(), classes);
        const double top = *std::max_element(sums.begin(), sums.end());
        double total = 0;
        for (double& value : sums) value = total += std::exp(value - top);
        require(total > 0 && std::isfinite(total), ErrorCode::kInvalidArgument, "row ", b,
                " holds no log-probabilities");
        for (int64_t s = 0; s < samples; ++s) {
          const double at = stream.uniform(static_cast<uint64_t>(b * samples + s)) * total;
          const auto found = std::upper_bound(sums.begin(), sums.end() - 1, at);
          y.data<T>()[b * samples + s] = static_cast<T>(found - sums.begin());
        }
      }
    });
  });
}

}  // namespace hugot::random
