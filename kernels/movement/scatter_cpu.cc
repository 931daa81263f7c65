// Kernels of ScatterElements and ScatterND.
#include <algorithm>
#include <string>

#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/movement/indices.h"
#include "kernels/movement/movement.h"
#include "kernels/strided.h"

namespace hugot::movement {
namespace {

// What happens to an element of the data when an update meets it.
template <class T>
struct Replace {
  void operator()(T& element, const T& update) const { element = update; }
};

enum class Reduction { kNone, kAdd, kMul, kMax, kMin };

Reduction reduction_of(const Node& node) {
  const std::string name = node.get<std::string>("reduction", "none");
  if (name == "none") return Reduction::kNone;
  if (name == "add") return Reduction::kAdd;
  if (name == "mul") return Reduction::kMul;
  if (name == "max") return Reduction::kMax;
  if (name == "min") return Reduction::kMin;
  fail(ErrorCode::kUnsupported, "reduction ", name, " is not supported");
}

template <class T>
struct Reduce {
  using C = Compute<T>;
  Reduction reduction;

  void operator()(T& element, const T& update) const {
    element = static_cast<T>(combine(static_cast<C>(element), static_cast<C>(update)));
  }

  C combine(C a, C b) const {
    switch (reduction) {
      case Reduction::kAdd:
        return static_cast<C>(wide(a) + wide(b));
      case Reduction::kMul:
        return static_cast<C>(wide(a) * wide(b));
      case Reduction::kMax:
        return b > a || b != b ? b : a;  // NaN wins
      default:
        return b < a || b != b ? b : a;
    }
  }

  // Integers wrap around; unsigned arithmetic makes that defined.
  static auto wide(C value) {
    if constexpr (std::is_integral_v<C>) {
      return static_cast<uint64_t>(value);
    } else {
      return value;
    }
  }
};

// Calls scatter(source, target, update_function) with elements of a suitable type.
template <class Scatter>
void with_reduction(const KernelContext& ctx, const Tensor& updates, Tensor& out,
                    Scatter&& scatter) {
  const Reduction reduction = reduction_of(ctx.node());
  if (reduction == Reduction::kNone) {
    with_element(out.dtype(),
                 [&]<class T>() { scatter(elements<T>(updates), elements<T>(out), Replace<T>{}); });
  } else {
    dispatch(NumberTypes{}, out.dtype(),
             [&]<class T>() { scatter(updates.data<T>(), out.data<T>(), Reduce<T>{reduction}); });
  }
}

Tensor& copy_of_data(KernelContext& ctx) {
  const Tensor& data = ctx.input(0);
  require(ctx.input(2).dtype() == data.dtype(), ErrorCode::kInvalidArgument, "updates are ",
          describe(ctx.input(2)), ", data are ", describe(data));
  Tensor& out = ctx.output(0, data.dtype(), data.shape());
  StridedView all;
  all.add(data.size(), 1);
  copy_view(data, all, out, ctx.pool());
  return out;
}

}  // namespace

void scatter_elements(KernelContext& ctx) {
  const Tensor& data = ctx.input(0);
  const Tensor& index_tensor = ctx.input(1);
  const Tensor& updates = ctx.input(2);
  const int axis = data.shape().axis(ctx.node().get<int64_t>("axis", 0));
  require_elements_fit(data, index_tensor, axis);
  require(updates.shape() == index_tensor.shape(), ErrorCode::kInvalidArgument, "updates are ",
          describe(updates), ", indices are ", describe(index_tensor));
  const Indices indices(index_tensor);
  Tensor& out = copy_of_data(ctx);
  if (updates.size() == 0) return;
  const auto strides = row_major_strides(data.shape());
  Odometer at;
  for (int i = 0; i < data.rank(); ++i) {
    at.add(index_tensor.shape()[i], i == axis ? 0 : strides[static_cast<size_t>(i)]);
  }
  const int64_t stride = strides[static_cast<size_t>(axis)];
  const int64_t dim = data.shape()[axis];
  with_reduction(ctx, updates, out, [&](const auto* source, auto* target, auto update) {
    for (int64_t i = 0; i < updates.size(); ++i, at.next()) {
      update(target[at.offset() + indices.get(i, dim) * stride], source[i]);
    }
  });
}

void scatter_nd(KernelContext& ctx) {
  const Tensor& data = ctx.input(0);
  const Tensor& updates = ctx.input(2);
  const Indices indices(ctx.input(1));
  const TupleLayout layout = tuple_layout(data.shape(), ctx.input(1).shape(), 0);
  require(updates.shape() == layout.shape, ErrorCode::kInvalidArgument, "updates are ",
          describe(updates), " instead of ", layout.shape.to_string());
  Tensor& out = copy_of_data(ctx);
  with_reduction(ctx, updates, out, [&](const auto* source, auto* target, auto update) {
    for (int64_t i = 0; i < layout.tuples; ++i, source += layout.block) {
      auto* block = target + tuple_offset(layout, data.shape(), indices, i);
      for (int64_t k = 0; k < layout.block; ++k) update(block[k], source[k]);
    }
  });
}

}  // namespace hugot::movement
