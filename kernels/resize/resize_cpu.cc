// Kernels of Resize and ResizeGradient.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/resize/resize.h"
#include "kernels/strided.h"

namespace hugot::resize {
namespace {

// The type that sums of T are made in. Sums of integers are rounded, so they should be exact.
template <class T>
using Sum = std::conditional_t<std::is_integral_v<T>, double, Compute<T>>;

constexpr int64_t kSmallestPart = 16 * 1024;  // multiply-adds worth handing to another thread

// A tensor around one of its axes.
struct Around {
  int64_t outer, inner;
};
Around around(const Shape& shape, int axis) {
  return {shape.product(0, axis), shape.product(axis + 1, shape.rank())};
}

template <class C>
std::vector<C> weights_of(const Table& table) {
  return {table.weight.begin(), table.weight.end()};
}

// y[o, j, i] = sum over t of weight[j, t] * x[o, index[j, t], i]. Weights of 0 stand for elements
// that are not looked at, which may be infinite.
template <class C>
void sum_up(const Table& table, const Around& shape, const C* x, C* y, ThreadPool* pool) {
  const std::vector<C> weights = weights_of<C>(table);
  const int64_t taps = table.taps, inner = shape.inner;
  const int64_t grain = std::max<int64_t>(1, kSmallestPart / std::max<int64_t>(taps * inner, 1));
  parallel_for(pool, shape.outer * table.out, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const C* block = x + row / table.out * table.in * inner;
      const C* weight = weights.data() + row % table.out * taps;
      const int64_t* index = table.index.data() + row % table.out * taps;
      C* to = y + row * inner;
      std::fill_n(to, inner, C{0});
      for (int64_t t = 0; t < taps; ++t) {
        if (weight[t] == 0) continue;
        const C* from = block + index[t] * inner;
        for (int64_t i = 0; i < inner; ++i) to[i] += weight[t] * from[i];
      }
    }
  });
}

// The transposed map: x[o, index[j, t], i] = sum over j and t of weight[j, t] * y[o, j, i].
template <class C>
void spread(const Table& table, const Around& shape, const C* y, C* x, ThreadPool* pool) {
  const std::vector<C> weights = weights_of<C>(table);
  const int64_t taps = table.taps, inner = shape.inner;
  const int64_t work = taps * inner * table.out;
  const int64_t grain = std::max<int64_t>(1, kSmallestPart / std::max<int64_t>(work, 1));
  parallel_for(pool, shape.outer, grain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      C* block = x + o * table.in * inner;
      std::fill_n(block, table.in * inner, C{0});
      for (int64_t j = 0; j < table.out; ++j) {
        const C* from = y + (o * table.out + j) * inner;
        for (int64_t t = 0; t < taps; ++t) {
          const C weight = weights[static_cast<size_t>(j * taps + t)];
          if (weight == 0) continue;
          C* to = block + table.index[static_cast<size_t>(j * taps + t)] * inner;
          for (int64_t i = 0; i < inner; ++i) to[i] += weight * from[i];
        }
      }
    }
  });
}

// The axes that change, those that become shortest first, so that nothing on the way is larger
// than both ends. `backwards`: from the result to the input.
std::vector<int> order_of(const Plan& plan, bool backwards) {
  std::vector<int> order;
  for (int i = plan.rank - 1; i >= 0; --i) {
    if (plan.axes[static_cast<size_t>(i)].changes) order.push_back(i);
  }
  const auto growth = [&](int i) {
    const Axis& axis = plan.axes[static_cast<size_t>(i)];
    const double ratio = static_cast<double>(axis.out) / static_cast<double>(axis.in);
    return backwards ? 1 / ratio : ratio;
  };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return growth(a) < growth(b); });
  return order;
}

// Sets what lies outside of the input.
template <class T>
void fill_outside(const Plan& plan, const T& value, T* y) {
  if (plan.method.coordinates != Coordinates::kTfCropAndResize) return;
  for (int i = 0; i < plan.rank; ++i) {
    const Axis& axis = plan.axes[static_cast<size_t>(i)];
    if (!axis.changes) continue;
    const Around shape = around(plan.out, i);
    for (const int64_t j : table_of(plan.method, axis).outside) {
      for (int64_t o = 0; o < shape.outer; ++o) {
        std::fill_n(y + (o * axis.out + j) * shape.inner, shape.inner, value);
      }
    }
  }
}

template <class To, class From>
void store(const From* from, To* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = convert<To>(std::is_integral_v<To> ? std::nearbyint(from[i]) : from[i]);
  }
}

// Elements of T as C; the tensor itself when that is the same.
template <class T, class C>
Tensor widened(const Tensor& tensor) {
  if constexpr (std::is_same_v<T, C>) return tensor;
  Tensor wide(dtype_of<C>, tensor.shape());
  convert_all(tensor.data<T>(), wide.data<C>(), tensor.size());
  return wide;
}

template <class T>
void interpolate(KernelContext& ctx, const Plan& plan, const Tensor& x, Tensor& y) {
  using C = Sum<T>;
  Tensor now = widened<T, C>(x);
  for (const int axis : order_of(plan, false)) {
    const Axis& a = plan.axes[static_cast<size_t>(axis)];
    const Shape shape = now.shape().with(axis, a.out);
    const bool last = std::is_same_v<T, C> && shape == plan.out;
    Tensor next = last ? y : Tensor(dtype_of<C>, shape);
    if (next.raw() == now.raw()) next = Tensor(dtype_of<C>, shape);
    sum_up(table_of(plan.method, a), around(shape, axis), now.data<C>(), next.data<C>(),
           ctx.pool());
    now = std::move(next);
  }
  if (now.raw() != y.raw()) store(now.data<C>(), y.data<T>(), y.size());
  fill_outside(plan, convert<T>(plan.method.extrapolation), y.data<T>());
}

// ---------------------------------------------------------------------------------------------
// The nearest element is moved whatever it is.

// The extrapolation value as an element; strings and complex numbers begin as nothing.
Tensor extrapolated(const Plan& plan, DType dtype) {
  Tensor value(dtype, {});
  const float number = plan.method.extrapolation;
  if (dtype == DType::kString) return value;
  if (dtype == DType::kComplex64) {
    *value.data<std::complex<float>>() = number;
  } else if (dtype == DType::kComplex128) {
    *value.data<std::complex<double>>() = static_cast<double>(number);
  } else {
    dispatch(NumberAndBoolTypes{}, dtype,
             [&]<class T>() { *value.data<T>() = convert<T>(number); });
  }
  return value;
}

void move_nearest(KernelContext& ctx, const Plan& plan, const Tensor& x, Tensor& y) {
  // Axes behind the last one that changes move together.
  int last = plan.rank - 1;
  while (last >= 0 && !plan.axes[static_cast<size_t>(last)].changes) --last;
  const int64_t block = y.shape().product(last + 1, plan.rank);
  const auto strides = row_major_strides(x.shape());
  std::vector<std::vector<int64_t>> sources;  // offsets by axis and index
  for (int i = 0; i <= last; ++i) {
    const Axis& axis = plan.axes[static_cast<size_t>(i)];
    std::vector<int64_t> offsets(static_cast<size_t>(axis.out));
    if (axis.changes) {
      offsets = table_of(plan.method, axis).index;
    } else {
      std::iota(offsets.begin(), offsets.end(), 0);
    }
    for (int64_t& offset : offsets) offset *= strides[static_cast<size_t>(i)];
    sources.push_back(std::move(offsets));
  }
  const Tensor value = extrapolated(plan, x.dtype());
  with_element(x.dtype(), [&]<class T>() {
    const T* from = elements<T>(x);
    T* to = elements<T>(y);
    if (last < 0) {
      std::copy_n(from, y.size(), to);
      return;
    }
    const std::vector<int64_t>& inner = sources.back();
    const auto length = std::ssize(inner);
    const int64_t grain = std::max<int64_t>(1, kSmallestPart / (length * block));
    parallel_for(ctx.pool(), y.size() / (length * block), grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t offset = 0, rest = row;
        for (size_t axis = sources.size() - 1; axis-- > 0;) {
          const auto count = std::ssize(sources[axis]);
          offset += sources[axis][static_cast<size_t>(rest % count)];
          rest /= count;
        }
        T* target = to + row * length * block;
        for (const int64_t at : inner) {
          target = std::copy_n(from + offset + at, block, target);
        }
      }
    });
    fill_outside(plan, *elements<T>(value), to);
  });
}

}  // namespace

void resize(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Plan plan = resize::plan(ctx, x.shape());
  if (plan.method.mode == Mode::kNearest) {
    Tensor& y = ctx.output(0, x.dtype(), plan.out);
    if (y.size() > 0) move_nearest(ctx, plan, x, y);
    return;
  }
  dispatch(NumberTypes{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), plan.out);
    if (y.size() > 0) interpolate<T>(ctx, plan, x, y);
  });
}

void resize_gradient(KernelContext& ctx) {
  const Tensor& dy = ctx.input(0);
  const Shape shape(to_int64s(ctx.input(1)));
  const Plan plan = resize::plan(ctx, shape);
  if (!(dy.shape() == plan.out)) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(dy),
         " for a result ", plan.out.to_string());
  }
  dispatch(FloatTypes{}, dy.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& dx = ctx.output(0, dy.dtype(), shape);
    if (dy.size() == 0) {
      std::fill_n(dx.data<T>(), dx.size(), T{});
      return;
    }
    Tensor now = widened<T, C>(dy);
    if (plan.method.coordinates == Coordinates::kTfCropAndResize) {
      now = now.clone();
      fill_outside(plan, C{0}, now.data<C>());
    }
    for (const int axis : order_of(plan, true)) {
      const Axis& a = plan.axes[static_cast<size_t>(axis)];
      Tensor next(dtype_of<C>, now.shape().with(axis, a.in));
      spread(table_of(plan.method, a), around(next.shape(), axis), now.data<C>(), next.data<C>(),
             ctx.pool());
      now = std::move(next);
    }
    store(now.data<C>(), dx.data<T>(), dx.size());
  });
}

}  // namespace hugot::resize
