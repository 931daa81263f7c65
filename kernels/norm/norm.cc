#include "kernels/norm/norm.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::norm {
namespace {

// Output 0 is like the input, in the type of the scale; the others are statistics per row.
void infer_normalization(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  ctx.output(0).dtype = input_dtype(ctx, 1);
  ctx.output(0).shape = in.shape;
  std::optional<Dims> statistics = in.shape;
  if (statistics) {
    const int axis = infer_axis(*statistics, ctx.node().get<int64_t>("axis", -1));
    std::fill(statistics->begin() + axis, statistics->end(), Dim(1));
  }
  for (int i = 1; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = stash_type(ctx.node());
    ctx.output(i).shape = statistics;
  }
}

Batching batch_normalization(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 1) return Batching::kLoop;
  const int axis = normalize_axis(query.node().get<int64_t>("axis", -1), rank);
  std::vector<int64_t> axes(static_cast<size_t>(rank - axis));
  std::iota(axes.begin(), axes.end(), axis);
  return batch_over_axes(query, axes);
}

OpDef normalization(int max_inputs, int max_outputs, KernelFunction cpu, GradientRule* gradient) {
  OpDef op;
  op.min_inputs = 2;
  op.max_inputs = max_inputs;
  op.max_outputs = max_outputs;
  op.infer = infer_normalization;
  op.batching = batch_normalization;
  op.cpu = cpu;
  op.gradient = gradient;
  return op;
}

// dx like x, dscale and dbias like the scale.
void infer_gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const Fact& like = ctx.input(i == 0 ? 0 : 1);
    ctx.output(i).dtype = like.dtype;
    ctx.output(i).shape = like.shape;
  }
}

Batching batch_gradient(const BatchQuery& query) {
  const Node& node = query.node();
  const int rank = query.input_fact(0).rank(), token = query.token_axis(0);
  const bool tokens = token >= 0 && token == query.token_axis(2) && token < rank - 1;
  const bool rows = query.row(0) && query.row(2) && rank > 1;
  if (query.ragged(1) || !(tokens || rows)) return Batching::kLoop;
  if (sums_over_texts(node, 0)) return Batching::kLoop;
  // Gradients of scale and bias that somebody wants for each text are not summed.
  const auto each_text = [&](int i) {
    return node.output(static_cast<size_t>(i)) != kNoValue && !sums_over_texts(node, i);
  };
  if (each_text(1) || each_text(2)) return Batching::kLoop;
  if (sums_over_texts(node)) return Batching::kSum;
  return tokens ? Batching::kPacked : Batching::kRows;
}

void infer_batch_norm(InferContext& ctx) {
  infer_same_as_input(ctx);
  for (int i = 1; i < ctx.num_outputs(); ++i) {
    const int like = i % 2 == 1 ? 3 : 4;  // a mean or a variance
    ctx.output(i).dtype = input_dtype(ctx, like);
    ctx.output(i).shape = ctx.input(like).shape;
  }
}

// Every row has its own result unless the statistics are those of the batch.
Batching batch_batch_norm(const BatchQuery& query) {
  const Node& node = query.node();
  const int rank = query.input_fact(0).rank();
  if (rank < 2 || trains_batch_norm(node)) return Batching::kLoop;
  std::vector<int64_t> axes(static_cast<size_t>(batch_norm_inner(node, rank) - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return batch_over_axes(query, axes);
}

}  // namespace
}  // namespace hugot::norm

namespace hugot::ops {

OpDef onnx_LayerNormalization(int) {
  return norm::normalization(3, 3, norm::layer_norm, norm::rule::LayerNormalization);
}
OpDef hugot_LayerNormalizationGradient(int) {
  OpDef op;
  op.min_inputs = op.max_inputs = 3;
  op.max_outputs = 3;
  op.infer = norm::infer_gradient;
  op.batching = norm::batch_gradient;
  op.cpu = norm::layer_norm_gradient;
  return op;
}
OpDef onnx_RMSNormalization(int) {
  return norm::normalization(2, 1, norm::rms_norm, norm::rule::RMSNormalization);
}
OpDef onnx_SimplifiedLayerNormalization(int) {
  return norm::normalization(2, 2, norm::rms_norm, norm::rule::RMSNormalization);
}

OpDef onnx_BatchNormalization(int since_version) {
  OpDef op;
  op.min_inputs = op.max_inputs = 5;
  op.max_outputs = since_version < 14 ? 5 : 3;
  op.infer = norm::infer_batch_norm;
  op.batching = norm::batch_batch_norm;
  op.cpu = norm::batch_norm;
  op.gradient = norm::rule::BatchNormalization;
  return op;
}

}  // namespace hugot::ops
