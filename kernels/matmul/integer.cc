// Products of quantized operands: inference, batching, definitions.
#include "kernels/matmul/integer.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ops.h"

namespace hugot {
namespace matmul {
namespace {

void infer_matmul_integer(InferContext& ctx) {
  ctx.output(0).dtype = DType::kInt32;
  infer_product_shape(ctx, 0, 1);
}

void infer_qlinear_matmul(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(7).dtype;
  infer_product_shape(ctx, kQLinearMatMulSlots.a, kQLinearMatMulSlots.b);
}

void infer_quantized_linear(InferContext& ctx) {
  ctx.output(0).dtype = DType::kFloat32;
  if (ctx.node().get<int64_t>("trans_w", 0) == 0) return infer_product_shape(ctx, 0, 1);
  const auto &a = ctx.input(0).shape, &w = ctx.input(1).shape;
  if (!a || !w) return;
  require(!a->empty() && w->size() == 2, ErrorCode::kInvalidArgument,
          "rows are multiplied by a matrix, got ", to_string(*a), " and ", to_string(*w));
  ctx.output(0).shape = a;
  ctx.output(0).shape->back() = w->front();
}

// `row_like` are inputs with a row for each row of the result, `shared` those that no text may
// change. Scale and zero point on the left may be one number for each text.
Batching batch_product(const BatchQuery& query, const IntegerSlots& slots,
                       std::initializer_list<int> row_like, std::initializer_list<int> shared) {
  const auto has = [&](int i) {
    return i >= 0 && i < static_cast<int>(query.node().inputs.size()) && query.has_input(i);
  };
  const auto ragged = [&](int i) { return has(i) && query.ragged(i); };
  if (query.input_fact(slots.b).rank() != 2 || ragged(slots.b) || ragged(slots.b_zero) ||
      ragged(slots.b_scale)) {
    return Batching::kLoop;
  }
  for (const int i : shared) {
    if (ragged(i)) return Batching::kLoop;
  }
  bool per_text = false;
  for (const int i : {slots.a_zero, slots.a_scale}) {
    if (!has(i)) continue;
    const auto shape = query.input_fact(i).fixed_shape();
    if (!shape || shape->size() != 1 || (query.ragged(i) && shape->rank() != 0)) {
      return Batching::kLoop;
    }
    per_text = per_text || query.ragged(i);
  }
  const Fact& a = query.input_fact(slots.a);
  const int token = query.token_axis(slots.a);
  bool packed = token >= 0 && token < a.rank() - 1 && query.output_token_axis(0) == token;
  bool rows = query.row(slots.a) && a.rank() > 1;
  for (int axis = 0; rows && axis + 1 < a.rank(); ++axis) {
    rows = (*a.shape)[static_cast<size_t>(axis)].is(1);
  }
  for (const int i : row_like) {
    if (!has(i)) continue;
    packed = packed && query.ragged(i) && query.token_axis(i) == token;
    rows = rows && query.row(i);
  }
  if (packed) return per_text ? Batching::kSegments : Batching::kPacked;
  return rows ? Batching::kRows : Batching::kLoop;
}

Batching batch_matmul_integer(const BatchQuery& query) {
  return batch_product(query, kMatMulIntegerSlots, {}, {});
}
Batching batch_qlinear_matmul(const BatchQuery& query) {
  return batch_product(query, kQLinearMatMulSlots, {}, {6, 7});
}
Batching batch_quantized_linear(const BatchQuery& query) {
  return batch_product(query, kQuantizedLinearSlots, {7}, {6});
}

OpDef product(Arity inputs, InferFunction infer, KernelFunction cpu, BatchingFunction batching,
              PrepareFunction prepare) {
  OpDef op = define(inputs, infer, cpu, batching);
  op.prepare = prepare;
  return op;
}

}  // namespace
}  // namespace matmul

namespace ops {

OpDef onnx_MatMulInteger(int) {
  return matmul::product({2, 4}, matmul::infer_matmul_integer, matmul::matmul_integer,
                         matmul::batch_matmul_integer, matmul::prepare_matmul_integer);
}

OpDef onnx_QLinearMatMul(int) {
  return matmul::product({8, 8}, matmul::infer_qlinear_matmul, matmul::qlinear_matmul,
                         matmul::batch_qlinear_matmul, matmul::prepare_qlinear_matmul);
}

OpDef hugot_QuantizedLinear(int) {
  return matmul::product({4, 8}, matmul::infer_quantized_linear, matmul::quantized_linear,
                         matmul::batch_quantized_linear, matmul::prepare_quantized_linear);
}

OpDef ms_MatMulIntegerToFloat(int) {
  return matmul::product({4, 7}, matmul::infer_quantized_linear, matmul::quantized_linear,
                         matmul::batch_quantized_linear, matmul::prepare_quantized_linear);
}

OpDef ms_DynamicQuantizeMatMul(int) {
  return matmul::product({3, 5}, matmul::infer_quantized_linear, matmul::dynamic_quantize_matmul,
                         nullptr, matmul::prepare_dynamic_matmul);
}

}  // namespace ops
}  // namespace hugot
