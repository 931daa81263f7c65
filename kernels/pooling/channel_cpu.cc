// Kernels of GlobalLpPool, LRN and MaxUnpool.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/pooling/pooling.h"

namespace hugot::pooling {

void global_lp_pool(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require_spatial_axes(in.rank());
  const float exponent = exponent_of(ctx.node());
  Shape shape = in.shape();
  for (int axis = 2; axis < in.rank(); ++axis) shape = shape.with(axis, 1);
  const int64_t size = in.shape().product(2, in.rank());
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, in.dtype(), shape);
    if (out.size() == 0) return;
    const Wide<T> x(in);
    WideResult<T> result(out);
    C* y = result.data();
    const auto p = static_cast<C>(exponent);
    for_items(ctx.pool(), out.size(), size, [&](int64_t begin, int64_t end, int /*worker*/) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const C* from = x.data() + plane * size;
        C sum = 0;
        for (int64_t i = 0; i < size; ++i) {
          const C value = std::abs(from[i]);
          sum += p == 1 ? value : p == 2 ? value * value : std::pow(value, p);
        }
        y[plane] = p == 1 ? sum : p == 2 ? std::sqrt(sum) : std::pow(sum, C{1} / p);
      }
    });
    result.store();
  });
}

void lrn(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require(in.rank() >= 2, ErrorCode::kInvalidArgument, describe(in), " has no channels");
  const Node& node = ctx.node();
  const int64_t size = channels_of_lrn(node);
  const int64_t before = (size - 1) / 2, behind = size / 2;
  const int64_t channels = in.shape()[1], inner = in.shape().product(2, in.rank());
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, in.dtype(), in.shape());
    if (out.size() == 0) return;
    const Wide<T> wide(in);
    WideResult<T> result(out);
    const C *x = wide.data(), alpha = node.get<float>("alpha", 1e-4f) / static_cast<C>(size),
            beta = node.get<float>("beta", 0.75f), bias = node.get<float>("bias", 1.0f);
    C* y = result.data();
    const int64_t seen = std::min(size, channels);
    for_items(ctx.pool(), in.shape()[0] * channels, inner * (seen + 20),
              [&](int64_t begin, int64_t end, int /*worker*/) {
                for (int64_t item = begin; item < end; ++item) {
                  const int64_t channel = item % channels, image = item - channel;
                  C* to = y + item * inner;
                  std::fill_n(to, inner, C{0});
                  const int64_t last = std::min(channel + behind, channels - 1);
                  for (int64_t c = std::max<int64_t>(channel - before, 0); c <= last; ++c) {
                    const C* from = x + (image + c) * inner;
                    for (int64_t i = 0; i < inner; ++i) to[i] += from[i] * from[i];
                  }
                  const C* from = x + item * inner;
                  for (int64_t i = 0; i < inner; ++i) {
                    to[i] = from[i] * std::pow(bias + alpha * to[i], -beta);
                  }
                }
              });
    result.store();
  });
}

// Indices count in the shape that the attributes give, whose elements are then the first ones along
// every axis of a larger wanted shape.
void max_unpool(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &indices = ctx.input(1);
  require(indices.dtype() == DType::kInt64 && indices.shape() == x.shape(),
          ErrorCode::kInvalidArgument, "indices ", describe(indices), " do not fit ", describe(x));
  const Shape inner = unpooled_shape(ctx.node(), x.shape());
  Shape shape = inner;
  if (ctx.num_inputs() > 2 && ctx.has_input(2)) {
    shape = Shape(to_int64s(ctx.input(2)));
    bool fits = shape.rank() == inner.rank();
    for (int axis = 0; fits && axis < shape.rank(); ++axis) fits = shape[axis] >= inner[axis];
    if (!fits) {
      fail(ErrorCode::kInvalidArgument, "a wanted shape ", shape.to_string(),
           " does not hold what is unpooled, ", inner.to_string());
    }
  }
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), shape);
    std::fill_n(y.data<T>(), y.size(), T{});
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for (int64_t i = 0; i < x.size(); ++i) {
      int64_t at = indices.data<int64_t>()[i];
      require(at >= 0 && at < inner.size(), ErrorCode::kInvalidArgument, "index ", at,
              " is outside of a tensor of ", inner.size(), " elements");
      if (!(shape == inner)) {
        int64_t place = 0, step = 1;
        for (int axis = shape.rank() - 1; axis >= 0; --axis) {
          place += at % inner[axis] * step;
          at /= inner[axis];
          step *= shape[axis];
        }
        at = place;
      }
      to[at] = from[i];
    }
  });
}

}  // namespace hugot::pooling
