// Normalizations of com.microsoft that have swallowed what stands before or behind them.
#include <numeric>

#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/infer_helpers.h"
#include "kernels/norm/norm.h"
#include "kernels/ops.h"

namespace hugot::norm {
namespace {

const Attributes kLastAxis = {{"axis", int64_t{-1}}};

// True when `id` is the product of a matrix, which takes a bias for nothing.
bool is_product(Expansion& e, int i) {
  const Node* node = e.writer().graph().producer(e.node().input(static_cast<size_t>(i)));
  if (node == nullptr) return false;
  return node->op_type == "Linear" || node->op_type.find("MatMul") != std::string::npos;
}

// input + skip + bias, the bias next to the product that it belongs to.
Term residual_sum(Expansion& e, int bias) {
  Term first = e.x(0), second = e.x(1);
  if (e.has(bias)) {
    Term& biased = !is_product(e, 0) && is_product(e, 1) ? second : first;
    biased = biased + e.x(bias);
  }
  return first + second;
}

// Outputs normalized, mean, 1 / deviation of `x`. Only those that are wanted are asked for.
void normalize(Expansion& e, const Term& x, const Term& gamma, const Term& beta) {
  Attributes attributes = kLastAxis;
  attributes["epsilon"] = e.node().get<float>("epsilon", 1e-12f);
  const int count = e.wants(2) ? 3 : e.wants(1) ? 2 : 1;
  const auto y = e.writer().outputs("LayerNormalization", {x, gamma, beta}, attributes, count);
  for (int i = 0; i < count; ++i) e.set(i, y[static_cast<size_t>(i)]);
}

bool skip_layer_norm(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Term sum = residual_sum(e, 4);
  normalize(e, sum, e.x(2), e.x(3));
  e.set(3, sum);
  return true;
}

bool skip_rms_norm(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Term sum = residual_sum(e, 3);
  Attributes attributes = kLastAxis;
  attributes["epsilon"] = e.node().get<float>("epsilon", 1e-12f);
  e.set(0, e.op("RMSNormalization", {sum, e.x(2)}, attributes));
  e.set(3, sum);
  return true;
}

void infer_skip_norm(InferContext& ctx) {
  infer_same_as_input(ctx);
  const std::optional<Dims> shape = ctx.output(0).shape;
  require(!shape || shape->size() == 2 || shape->size() == 3, ErrorCode::kInvalidArgument,
          "the input has ", shape ? shape->size() : 0, " axes instead of 2 or 3");
  for (int i = 1; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = i == 3 ? ctx.input(0).dtype : DType::kFloat32;
    ctx.output(i).shape = shape;
    if (i < 3 && shape) ctx.output(i).shape->back() = 1;
  }
}

// ---------------------------------------------------------------------------------------------
// Embeddings

// Where a node has its operands; the tables of the quantized form have a scale and a zero point.
struct EmbedSlots {
  int mask, positions = -1;     // -1: it has none
  int scales = -1, zeros = -1;  // of the five tables from input 2 on
};

// A table's rows, or the table itself without indices.
Term table(Expansion& e, const EmbedSlots& slots, int i, const Term& indices) {
  Term rows = e.x(i);
  if (indices) rows = e.op("Gather", {rows, indices}, {{"axis", int64_t{0}}});
  if (slots.scales < 0) return rows;
  const Term scale = e.scalar(slots.scales + i - 2), zero = e.scalar(slots.zeros + i - 2);
  return e.op("DequantizeLinear", {rows, scale, zero});
}

bool embed(Expansion& e, const EmbedSlots& slots) {
  if (!e.ranks_known()) return false;
  const Term ids = e.x(0);
  require(ids.rank() == 2, ErrorCode::kInvalidArgument, "input_ids have ", ids.rank(),
          " axes instead of 2");
  Term sum = table(e, slots, 2, ids);
  if (e.has(1) && e.has(4)) sum = sum + table(e, slots, 4, e.x(1));
  Term positions = slots.positions >= 0 ? e.x(slots.positions) : Term();
  if (!positions) {
    const Term length = reshape(dim_of(ids, 1), e.writer().integers({}));
    positions = unsqueeze(e.op("Range", {0, length, 1}), {0});
  }
  sum = sum + table(e, slots, 3, positions);
  Attributes attributes = kLastAxis;
  attributes["epsilon"] = e.node().get<float>("epsilon", 1e-12f);
  e.set(0, e.op("LayerNormalization", {sum, table(e, slots, 5, {}), table(e, slots, 6, {})},
                attributes));
  e.set(2, sum);
  if (!e.wants(1)) return true;
  // The number of ones in each row of the mask.
  const Term along = e.writer().integers({1});
  const Term ones = e.has(slots.mask) ? cast_to(equal(e.x(slots.mask), 1), DType::kInt32)
                                      : zeros_like(cast_to(ids, DType::kInt32));
  e.set(1, e.op("ReduceSum", {ones, along}, {{"keepdims", int64_t{0}}}));
  return true;
}

bool embed_layer_norm(Expansion& e) { return embed(e, {.mask = 7, .positions = 8}); }
bool quantized_embed_layer_norm(Expansion& e) {
  return embed(e, {.mask = 7, .scales = 8, .zeros = 13});
}

void infer_embed(InferContext& ctx) {
  for (const int i : {2, 3, 5, 6}) {
    require(ctx.num_inputs() > i && ctx.has_input(i), ErrorCode::kInvalidData, "input ", i,
            " is required");
  }
  const auto &ids = ctx.input(0).shape, &words = ctx.input(2).shape;
  const DType dtype = ctx.input(2).dtype;
  ctx.output(0).dtype = is_float(dtype) ? dtype : DType::kFloat32;
  require((!ids || ids->size() == 2) && (!words || words->size() == 2), ErrorCode::kInvalidArgument,
          "ids and word embeddings need two axes");
  if (ids && words) ctx.output(0).shape = Dims{(*ids)[0], (*ids)[1], (*words)[1]};
  if (ctx.num_outputs() > 1) {
    ctx.output(1).dtype = DType::kInt32;
    if (ids) ctx.output(1).shape = Dims{(*ids)[0]};
  }
  if (ctx.num_outputs() > 2) ctx.output(2) = ctx.output(0);
}

// ---------------------------------------------------------------------------------------------
// Group normalization of images with channels last

// x [N, .., C] normalized over everything but N within each of the groups of channels.
Term group_norm(Expansion& e, const Term& x) {
  const auto groups = e.node().at<int64_t>("groups");
  require(groups > 0, ErrorCode::kInvalidData, "attribute groups is ", groups);
  require(e.node().get<int64_t>("channels_last", 1) != 0, ErrorCode::kUnsupported,
          "group normalization with channels first");
  const Term channels = dim_of(x, x.rank() - 1), count = e.writer().integers({groups});
  const Term shape =
      e.writer().concat({dim_of(x, 0), e.writer().integers({-1}), count, channels / count}, 0);
  const Term parts = e.op("Reshape", {x, shape});
  const Term axes = e.writer().integers({1, 3});
  const Term centered = parts - mean(parts, axes);
  const double epsilon = e.node().get<float>("epsilon", 1e-5f);
  const Term y = reshape_like(centered / sqrt(mean(square(centered), axes) + epsilon), x);
  const Term scaled = y * cast_to(e.x(1), x.dtype()) + cast_to(e.x(2), x.dtype());
  const auto activation = e.node().at<int64_t>("activation");
  require(activation == 0 || activation == 1, ErrorCode::kInvalidData, "attribute activation is ",
          activation, "; it must be 0 or 1");
  return activation == 1 ? scaled * sigmoid(scaled) : scaled;
}

bool group_norm_last(Expansion& e) {
  if (!e.ranks_known()) return false;
  e.set(0, group_norm(e, e.x(0)));
  return true;
}

// Inputs x, gamma, beta, skip, bias: skip has the shape of x, or one number for each channel.
bool skip_group_norm(Expansion& e) {
  if (!e.ranks_known()) return false;
  Term skip = e.x(3);
  std::vector<int64_t> inner(static_cast<size_t>(std::max(e.rank(0) - 2, 0)));
  std::iota(inner.begin(), inner.end(), 1);
  if (skip.rank() == 2) skip = unsqueeze(skip, inner);
  Term sum = e.x(0) + skip;
  if (e.has(4)) sum = sum + e.x(4);
  e.set(0, group_norm(e, sum));
  e.set(1, sum);
  return true;
}

void infer_group_norm(InferContext& ctx) {
  infer_same_as_input(ctx);
  if (ctx.num_outputs() > 1) ctx.output(1) = ctx.output(0);
}

}  // namespace
}  // namespace hugot::norm

namespace hugot::ops {

OpDef ms_SkipLayerNormalization(int) {
  return composite({3, 5}, norm::infer_skip_norm, norm::skip_layer_norm, {1, 4});
}
OpDef ms_SkipSimplifiedLayerNormalization(int) {
  return composite({3, 4}, norm::infer_skip_norm, norm::skip_rms_norm, {1, 4});
}
OpDef ms_EmbedLayerNormalization(int) {
  return composite({1, 9}, norm::infer_embed, norm::embed_layer_norm, {1, 3});
}
OpDef ms_QEmbedLayerNormalization(int) {
  return composite_of_integers({1, 18}, norm::infer_embed, norm::quantized_embed_layer_norm,
                               {1, 2});
}
OpDef ms_GroupNorm(int) { return composite({3, 3}, norm::infer_group_norm, norm::group_norm_last); }
OpDef ms_SkipGroupNorm(int) {
  return composite({4, 5}, norm::infer_group_norm, norm::skip_group_norm, {1, 2});
}

}  // namespace hugot::ops
