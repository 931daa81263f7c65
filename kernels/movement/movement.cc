// Transpose, Concat, Split, Slice, Tile, Trilu, Pad: inference and batching.
#include "kernels/movement/movement.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace movement {
namespace {

// Attribute or input, as old and new versions give the same list; empty when not known or absent.
std::optional<std::vector<int64_t>> list_of(const InferContext& ctx, std::string_view attribute,
                                            int input) {
  if (ctx.node().has(attribute)) return ctx.node().at<std::vector<int64_t>>(attribute);
  return input < ctx.num_inputs() ? ctx.integers(input) : std::nullopt;
}

void infer_transpose(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  const auto& in = ctx.input(0).shape;
  if (!in) return;
  Dims dims;
  for (const int axis : permutation(ctx.node(), static_cast<int>(in->size()))) {
    dims.push_back((*in)[static_cast<size_t>(axis)]);
  }
  out.shape = std::move(dims);
  ctx.propagate_moved({0});
}

Batching batch_transpose(const BatchQuery& query) {
  const Fact& in = query.input_fact(0);
  if (in.rank() < 0) return Batching::kLoop;
  const Permutation perm = permutation(query.node(), in.rank());
  const int token = query.token_axis(0);
  const int target = query.output_token_axis(0);
  if (token >= 0 && target >= 0 && perm[static_cast<size_t>(target)] == token &&
      fixed_behind(in, token)) {
    return Batching::kPacked;
  }
  return query.row(0) && perm.front() == 0 ? Batching::kRows : Batching::kLoop;
}

// Axis of Concat; version 1 has a default.
int64_t concat_axis(const Node& node) {
  return node.op->since_version < 4 ? node.get<int64_t>("axis", 1) : node.at<int64_t>("axis");
}

void infer_concat(InferContext& ctx) {
  Fact& out = ctx.output(0);
  std::vector<int> data;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    require(ctx.has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    require_same_dtype(ctx, 0, i);
    data.push_back(i);
  }
  out.dtype = input_dtype(ctx, 0);
  Dims dims;
  size_t axis = 0;
  for (const int i : data) {
    const auto& shape = ctx.input(i).shape;
    if (!shape) return;
    if (i == 0) {
      dims = *shape;
      axis = static_cast<size_t>(infer_axis(dims, concat_axis(ctx.node())));
      continue;
    }
    require(shape->size() == dims.size(), ErrorCode::kInvalidArgument, "input ", i, " has rank ",
            shape->size(), ", input 0 has rank ", dims.size());
    for (size_t k = 0; k < dims.size(); ++k) {
      if (k == axis) {
        dims[k] = dims[k] + (*shape)[k];
      } else if (!dims[k].is_number()) {
        dims[k] = (*shape)[k];  // they have to be equal, and a number says more
      }
    }
  }
  out.shape = std::move(dims);
  ctx.propagate_moved(data);
}

Batching batch_concat(const BatchQuery& query) {
  const Fact& out = query.output_fact(0);
  if (out.rank() < 0) return Batching::kLoop;
  const int axis = normalize_axis(concat_axis(query.node()), out.rank());
  const int target = query.output_token_axis(0);
  bool packed = target >= 0 && axis > target;
  bool rows = axis > 0;
  // What all texts share, such as the embedding of a class token, is repeated by the kernel.
  const auto repeated = [&](int i) {
    const Fact& in = query.input_fact(i);
    return !query.ragged(i) && in.rank() == out.rank() && in.shape->front().is(1);
  };
  for (int i = 0; i < static_cast<int>(query.node().inputs.size()); ++i) {
    packed = packed && query.ragged(i) && query.token_axis(i) == target &&
             fixed_behind(query.input_fact(i), target);
    rows = rows && (query.row(i) || repeated(i));
  }
  if (packed) return Batching::kPacked;
  return rows ? Batching::kRows : Batching::kLoop;
}

void infer_split(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  const bool given = ctx.node().has("split") || (ctx.num_inputs() > 1 && ctx.has_input(1));
  const auto sizes = list_of(ctx, "split", 1);
  const int axis = in.shape ? infer_axis(*in.shape, ctx.node().get<int64_t>("axis", 0)) : 0;
  const auto dim = in.shape ? (*in.shape)[static_cast<size_t>(axis)].number() : std::nullopt;
  Int64List lengths;
  if (in.shape && dim && (sizes || !given)) lengths = split_sizes(ctx.node(), sizes, *dim);
  if (lengths.empty() && sizes) lengths = Int64List(*sizes);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    Fact& out = ctx.output(i);
    out.dtype = in.dtype;
    out.uniform = in.single_value();
    if (!in.shape) continue;
    out.shape = in.shape;
    (*out.shape)[static_cast<size_t>(axis)] = static_cast<size_t>(i) < lengths.size()
                                                  ? Dim(lengths[static_cast<size_t>(i)])
                                                  : unknown_dim(ctx, i, axis);
  }
  // Parts of a list of dimensions.
  const auto values = in.dimensions();
  if (!values || in.rank() != 1 || lengths.size() != static_cast<size_t>(ctx.num_outputs())) return;
  auto next = values->begin();
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const auto end = next + lengths[static_cast<size_t>(i)];
    ctx.output(i).symbolic = Dims(next, end);
    next = end;
  }
}

Batching batch_split(const BatchQuery& query) {
  const int64_t axis[] = {query.node().get<int64_t>("axis", 0)};
  return batch_over_axes(query, axis);
}

// A bound of a slice on an axis of length `dim`, counted from the front and cut to [0, dim].
std::optional<Dim> slice_bound(const Dim& bound, const Dim& dim) {
  constexpr int64_t kToTheEnd = std::numeric_limits<int32_t>::max();
  if (bound == dim) return dim;
  if (const auto number = bound.number()) {
    if (*number >= kToTheEnd) return dim;
    return *number >= 0 ? Dim::min(bound, dim) : Dim::max(dim + std::max(*number, -kToTheEnd), 0);
  }
  if (!bound.provably_at_least(0)) return std::nullopt;
  // A table of fixed length cut to the length of the text, as exports do with position ids: where
  // the table were too short the model could not run, so the bound is the length.
  return dim.is_number() ? bound : Dim::min(bound, dim);
}

std::optional<Dim> slice_length(const Dim& start, const Dim& end, int64_t step, const Dim& dim) {
  if (start.is_number() && end.is_number() && dim.is_number()) {
    return slice_range(*start.number(), *end.number(), step, *dim.number()).count;
  }
  if (step != 1) return std::nullopt;
  const auto first = slice_bound(start, dim);
  const auto last = slice_bound(end, dim);
  if (!first || !last) return std::nullopt;
  return first->is(0) ? *last : Dim::max(*last - *first, 0);
}

struct SliceFacts {
  std::optional<Dims> starts, ends;
  std::optional<std::vector<int64_t>> axes, steps;
};

SliceFacts slice_facts(const InferContext& ctx) {
  SliceFacts facts;
  const Node& node = ctx.node();
  if (node.op->since_version < 10) {
    const auto& starts = node.at<std::vector<int64_t>>("starts");
    const auto& ends = node.at<std::vector<int64_t>>("ends");
    facts.starts = Dims(starts.begin(), starts.end());
    facts.ends = Dims(ends.begin(), ends.end());
  } else {
    facts.starts = ctx.input(1).dimensions();
    facts.ends = ctx.input(2).dimensions();
  }
  const bool has_axes = node.has("axes") || (ctx.num_inputs() > 3 && ctx.has_input(3));
  facts.axes = list_of(ctx, "axes", 3);
  // How many entries there are is known more often than the entries.
  std::optional<int64_t> count;
  if (facts.starts) count = static_cast<int64_t>(facts.starts->size());
  if (node.op->since_version >= 10 && !count && ctx.input(1).rank() == 1) {
    count = ctx.input(1).shape->front().number();
  }
  if (!has_axes && count && *count <= Shape::kMaxRank) {
    facts.axes.emplace(static_cast<size_t>(*count));
    std::iota(facts.axes->begin(), facts.axes->end(), 0);
  }
  const bool has_steps = ctx.num_inputs() > 4 && ctx.has_input(4);
  facts.steps =
      has_steps ? ctx.integers(4) : std::vector<int64_t>(facts.axes ? facts.axes->size() : 0, 1);
  return facts;
}

void infer_slice(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  out.uniform = in.single_value();
  if (!in.shape) return;
  const SliceFacts facts = slice_facts(ctx);
  if (!facts.axes) {
    out.shape = unknown_dims(ctx, 0, in.rank());
    return;
  }
  Dims dims = *in.shape;
  for (size_t i = 0; i < facts.axes->size(); ++i) {
    const int axis = infer_axis(*in.shape, (*facts.axes)[i]);
    Dim& dim = dims[static_cast<size_t>(axis)];
    std::optional<Dim> length;
    if (facts.starts && facts.ends && facts.steps && i < facts.starts->size() &&
        i < facts.ends->size() && i < facts.steps->size()) {
      length = slice_length((*facts.starts)[i], (*facts.ends)[i], (*facts.steps)[i], dim);
    }
    dim = length ? *length : unknown_dim(ctx, 0, axis);
  }
  out.shape = std::move(dims);
  ctx.propagate_moved({0});
}

Batching batch_slice(const BatchQuery& query) {
  const Node& node = query.node();
  if (node.op->since_version < 10) {
    const auto& starts = node.at<std::vector<int64_t>>("starts");
    std::vector<int64_t> axes(starts.size());
    std::iota(axes.begin(), axes.end(), 0);
    return batch_over_axes(query, node.get("axes", axes));
  }
  if (query.has_input(3)) {
    const auto axes = query.input_fact(3).integers();
    return axes ? batch_over_axes(query, *axes) : Batching::kLoop;
  }
  return Batching::kLoop;  // the first axes, so the batch axis too
}

void infer_tile(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  out.uniform = in.single_value();
  if (!in.shape) return;
  auto repeats = ctx.input(1).dimensions();
  if (ctx.node().op->since_version < 6) {
    const auto count = ctx.input(1).single_value(), axis = ctx.input(2).single_value();
    repeats.reset();
    if (count && axis) {
      const Int64List list = tile_repeats(ctx.node(), *count, &*axis, in.rank());
      repeats = Dims(list.begin(), list.end());
    }
  }
  if (!repeats || repeats->size() != in.shape->size()) {
    out.shape = unknown_dims(ctx, 0, in.rank());
    return;
  }
  out.shape = in.shape;
  for (size_t i = 0; i < repeats->size(); ++i) (*out.shape)[i] = (*out.shape)[i] * (*repeats)[i];
  ctx.propagate_moved({0});
}

Batching batch_tile(const BatchQuery& query) {
  if (query.node().op->since_version < 6) return Batching::kLoop;
  const auto repeats = query.input_fact(1).integers();
  if (!repeats) return Batching::kLoop;
  std::vector<int64_t> axes;
  for (size_t i = 0; i < repeats->size(); ++i) {
    if ((*repeats)[i] != 1) axes.push_back(static_cast<int64_t>(i));
  }
  return batch_over_axes(query, axes);
}

void infer_trilu(InferContext& ctx) { infer_same_as_input(ctx); }

Batching batch_trilu(const BatchQuery& query) {
  const int64_t axes[] = {-2, -1};
  return batch_over_axes(query, axes);
}

void infer_pad(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  if (!in.shape) return;
  const auto pads = list_of(ctx, pads_attribute(ctx.node()), 1);
  const bool has_axes = ctx.num_inputs() > 3 && ctx.has_input(3);
  const auto axes = has_axes ? ctx.integers(3) : std::nullopt;
  out.shape = unknown_dims(ctx, 0, in.rank());
  if (!pads || (has_axes && !axes)) return;
  const Padding padded = padding(*pads, axes, in.rank());
  for (size_t i = 0; i < in.shape->size(); ++i) {
    const Dim dim = (*in.shape)[i] + padded.before[i] + padded.after[i];
    if (dim.provably_at_least(0)) (*out.shape)[i] = dim;
  }
}

Batching batch_pad(const BatchQuery& query) {
  const Node& node = query.node();
  std::optional<std::vector<int64_t>> pads, axes;
  if (node.has(pads_attribute(node))) {
    pads = node.at<std::vector<int64_t>>(pads_attribute(node));
  } else if (query.has_input(1)) {
    pads = query.input_fact(1).integers();
  }
  if (query.has_input(3)) {
    axes = query.input_fact(3).integers();
    if (!axes) return Batching::kLoop;
  }
  const int rank = query.input_fact(0).rank();
  if (!pads || rank < 0) return Batching::kLoop;
  const Padding padded = padding(*pads, axes, rank);
  std::vector<int64_t> changed;
  for (size_t i = 0; i < padded.before.size(); ++i) {
    if (padded.before[i] != 0 || padded.after[i] != 0) changed.push_back(static_cast<int64_t>(i));
  }
  return batch_over_axes(query, changed);
}

}  // namespace
}  // namespace movement

namespace ops {

OpDef onnx_Transpose(int) {
  return with_gradient(
      define({1, 1}, movement::infer_transpose, movement::transpose, movement::batch_transpose),
      movement::rule::Transpose);
}

OpDef onnx_Concat(int) {
  return with_gradient(define({1, OpDef::kVariadic}, movement::infer_concat, movement::concat,
                              movement::batch_concat),
                       movement::rule::Concat);
}

OpDef onnx_Split(int version) {
  return with_gradient(define({1, version == 2 || version == 11 ? 1 : 2}, movement::infer_split,
                              movement::split, movement::batch_split, {1, OpDef::kVariadic}),
                       movement::rule::Split);
}

OpDef onnx_Slice(int version) {
  return with_gradient(define({version < 10 ? 1 : 3, version < 10 ? 1 : 5}, movement::infer_slice,
                              movement::slice, movement::batch_slice),
                       movement::rule::Slice);
}

OpDef onnx_Tile(int version) {
  const int inputs = version < 6 ? 3 : 2;
  return with_gradient(
      define({inputs, inputs}, movement::infer_tile, movement::tile, movement::batch_tile),
      movement::rule::Tile);
}

OpDef onnx_Trilu(int) {
  return with_gradient(
      define({1, 2}, movement::infer_trilu, movement::trilu, movement::batch_trilu),
      movement::rule::Trilu);
}

OpDef onnx_Pad(int version) {
  return with_gradient(define({version < 11 ? 1 : 2, version < 11   ? 1
                                                     : version < 18 ? 3
                                                                    : 4},
                              movement::infer_pad, movement::pad, movement::batch_pad),
                       movement::rule::Pad);
}

}  // namespace ops
}  // namespace hugot
