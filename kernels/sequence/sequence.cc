// Sequence* and Optional* operators: definitions.
#include "kernels/sequence/sequence.h"

#include "kernels/define.h"
#include "kernels/infer_helpers.h"

namespace hugot {
namespace sequence {
namespace {

void infer_empty(InferContext& ctx) {
  Fact item;
  item.dtype =
      static_cast<DType>(ctx.node().get<int64_t>("dtype", static_cast<int64_t>(DType::kFloat32)));
  ctx.output(0) = Fact::sequence_of(std::move(item));
}

// Items of one sequence have one element type, but shapes of their own.
Fact item_like(const Fact& fact) {
  Fact item = fact.type();
  item.shape.reset();
  return item;
}

void infer_construct(InferContext& ctx) {
  ctx.output(0) = Fact::sequence_of(item_like(ctx.input(0)));
}

void infer_insert(InferContext& ctx) { ctx.output(0) = Fact::sequence_of(item_like(ctx.input(1))); }

void infer_erase(InferContext& ctx) { ctx.output(0) = ctx.input(0).type(); }

void infer_at(InferContext& ctx) { ctx.output(0) = item_like(ctx.input(0).item()); }

void infer_length(InferContext& ctx) { ctx.output(0) = Fact::of(DType::kInt64, {}); }

void infer_concat(InferContext& ctx) { ctx.output(0) = item_like(ctx.input(0).item()); }

void infer_split(InferContext& ctx) { ctx.output(0) = Fact::sequence_of(item_like(ctx.input(0))); }

void infer_optional(InferContext& ctx) {
  if (ctx.has_input(0)) {
    ctx.output(0) = Fact::optional_of(ctx.input(0).type());
  } else {
    ctx.output(0) = Fact::optional_of(ctx.node().get<Fact>("type", {}));
  }
}

void infer_get_element(InferContext& ctx) {
  const Fact& in = ctx.input(0);
  ctx.output(0) = in.kind == Kind::kOptional ? in.item() : in.type();
}

void infer_has_element(InferContext& ctx) { ctx.output(0) = Fact::of(DType::kBool, {}); }

}  // namespace
}  // namespace sequence

namespace ops {

OpDef onnx_SequenceEmpty(int) { return define({0, 0}, sequence::infer_empty, sequence::empty); }

OpDef onnx_SequenceConstruct(int) {
  return define({1, OpDef::kVariadic}, sequence::infer_construct, sequence::construct);
}

OpDef onnx_SequenceInsert(int) { return define({2, 3}, sequence::infer_insert, sequence::insert); }

OpDef onnx_SequenceErase(int) { return define({1, 2}, sequence::infer_erase, sequence::erase); }

OpDef onnx_SequenceAt(int) { return define({2, 2}, sequence::infer_at, sequence::at); }

OpDef onnx_SequenceLength(int) { return define({1, 1}, sequence::infer_length, sequence::length); }

OpDef onnx_ConcatFromSequence(int) {
  return define({1, 1}, sequence::infer_concat, sequence::concat);
}

OpDef onnx_SplitToSequence(int) { return define({1, 2}, sequence::infer_split, sequence::split); }

OpDef onnx_Optional(int) {
  return define({0, 1}, sequence::infer_optional, sequence::make_optional);
}

OpDef onnx_OptionalGetElement(int) {
  return define({1, 1}, sequence::infer_get_element, sequence::get_element);
}

OpDef onnx_OptionalHasElement(int version) {
  return define({version < 18 ? 1 : 0, 1}, sequence::infer_has_element, sequence::has_element);
}

}  // namespace ops
}  // namespace hugot
