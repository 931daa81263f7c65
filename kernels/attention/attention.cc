// Attention: inference and batching.
#include "kernels/attention/attention.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace attention {
namespace {

// hugot.Attention: Q [B, S, heads * d], K [B, T, kv_heads * d], V [B, T, kv_heads * dv].
void infer_fused(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  const auto& q = ctx.input(0).shape;
  const auto& v = ctx.input(2).shape;
  if (!q || !v) return;
  require(q->size() == 3 && v->size() == 3, ErrorCode::kInvalidArgument,
          "Q, K and V need rank 3, but are ", to_string(*q), " .. ", to_string(*v));
  const auto heads = ctx.node().at<int64_t>("num_heads");
  const auto kv_heads = ctx.node().get<int64_t>("kv_num_heads", heads);
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, ErrorCode::kInvalidArgument, heads,
          " heads are not a multiple of ", kv_heads, " kv heads");
  out.shape = Dims{(*q)[0], (*q)[1], Dim::divide((*v)[2], kv_heads) * heads};
}

// dQ, dK and dV are like Q, K and V; the bias is [B, heads, queries, keys] before broadcasting.
void infer_gradient(InferContext& ctx) {
  for (int i = 0; i < 3; ++i) {
    ctx.output(i).dtype = ctx.input(i).dtype;
    ctx.output(i).shape = ctx.input(i).shape;
  }
  if (ctx.num_outputs() < 4) return;
  ctx.output(3).dtype = ctx.input(0).dtype;
  const auto &q = ctx.input(0).shape, &k = ctx.input(1).shape;
  if (!q || !k || q->size() != 3 || k->size() != 3) return;
  ctx.output(3).shape = Dims{(*q)[0], ctx.node().at<int64_t>("num_heads"), (*q)[1], (*k)[1]};
}

// Sequences as long for every item, which is all the batch axis of the kernel needs.
bool fixed_length(const BatchQuery& query) {
  if (!query.row(0) || !query.row(1) || !query.row(2)) return false;
  const bool biased = query.node().inputs.size() > 3 && query.has_input(3);
  return !biased || !query.ragged(3) || (query.row(3) && query.input_fact(3).rank() == 4);
}

Batching batch_gradient(const BatchQuery& query) {
  if (query.node().output(3) != kNoValue) return Batching::kLoop;
  for (const int i : {0, 1, 2, 3, 5}) {
    if (i == 5 && query.node().input(5) == kNoValue) continue;
    if (!query.ragged(i) || query.token_axis(i) != 1) return Batching::kLoop;
  }
  return Batching::kSegments;
}

Batching batch_dropout(const BatchQuery& query) {
  for (const int i : {0, 1, 2, 4}) {
    if (query.node().input(static_cast<size_t>(i)) == kNoValue) return Batching::kLoop;
    if (!query.ragged(i) || query.token_axis(i) != 1) return Batching::kLoop;
  }
  return Batching::kSegments;
}

Batching batch_fused(const BatchQuery& query) {
  // The kernel for float64 knows no segments.
  if (query.input_fact(0).dtype == DType::kFloat64) return Batching::kLoop;
  const bool one_query = query.node().has("query_row");
  if (!one_query && fixed_length(query)) return Batching::kRows;
  for (int i = 0; i < 3; ++i) {
    if (i == 0 && one_query ? !query.row(0) : !query.ragged(i) || query.token_axis(i) != 1) {
      return Batching::kLoop;
    }
  }
  if (one_query) return Batching::kSegments;
  // The bias of each text comes from KernelContext::input_of_segment.
  return query.output_token_axis(0) == 1 ? Batching::kSegments : Batching::kLoop;
}

Batching batch_relative(const BatchQuery& query) {
  const int inputs = static_cast<int>(query.node().inputs.size());
  for (const int table : {4, 6}) {
    if (table < inputs && query.has_input(table) && query.ragged(table)) return Batching::kLoop;
  }
  return fixed_length(query) ? Batching::kLoop : batch_fused(query);
}

// Q, K or V of ONNX Attention as [batch, heads, length, size].
std::optional<Dims> four_axes(const Fact& fact, const Node& node, std::string_view heads) {
  if (!fact.shape) return std::nullopt;
  if (fact.shape->size() == 4) return fact.shape;
  require(fact.shape->size() == 3, ErrorCode::kInvalidArgument,
          "Q, K and V need rank 3 or 4, but one is ", to_string(*fact.shape));
  const auto count = node.at<int64_t>(heads);
  require(count > 0, ErrorCode::kInvalidArgument, heads, " is ", count);
  const Dims& dims = *fact.shape;
  return Dims{dims[0], count, dims[1], Dim::divide(dims[2], count)};
}

void infer_onnx(InferContext& ctx) {
  const Node& node = ctx.node();
  const DType dtype = ctx.input(0).dtype;
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = i == 2 ? ctx.input(2).dtype : dtype;
  }
  const auto q = four_axes(ctx.input(0), node, "q_num_heads");
  const auto k = four_axes(ctx.input(1), node, "kv_num_heads");
  const auto v = four_axes(ctx.input(2), node, "kv_num_heads");
  if (!q || !k || !v) return;
  const Dim heads = (*q)[1];
  ctx.output(0).shape = ctx.input(0).rank() == 4 ? Dims{(*q)[0], heads, (*q)[2], (*v)[3]}
                                                 : Dims{(*q)[0], (*q)[2], heads * (*v)[3]};
  const bool past = ctx.num_inputs() > 4 && ctx.has_input(4);
  if (past && ctx.input(4).rank() != 4) return;
  const Dim total = past ? (*ctx.input(4).shape)[2] + (*k)[2] : (*k)[2];
  if (ctx.num_outputs() > 1) ctx.output(1).shape = Dims{(*k)[0], (*k)[1], total, (*k)[3]};
  if (ctx.num_outputs() > 2) ctx.output(2).shape = Dims{(*v)[0], (*v)[1], total, (*v)[3]};
  if (ctx.num_outputs() > 3) ctx.output(3).shape = Dims{(*q)[0], heads, (*q)[2], total};
}

}  // namespace
}  // namespace attention

namespace ops {

OpDef onnx_Attention(int version) {
  return with_gradient(
      define({3, version < 24 ? 6 : 7}, attention::infer_onnx, attention::onnx, nullptr, {1, 4}),
      attention::rule::Attention);
}

OpDef hugot_Attention(int) {
  return with_gradient(
      define({3, 4}, attention::infer_fused, attention::fused, attention::batch_fused),
      attention::rule::FusedAttention);
}

OpDef hugot_DropoutAttention(int) {
  return with_gradient(
      define({3, 5}, attention::infer_fused, attention::with_dropout, attention::batch_dropout),
      attention::rule::DropoutAttention);
}

OpDef hugot_AttentionGradient(int) {
  return define({4, 6}, attention::infer_gradient, attention::fused_gradient,
                attention::batch_gradient, {3, 4});
}

OpDef hugot_RelativeAttention(int) {
  OpDef op = define({3, 8}, attention::infer_fused, attention::relative, attention::batch_relative);
  op.prepare = attention::prepare_relative;
  return op;
}

}  // namespace ops
}  // namespace hugot
