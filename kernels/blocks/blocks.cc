// Products with block-quantized weights: inference, batching, definitions.
#include "kernels/blocks/blocks.h"

#include "base/error.h"
#include "graph/expansion.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace blocks {
namespace {

int64_t positive(const Node& node, const char* name) {
  const auto value = node.at<int64_t>(name);
  require(value > 0, ErrorCode::kInvalidArgument, "attribute ", name, " is ", value);
  return value;
}

void infer_matmul(InferContext& ctx) {
  infer_same_as_input(ctx);
  const int64_t rows = positive(ctx.node(), "N");
  positive(ctx.node(), "K");
  std::optional<Dims>& shape = ctx.output(0).shape;
  if (!shape) return;
  require(!shape->empty(), ErrorCode::kInvalidArgument, "a scalar cannot be multiplied");
  shape->back() = rows;
}

Batching batch_matmul(const BatchQuery& query) {
  const int64_t contracted[] = {-1};
  return batch_over_axes(query, contracted);
}

// hugot.Linear by the dequantized weight, when that is a constant.
bool expand_matmul(Expansion& e) {
  const Node& node = e.node();
  const bool table = node.has("quant_type");
  if (e.rank(0) < 2 || rounds_operand(node) || (table && node.get<int64_t>("transB", 1) == 0))
    return false;
  std::vector<Term> operands;
  const int last = table ? 2 : 4;
  for (int i = 1; i <= last; ++i) {
    if (e.has(i) && !e.fact(i).constant) return false;
    operands.push_back(e.x(i));
  }
  Attributes attributes;
  for (const char* name : {"N", "K", "bits", "block_size", "quant_type", "weight_prepacked"}) {
    if (node.has(name)) attributes[name] = node.at<int64_t>(name);
  }
  const Term weight = e.op("DequantizeBlocks", operands, std::move(attributes), "hugot");
  const Term bias = table ? Term() : e.x(5);
  e.set(0, e.op("Linear", {e.x(0), weight, bias}, {{"trans_w", int64_t{1}}}, "hugot"));
  return true;
}

void infer_dequantize(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(1).dtype;
  ctx.output(0).shape = Dims{positive(ctx.node(), "N"), positive(ctx.node(), "K")};
}

void infer_gather(InferContext& ctx) {
  const Node& node = ctx.node();
  const Fact& data = ctx.input(0);
  ctx.output(0).dtype = ctx.input(2).dtype;
  if (!data.shape || !ctx.input(1).shape) return;
  Dims own = *data.shape;
  require(!own.empty(), ErrorCode::kInvalidArgument, "the data are a scalar");
  const auto bits = node.get<int64_t>("bits", 4);
  require(bits == 2 || bits == 4 || bits == 8, ErrorCode::kUnsupported, bits,
          " bits are not supported");
  if (data.dtype == DType::kUInt8) own.back() = own.back() * (8 / bits);
  const int axis = infer_axis(own, node.get<int64_t>("gather_axis", 0));
  Dims dims(own.begin(), own.begin() + axis);
  dims.insert(dims.end(), ctx.input(1).shape->begin(), ctx.input(1).shape->end());
  dims.insert(dims.end(), own.begin() + axis + 1, own.end());
  ctx.output(0).shape = std::move(dims);
}

// Rows of a shared table by the ids of tokens or texts.
Batching batch_gather(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  for (const int i : {0, 2, 3}) {
    const bool there = i < static_cast<int>(query.node().inputs.size()) && query.has_input(i);
    if (there && query.ragged(i)) return Batching::kLoop;
  }
  if (rank < 1) return Batching::kLoop;
  if (normalize_axis(query.node().get<int64_t>("gather_axis", 0), rank) != 0) {
    return Batching::kLoop;
  }
  const int token = query.token_axis(1);
  if (token >= 0 && query.output_token_axis(0) == token &&
      fixed_behind(query.input_fact(1), token)) {
    return Batching::kPacked;
  }
  return query.row(1) ? Batching::kRows : Batching::kLoop;
}

// Every token has its own experts.
Batching batch_mixture(const BatchQuery& query) {
  const int inputs = static_cast<int>(query.node().inputs.size());
  for (int i = 2; i < inputs; ++i) {
    if (query.has_input(i) && query.ragged(i)) return Batching::kLoop;
  }
  const auto packed = [&](int i) {
    const int token = query.token_axis(i);
    return query.ragged(i) && token >= 0 && token == query.input_fact(i).rank() - 2;
  };
  return packed(0) && packed(1) && query.output_token_axis(0) == query.token_axis(0)
             ? Batching::kPacked
             : Batching::kLoop;
}

}  // namespace
}  // namespace blocks

namespace ops {

OpDef ms_MatMulNBits(int) {
  OpDef op = define({3, 6}, blocks::infer_matmul, blocks::matmul, blocks::batch_matmul);
  op.expand = blocks::expand_matmul;
  return op;
}
OpDef ms_MatMulBnb4(int) {
  OpDef op = define({3, 3}, blocks::infer_matmul, blocks::matmul, blocks::batch_matmul);
  op.expand = blocks::expand_matmul;
  return op;
}
OpDef hugot_DequantizeBlocks(int) {
  return define({2, 4}, blocks::infer_dequantize, blocks::dequantize);
}
OpDef ms_GatherBlockQuantized(int) {
  return define({3, 4}, blocks::infer_gather, blocks::gather, blocks::batch_gather);
}
OpDef ms_MoE(int) {
  return define({3, 8}, infer_same_as_input, blocks::mixture, blocks::batch_mixture);
}
OpDef ms_QMoE(int) {
  return define({4, 16}, infer_same_as_input, blocks::quantized_mixture, blocks::batch_mixture);
}

}  // namespace ops
}  // namespace hugot
