// Operators that give memory another shape or tell about shapes: inference and batching.
#include "kernels/views/views.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace views {
namespace {

Dim product(const Dims& dims, size_t first, size_t last) {
  Dim result = 1;
  for (size_t i = first; i < last; ++i) result = result * dims[i];
  return result;
}

// The dimension that -1 stands for: input elements divided by those of the other dimensions.
// Factors that both sides have are cancelled first, which keeps symbolic quotients exact.
std::optional<Dim> inferred_dim(Dims in, const Dims& out, size_t skip) {
  Dim others = 1;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i == skip) continue;
    const auto same = std::find(in.begin(), in.end(), out[i]);
    if (same != in.end() && !out[i].is(0)) {
      in.erase(same);
    } else {
      others = others * out[i];
    }
  }
  if (others.is(0)) return std::nullopt;
  return Dim::divide(product(in, 0, in.size()), others);
}

Dims reshape_dims(const InferContext& ctx, const Dims& target, bool allow_zero) {
  const auto& in = ctx.input(0).shape;
  Dims out = target;
  std::optional<size_t> inferred;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i].is(-1)) {
      require(!inferred, ErrorCode::kInvalidArgument, "the target shape has two dimensions -1");
      inferred = i;
    } else if (target[i].is(0) && !allow_zero) {
      require(!in || i < in->size(), ErrorCode::kInvalidArgument, "dimension ", i,
              " of the target shape is 0, but the input has no such dimension");
      out[i] = in ? (*in)[i] : unknown_dim(ctx, 0, static_cast<int>(i));
    } else if (const auto number = target[i].number()) {
      require(*number >= 0, ErrorCode::kInvalidArgument, "the target shape has the dimension ",
              *number);
    }
  }
  if (inferred) {
    const auto dim = in ? inferred_dim(*in, out, *inferred) : std::nullopt;
    out[*inferred] = dim ? *dim : unknown_dim(ctx, 0, static_cast<int>(*inferred));
  }
  return out;
}

// Output shape for a shape input whose elements may be known, symbolic, or only counted.
std::optional<Dims> target_dims(const InferContext& ctx, const Fact& shape_input) {
  if (const auto dims = shape_input.dimensions()) return *dims;
  if (shape_input.rank() != 1) return std::nullopt;
  const auto rank = shape_input.shape->front().number();
  if (!rank || *rank > Shape::kMaxRank) return std::nullopt;
  return unknown_dims(ctx, 0, static_cast<int>(*rank));
}

void infer_reshape(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  if (const auto target = target_dims(ctx, ctx.input(1))) {
    out.shape = reshape_dims(ctx, *target, ctx.node().get<int64_t>("allowzero", 0) != 0);
    ctx.propagate_moved({0});
  }
}

void infer_view(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  out.uniform = in.single_value();
  out.symbolic = in.symbolic;
  if (ctx.node().has("shape")) {
    const auto& target = ctx.node().at<std::vector<int64_t>>("shape");
    out.shape = reshape_dims(ctx, Dims(target.begin(), target.end()), false);
  }
}

void infer_flatten(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  if (const auto& in = ctx.input(0).shape) {
    const int rank = static_cast<int>(in->size());
    const auto axis = ctx.node().get<int64_t>("axis", 1);
    require(axis >= -rank && axis <= rank, ErrorCode::kInvalidArgument, "axis ", axis,
            " is outside of a tensor of rank ", rank);
    const auto cut = static_cast<size_t>(axis < 0 ? axis + rank : axis);
    out.shape = Dims{product(*in, 0, cut), product(*in, cut, in->size())};
    ctx.propagate_moved({0});
  }
}

// Axes from the attribute (before version 13) or from input 1; `given` tells whether there are any.
std::optional<std::vector<int64_t>> known_axes(const InferContext& ctx, bool* given) {
  const Node& node = ctx.node();
  if (node.has("axes")) {
    *given = true;
    return node.at<std::vector<int64_t>>("axes");
  }
  *given = ctx.num_inputs() > 1 && ctx.has_input(1);
  return *given ? ctx.integers(1) : std::nullopt;
}

// Rank of the output when only the number of axes is known: that of the input and `sign` per axis.
void set_rank_by_axes(InferContext& ctx, int sign) {
  const int in = ctx.input(0).rank();
  if (in < 0 || ctx.num_inputs() < 2 || !ctx.has_input(1) || ctx.input(1).rank() != 1) return;
  const auto count = ctx.input(1).shape->front().number();
  if (!count || *count > Shape::kMaxRank || in + sign * *count < 0) return;
  ctx.output(0).shape = unknown_dims(ctx, 0, in + sign * static_cast<int>(*count));
}

void infer_squeeze(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  out.uniform = ctx.input(0).single_value();
  bool given = false;
  const auto axes = known_axes(ctx, &given);
  const auto& in = ctx.input(0).shape;
  if (!in || (given && !axes)) return set_rank_by_axes(ctx, -1);
  std::vector<bool> drop(in->size(), false);
  if (given) {
    for (const int64_t axis : *axes) drop[static_cast<size_t>(infer_axis(*in, axis))] = true;
  } else {
    for (size_t i = 0; i < in->size(); ++i) {
      if (!(*in)[i].is_number()) return;  // may be 1 or not
      drop[i] = (*in)[i].is(1);
    }
  }
  Dims dims;
  for (size_t i = 0; i < in->size(); ++i) {
    if (!drop[i]) {
      dims.push_back((*in)[i]);
    } else if (const auto number = (*in)[i].number()) {
      require(*number == 1, ErrorCode::kInvalidArgument, "cannot remove axis ", i, " of length ",
              *number);
    }
  }
  out.shape = std::move(dims);
  ctx.propagate_moved({0});
}

void infer_unsqueeze(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  out.uniform = ctx.input(0).single_value();
  bool given = false;
  const auto axes = known_axes(ctx, &given);
  const auto& in = ctx.input(0).shape;
  if (!in || !axes) return set_rank_by_axes(ctx, 1);
  const int rank = static_cast<int>(in->size() + axes->size());
  std::vector<bool> added(static_cast<size_t>(rank), false);
  for (const int64_t axis : *axes) {
    const auto at = static_cast<size_t>(normalize_axis(axis, rank));
    require(!added[at], ErrorCode::kInvalidArgument, "axis ", axis, " is given twice");
    added[at] = true;
  }
  Dims dims;
  auto next = in->begin();
  for (const bool one : added) dims.push_back(one ? Dim(1) : *next++);
  out.shape = std::move(dims);
  ctx.propagate_moved({0});
}

void infer_identity(InferContext& ctx) { pass_fact(ctx, 0); }

void infer_dropout(InferContext& ctx) {
  const Node& node = ctx.node();
  const Fact& in = ctx.input(0);
  const bool may_drop = ctx.num_inputs() > 2 && ctx.has_input(2);
  const auto training =
      may_drop ? ctx.integers(2) : std::vector<int64_t>{dropout_trains_by_attribute(node) ? 1 : 0};
  const bool inference = training && training->size() == 1 && training->front() == 0;
  if (inference) {
    pass_fact(ctx, 0);
  } else {
    infer_same_as_input(ctx);
  }
  if (ctx.num_outputs() > 1) {
    Fact& mask = ctx.output(1);
    mask.dtype = node.op->since_version >= 10 ? DType::kBool : in.dtype;
    mask.shape = in.shape;
    if (inference && mask.dtype == DType::kBool) mask.uniform = Tensor::scalar(true);
  }
}

// Sets the output to these numbers: a constant when they are known.
void set_numbers(Fact& out, Dims elements, Dims shape) {
  out.dtype = DType::kInt64;
  out.shape = std::move(shape);
  out.symbolic = std::move(elements);
  if (const auto numbers = out.integers()) {
    out.constant = Tensor::from<int64_t>(*out.fixed_shape(), std::span<const int64_t>(*numbers));
  }
}

void infer_shape(InferContext& ctx) {
  const Node& node = ctx.node();
  const auto& in = ctx.input(0).shape;
  Fact& out = ctx.output(0);
  out.dtype = DType::kInt64;
  if (!in) {
    out.shape = unknown_dims(ctx, 0, 1);
    return;
  }
  const auto [begin, end] = shape_range(node, static_cast<int>(in->size()));
  Dims elements(in->begin() + begin, in->begin() + end);
  const auto count = static_cast<int64_t>(elements.size());
  set_numbers(out, std::move(elements), {count});
}

void infer_size(InferContext& ctx) {
  const auto& in = ctx.input(0).shape;
  ctx.output(0) = Fact::of(DType::kInt64, {});
  if (in) set_numbers(ctx.output(0), {product(*in, 0, in->size())}, {});
}

void infer_constant(InferContext& ctx) { ctx.output(0) = Fact::of(constant_value(ctx.node())); }

void infer_constant_of_shape(InferContext& ctx) {
  Fact& out = ctx.output(0);
  const Tensor value = fill_value(ctx.node());
  out.dtype = value.dtype();
  out.uniform = value;
  out.shape = target_dims(ctx, ctx.input(0));
  const auto shape = out.shape ? out.fixed_shape() : std::nullopt;
  if (shape && shape->size() <= kMaxSymbolicElements && is_integer(value.dtype())) {
    out.symbolic = Dims(static_cast<size_t>(shape->size()), Dim(to_int64s(value).front()));
  }
}

void infer_range(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  out.shape = unknown_dims(ctx, 0, 1);
  std::vector<Dim> bounds;
  for (int i = 0; i < 3; ++i) {
    const auto dims = ctx.input(i).dimensions();
    if (!dims || dims->size() != 1) return;
    bounds.push_back(dims->front());
  }
  Fact list;
  list.symbolic = bounds;
  const auto numbers = list.integers();
  if (numbers && (*numbers)[2] != 0) {
    out.shape = Dims{range_length((*numbers)[0], (*numbers)[1], (*numbers)[2])};
  } else if (bounds[2].is(1)) {
    out.shape = Dims{Dim::max(bounds[1] - bounds[0], 0)};
  } else if (bounds[2].is(-1)) {
    out.shape = Dims{Dim::max(bounds[0] - bounds[1], 0)};
  }
}

void infer_expand(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  const auto target = target_dims(ctx, ctx.input(1));
  if (!in.shape || !target) {
    out.uniform = in.single_value();
    return;
  }
  out.shape = broadcast(*in.shape, *target);
  ctx.propagate_moved({0});
}

void infer_eye_like(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  ctx.output(0).dtype =
      static_cast<DType>(ctx.node().get<int64_t>("dtype", static_cast<int64_t>(in.dtype)));
  ctx.output(0).shape = in.shape;
}

Batching batch_expand(const BatchQuery& query) {
  const Fact& in = query.input_fact(0);
  const Fact& out = query.output_fact(0);
  if (in.rank() < 0 || out.rank() < 0) return Batching::kLoop;
  const int token = query.token_axis(0);
  const int target = query.output_token_axis(0);
  if (token >= 0 && target == token + out.rank() - in.rank() && fixed_behind(in, token) &&
      fixed_behind(out, target)) {
    return Batching::kPacked;
  }
  const bool rows = query.row(0) && in.rank() == out.rank() && out.rank() > 0 &&
                    out.shape->front().is(1) && fixed_behind(out, 0);
  return rows ? Batching::kRows : Batching::kLoop;
}

OpDef define_view(Arity inputs, InferFunction infer, KernelFunction cpu, Arity outputs = {}) {
  OpDef op = define(inputs, infer, cpu, batch_view, outputs);
  op.aliases = true;
  op.gradient = rule::View;
  return op;
}

}  // namespace

Batching batch_view(const BatchQuery& query) {
  const Fact& in = query.input_fact(0);
  const Fact& out = query.output_fact(0);
  const int token = query.token_axis(0);
  const int target = query.output_token_axis(0);
  if (token >= 0 && target >= 0 && fixed_behind(in, token) && fixed_behind(out, target)) {
    return Batching::kPacked;
  }
  const bool rows =
      query.row(0) && out.rank() > 0 && out.shape->front().is(1) && fixed_behind(out, 0);
  return rows ? Batching::kRows : Batching::kLoop;
}

}  // namespace views

namespace ops {

// Version 1 has the shape as an attribute, as View.
OpDef onnx_Reshape(int version) {
  return version < 5 ? views::define_view({1, 1}, views::infer_view, views::view)
                     : views::define_view({2, 2}, views::infer_reshape, views::reshape);
}

OpDef hugot_View(int) { return views::define_view({1, 1}, views::infer_view, views::view); }

OpDef onnx_Flatten(int) { return views::define_view({1, 1}, views::infer_flatten, views::flatten); }

OpDef onnx_Squeeze(int version) {
  return views::define_view({1, version < 13 ? 1 : 2}, views::infer_squeeze, views::squeeze);
}

OpDef onnx_Unsqueeze(int version) {
  return views::define_view({version < 13 ? 1 : 2, version < 13 ? 1 : 2}, views::infer_unsqueeze,
                            views::unsqueeze);
}

OpDef onnx_Identity(int) {
  return views::define_view({1, 1}, views::infer_identity, views::identity);
}

OpDef onnx_Dropout(int version) {
  return with_gradient(
      views::define_view({1, version < 12 ? 1 : 3}, views::infer_dropout, views::dropout, {1, 2}),
      views::rule::Dropout);
}

OpDef onnx_Shape(int) { return define({1, 1}, views::infer_shape, views::shape); }

OpDef onnx_Size(int) { return define({1, 1}, views::infer_size, views::size); }

OpDef onnx_Constant(int) { return define({0, 0}, views::infer_constant, views::constant); }

OpDef onnx_ConstantOfShape(int) {
  return define({1, 1}, views::infer_constant_of_shape, views::constant_of_shape);
}

OpDef onnx_Range(int) {
  return with_gradient(define({3, 3}, views::infer_range, views::range), views::rule::Range);
}

OpDef onnx_Expand(int) {
  return with_gradient(define({2, 2}, views::infer_expand, views::expand, views::batch_expand),
                       views::rule::Expand);
}

OpDef onnx_EyeLike(int) {
  return with_gradient(define({1, 1}, views::infer_eye_like, views::eye_like),
                       views::rule::EyeLike);
}

}  // namespace ops
}  // namespace hugot
