// Operators that walk along one axis: positions of extremes, running sums, the k largest.
#include <algorithm>
#include <cmath>

#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/reduce/reduce.h"

namespace hugot::reduce {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements read that make a task for another thread

// A tensor seen as [outer, length, inner]; a line is what one (outer, inner) pair selects.
struct Lines {
  int64_t outer, length, inner;

  Lines(const Shape& shape, int axis)
      : outer(shape.product(0, axis)),
        length(shape[axis]),
        inner(shape.product(axis + 1, shape.rank())) {}

  int64_t count() const { return outer * inner; }
  // Where line `i` begins in a tensor whose axis has length `n`; its elements are `inner` apart.
  int64_t start(int64_t i, int64_t n) const { return i / inner * n * inner + i % inner; }
};

void for_lines(ThreadPool* pool, const Lines& lines, const std::function<void(int64_t)>& body) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(lines.length, 1), 1);
  parallel_for(pool, lines.count(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

// The order of numbers with NaN above all others.
template <class T>
bool less(T a, T b) {
  return a < b || (b != b && a == a);
}

int64_t single_integer(const Tensor& tensor, const char* what) {
  require(tensor.size() == 1, ErrorCode::kInvalidArgument, what, " is ", describe(tensor),
          " instead of one number");
  return to_int64s(tensor)[0];
}

// The walk starts anew at every boundary of `stretches`, the ascending cuts of the axis from 0 to
// its end.
template <class T, class Combine>
void run_cumulative(KernelContext& ctx, const Lines& lines, std::span<const int64_t> stretches,
                    Compute<T> identity, Combine combine) {
  const bool exclusive = ctx.node().get<int64_t>("exclusive", 0) != 0;
  const bool reverse = ctx.node().get<int64_t>("reverse", 0) != 0;
  const Tensor& x = ctx.input(0);
  T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
  for_lines(ctx.pool(), lines, [&](int64_t line) {
    const int64_t start = lines.start(line, lines.length);
    for (size_t s = 0; s + 1 < stretches.size(); ++s) {
      const int64_t first = stretches[s], last = stretches[s + 1] - 1;
      Compute<T> state = identity;
      for (int64_t k = first; k <= last; ++k) {
        const int64_t at = start + (reverse ? first + last - k : k) * lines.inner;
        const Compute<T> next = combine(state, convert<Compute<T>>(x.data<T>()[at]));
        y[at] = convert<T>(exclusive ? state : next);
        state = next;
      }
    }
  });
}

template <class Combine>
void cumulative(KernelContext& ctx, int identity, Combine combine) {
  const Tensor& x = ctx.input(0);
  const int axis = x.shape().axis(single_integer(ctx.input(1), "the axis"));
  const Lines lines(x.shape(), axis);
  const int64_t whole[] = {0, lines.length};
  const auto segments = ctx.segments();
  const std::span<const int64_t> stretches = segments.empty() ? whole : segments;
  require(stretches.back() == lines.length, ErrorCode::kInvalidArgument, "axis ", axis, " of ",
          describe(x), " is not the token axis");
  dispatch(NumberTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    run_cumulative<T>(ctx, lines, stretches, static_cast<C>(identity), [&](C a, C b) {
      if constexpr (std::is_integral_v<C>) {  // wraps around
        return static_cast<C>(combine(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
      } else {
        return combine(a, b);
      }
    });
  });
}

bool select_last(const Node& node) { return node.get<int64_t>("select_last_index", 0) != 0; }

// Where the largest or smallest of `count` >= 1 values is, `step` from one to the next.
template <bool kMax, class T>
int64_t extreme_place(const T* values, int64_t count, int64_t step, bool last) {
  using C = Compute<T>;
  // NaN is the extreme whether one asks for the largest or the smallest.
  const auto better = [](C a, C b) { return b == b && (a != a || (kMax ? a > b : a < b)); };
  int64_t best = 0;
  C best_value = convert<C>(values[0]);
  for (int64_t k = 1; k < count; ++k) {
    const C value = convert<C>(values[k * step]);
    if (better(value, best_value) || (last && !better(best_value, value))) {
      best = k;
      best_value = value;
    }
  }
  return best;
}

// Within each text of the joined token axis `axis`.
template <bool kMax>
void arg_extreme_of_segments(KernelContext& ctx, int axis) {
  const Tensor& x = ctx.input(0);
  const auto segments = ctx.segments();
  const Lines lines(x.shape(), axis);
  require(lines.outer == 1 && lines.length == segments.back(), ErrorCode::kInvalidArgument, "axis ",
          axis, " of ", describe(x), " is not the token axis");
  int64_t* y = ctx.output(0, DType::kInt64, *ctx.planned_shape(0)).data<int64_t>();
  const bool last = select_last(ctx.node());
  dispatch(NumberTypes{}, x.dtype(), [&]<class T>() {
    for (size_t s = 0; s + 1 < segments.size(); ++s) {
      const T* rows = x.data<T>() + segments[s] * lines.inner;
      for (int64_t i = 0; i < lines.inner; ++i) {
        *y++ = extreme_place<kMax>(rows + i, segments[s + 1] - segments[s], lines.inner, last);
      }
    }
  });
}

}  // namespace

template <bool kMax>
void arg_extreme(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const int axis = x.shape().axis(ctx.node().get<int64_t>("axis", 0));
  if (!ctx.segments().empty()) return arg_extreme_of_segments<kMax>(ctx, axis);
  const Lines lines(x.shape(), axis);
  require(lines.length > 0 || lines.count() == 0, ErrorCode::kInvalidArgument, "axis ", axis,
          " of ", describe(x), " is empty: there is no extreme");
  std::vector<int64_t> dims(x.shape().begin(), x.shape().end());
  if (ctx.node().get<int64_t>("keepdims", 1) != 0) {
    dims[static_cast<size_t>(axis)] = 1;
  } else {
    dims.erase(dims.begin() + axis);
  }
  int64_t* y = ctx.output(0, DType::kInt64, Shape(dims)).data<int64_t>();
  const bool last = select_last(ctx.node());
  dispatch(NumberTypes{}, x.dtype(), [&]<class T>() {
    for_lines(ctx.pool(), lines, [&](int64_t line) {
      const T* values = x.data<T>() + lines.start(line, lines.length);
      y[line] = extreme_place<kMax>(values, lines.length, lines.inner, last);
    });
  });
}

template void arg_extreme<true>(KernelContext&);
template void arg_extreme<false>(KernelContext&);

void cum_sum(KernelContext& ctx) {
  cumulative(ctx, 0, [](auto a, auto b) { return a + b; });
}

void cum_prod(KernelContext& ctx) {
  cumulative(ctx, 1, [](auto a, auto b) { return a * b; });
}

// Always sorted; of equal elements the one with the lower index comes first.
void top_k(KernelContext& ctx) {
  const Node& node = ctx.node();
  const Tensor& x = ctx.input(0);
  const int axis = x.shape().axis(node.get<int64_t>("axis", -1));
  const Lines lines(x.shape(), axis);
  const int64_t k =
      node.op->since_version < 10 ? node.at<int64_t>("k") : single_integer(ctx.input(1), "k");
  require(k >= 0 && k <= lines.length, ErrorCode::kInvalidArgument, "k = ", k,
          " elements cannot be taken from an axis of length ", lines.length);
  const bool largest = node.get<int64_t>("largest", 1) != 0;
  const Shape shape = x.shape().with(axis, k);
  Tensor& values = ctx.output(0, x.dtype(), shape);
  Tensor unwanted;
  if (!ctx.wants_output(1)) unwanted = Tensor(DType::kInt64, shape);
  Tensor& indices = ctx.wants_output(1) ? ctx.output(1, DType::kInt64, shape) : unwanted;
  dispatch(NumberTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    struct Item {
      C value;
      int64_t index;
    };
    const auto before = [largest](const Item& a, const Item& b) {
      if (less(a.value, b.value)) return !largest;
      if (less(b.value, a.value)) return largest;
      return a.index < b.index;
    };
    Item* items = ctx.scratch_of<Item>(lines.length);
    for (int64_t line = 0; line < lines.count(); ++line) {
      const T* from = x.data<T>() + lines.start(line, lines.length);
      for (int64_t i = 0; i < lines.length; ++i) items[i] = {convert<C>(from[i * lines.inner]), i};
      std::partial_sort(items, items + k, items + lines.length, before);
      const int64_t to = lines.start(line, k);
      for (int64_t i = 0; i < k; ++i) {
        values.data<T>()[to + i * lines.inner] = from[items[i].index * lines.inner];
        indices.data<int64_t>()[to + i * lines.inner] = items[i].index;
      }
    }
  });
}

}  // namespace hugot::reduce
