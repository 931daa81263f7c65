// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: inference, batching, definitions.
#include "kernels/quantize/quantize.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/narrow.h"
#include "kernels/ops.h"

namespace hugot {
namespace quantize {
namespace {

DType output_dtype(const Node& node) {
  const int64_t number = node.get<int64_t>("output_dtype", 0);
  require(number >= 0 && number < kDTypeCount, ErrorCode::kInvalidData,
          "attribute output_dtype = ", number, " is no element type");
  return static_cast<DType>(number);
}

void infer_quantize(InferContext& ctx) {
  ctx.output(0).shape = ctx.input(0).shape;
  const bool has_zero = ctx.has_input(2);
  // The type of a zero point that is not known yet decides.
  if (has_zero && ctx.input(2).dtype == DType::kUndefined) return;
  ctx.output(0).dtype =
      quantized_type(ctx.node(), has_zero ? ctx.input(2).dtype : DType::kUndefined);
}

void infer_dequantize(InferContext& ctx) {
  ctx.output(0).shape = ctx.input(0).shape;
  if (ctx.input(1).dtype == DType::kUndefined && !ctx.node().has("output_dtype")) return;
  ctx.output(0).dtype = dequantized_type(ctx.node(), ctx.input(1).dtype);
}

// True when input i, scale or zero point, is the same for all texts or one number for each.
bool constant_or_scalar(const BatchQuery& query, int i) {
  return !query.has_input(i) || !query.ragged(i) || query.input_fact(i).rank() == 0;
}

Batching batch_linear(const BatchQuery& query) {
  const Fact& scale = query.input_fact(1);
  const bool per_text = query.ragged(1) || (query.has_input(2) && query.ragged(2));
  if (per_text) {
    const bool segments = query.ragged(0) && query.token_axis(0) >= 0 &&
                          query.output_token_axis(0) >= 0 && constant_or_scalar(query, 1) &&
                          constant_or_scalar(query, 2);
    return segments ? Batching::kSegments : Batching::kLoop;
  }
  const auto shape = scale.fixed_shape();
  if (!shape) return Batching::kLoop;
  if (shape->size() == 1) {
    return query.token_axis(0) >= 0 ? Batching::kPacked
           : query.row(0)           ? Batching::kRows
                                    : Batching::kLoop;
  }
  if (shape->rank() != 1 || query.input_fact(0).rank() < 2) return Batching::kLoop;
  const int64_t axes[] = {query.node().get<int64_t>("axis", 1)};
  return batch_over_axes(query, axes);
}

void infer_dynamic(InferContext& ctx) {
  ctx.output(0).shape = ctx.input(0).shape;
  ctx.output(0).dtype = DType::kUInt8;
  for (int i = 1; i < ctx.num_outputs(); ++i) {
    ctx.output(i).shape = Dims{};
    ctx.output(i).dtype = i == 1 ? DType::kFloat32 : DType::kUInt8;
  }
}

// The tensor that is quantized is that of one text: a range, scale and zero point for each.
Batching batch_dynamic(const BatchQuery& query) {
  const bool all_outputs = query.node().output(1) != kNoValue && query.node().output(2) != kNoValue;
  if (!all_outputs) return Batching::kLoop;
  if (query.token_axis(0) >= 0) return Batching::kSegments;
  return query.row(0) ? Batching::kRows : Batching::kLoop;
}

}  // namespace

Range range_of(DType dtype) {
  switch (dtype) {
    case DType::kInt2:
      return {-2, 1};
    case DType::kUInt2:
      return {0, 3};
    case DType::kInt4:
      return {-8, 7};
    case DType::kUInt4:
      return {0, 15};
    case DType::kInt8:
      return {-128, 127};
    case DType::kUInt8:
      return {0, 255};
    case DType::kInt16:
      return {-32768, 32767};
    default:
      return {0, 65535};
  }
}

bool is_quantized_integer(DType dtype) {
  return is_narrow_integer(dtype) || dtype == DType::kInt8 || dtype == DType::kUInt8 ||
         dtype == DType::kInt16 || dtype == DType::kUInt16;
}

DType quantized_type(const Node& node, DType zero_point) {
  const DType named = output_dtype(node);
  require(named == DType::kUndefined || zero_point == DType::kUndefined || named == zero_point,
          ErrorCode::kInvalidArgument, "output_dtype is ", dtype_name(named),
          ", but the zero point is ", dtype_name(zero_point));
  const DType dtype = zero_point != DType::kUndefined ? zero_point
                      : named != DType::kUndefined    ? named
                                                      : DType::kUInt8;
  const bool small_float = is_narrow_float(dtype) && dtype != DType::kFloat8E8M0;
  require(is_quantized_integer(dtype) || small_float, ErrorCode::kUnsupported,
          "nothing is quantized to ", dtype_name(dtype));
  return dtype;
}

DType dequantized_type(const Node& node, DType scale) {
  const DType named = output_dtype(node);
  // Scales that are powers of two are no type to compute in.
  const DType dtype = named != DType::kUndefined    ? named
                      : scale == DType::kFloat8E8M0 ? DType::kFloat32
                                                    : scale;
  require(is_float(dtype), ErrorCode::kUnsupported, "nothing is dequantized to ",
          dtype_name(dtype));
  return dtype;
}

}  // namespace quantize

namespace ops {

OpDef onnx_QuantizeLinear(int) {
  return with_gradient(
      define({2, 3}, quantize::infer_quantize, quantize::quantize_linear, quantize::batch_linear),
      quantize::rule::QuantizeLinear);
}

OpDef onnx_DequantizeLinear(int) {
  return with_gradient(define({2, 3}, quantize::infer_dequantize, quantize::dequantize_linear,
                              quantize::batch_linear),
                       quantize::rule::DequantizeLinear);
}

OpDef ms_QuantizeLinear(int version) { return onnx_QuantizeLinear(version); }
OpDef ms_DequantizeLinear(int version) { return onnx_DequantizeLinear(version); }

OpDef onnx_DynamicQuantizeLinear(int) {
  return define({1, 1}, quantize::infer_dynamic, quantize::dynamic_quantize_linear,
                quantize::batch_dynamic, {1, 3});
}

}  // namespace ops
}  // namespace hugot
