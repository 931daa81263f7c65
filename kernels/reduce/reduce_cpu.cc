#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/reduce/reduce.h"

namespace hugot::reduce {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements read that make a task for another thread

// Sums are kept in float64 for floats and modulo 2^64 for integers.
template <class T>
using Sum64 = std::conditional_t<std::is_floating_point_v<Compute<T>>, double, uint64_t>;

// A sum of T as a number: signed again for signed integers.
template <class T>
auto value_of(Sum64<T> sum) {
  if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
    return static_cast<int64_t>(sum);
  } else {
    return sum;
  }
}

template <class T>
T magnitude(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::abs(x);
  } else {
    return x < 0 ? static_cast<T>(0 - static_cast<uint64_t>(x)) : x;
  }
}

}  // namespace

// A reduction says what it accumulates in (State<T>, starting as State<T>{} or `start`), how an
// element is taken in, what the result is, and, where there is one, which vector kernel reduces a
// run of floats to a number that `merge` takes in.
namespace fn {

using SumTypes = NumberTypes;

struct Sum {
  using Elements = SumTypes;
  template <class T>
  using State = Sum64<T>;
  template <class T>
  static State<T> start() {
    return 0;
  }
  template <class T>
  static void step(State<T>& state, Compute<T> x) {
    state += static_cast<State<T>>(x);
  }
  static auto simd(const cpu::VectorKernels& k) { return k.sum; }
  static void merge(double& state, float run) { state += static_cast<double>(run); }
  template <class T>
  static auto finish(const State<T>& state, int64_t /*count*/) {
    return value_of<T>(state);
  }
};

struct Mean : Sum {
  template <class T>
  static auto finish(const State<T>& state, int64_t count) {
    const auto sum = value_of<T>(state);
    if constexpr (std::is_integral_v<T>) {
      return count == 0 ? decltype(sum){0} : sum / static_cast<decltype(sum)>(count);
    } else {
      return sum / static_cast<double>(count);
    }
  }
};

struct LogSum : Sum {
  template <class T>
  static double finish(const State<T>& state, int64_t /*count*/) {
    return std::log(static_cast<double>(value_of<T>(state)));
  }
};

struct SumSquare : Sum {
  template <class T>
  static void step(State<T>& state, Compute<T> x) {
    state += static_cast<State<T>>(x) * static_cast<State<T>>(x);
  }
  static auto simd(const cpu::VectorKernels& k) { return k.sum_squares; }
};

struct L2 : SumSquare {
  template <class T>
  static double finish(const State<T>& state, int64_t /*count*/) {
    return std::sqrt(static_cast<double>(value_of<T>(state)));
  }
};

struct L1 {
  using Elements = SumTypes;
  template <class T>
  using State = Sum64<T>;
  template <class T>
  static State<T> start() {
    return 0;
  }
  template <class T>
  static void step(State<T>& state, Compute<T> x) {
    state += static_cast<State<T>>(magnitude(x));
  }
  template <class T>
  static auto finish(const State<T>& state, int64_t /*count*/) {
    return value_of<T>(state);
  }
};

struct Prod {
  using Elements = SumTypes;
  template <class T>
  using State = Sum64<T>;
  template <class T>
  static State<T> start() {
    return 1;
  }
  template <class T>
  static void step(State<T>& state, Compute<T> x) {
    state *= static_cast<State<T>>(x);
  }
  template <class T>
  static auto finish(const State<T>& state, int64_t /*count*/) {
    return value_of<T>(state);
  }
};

// log(sum(exp(x))) in one pass: the sum is kept relative to the largest element so far.
struct LogSumExp {
  using Elements = SumTypes;
  struct Scaled {
    double largest, sum;
  };
  template <class T>
  using State = Scaled;
  template <class T>
  static Scaled start() {
    return {-HUGE_VAL, 0};
  }
  template <class T>
  static void step(Scaled& state, Compute<T> element) {
    const auto x = static_cast<double>(element);
    if (x == state.largest) {
      state.sum += 1;
    } else if (x > state.largest) {
      state.sum = state.sum * std::exp(state.largest - x) + 1;
      state.largest = x;
    } else {
      state.sum += std::exp(x - state.largest);  // NaN comes here and stays
    }
  }
  template <class T>
  static double finish(const Scaled& state, int64_t /*count*/) {
    return state.largest + std::log(state.sum);
  }
};

// The largest or smallest element; NaN wins. Nothing at all: -inf / inf, or the type's limit.
template <bool kMax>
struct Extreme {
  using Elements = NumberAndBoolTypes;
  template <class T>
  using State = Compute<T>;
  template <class T>
  static State<T> start() {
    using Limits = std::numeric_limits<Compute<T>>;
    if constexpr (Limits::has_infinity) {
      return kMax ? -Limits::infinity() : Limits::infinity();
    } else {
      return kMax ? Limits::lowest() : Limits::max();
    }
  }
  template <class T>
  static void step(State<T>& state, Compute<T> x) {
    state = state != state || (kMax ? state > x : state < x) ? state : x;
  }
  static auto simd(const cpu::VectorKernels& k) { return kMax ? k.reduce_max : k.reduce_min; }
  static void merge(float& state, float run) { step<float>(state, run); }
  template <class T>
  static Compute<T> finish(const State<T>& state, int64_t /*count*/) {
    return state;
  }
};

struct Max : Extreme<true> {};
struct Min : Extreme<false> {};

}  // namespace fn

namespace {

template <class R, class T>
void take_run(const T* x, int64_t n, typename R::template State<T>& state) {
  if constexpr (std::is_same_v<T, float> && requires { R::simd(cpu::active_kernels()); }) {
    R::merge(state, R::simd(cpu::active_kernels())(x, n));
  } else {
    for (int64_t i = 0; i < n; ++i) R::template step<T>(state, convert<Compute<T>>(x[i]));
  }
}

// Takes the elements below axis `depth` into their states. The order is that of memory, whatever
// the split between threads.
template <class R, class T>
void take(const Reduction& walk, size_t depth, const T* x, typename R::template State<T>* states) {
  if (depth == walk.axes.size()) {
    R::template step<T>(*states, convert<Compute<T>>(*x));
    return;
  }
  const Reduction::Axis& axis = walk.axes[depth];
  if (depth + 1 < walk.axes.size()) {
    for (int64_t i = 0; i < axis.length; ++i) {
      take<R>(walk, depth + 1, x + i * axis.step, states + i * axis.out_step);
    }
  } else if (axis.reduced) {
    take_run<R>(x, axis.length, *states);
  } else {
    for (int64_t i = 0; i < axis.length; ++i) {
      R::template step<T>(states[i], convert<Compute<T>>(x[i]));
    }
  }
}

// Each text of a joined token axis by itself.
template <class R>
void run_segments(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const auto segments = ctx.segments();
  int axis = 0;  // of the tokens; of a single one any axis of length 1
  while (axis + 1 < x.rank() && x.shape()[axis] != segments.back()) ++axis;
  const auto part = [&](size_t s) {
    return plan_reduction(ctx, x.shape().with(axis, segments[s + 1] - segments[s]));
  };
  const int64_t row = x.shape().product(axis + 1, x.rank());
  const int64_t outputs = part(0).outputs, texts = std::ssize(segments) - 1;
  require(x.size() == segments.back() * row, ErrorCode::kInvalidArgument, describe(x),
          " does not hold the tokens of the texts");
  dispatch(typename R::Elements{}, x.dtype(), [&]<class T>() {
    using State = typename R::template State<T>;
    T* y = ctx.output(0, x.dtype(), *ctx.planned_shape(0)).template data<T>();
    State* states = ctx.scratch_of<State>(texts * outputs);
    std::fill_n(states, texts * outputs, R::template start<T>());
    const int64_t grain = std::max<int64_t>(kGrain * texts / std::max<int64_t>(x.size(), 1), 1);
    parallel_for(ctx.pool(), texts, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto s = static_cast<size_t>(i);
        const Reduction walk = part(s);
        State* own = states + i * outputs;
        if (row > 0) take<R>(walk, 0, x.data<T>() + segments[s] * row, own);
        for (int64_t k = 0; k < outputs; ++k) {
          y[i * outputs + k] = convert<T>(R::template finish<T>(own[k], walk.count));
        }
      }
    });
  });
}

template <class R>
void run(KernelContext& ctx, const Reduction& walk) {
  const Tensor& x = ctx.input(0);
  dispatch(typename R::Elements{}, x.dtype(), [&]<class T>() {
    using State = typename R::template State<T>;
    T* y = ctx.output(0, x.dtype(), walk.shape).template data<T>();
    State* states = ctx.scratch_of<State>(walk.outputs);
    std::fill_n(states, walk.outputs, R::template start<T>());
    if (x.size() > 0) {
      const bool splits = !walk.axes.empty() && !walk.axes[0].reduced;
      const int64_t rows = splits ? walk.axes[0].length : 1;
      const int64_t row = x.size() / rows;
      const int64_t out_row = walk.outputs / rows;
      parallel_for(ctx.pool(), rows, std::max<int64_t>(kGrain / row, 1),
                   [&](int64_t begin, int64_t end) {
                     Reduction part = walk;
                     if (splits) part.axes[0].length = end - begin;
                     take<R>(part, 0, x.data<T>() + begin * row, states + begin * out_row);
                   });
    }
    for (int64_t i = 0; i < walk.outputs; ++i) {
      y[i] = convert<T>(R::template finish<T>(states[i], walk.count));
    }
  });
}

}  // namespace

template <class R>
void reduce(KernelContext& ctx) {
  if (!ctx.segments().empty()) return run_segments<R>(ctx);
  run<R>(ctx, plan_reduction(ctx, ctx.input(0).shape()));
}

template <class R>
void global_pool(KernelContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  require(shape.rank() >= 2, ErrorCode::kInvalidArgument, describe(ctx.input(0)),
          " has no batch and channels");
  std::vector<bool> reduced(static_cast<size_t>(shape.rank()), true);
  reduced[0] = reduced[1] = false;
  Shape result = shape;
  for (int axis = 2; axis < shape.rank(); ++axis) result = result.with(axis, 1);
  run<R>(ctx, plan_reduction(shape, reduced, result));
}

void sum_to(KernelContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  // Where texts are joined the input holds a shape for each of them.
  require(ctx.input(1).dtype() == DType::kInt64 && ctx.input(1).rank() == 1 &&
              (ctx.planned_shape(0) != nullptr || ctx.input(1).size() <= Shape::kMaxRank),
          ErrorCode::kInvalidArgument, "the target shape is ", describe(ctx.input(1)));
  const Shape* planned = ctx.planned_shape(0);
  const Shape target = planned != nullptr ? *planned : Shape(ctx.input(1).values<int64_t>());
  require(broadcast(target, shape) == shape, ErrorCode::kInvalidArgument, "a sum of ",
          describe(ctx.input(0)), " cannot have the shape ", target.to_string());
  const int added = shape.rank() - target.rank();
  std::vector<bool> reduced(static_cast<size_t>(shape.rank()));
  for (int i = 0; i < shape.rank(); ++i) {
    reduced[static_cast<size_t>(i)] = i < added || target[i - added] != shape[i];
  }
  run<fn::Sum>(ctx, plan_reduction(shape, reduced, target));
}

template void global_pool<fn::Max>(KernelContext&);
template void global_pool<fn::Mean>(KernelContext&);
template void reduce<fn::L1>(KernelContext&);
template void reduce<fn::L2>(KernelContext&);
template void reduce<fn::LogSum>(KernelContext&);
template void reduce<fn::LogSumExp>(KernelContext&);
template void reduce<fn::Max>(KernelContext&);
template void reduce<fn::Mean>(KernelContext&);
template void reduce<fn::Min>(KernelContext&);
template void reduce<fn::Prod>(KernelContext&);
template void reduce<fn::Sum>(KernelContext&);
template void reduce<fn::SumSquare>(KernelContext&);

}  // namespace hugot::reduce
