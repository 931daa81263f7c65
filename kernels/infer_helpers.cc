#include "kernels/infer_helpers.h"

#include <algorithm>
#include <array>
#include <vector>

namespace hugot {

DType input_dtype(const InferContext& ctx, int i) {
  return ctx.has_input(i) ? ctx.input(i).dtype : DType::kUndefined;
}

void require_same_dtype(const InferContext& ctx, int i, int j) {
  const DType a = input_dtype(ctx, i);
  const DType b = input_dtype(ctx, j);
  if (a == DType::kUndefined || b == DType::kUndefined) return;
  require(a == b, ErrorCode::kInvalidArgument, "inputs ", i, " and ", j,
          " have different element types, ", dtype_name(a), " and ", dtype_name(b));
}

std::optional<Dims> broadcast_inputs(const InferContext& ctx) {
  std::optional<Dims> result;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.has_input(i)) continue;
    const std::optional<Dims>& shape = ctx.input(i).shape;
    if (!shape) return std::nullopt;
    result = result ? broadcast(*result, *shape) : *shape;
  }
  return result;
}

void infer_same_as_input(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  ctx.output(0).shape = ctx.input(0).shape;
}

void propagate_uniform(InferContext& ctx) {
  std::vector<Tensor> scalars(static_cast<size_t>(ctx.num_inputs()));
  std::vector<const Tensor*> pointers(scalars.size());
  for (size_t i = 0; i < scalars.size(); ++i) {
    const int input = static_cast<int>(i);
    if (!ctx.has_input(input)) continue;
    std::optional<Tensor> value = ctx.input(input).single_value();
    if (!value) return;
    scalars[i] = *std::move(value);
    pointers[i] = &scalars[i];
  }
  propagate_uniform(ctx, pointers);
}

void propagate_uniform(InferContext& ctx, std::span<const Tensor* const> scalars) {
  if (ctx.node().op == nullptr || ctx.node().op->cpu == nullptr) return;
  try {
    ctx.output(0).uniform = evaluate(ctx.node(), scalars).at(0).reshaped({});
  } catch (const Error&) {
    // A division by zero, say. The tensor may have no element at all, so only running it can tell.
  }
}

namespace {

// The elements of a fact of known shape as dimensions, when all are known or symbolic.
std::optional<Dims> elements_of(const Fact& fact, const Shape& shape) {
  if (shape.size() > kMaxSymbolicElements) return std::nullopt;
  if (std::optional<Dims> elements = fact.dimensions()) return elements;
  if (!fact.uniform || !(is_integer(fact.dtype) || fact.dtype == DType::kBool)) return std::nullopt;
  return Dims(static_cast<size_t>(shape.size()), Dim(to_int64s(*fact.uniform)[0]));
}

}  // namespace

void propagate_symbolic(InferContext& ctx, SymbolicRule rule) {
  Fact& output = ctx.output(0);
  const std::optional<Shape> shape = output.fixed_shape();
  if (!shape || shape->size() > kMaxSymbolicElements) return;

  // Elements and, for each axis of the output, the step through them.
  struct Operand {
    Dims elements;
    std::array<int64_t, Shape::kMaxRank> strides{};
  };
  std::vector<Operand> operands(static_cast<size_t>(ctx.num_inputs()));
  for (size_t i = 0; i < operands.size(); ++i) {
    const int input = static_cast<int>(i);
    if (!ctx.has_input(input)) return;
    const Fact& fact = ctx.input(input);
    const std::optional<Shape> from = fact.fixed_shape();
    if (!from) return;
    std::optional<Dims> elements = elements_of(fact, *from);
    if (!elements) return;
    operands[i].elements = *std::move(elements);
    int64_t stride = 1;
    for (int axis = from->rank() - 1; axis >= 0; --axis) {
      const int to = axis + shape->rank() - from->rank();
      operands[i].strides[static_cast<size_t>(to)] = (*from)[axis] == 1 ? 0 : stride;
      stride *= (*from)[axis];
    }
  }

  Dims result;
  std::vector<Dim> arguments(operands.size());
  for (int64_t flat = 0; flat < shape->size(); ++flat) {
    for (size_t i = 0; i < operands.size(); ++i) {
      int64_t offset = 0;
      int64_t rest = flat;
      for (int axis = shape->rank() - 1; axis >= 0; --axis) {
        offset += rest % (*shape)[axis] * operands[i].strides[static_cast<size_t>(axis)];
        rest /= (*shape)[axis];
      }
      arguments[i] = operands[i].elements[static_cast<size_t>(offset)];
    }
    try {
      std::optional<Dim> element = rule(arguments);
      if (!element) return;
      result.push_back(*std::move(element));
    } catch (const Error&) {
      return;  // too large for a dimension; the kernel wraps around
    }
  }
  output.symbolic = std::move(result);
}

void pass_fact(InferContext& ctx, int i, int index) { ctx.output(index) = ctx.input(i); }

int infer_axis(const Dims& shape, int64_t axis) {
  return normalize_axis(axis, static_cast<int>(shape.size()));
}

Dim unknown_dim(const InferContext& ctx, int output, int axis) {
  const ValueId value = ctx.node().outputs[static_cast<size_t>(output)];
  return Dim::symbol(str("?", ctx.scope(), value, ".", axis));
}

Dims unknown_dims(const InferContext& ctx, int output, int rank) {
  Dims dims;
  for (int axis = 0; axis < rank; ++axis) dims.push_back(unknown_dim(ctx, output, axis));
  return dims;
}

std::optional<Dims> shape_given_by(const InferContext& ctx, int i) {
  const Fact& list = ctx.input(i);
  if (auto dims = list.dimensions()) {
    for (const Dim& dim : *dims) {
      require(dim.number().value_or(0) >= 0, ErrorCode::kInvalidArgument,
              "the target shape has the dimension ", dim.to_string());
    }
    return dims;
  }
  if (list.rank() != 1) return std::nullopt;
  const auto rank = list.shape->front().number();
  if (!rank || *rank > Shape::kMaxRank) return std::nullopt;
  return unknown_dims(ctx, 0, static_cast<int>(*rank));
}

bool fixed_behind(const Fact& fact, int axis) {
  return fact.shape && std::all_of(fact.shape->begin() + axis + 1, fact.shape->end(),
                                   [](const Dim& dim) { return dim.is_number(); });
}

}  // namespace hugot
