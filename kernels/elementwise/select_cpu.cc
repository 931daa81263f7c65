// Clip and Where.
#include <limits>
#include <string>

#include "kernels/elementwise/run.h"

namespace hugot::elementwise {
namespace {

constexpr int kClipByInputs = 11;  // before: attributes min and max

// Limits come as attributes or as optional inputs of one element.
template <class T>
Compute<T> limit(KernelContext& ctx, std::string_view attribute, int input, Compute<T> none) {
  if (ctx.node().op->since_version < kClipByInputs) {
    return convert<Compute<T>>(ctx.node().get(attribute, convert<float>(none)));
  }
  if (!ctx.has_input(input)) return none;
  const Tensor& value = ctx.input(input);
  require_equal_types(ctx.input(0), value);
  require(value.size() == 1, ErrorCode::kInvalidArgument, "the ", attribute, " of Clip is ",
          describe(value), " instead of one number");
  return convert<Compute<T>>(*value.data<T>());
}

// Bits that Where moves: one type for each element size.
template <class Body>
void dispatch_bits(DType dtype, Body&& body) {
  if (dtype == DType::kString) return body.template operator()<std::string>();
  switch (dtype_bits(dtype)) {
    case 8:
      return body.template operator()<uint8_t>();
    case 16:
      return body.template operator()<uint16_t>();
    case 32:
      return body.template operator()<uint32_t>();
    case 64:
      return body.template operator()<uint64_t>();
    default:
      fail(ErrorCode::kUnsupported, "element type ", dtype_name(dtype), " is not supported here");
  }
}

// y[i] = c[i] ? a[i] : b[i], with an operand vector or scalar as its template argument says.
template <bool kVectorA, bool kVectorB, class T>
void choose(const bool* c, const T* a, const T* b, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[kVectorA ? i : 0] : b[kVectorB ? i : 0];
}

template <class T>
void choose_run(const bool* c, bool vector_c, const T* a, bool vector_a, const T* b, bool vector_b,
                T* y, int64_t n) {
  if (!vector_c) {
    const T* chosen = *c ? a : b;
    if (*c ? vector_a : vector_b) {
      std::copy_n(chosen, n, y);
    } else {
      std::fill_n(y, n, *chosen);
    }
  } else if (vector_a) {
    vector_b ? choose<true, true>(c, a, b, y, n) : choose<true, false>(c, a, b, y, n);
  } else {
    vector_b ? choose<false, true>(c, a, b, y, n) : choose<false, false>(c, a, b, y, n);
  }
}

}  // namespace

void clip(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  dispatch(NumberTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    using Limits = std::numeric_limits<C>;
    constexpr bool kInfinite = Limits::has_infinity;
    const C low = limit<T>(ctx, "min", 1, kInfinite ? -Limits::infinity() : Limits::lowest());
    const C high = limit<T>(ctx, "max", 2, kInfinite ? Limits::infinity() : Limits::max());
    // With low > high the result is high; NaN stays NaN.
    const auto f = [low, high](C v) {
      const C raised = v < low ? low : v;
      return raised > high ? high : raised;
    };
    T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
    const T* from = x.data<T>();
    parallel_for(ctx.pool(), x.size(), kGrain,
                 [&](int64_t begin, int64_t end) { run(f, from + begin, y + begin, end - begin); });
  });
}

void where(KernelContext& ctx) {
  const Tensor& condition = ctx.input(0);
  const Tensor& a = ctx.input(1);
  const Tensor& b = ctx.input(2);
  require_equal_types(a, b);
  require(condition.dtype() == DType::kBool, ErrorCode::kInvalidArgument, "the condition is ",
          describe(condition), " instead of bool");
  const Shape shape = broadcast(broadcast(condition.shape(), a.shape()), b.shape());
  const BroadcastPlan plan(shape, {&condition.shape(), &a.shape(), &b.shape()});
  const bool* c = condition.data<bool>();
  Tensor& output = ctx.output(0, a.dtype(), shape);
  dispatch_bits(a.dtype(), [&]<class T>() {
    const auto* pa = static_cast<const T*>(a.raw());
    const auto* pb = static_cast<const T*>(b.raw());
    auto* y = static_cast<T*>(output.raw());
    parallel_for(ctx.pool(), shape.size(), kGrain, [&](int64_t begin, int64_t end) {
      plan.for_runs(begin, end, [&](int64_t at, const BroadcastPlan::Offsets& from, int64_t n) {
        choose_run(c + from[0], plan.step(0) != 0, pa + from[1], plan.step(1) != 0, pb + from[2],
                   plan.step(2) != 0, y + at, n);
      });
    });
  });
}

}  // namespace hugot::elementwise
