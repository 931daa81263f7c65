#include "kernels/text/text.h"

#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace text {
namespace {

void infer_match(InferContext& ctx) {
  ctx.output(0).dtype = DType::kBool;
  ctx.output(0).shape = ctx.input(0).shape;
}

void infer_concat(InferContext& ctx) {
  ctx.output(0).dtype = DType::kString;
  ctx.output(0).shape = broadcast_inputs(ctx);
}

// How many strings stay depends on what they are.
void infer_normalize(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = DType::kString;
  const int rank = ctx.input(0).rank();
  if (rank == 1) out.shape = Dims{unknown_dim(ctx, 0, 0)};
  if (rank == 2) out.shape = Dims{1, unknown_dim(ctx, 0, 1)};
}

void infer_split(InferContext& ctx) {
  const auto& in = ctx.input(0).shape;
  ctx.output(0).dtype = DType::kString;
  if (in) {
    ctx.output(0).shape = in;
    ctx.output(0).shape->push_back(unknown_dim(ctx, 0, static_cast<int>(in->size())));
  }
  if (ctx.num_outputs() < 2) return;
  ctx.output(1).dtype = DType::kInt64;
  ctx.output(1).shape = in;
}

// How many tokens there are depends on the strings.
void infer_tokenizer(InferContext& ctx) {
  const auto& in = ctx.input(0).shape;
  ctx.output(0).dtype = DType::kString;
  if (!in) return;
  require(in->size() == 1 || in->size() == 2, ErrorCode::kInvalidArgument,
          "the strings have to be [n] or [batch,n], but are ", to_string(*in));
  ctx.output(0).shape = in;
  ctx.output(0).shape->push_back(unknown_dim(ctx, 0, static_cast<int>(in->size())));
}

void infer_tf_idf(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = DType::kFloat32;
  const auto& in = ctx.input(0).shape;
  if (!in) return;
  out.shape = in;
  if (out.shape->empty()) out.shape->emplace_back();
  out.shape->back() = tf_idf_length(ctx.node());
}

}  // namespace
}  // namespace text

namespace ops {

OpDef onnx_RegexFullMatch(int) {
  OpDef op = define({1, 1}, text::infer_match, text::regex_full_match, batch_elementwise);
  op.prepare = text::prepare_regex;
  return op;
}

OpDef onnx_StringConcat(int) {
  return define({2, 2}, text::infer_concat, text::concat, batch_elementwise);
}

OpDef onnx_StringNormalizer(int) { return define({1, 1}, text::infer_normalize, text::normalize); }

OpDef onnx_StringSplit(int) {
  return define({1, 1}, text::infer_split, text::split, nullptr, {1, 2});
}

OpDef ms_Tokenizer(int) {
  OpDef op = define({1, 1}, text::infer_tokenizer, text::tokenize);
  op.prepare = text::prepare_tokenizer;
  return op;
}

OpDef onnx_TfIdfVectorizer(int) {
  OpDef op = define({1, 1}, text::infer_tf_idf, text::tf_idf);
  op.prepare = text::prepare_tf_idf;
  return op;
}

}  // namespace ops
}  // namespace hugot
