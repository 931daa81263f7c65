#include "kernels/reduce/reduce.h"

#include <algorithm>

#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::reduce {
namespace {

// ---------------------------------------------------------------------------------------------
// Inference

// Axes by input or attribute; empty optional when an input gives them that is not known.
std::optional<std::vector<int64_t>> known_axes(const InferContext& ctx) {
  if (ctx.has_input(1)) return ctx.integers(1);
  return ctx.node().get<std::vector<int64_t>>("axes", {});
}

// What an output is when its inputs are `count` times the same value; nothing when that is not
// simple to say.
using RepeatRule = std::optional<Dim> (*)(const Dim& value, const Dim& count);
std::optional<Dim> repeat_sum(const Dim& value, const Dim& count) { return value * count; }
std::optional<Dim> repeat_same(const Dim& value, const Dim& count) {
  if (!count.provably_at_least(1)) return std::nullopt;
  return value;
}

// Folds the elements of a list, for reductions of shapes.
using FoldRule = Dim (*)(const Dim& a, const Dim& b);
Dim fold_sum(const Dim& a, const Dim& b) { return a + b; }
Dim fold_product(const Dim& a, const Dim& b) { return a * b; }
Dim fold_max(const Dim& a, const Dim& b) { return Dim::max(a, b); }
Dim fold_min(const Dim& a, const Dim& b) { return Dim::min(a, b); }

struct Rules {
  RepeatRule repeat = nullptr;
  FoldRule fold = nullptr;
};

// Integer results that follow from lengths: the sum of a mask of ones is its length, the product
// of a shape its size.
void propagate_lengths(InferContext& ctx, const Rules& rules, const Dim& count) {
  Fact& out = ctx.output(0);
  const Fact& in = ctx.input(0);
  const std::optional<Shape> shape = out.fixed_shape();
  if (out.dtype != DType::kInt64 && out.dtype != DType::kInt32) return;
  if (!shape || shape->size() > kMaxSymbolicElements) return;
  const std::optional<Tensor> value = in.single_value();
  try {
    if (rules.repeat != nullptr && value) {
      const std::optional<Dim> result = rules.repeat(Dim(to_int64s(*value)[0]), count);
      if (result) out.symbolic = Dims(static_cast<size_t>(shape->size()), *result);
    } else if (rules.fold != nullptr && in.symbolic && !in.symbolic->empty() &&
               shape->size() == 1) {
      Dim folded = in.symbolic->front();
      for (size_t i = 1; i < in.symbolic->size(); ++i)
        folded = rules.fold(folded, (*in.symbolic)[i]);
      out.symbolic = Dims{folded};
    }
  } catch (const Error&) {
    // Too large for a dimension; the kernel wraps around.
  }
}

void infer_reduction(InferContext& ctx, const Rules& rules) {
  const Fact& in = ctx.input(0);
  Fact& out = ctx.output(0);
  out.dtype = in.dtype;
  const std::optional<std::vector<int64_t>> axes = known_axes(ctx);
  if (!in.shape || !axes) return;
  const std::vector<bool> reduced = reduced_axes(ctx.node(), *axes, in.rank());
  const bool keep = ctx.node().get<int64_t>("keepdims", 1) != 0;
  out.shape.emplace();
  Dim count = 1;
  for (size_t i = 0; i < reduced.size(); ++i) {
    const Dim& dim = (*in.shape)[i];
    if (!reduced[i]) {
      out.shape->push_back(dim);
      continue;
    }
    if (keep) out.shape->push_back(1);
    count = count * dim;
  }
  propagate_lengths(ctx, rules, count);
  // The mean or an extreme of equal numbers is that number.
  const std::optional<Tensor> value = in.single_value();
  if (rules.repeat == repeat_same && value && count.provably_at_least(1)) out.uniform = value;
}

void infer_plain(InferContext& ctx) { infer_reduction(ctx, {}); }
void infer_mean(InferContext& ctx) { infer_reduction(ctx, {repeat_same, nullptr}); }
void infer_sum(InferContext& ctx) { infer_reduction(ctx, {repeat_sum, fold_sum}); }
void infer_product(InferContext& ctx) { infer_reduction(ctx, {nullptr, fold_product}); }
void infer_max(InferContext& ctx) { infer_reduction(ctx, {repeat_same, fold_max}); }
void infer_min(InferContext& ctx) { infer_reduction(ctx, {repeat_same, fold_min}); }

void infer_sum_to(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  ctx.output(0).shape = shape_given_by(ctx, 1);
}

void infer_global_pool(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  out.shape = ctx.input(0).shape;
  for (size_t axis = 2; out.shape && axis < out.shape->size(); ++axis) (*out.shape)[axis] = 1;
}

void infer_arg(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = DType::kInt64;
  out.shape = ctx.input(0).shape;
  if (!out.shape) return;
  const int axis = infer_axis(*out.shape, ctx.node().get<int64_t>("axis", 0));
  if (ctx.node().get<int64_t>("keepdims", 1) != 0) {
    (*out.shape)[static_cast<size_t>(axis)] = 1;
  } else {
    out.shape->erase(out.shape->begin() + axis);
  }
}

void infer_top_k(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  std::optional<Dims> k;
  if (ctx.has_input(1)) {
    k = ctx.input(1).dimensions();
  } else if (ctx.node().has("k")) {
    k = Dims{ctx.node().at<int64_t>("k")};
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    Fact& out = ctx.output(i);
    out.dtype = i == 0 ? in.dtype : DType::kInt64;
    if (!in.shape || !k || k->size() != 1) continue;
    const int axis = infer_axis(*in.shape, ctx.node().get<int64_t>("axis", -1));
    out.shape = in.shape;
    (*out.shape)[static_cast<size_t>(axis)] = k->front();
  }
}

// ---------------------------------------------------------------------------------------------
// Batching

// True when `axis` of input 0 is the token axis and what is left of a text is one row.
bool within_text(const BatchQuery& query, int64_t axis) {
  const Fact& out = query.output_fact(0);
  return axis >= 0 && axis == query.token_axis(0) && out.fixed_shape() && out.rank() > 0 &&
         out.shape->front().is(1);
}

// The axis on which the instances of input 0 are joined; -1 when there is none.
int joined_axis(const BatchQuery& query) {
  if (!query.ragged(0)) return -1;
  return query.token_axis(0) >= 0 ? query.token_axis(0) : query.row(0) ? 0 : -1;
}

// A sum over the axis on which instances are joined is their sum.
Batching batch_sum_to(const BatchQuery& query) {
  const int axis = joined_axis(query), rank = query.input_fact(0).rank();
  const Fact& out = query.output_fact(0);
  if (!sums_over_texts(query.node()) || axis < 0 || !out.fixed_shape()) return Batching::kLoop;
  const int place = axis - (rank - out.rank());
  const bool reduced = place < 0 || (*out.shape)[static_cast<size_t>(place)].is(1);
  return reduced ? Batching::kSum : Batching::kLoop;
}

Batching batch_reduction(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  std::optional<std::vector<int64_t>> axes =
      query.has_input(1) ? query.input_fact(1).integers()
                         : query.node().get<std::vector<int64_t>>("axes", {});
  if (!axes || rank < 0) return Batching::kLoop;
  const std::vector<bool> reduced = reduced_axes(query.node(), *axes, rank);
  if (sums_over_texts(query.node())) {
    const int joined = joined_axis(query);
    const bool sum =
        query.node().op_type == "ReduceSum" && joined >= 0 && reduced[static_cast<size_t>(joined)];
    return sum ? Batching::kSum : Batching::kLoop;
  }
  axes->clear();
  for (int i = 0; i < rank; ++i) {
    if (!reduced[static_cast<size_t>(i)]) continue;
    if (within_text(query, i)) return Batching::kSegments;
    axes->push_back(i);
  }
  return batch_over_axes(query, *axes);
}

template <int kDefault>
Batching batch_axis_attribute(const BatchQuery& query) {
  const auto axis = query.node().get<int64_t>("axis", kDefault);
  return batch_over_axes(query, std::span(&axis, 1));
}

// Every image and channel has its own result.
Batching batch_global_pool(const BatchQuery& query) {
  std::vector<int64_t> axes;
  for (int axis = 1; axis < query.input_fact(0).rank(); ++axis) axes.push_back(axis);
  return batch_over_axes(query, axes);
}

Batching batch_arg(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  const auto axis = query.node().get<int64_t>("axis", 0);
  if (rank > 0 && within_text(query, normalize_axis(axis, rank))) return Batching::kSegments;
  return batch_over_axes(query, std::span(&axis, 1));
}

// Along the token axis the kernel starts anew with every text.
Batching batch_cumulative(const BatchQuery& query) {
  const std::optional<std::vector<int64_t>> axes = query.input_fact(1).integers();
  const int rank = query.input_fact(0).rank();
  if (!axes || axes->size() != 1 || rank < 0 || query.ragged(1)) return Batching::kLoop;
  const int64_t axis = normalize_axis(axes->front(), rank);
  if (axis == query.token_axis(0)) return Batching::kSegments;
  return batch_over_axes(query, *axes);
}

// ---------------------------------------------------------------------------------------------
// Definitions

// `axes_input_since`: the version in which the axes became an input.
template <class R>
OpDef reduction(int since_version, int axes_input_since, InferFunction infer,
                GradientRule* gradient) {
  OpDef op;
  op.min_inputs = 1;
  op.max_inputs = since_version >= axes_input_since ? 2 : 1;
  op.infer = infer;
  op.batching = batch_reduction;
  op.cpu = reduce<R>;
  op.gradient = gradient;
  return op;
}

OpDef along_axis(int inputs, InferFunction infer, BatchingFunction batching, KernelFunction cpu,
                 GradientRule* gradient = nullptr) {
  OpDef op;
  op.min_inputs = op.max_inputs = inputs;
  op.infer = infer;
  op.batching = batching;
  op.cpu = cpu;
  op.gradient = gradient;
  return op;
}

}  // namespace

std::vector<bool> reduced_axes(const Node& node, std::span<const int64_t> axes, int rank) {
  const bool all = axes.empty() && node.get<int64_t>("noop_with_empty_axes", 0) == 0;
  std::vector<bool> reduced(static_cast<size_t>(rank), all);
  for (const int64_t given : axes) {
    const auto axis = static_cast<size_t>(normalize_axis(given, rank));
    require(!reduced[axis], ErrorCode::kInvalidArgument, "axis ", given, " is given twice");
    reduced[axis] = true;
  }
  return reduced;
}

Reduction plan_reduction(const Shape& shape, const std::vector<bool>& reduced,
                         const Shape& result) {
  Reduction plan;
  plan.shape = result;
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const bool kind = reduced[static_cast<size_t>(i)];
    const int64_t length = shape[i];
    if (length != 1) {
      if (!plan.axes.empty() && plan.axes.back().reduced == kind) {
        plan.axes.back().length *= length;
      } else {
        plan.axes.push_back({length, step, kind ? 0 : plan.outputs, kind});
      }
    }
    step *= length;
    (kind ? plan.count : plan.outputs) *= length;
  }
  std::reverse(plan.axes.begin(), plan.axes.end());
  return plan;
}

Reduction plan_reduction(KernelContext& ctx, const Shape& shape) {
  const Node& node = ctx.node();
  const std::vector<int64_t> given =
      ctx.has_input(1) ? to_int64s(ctx.host_input(1)) : node.get<std::vector<int64_t>>("axes", {});
  const std::vector<bool> reduced = reduced_axes(node, given, shape.rank());
  const bool keep = node.get<int64_t>("keepdims", 1) != 0;
  std::vector<int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool gone = reduced[static_cast<size_t>(i)];
    if (!gone) dims.push_back(shape[i]);
    if (gone && keep) dims.push_back(1);
  }
  return plan_reduction(shape, reduced, Shape(dims));
}

}  // namespace hugot::reduce

namespace hugot::ops {

using namespace reduce;  // NOLINT: the room's own names

OpDef onnx_ReduceL1(int v) { return reduction<fn::L1>(v, 18, infer_plain, rule::L1); }
OpDef onnx_ReduceL2(int v) { return reduction<fn::L2>(v, 18, infer_plain, rule::L2); }
OpDef onnx_ReduceLogSum(int v) { return reduction<fn::LogSum>(v, 18, infer_plain, rule::LogSum); }
OpDef onnx_ReduceLogSumExp(int v) {
  return reduction<fn::LogSumExp>(v, 18, infer_plain, rule::LogSumExp);
}
OpDef onnx_ReduceMax(int v) { return reduction<fn::Max>(v, 18, infer_max, rule::Extreme); }
OpDef onnx_ReduceMean(int v) { return reduction<fn::Mean>(v, 18, infer_mean, rule::Mean); }
OpDef onnx_ReduceMin(int v) { return reduction<fn::Min>(v, 18, infer_min, rule::Extreme); }
OpDef onnx_ReduceProd(int v) { return reduction<fn::Prod>(v, 18, infer_product, rule::Prod); }
OpDef onnx_ReduceSum(int v) { return reduction<fn::Sum>(v, 13, infer_sum, rule::Sum); }
OpDef onnx_ReduceSumSquare(int v) {
  return reduction<fn::SumSquare>(v, 18, infer_plain, rule::SumSquare);
}

OpDef onnx_ArgMax(int) { return along_axis(1, infer_arg, batch_arg, arg_extreme<true>); }
OpDef onnx_ArgMin(int) { return along_axis(1, infer_arg, batch_arg, arg_extreme<false>); }
OpDef onnx_CumProd(int) {
  return along_axis(2, infer_same_as_input, batch_cumulative, cum_prod, rule::CumProd);
}
OpDef onnx_CumSum(int) {
  return along_axis(2, infer_same_as_input, batch_cumulative, cum_sum, rule::CumSum);
}

OpDef onnx_GlobalAveragePool(int) {
  return along_axis(1, infer_global_pool, batch_global_pool, global_pool<fn::Mean>,
                    rule::GlobalMean);
}
OpDef onnx_GlobalMaxPool(int) {
  return along_axis(1, infer_global_pool, batch_global_pool, global_pool<fn::Max>, rule::GlobalMax);
}

OpDef hugot_SumTo(int) { return along_axis(2, infer_sum_to, batch_sum_to, sum_to, rule::SumTo); }

OpDef onnx_TopK(int since_version) {
  OpDef op = along_axis(since_version < 10 ? 1 : 2, infer_top_k, batch_axis_attribute<-1>, top_k,
                        rule::TopK);
  op.max_outputs = 2;
  return op;
}

}  // namespace hugot::ops
