// Kernels of pools that slide windows over images.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/cpu/isa.h"
#include "kernels/pooling/pooling.h"
#include "kernels/running.h"

namespace hugot::pooling {
namespace {

// Outputs [first, last) along an axis that see an element through one index of the kernel: output
// `first` sees element `source`, the next ones every stride further.
struct Tap {
  int64_t first, last, source;
};

int64_t floor_divided(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
int64_t ceil_divided(int64_t a, int64_t b) { return -floor_divided(-a, b); }

// The indices of the kernel that meet elements [begin, end) of an axis from output o.
struct Range {
  int64_t first, last;
};
Range kernel_range(const Axis& axis, int64_t o, int64_t begin, int64_t end) {
  const int64_t start = o * axis.stride - axis.before;
  return {std::clamp<int64_t>(ceil_divided(begin - start, axis.dilation), 0, axis.kernel),
          std::clamp<int64_t>(ceil_divided(end - start, axis.dilation), 0, axis.kernel)};
}

// Which elements the windows of a pool meet. Only what lies inside of the image is there, so it
// costs nothing that a kernel is much larger.
class Windows {
 public:
  explicit Windows(const Pool& pool) : pool_(pool), inner_(pool.axes[last_axis()]) {
    for (int axis = 0; axis < pool.spatial; ++axis) {
      add_taps(pool.axes[static_cast<size_t>(axis)], taps_[static_cast<size_t>(axis)]);
    }
  }

  std::span<const Tap> taps() const { return taps_[last_axis()]; }
  std::span<const Tap> taps(int axis) const { return taps_[static_cast<size_t>(axis)]; }
  int64_t rows() const { return inner_.out == 0 ? 0 : pool_.outputs / inner_.out; }
  const Axis& inner() const { return inner_; }

  // The rows of the image that row `row` of the result sees, as offsets of their first elements.
  void rows_seen(int64_t row, std::vector<int64_t>& result) const {
    result.assign(1, 0);
    std::array<int64_t, kMaxSpatial> index{};
    for (size_t axis = last_axis(); axis-- > 0;) {
      index[axis] = row % pool_.axes[axis].out;
      row /= pool_.axes[axis].out;
    }
    for (size_t axis = 0; axis < last_axis(); ++axis) {
      const Axis& a = pool_.axes[axis];
      const Range range = kernel_range(a, index[axis], 0, a.in);
      const int64_t start = index[axis] * a.stride - a.before;
      const size_t count = result.size();
      for (size_t i = 0; i < count; ++i) {
        for (int64_t k = range.first; k < range.last; ++k) {
          result.push_back(result[i] * a.in + start + k * a.dilation);
        }
      }
      result.erase(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(count));
    }
    for (int64_t& at : result) at *= inner_.in;
  }

  // Into how many parts the mean of each output divides: the elements that its window meets, with
  // those of the padding when `padded`.
  template <class C>
  std::vector<C> counts(bool padded) const {
    std::vector<C> result(1, C{1});
    for (int axis = 0; axis < pool_.spatial; ++axis) {
      const Axis& a = pool_.axes[static_cast<size_t>(axis)];
      const int64_t begin = padded ? -a.before : 0;
      const int64_t end = a.in + (padded ? pool_.after[static_cast<size_t>(axis)] : 0);
      std::vector<C> next;
      next.reserve(result.size() * static_cast<size_t>(a.out));
      for (const C outer : result) {
        for (int64_t o = 0; o < a.out; ++o) {
          const Range range = kernel_range(a, o, begin, end);
          next.push_back(outer * static_cast<C>(range.last - range.first));
        }
      }
      result = std::move(next);
    }
    return result;
  }

 private:
  size_t last_axis() const { return static_cast<size_t>(pool_.spatial - 1); }

  static void add_taps(const Axis& axis, std::vector<Tap>& taps) {
    const int64_t begin = kernel_range(axis, axis.out - 1, 0, axis.in).first;
    const int64_t end = kernel_range(axis, 0, 0, axis.in).last;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t shift = k * axis.dilation - axis.before;
      const int64_t first = std::max<int64_t>(ceil_divided(-shift, axis.stride), 0);
      const int64_t last = std::min(ceil_divided(axis.in - shift, axis.stride), axis.out);
      if (first < last) taps.push_back({first, last, first * axis.stride + shift});
    }
  }

  const Pool& pool_;
  const Axis& inner_;
  std::array<std::vector<Tap>, kMaxSpatial> taps_;
};

// Calls body(y, x, stride, count, element) for every run of outputs of a plane and what they see
// through one element of the kernel; `element` is the number of the first in the plane of x.
template <class X, class Y, class Body>
void for_runs(const Windows& windows, X* x, Y* y, std::vector<int64_t>& rows, const Body& body) {
  const int64_t width = windows.inner().out, stride = windows.inner().stride;
  for (int64_t row = 0; row < windows.rows(); ++row, y += width) {
    windows.rows_seen(row, rows);
    for (const int64_t seen : rows) {
      for (const Tap& tap : windows.taps()) {
        const int64_t element = seen + tap.source;
        body(y + tap.first, x + element, stride, tap.last - tap.first, element);
      }
    }
  }
}

struct Sum {
  template <class C>
  C operator()(C sum, C value) const {
    return sum + value;
  }
};

// A NaN is larger than any number.
template <class C>
bool exceeds(C value, C best) {
  if constexpr (std::is_floating_point_v<C>) return value > best || value != value;
  return value > best;
}

struct Max {
  template <class C>
  C operator()(C best, C value) const {
    return exceeds(value, best) ? value : best;
  }
};

// y[i] = combine(y[i], x[i * stride]).
template <class C, class Combine>
void accumulate(C* y, const C* x, int64_t stride, int64_t count, const Combine& combine) {
  if constexpr (std::is_same_v<C, float> && std::is_same_v<Combine, Max>) {
    if (stride == 1) return cpu::active_kernels().max.vv(y, x, y, count);
  }
  if constexpr (std::is_same_v<C, float> && std::is_same_v<Combine, Sum>) {
    if (stride == 1) return cpu::active_kernels().add.vv(y, x, y, count);
  }
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) y[i] = combine(y[i], x[i]);
  } else if (stride == 2) {
    for (int64_t i = 0; i < count; ++i) y[i] = combine(y[i], x[2 * i]);
  } else {
    for (int64_t i = 0; i < count; ++i, x += stride) y[i] = combine(y[i], *x);
  }
}

// Calls body(plane, rows) for every plane, on the pool; `rows` is memory to be used again.
template <class Body>
void for_planes(KernelContext& ctx, const Pool& pool, const Windows& windows, const Body& body) {
  int64_t seen = std::ssize(windows.taps());
  for (int i = 0; i + 1 < pool.spatial; ++i) {
    const Axis& a = pool.axes[static_cast<size_t>(i)];
    seen = std::min(seen * std::min(a.kernel, a.in), int64_t{1} << 30);
  }
  for_items(ctx.pool(), pool.planes, std::min(pool.outputs, int64_t{1} << 30) * seen,
            [&](int64_t begin, int64_t end, int /*worker*/) {
              std::vector<int64_t> rows;
              for (int64_t plane = begin; plane < end; ++plane) {
                check_running(ctx);
                body(plane, rows);
              }
            });
}

// Most of it in large copies, which compilers are better at than at fills.
template <class C>
void fill(C* y, int64_t n, C value) {
  constexpr int64_t kBlock = 256;
  std::fill_n(y, std::min(n, kBlock), value);
  for (int64_t at = kBlock; at < n; at += kBlock) std::copy_n(y, std::min(kBlock, n - at), y + at);
}

// A plane folded along one axis: y [outer, out, inner] from x [outer, in, inner].
template <class C, class Combine>
void fold_axis(const Axis& axis, std::span<const Tap> taps, int64_t outer, int64_t inner, C start,
               const C* x, C* y, const Combine& combine) {
  fill(y, outer * axis.out * inner, start);
  for (int64_t o = 0; o < outer; ++o, x += axis.in * inner, y += axis.out * inner) {
    for (const Tap& tap : taps) {
      C* to = y + tap.first * inner;
      const C* from = x + tap.source * inner;
      const int64_t count = tap.last - tap.first;
      if (axis.stride == 1) {
        accumulate(to, from, 1, count * inner, combine);
      } else if (inner == 1) {
        accumulate(to, from, axis.stride, count, combine);
      } else {
        for (int64_t i = 0; i < count; ++i, to += inner, from += axis.stride * inner) {
          accumulate(to, from, 1, inner, combine);
        }
      }
    }
  }
}

// A pool along one or two axes whose windows do not reach far beyond the image, as the vector
// kernels take it.
std::optional<cpu::PoolArgs> vector_pool(const Pool& pool) {
  if (pool.spatial > 2) return std::nullopt;
  const auto axis_of = [](const Axis& a) {
    return cpu::PoolAxis{a.in, a.out, a.kernel, a.stride, a.dilation, a.before};
  };
  const auto last = static_cast<size_t>(pool.spatial - 1);
  const cpu::PoolArgs args{.rows = axis_of(pool.spatial == 2 ? pool.axes[0] : Axis()),
                           .columns = axis_of(pool.axes[last]),
                           .x = nullptr,
                           .y = nullptr,
                           .row = nullptr};
  for (const cpu::PoolAxis& axis : {args.rows, args.columns}) {
    if (axis.reach() > 4 * (axis.in + axis.out) + 256) return std::nullopt;
  }
  return args;
}

// y = finish(fold of the windows of x, from `start` on), by planes. A window is a box, so it can be
// folded along one axis after the other: along the first one by `first`, then by `next`.
template <class T, class First, class Next, class Finish>
void fold_windows(KernelContext& ctx, const Pool& pool, const Windows& windows, Compute<T> start,
                  const First& first, const Next& next, const Finish& finish) {
  using C = Compute<T>;
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0, in.dtype(), pool.y);
  if (out.size() == 0) return;
  const Wide<T> x(in);
  WideResult<T> result(out);
  C* y = result.data();
  if constexpr (std::is_same_v<C, float> && std::is_same_v<First, Next> &&
                (std::is_same_v<First, Max> || std::is_same_v<First, Sum>)) {
    if (const auto all = vector_pool(pool)) {
      const cpu::VectorKernels& kernels = cpu::active_kernels();
      const auto kernel = std::is_same_v<First, Max> ? kernels.pool_max : kernels.pool_sum;
      const auto length = static_cast<size_t>(2 * (all->columns.reach() + cpu::kPoolSlack));
      for_items(ctx.pool(), pool.planes, (pool.inputs + pool.outputs) * 4,
                [&](int64_t plane, int64_t end, int /*worker*/) {
                  std::vector<float> row(length);
                  cpu::PoolArgs args = *all;
                  args.row = row.data();
                  for (; plane < end; ++plane) {
                    check_running(ctx);
                    args.x = x.data() + plane * pool.inputs;
                    args.y = y + plane * pool.outputs;
                    kernel(&args);
                    finish(args.y);
                  }
                });
      return result.store();
    }
  }
  for_planes(ctx, pool, windows, [&](int64_t plane, std::vector<int64_t>& /*rows*/) {
    const C* from = x.data() + plane * pool.inputs;
    C* const last = y + plane * pool.outputs;
    Tensor folded;  // what `from` points to, behind the first axis
    int64_t outer = 1;
    for (int i = 0; i < pool.spatial; ++i) {
      const Axis& axis = pool.axes[static_cast<size_t>(i)];
      const int64_t inner = in.shape().product(i + 3, in.rank());
      Tensor next_folded;
      C* to = last;
      if (i + 1 < pool.spatial) {
        next_folded = Tensor(dtype_of<C>, Shape{outer, axis.out, inner});
        to = next_folded.data<C>();
      }
      if (i == 0) {
        fold_axis(axis, windows.taps(i), outer, inner, start, from, to, first);
      } else {
        fold_axis(axis, windows.taps(i), outer, inner, start, from, to, next);
      }
      folded = std::move(next_folded);
      from = to;
      outer *= axis.out;
    }
    finish(last);
  });
  result.store();
}

template <class T, class Combine, class Finish>
void fold_windows(KernelContext& ctx, const Pool& pool, const Windows& windows, Compute<T> start,
                  const Combine& combine, const Finish& finish) {
  fold_windows<T>(ctx, pool, windows, start, combine, combine, finish);
}

void divide(float* y, const float* by, int64_t n) { cpu::active_kernels().div.vv(y, by, y, n); }
void divide(double* y, const double* by, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] /= by[i];
}

// The place of an element when the first spatial axis is the one that is contiguous.
int64_t column_major(const Pool& pool, int64_t element) {
  int64_t result = 0, step = pool.inputs;
  for (int axis = pool.spatial - 1; axis >= 0; --axis) {
    const int64_t length = pool.axes[static_cast<size_t>(axis)].in;
    step /= length;
    result += element % length * step;
    element /= length;
  }
  return result;
}

template <class C>
C lowest() {
  if constexpr (std::is_floating_point_v<C>) return -std::numeric_limits<C>::infinity();
  return std::numeric_limits<C>::lowest();
}

// Maxima and where they are; the first of equals, and the first element of an image for a window
// that meets none.
template <class T>
void max_with_indices(KernelContext& ctx, const Pool& pool, const Windows& windows) {
  using C = Compute<T>;
  const Tensor& in = ctx.input(0);
  const bool columns = ctx.node().get<int64_t>("storage_order", 0) != 0;
  Tensor& out = ctx.output(0, in.dtype(), pool.y);
  Tensor& indices = ctx.output(1, DType::kInt64, pool.y);
  if (out.size() == 0) return;
  const Wide<T> x(in);
  WideResult<T> result(out);
  C* y = result.data();
  int64_t* index = indices.data<int64_t>();
  for_planes(ctx, pool, windows, [&](int64_t plane, std::vector<int64_t>& rows) {
    C* best = y + plane * pool.outputs;
    int64_t* at = index + plane * pool.outputs;
    std::fill_n(best, pool.outputs, lowest<C>());
    std::fill_n(at, pool.outputs, int64_t{-1});
    for_runs(windows, x.data() + plane * pool.inputs, best, rows,
             [&](C* a, const C* b, int64_t stride, int64_t count, int64_t element) {
               int64_t* place = at + (a - best);
               for (int64_t i = 0; i < count; ++i, b += stride, element += stride) {
                 if (exceeds(*b, a[i]) || place[i] < 0) {
                   a[i] = *b;
                   place[i] = element;
                 }
               }
             });
    for (int64_t i = 0; i < pool.outputs; ++i) {
      const int64_t element = std::max<int64_t>(at[i], 0);
      at[i] = plane * pool.inputs + (columns ? column_major(pool, element) : element);
    }
  });
  result.store();
}

// The transposed map: every element of dy, divided by its part of `counts` (null: by nothing), is
// added to the elements that its window meets.
template <class T>
void spread(KernelContext& ctx, bool mean) {
  using C = Compute<T>;
  const Tensor& in = ctx.input(0);
  const Shape shape(to_int64s(ctx.input(1)));
  const Pool pool = pool_of(ctx.node(), shape);
  if (!(in.shape() == pool.y)) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(in),
         " for a result ", pool.y.to_string());
  }
  Tensor& out = ctx.output(0, in.dtype(), shape);
  if (out.size() == 0) return;
  const Windows windows(pool);
  std::vector<C> counts;
  if (mean && in.size() > 0) {
    counts = windows.counts<C>(ctx.node().get<int64_t>("count_include_pad", 0) != 0);
  }
  const Wide<T> dy(in);
  WideResult<T> result(out);
  C* dx = result.data();
  for_planes(ctx, pool, windows, [&](int64_t plane, std::vector<int64_t>& rows) {
    C* to = dx + plane * pool.inputs;
    std::fill_n(to, pool.inputs, C{0});
    const C* from = dy.data() + plane * pool.outputs;
    for_runs(windows, to, from, rows,
             [&](const C* b, C* a, int64_t stride, int64_t count, int64_t /*element*/) {
               const C* parts = mean ? counts.data() + (b - from) : nullptr;
               for (int64_t i = 0; i < count; ++i, a += stride) {
                 *a += mean ? b[i] / parts[i] : b[i];
               }
             });
  });
  result.store();
}

}  // namespace

void max_pool(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Pool pool = pool_of(ctx.node(), x.shape());
  const Windows windows(pool);
  dispatch(JoinTypes<FloatTypes, Types<int8_t, uint8_t>>{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    if (ctx.wants_output(1)) return max_with_indices<T>(ctx, pool, windows);
    fold_windows<T>(ctx, pool, windows, lowest<C>(), Max{}, [](C*) {});
  });
}

void average_pool(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Pool pool = pool_of(ctx.node(), x.shape());
  const Windows windows(pool);
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    std::vector<C> counts;
    if (pool.y.size() > 0) {
      counts = windows.counts<C>(ctx.node().get<int64_t>("count_include_pad", 0) != 0);
    }
    fold_windows<T>(ctx, pool, windows, C{0}, Sum{},
                    [&](C* y) { divide(y, counts.data(), pool.outputs); });
  });
}

void lp_pool(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Pool pool = pool_of(ctx.node(), x.shape());
  const Windows windows(pool);
  const float exponent = exponent_of(ctx.node());
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    const auto p = static_cast<C>(exponent);
    if (p == 1) {
      fold_windows<T>(
          ctx, pool, windows, C{0}, [](C sum, C value) { return sum + std::abs(value); }, Sum{},
          [](C*) {});
    } else if (p == 2) {
      fold_windows<T>(
          ctx, pool, windows, C{0}, [](C sum, C value) { return sum + value * value; }, Sum{},
          [&](C* y) {
            for (int64_t i = 0; i < pool.outputs; ++i) y[i] = std::sqrt(y[i]);
          });
    } else {
      fold_windows<T>(
          ctx, pool, windows, C{0},
          [&](C sum, C value) { return sum + std::pow(std::abs(value), p); }, Sum{},
          [&](C* y) {
            for (int64_t i = 0; i < pool.outputs; ++i) y[i] = std::pow(y[i], C{1} / p);
          });
    }
  });
}

void sum_pool(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Pool pool = pool_of(ctx.node(), x.shape());
  const Windows windows(pool);
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    fold_windows<T>(ctx, pool, windows, C{0}, Sum{}, [](C*) {});
  });
}

void average_pool_gradient(KernelContext& ctx) {
  dispatch(FloatTypes{}, ctx.input(0).dtype(), [&]<class T>() { spread<T>(ctx, true); });
}

void sum_pool_gradient(KernelContext& ctx) {
  dispatch(FloatTypes{}, ctx.input(0).dtype(), [&]<class T>() { spread<T>(ctx, false); });
}

}  // namespace hugot::pooling
