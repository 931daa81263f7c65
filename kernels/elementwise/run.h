// The loops that elementwise kernels are made of: a functor applied to runs of elements.
#ifndef HUGOT_KERNELS_ELEMENTWISE_RUN_H_
#define HUGOT_KERNELS_ELEMENTWISE_RUN_H_

#include <algorithm>

#include "kernels/broadcast.h"
#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise/elementwise.h"

namespace hugot::elementwise {

inline constexpr int64_t kGrain = 1 << 15;  // elements that make a task for another thread
inline constexpr int64_t kBlock = 256;      // elements widened or gathered at once
inline constexpr int64_t kShortRun = 8;     // runs below this length are gathered

// A functor with the attributes of its node.
template <class F>
F make(const Node& node) {
  if constexpr (std::is_constructible_v<F, const Node&>) {
    return F(node);
  } else {
    return F{};
  }
}

// The result type of a functor on the computing type T, stored for elements of type `Stored`.
template <class F, class Stored>
using Result = std::conditional_t<
    std::is_same_v<decltype(std::declval<const F&>()(std::declval<Compute<Stored>>())), bool>, bool,
    Stored>;
template <class F, class A, class B = A>
using Result2 =
    std::conditional_t<std::is_same_v<decltype(std::declval<const F&>()(
                                          std::declval<Compute<A>>(), std::declval<Compute<B>>())),
                                      bool>,
                       bool, A>;

// Elements x[0..n) in their computing type: x itself, or `block` filled from x.
template <class T>
const Compute<T>* widened(const T* x, int64_t n, Compute<T>* block) {
  if constexpr (is_half<T>) {
    convert_all(x, block, n);
    return block;
  } else {
    return x;
  }
}

// y[i] = f(x[i])
template <class F, class T, class R>
void run(const F& f, const T* x, R* y, int64_t n) {
  if constexpr (is_half<T>) {
    float in[kBlock];
    Compute<R> out[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t count = std::min(kBlock, n - i);
      run(f, widened(x + i, count, in), out, count);
      convert_all(out, y + i, count);
    }
  } else {
    if constexpr (std::is_same_v<T, float> && requires { f.simd(cpu::active_kernels()); }) {
      if (const cpu::UnaryKernel kernel = f.simd(cpu::active_kernels())) return kernel(x, y, n);
    }
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(f(x[i]));
  }
}

// y[i] = f(a[i * step_a], b[i * step_b]) with steps 0 or 1
template <class F, class A, class B, class R>
void run(const F& f, const A* a, int64_t step_a, const B* b, int64_t step_b, R* y, int64_t n) {
  if constexpr (is_half<A> || is_half<B>) {
    Compute<A> block_a[kBlock];
    Compute<B> block_b[kBlock];
    Compute<R> out[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t count = std::min(kBlock, n - i);
      run(f, widened(a + i * step_a, step_a != 0 ? count : 1, block_a), step_a,
          widened(b + i * step_b, step_b != 0 ? count : 1, block_b), step_b, out, count);
      convert_all(out, y + i, count);
    }
  } else {
    if (step_a == 0 && step_b == 0) {
      R value;
      run(f, a, 1, b, 1, &value, 1);
      std::fill_n(y, n, value);
      return;
    }
    if constexpr (std::is_same_v<A, float> && std::is_same_v<B, float> &&
                  requires { f.simd(cpu::active_kernels()); }) {
      const cpu::BinaryKernel& kernel = f.simd(cpu::active_kernels());
      if (step_a == 0) {
        kernel.sv(*a, b, y, n);
      } else if (step_b == 0) {
        kernel.vs(a, *b, y, n);
      } else {
        kernel.vv(a, b, y, n);
      }
    } else if (step_a == 0) {
      const A value = *a;
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(f(value, b[i]));
    } else if (step_b == 0) {
      const B value = *b;
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(f(a[i], value));
    } else {
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(f(a[i], b[i]));
    }
  }
}

// The same for output elements [begin, end) of a plan whose runs are too short to be worth a call
// each: operands are first gathered into blocks.
template <class F, class A, class B, class R>
void run_gathered(const BroadcastPlan& plan, const F& f, const A* a, const B* b, R* y,
                  int64_t begin, int64_t end) {
  A block_a[kBlock];
  B block_b[kBlock];
  for (int64_t start = begin; start < end; start += kBlock) {
    const int64_t count = std::min(kBlock, end - start);
    plan.for_runs(start, start + count,
                  [&](int64_t at, const BroadcastPlan::Offsets& from, int64_t n) {
                    for (int64_t i = 0; i < n; ++i) {
                      block_a[at - start + i] = a[from[0] + i * plan.step(0)];
                      block_b[at - start + i] = b[from[1] + i * plan.step(1)];
                    }
                  });
    run(f, block_a, 1, block_b, 1, y + start, count);
  }
}

// y = f(a, b) with a and b broadcast to the shape of y; a may be y itself.
template <class F, class A, class B, class R>
void run_broadcast(ThreadPool* pool, const F& f, const A* a, const Shape& shape_a, const B* b,
                   const Shape& shape_b, R* y, const Shape& shape) {
  const BroadcastPlan plan(shape, {&shape_a, &shape_b});
  const bool gather = plan.run_length() < kShortRun && plan.run_length() < shape.size();
  parallel_for(pool, shape.size(), kGrain, [&](int64_t begin, int64_t end) {
    if (gather) return run_gathered(plan, f, a, b, y, begin, end);
    plan.for_runs(begin, end, [&](int64_t at, const BroadcastPlan::Offsets& from, int64_t n) {
      run(f, a + from[0], plan.step(0), b + from[1], plan.step(1), y + at, n);
    });
  });
}

template <class F>
void unary(KernelContext& ctx) {
  const F f = make<F>(ctx.node());
  const Tensor& x = ctx.input(0);
  dispatch(typename F::Elements{}, x.dtype(), [&]<class T>() {
    using R = Result<F, T>;
    R* y = ctx.output(0, dtype_of<R>, x.shape()).template data<R>();
    const T* from = x.data<T>();
    parallel_for(ctx.pool(), x.size(), kGrain,
                 [&](int64_t begin, int64_t end) { run(f, from + begin, y + begin, end - begin); });
  });
}

inline void require_equal_types(const Tensor& a, const Tensor& b) {
  require(a.dtype() == b.dtype(), ErrorCode::kInvalidArgument, "operands have different types, ",
          dtype_name(a.dtype()), " and ", dtype_name(b.dtype()));
}

template <class F>
void binary(KernelContext& ctx) {
  const F f = make<F>(ctx.node());
  const Tensor& a = ctx.input(0);
  const Tensor& b = ctx.input(1);
  require_equal_types(a, b);
  const Shape shape_b = shape_of_b(ctx.node(), a.shape(), b.shape());
  const Shape shape = broadcast(a.shape(), shape_b);
  dispatch(typename F::Elements{}, a.dtype(), [&]<class T>() {
    using R = Result2<F, T>;
    Tensor& y = ctx.output(0, dtype_of<R>, shape);
    run_broadcast(ctx.pool(), f, a.data<T>(), a.shape(), b.data<T>(), shape_b, y.data<R>(), shape);
  });
}

// The broadcast of all inputs' shapes, which must have one type.
inline Shape broadcast_all(KernelContext& ctx) {
  Shape shape = ctx.input(0).shape();
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    require_equal_types(ctx.input(0), ctx.input(i));
    shape = broadcast(shape, ctx.input(i).shape());
  }
  return shape;
}

// y = f(..f(x0, x1).., xn). Written by f itself even for one input, where it is `x0`.
template <class F, class T>
void accumulate(KernelContext& ctx, const F& f, const Shape& shape, T* y) {
  const Tensor& first = ctx.input(0);
  if (ctx.num_inputs() == 1) std::copy_n(first.data<T>(), first.size(), y);
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    const Tensor& next = ctx.input(i);
    const bool second = i == 1;
    run_broadcast(ctx.pool(), f, second ? first.data<T>() : y, second ? first.shape() : shape,
                  next.data<T>(), next.shape(), y, shape);
  }
}

template <class F>
void variadic(KernelContext& ctx) {
  const F f = make<F>(ctx.node());
  const Shape shape = broadcast_all(ctx);
  const DType dtype = ctx.input(0).dtype();
  dispatch(typename F::Elements{}, dtype, [&]<class T>() {
    accumulate(ctx, f, shape, ctx.output(0, dtype, shape).template data<T>());
  });
}

}  // namespace hugot::elementwise

#endif  // HUGOT_KERNELS_ELEMENTWISE_RUN_H_
