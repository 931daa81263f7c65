// Gather, GatherElements, GatherND, ScatterElements, ScatterND: inference and batching.
#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/movement/movement.h"
#include "kernels/ops.h"

namespace hugot {
namespace movement {
namespace {

void infer_gather(InferContext& ctx) {
  const Fact& data = ctx.input(0);
  const auto& indices = ctx.input(1).shape;
  Fact& out = ctx.output(0);
  out.dtype = data.dtype;
  if (!data.shape || !indices) {
    out.uniform = data.single_value();
    return;
  }
  const int axis = infer_axis(*data.shape, ctx.node().get<int64_t>("axis", 0));
  Dims dims(data.shape->begin(), data.shape->begin() + axis);
  dims.insert(dims.end(), indices->begin(), indices->end());
  dims.insert(dims.end(), data.shape->begin() + axis + 1, data.shape->end());
  out.shape = std::move(dims);
  ctx.propagate_moved({0});
}

// True for a result of one text whose size does not depend on the text.
bool one_row(const Fact& out) {
  return out.fixed_shape() && out.rank() > 0 && out.shape->front().is(1);
}

Batching batch_gather(const BatchQuery& query) {
  const Fact& data = query.input_fact(0);
  if (data.rank() < 0) return Batching::kLoop;
  const int64_t axis = normalize_axis(query.node().get<int64_t>("axis", 0), data.rank());
  if (query.ragged(0)) {
    // Certain tokens of each text: the same for all, or its own.
    const Fact& out = query.output_fact(0);
    if (axis == query.token_axis(0) && (!query.ragged(1) || query.row(1)) && one_row(out)) {
      return Batching::kSegments;
    }
    const int64_t axes[] = {axis};
    return batch_over_axes(query, axes);
  }
  // Rows of a shared table by the ids of tokens or texts.
  const int token = query.token_axis(1);
  if (token >= 0 && query.output_token_axis(0) == axis + token &&
      fixed_behind(query.input_fact(1), token)) {
    return Batching::kPacked;
  }
  return query.row(1) && axis == 0 ? Batching::kRows : Batching::kLoop;
}

// dy is that of rows of the table; the gradient is like the table.
void infer_gather_gradient(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(2).dtype;
  ctx.output(0).shape = ctx.input(0).shape;
}

// The rows of all texts make one sum.
Batching batch_gather_gradient(const BatchQuery& query) {
  if (!sums_over_texts(query.node()) || query.ragged(0) || !query.ragged(1) || !query.ragged(2)) {
    return Batching::kLoop;
  }
  const bool tokens = query.token_axis(1) >= 0 && query.token_axis(2) >= 0;
  return tokens || (query.row(1) && query.row(2)) ? Batching::kSum : Batching::kLoop;
}

void infer_gather_elements(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  out.uniform = ctx.input(0).single_value();
  if (!ctx.input(1).shape) return;
  out.shape = ctx.input(1).shape;
  ctx.propagate_moved({0});
}

Batching batch_gather_elements(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 0 || !query.ragged(0) || !query.ragged(1)) return Batching::kLoop;
  const int axis = normalize_axis(query.node().get<int64_t>("axis", 0), rank);
  const int token = query.token_axis(0);
  if (token >= 0 && token == query.token_axis(1) && token == query.output_token_axis(0) &&
      axis > token) {
    return Batching::kPacked;
  }
  return query.row(0) && query.row(1) && axis > 0 ? Batching::kRows : Batching::kLoop;
}

// Shape of GatherND's result, and of the updates of ScatterND (without batch dimensions).
std::optional<Dims> gather_nd_dims(const Dims& data, const Dims& indices, int64_t batch_dims) {
  require(!data.empty() && !indices.empty(), ErrorCode::kInvalidArgument,
          "data and indices need a rank of at least 1");
  const auto depth = indices.back().number();
  if (!depth) return std::nullopt;
  require(batch_dims >= 0 &&
              batch_dims < static_cast<int64_t>(std::min(data.size(), indices.size())) &&
              *depth >= 1 && *depth <= static_cast<int64_t>(data.size()) - batch_dims,
          ErrorCode::kInvalidArgument, "index tuples of length ", *depth, " behind ", batch_dims,
          " batch dimensions do not fit data of rank ", data.size());
  Dims dims(indices.begin(), indices.end() - 1);
  dims.insert(dims.end(), data.begin() + batch_dims + *depth, data.end());
  return dims;
}

void infer_gather_nd(InferContext& ctx) {
  const Fact& data = ctx.input(0);
  const auto& indices = ctx.input(1).shape;
  Fact& out = ctx.output(0);
  out.dtype = data.dtype;
  out.uniform = data.single_value();
  if (!data.shape || !indices) return;
  out.shape = gather_nd_dims(*data.shape, *indices, ctx.node().get<int64_t>("batch_dims", 0));
  if (out.shape) ctx.propagate_moved({0});
}

Batching batch_gather_nd(const BatchQuery& query) {
  // Tokens of each text, by the index of its one batch row and their own.
  const auto depth =
      query.input_fact(1).rank() > 0 ? query.input_fact(1).shape->back().number() : std::nullopt;
  const bool tokens = depth && query.token_axis(0) == *depth - 1;
  if (query.ragged(0) && tokens && query.node().get<int64_t>("batch_dims", 0) == 0 &&
      (!query.ragged(1) || query.row(1)) && one_row(query.output_fact(0))) {
    return Batching::kSegments;
  }
  const int token = query.token_axis(1);
  const bool shared = !query.ragged(0) && query.node().get<int64_t>("batch_dims", 0) == 0;
  if (!shared || token >= query.input_fact(1).rank() - 1) return Batching::kLoop;
  if (token >= 0 && query.output_token_axis(0) == token &&
      fixed_behind(query.input_fact(1), token)) {
    return Batching::kPacked;
  }
  return query.row(1) && query.input_fact(1).rank() > 1 ? Batching::kRows : Batching::kLoop;
}

void infer_scatter(InferContext& ctx) {
  infer_same_as_input(ctx);
  const Fact& data = ctx.input(0);
  if (data.shape && ctx.node().get<std::string>("reduction", "none") == "none") {
    ctx.propagate_moved({0, 2});
  }
}

}  // namespace
}  // namespace movement

namespace ops {

OpDef onnx_Gather(int) {
  return with_gradient(
      define({2, 2}, movement::infer_gather, movement::gather, movement::batch_gather),
      movement::rule::Gather);
}

OpDef hugot_GatherGradient(int) {
  return define({3, 3}, movement::infer_gather_gradient, movement::gather_gradient,
                movement::batch_gather_gradient);
}

OpDef onnx_GatherElements(int) {
  return with_gradient(define({2, 2}, movement::infer_gather_elements, movement::gather_elements,
                              movement::batch_gather_elements),
                       movement::rule::GatherElements);
}

OpDef onnx_GatherND(int) {
  return with_gradient(
      define({2, 2}, movement::infer_gather_nd, movement::gather_nd, movement::batch_gather_nd),
      movement::rule::GatherND);
}

OpDef onnx_ScatterElements(int) {
  return with_gradient(define({3, 3}, movement::infer_scatter, movement::scatter_elements),
                       movement::rule::ScatterElements);
}

// The first name of ScatterElements.
OpDef onnx_Scatter(int version) { return onnx_ScatterElements(version); }

OpDef onnx_ScatterND(int) {
  return with_gradient(define({3, 3}, movement::infer_scatter, movement::scatter_nd),
                       movement::rule::ScatterND);
}

}  // namespace ops
}  // namespace hugot
