// Operators of com.microsoft on quantized tensors with given scales: the same on what the integers
// stand for, rounded to integers again.
#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"
#include "kernels/quantize/quantize.h"

namespace hugot::quantize {
namespace {

// What input i stands for; its scale and zero point (which may be omitted) follow it.
Term dequantized(Expansion& e, int i) {
  return e.op("DequantizeLinear", {e.x(i), e.scalar(i + 1), e.scalar(i + 2)});
}

// y as integers with scale and zero point from input `scale` on; without zero point of the type of
// input `like`.
Term quantized(Expansion& e, const Term& y, int scale, int like) {
  Attributes attributes;
  if (!e.has(scale + 1)) {
    attributes["output_dtype"] = static_cast<int64_t>(e.x(like).dtype());
  }
  return e.op("QuantizeLinear", {y, e.scalar(scale), e.scalar(scale + 1)}, std::move(attributes));
}

// The zero points are part of the sum that is rounded, as in ONNX Runtime: where the scales are
// multiples of each other, many sums lie between two integers, and this decides which is even.
bool add(Expansion& e) {
  const auto number = [&](int i) { return cast_to(e.x(i), DType::kFloat32); };
  const auto zero = [&](int i) {
    return e.has(i) ? cast_to(e.scalar(i), DType::kFloat32) : e.writer().number(0, DType::kFloat32);
  };
  const Term ratio_a = e.scalar(1) / e.scalar(6), ratio_b = e.scalar(4) / e.scalar(6);
  const Term fixed = zero(7) - (ratio_a * zero(2) + ratio_b * zero(5));
  const Term sum = number(0) * ratio_a + (number(3) * ratio_b + fixed);
  const auto dtype = static_cast<int64_t>(e.has(7) ? e.x(7).dtype() : e.x(0).dtype());
  const Term one = e.writer().number(1, DType::kFloat32);
  e.set(0, e.op("QuantizeLinear", {sum, one}, {{"output_dtype", dtype}}));
  return true;
}

bool mul(Expansion& e) {
  e.set(0, quantized(e, dequantized(e, 0) * dequantized(e, 3), 6, 0));
  return true;
}

bool sigmoid_of(Expansion& e) {
  e.set(0, quantized(e, sigmoid(dequantized(e, 0)), 3, 0));
  return true;
}

bool leaky_relu(Expansion& e) {
  const Attributes alpha = {{"alpha", e.node().get<float>("alpha", 0.01f)}};
  e.set(0, quantized(e, e.op("LeakyRelu", {dequantized(e, 0)}, alpha), 3, 0));
  return true;
}

// Before version 13 of Softmax all axes from `axis` on are one.
bool softmax(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Node& node = e.node();
  const Term x = dequantized(e, 0);
  const bool one_axis = node.at<int64_t>("opset") >= 13;
  const auto axis = node.get<int64_t>("axis", one_axis ? -1 : 1);
  const Term rows = one_axis ? x : e.op("Flatten", {x}, {{"axis", axis}});
  const Term y = e.op("Softmax", {rows}, {{"axis", one_axis ? axis : int64_t{-1}}});
  e.set(0, quantized(e, reshape_like(y, x), 3, 0));
  return true;
}

// Inputs: scale and zero point of the result, then a tensor, scale and zero point each.
bool concat(Expansion& e) {
  const auto count = static_cast<int>(e.node().inputs.size());
  require(count % 3 == 2, ErrorCode::kInvalidData, count,
          " inputs are not a scale, a zero point and triples of tensor, scale and zero point");
  std::vector<Term> parts;
  for (int i = 2; i < count; i += 3) parts.push_back(dequantized(e, i));
  e.set(0, quantized(e, e.writer().concat(parts, e.node().at<int64_t>("axis")), 0, 2));
  return true;
}

bool where_of(Expansion& e) {
  e.set(0, quantized(e, where(e.x(0), dequantized(e, 1), dequantized(e, 4)), 7, 1));
  return true;
}

bool reduce_mean(Expansion& e) {
  const Node& node = e.node();
  const auto axes = node.get<std::vector<int64_t>>("axes", {});
  const Term over = axes.empty() ? Term() : e.writer().integers(axes);
  const Term y = e.op("ReduceMean", {dequantized(e, 0), over},
                      {{"keepdims", node.get<int64_t>("keepdims", 1)}});
  e.set(0, quantized(e, y, 3, 0));
  return true;
}

// y computed from x with channels in axis 1, where channels of input 0 come last.
template <class Body>
Term with_channels_first(Expansion& e, const Body& body) {
  const Term x = dequantized(e, 0);
  if (e.node().get<int64_t>("channels_last", 0) == 0) return body(x);
  const int rank = x.rank();
  require(rank >= 3, ErrorCode::kInvalidArgument, "an image with ", rank, " axes");
  std::vector<int64_t> first(static_cast<size_t>(rank));
  std::iota(first.begin(), first.end(), 0);
  std::vector<int64_t> last = first;
  std::rotate(first.begin() + 1, first.end() - 1, first.end());
  std::rotate(last.begin() + 1, last.begin() + 2, last.end());
  return transpose(body(transpose(x, first)), last);
}

bool global_average_pool(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Term y =
      with_channels_first(e, [&](const Term& x) { return e.op("GlobalAveragePool", {x}); });
  e.set(0, quantized(e, y, 3, 0));
  return true;
}

bool average_pool(Expansion& e) {
  if (!e.ranks_known()) return false;
  Attributes attributes = e.node().attributes;
  attributes.erase("channels_last");
  const Term y =
      with_channels_first(e, [&](const Term& x) { return e.op("AveragePool", {x}, attributes); });
  e.set(0, quantized(e, y, 3, 0));
  return true;
}

// Inputs: A, scale, zero point, B, scale, zero point, C (int32 with the product of the scales),
// scale and zero point of the result; without the scale the result is floating-point.
bool gemm(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Node& node = e.node();
  const auto operand = [&](int i, const char* flag) {
    const Term x = e.x(i);
    return node.get<int64_t>(flag, 0) != 0 ? transposed(x) : x;
  };
  const auto alpha = static_cast<double>(node.get<float>("alpha", 1.0f));
  Term scale = e.x(1) * e.x(4);
  if (alpha != 1) scale = scale * alpha;
  const Term product =
      e.op("MatMulInteger", {operand(0, "transA"), operand(3, "transB"), e.x(2), e.x(5)});
  Term y = cast_to(product, DType::kFloat32) * scale;
  if (e.has(6)) y = y + cast_to(e.x(6), DType::kFloat32) * scale;
  e.set(0, e.has(7) ? quantized(e, y, 7, 0) : y);
  return true;
}

// ---------------------------------------------------------------------------------------------
// Inference

// The type of the zero point in input i, or without one that of input `like`.
DType result_type(const InferContext& ctx, int i, int like) {
  return i < ctx.num_inputs() && ctx.has_input(i) ? ctx.input(i).dtype : ctx.input(like).dtype;
}

void infer_unary(InferContext& ctx) {
  ctx.output(0).dtype = result_type(ctx, 4, 0);
  ctx.output(0).shape = ctx.input(0).shape;
}

void require_input(const InferContext& ctx, int i) {
  require(i < ctx.num_inputs() && ctx.has_input(i), ErrorCode::kInvalidData, "input ", i,
          " is required");
}

void infer_binary(InferContext& ctx) {
  require_input(ctx, 3);
  ctx.output(0).dtype = result_type(ctx, 7, 0);
  const auto &a = ctx.input(0).shape, &b = ctx.input(3).shape;
  if (a && b) ctx.output(0).shape = broadcast(*a, *b);
}

void infer_where(InferContext& ctx) {
  require_input(ctx, 1);
  require_input(ctx, 4);
  ctx.output(0).dtype = result_type(ctx, 8, 1);
  const auto &c = ctx.input(0).shape, &a = ctx.input(1).shape, &b = ctx.input(4).shape;
  if (a && b && c) ctx.output(0).shape = broadcast(broadcast(*a, *b), *c);
}

void infer_concat(InferContext& ctx) {
  ctx.output(0).dtype = result_type(ctx, 1, 2);
  std::optional<Dims> dims;
  for (int i = 2; i < ctx.num_inputs(); i += 3) {
    if (!ctx.has_input(i) || !ctx.input(i).shape) return;
    const Dims& part = *ctx.input(i).shape;
    if (!dims) {
      dims = part;
      continue;
    }
    require(part.size() == dims->size(), ErrorCode::kInvalidArgument,
            "tensors of different ranks cannot be joined");
    const auto axis = static_cast<size_t>(infer_axis(*dims, ctx.node().at<int64_t>("axis")));
    (*dims)[axis] = (*dims)[axis] + part[axis];
  }
  ctx.output(0).shape = dims;
}

void infer_type(InferContext& ctx) { ctx.output(0).dtype = result_type(ctx, 4, 0); }

void infer_gemm(InferContext& ctx) {
  const bool integers = ctx.num_inputs() > 7 && ctx.has_input(7);
  ctx.output(0).dtype = integers ? result_type(ctx, 8, 0) : DType::kFloat32;
  const auto &a = ctx.input(0).shape, &b = ctx.input(3).shape;
  if (!a || !b) return;
  require(a->size() == 2 && b->size() == 2, ErrorCode::kInvalidArgument, "A and B are ",
          to_string(*a), " and ", to_string(*b), "; they need two axes");
  const size_t row = ctx.node().get<int64_t>("transA", 0) != 0 ? 1 : 0;
  const size_t column = ctx.node().get<int64_t>("transB", 0) != 0 ? 0 : 1;
  ctx.output(0).shape = Dims{(*a)[row], (*b)[column]};
}

}  // namespace
}  // namespace hugot::quantize

namespace hugot::ops {

OpDef ms_QGemm(int) { return composite_of_integers({6, 9}, quantize::infer_gemm, quantize::gemm); }
OpDef ms_QLinearAdd(int) {
  return composite_of_integers({2, 8}, quantize::infer_binary, quantize::add);
}
OpDef ms_QLinearAveragePool(int) {
  return composite_of_integers({2, 5}, quantize::infer_type, quantize::average_pool);
}
OpDef ms_QLinearConcat(int) {
  return composite_of_integers({5, OpDef::kVariadic}, quantize::infer_concat, quantize::concat);
}
OpDef ms_QLinearGlobalAveragePool(int) {
  return composite_of_integers({2, 5}, quantize::infer_type, quantize::global_average_pool);
}
OpDef ms_QLinearLeakyRelu(int) {
  return composite_of_integers({2, 5}, quantize::infer_unary, quantize::leaky_relu);
}
OpDef ms_QLinearMul(int) {
  return composite_of_integers({2, 8}, quantize::infer_binary, quantize::mul);
}
OpDef ms_QLinearReduceMean(int) {
  return composite_of_integers({2, 5}, quantize::infer_type, quantize::reduce_mean);
}
OpDef ms_QLinearSigmoid(int) {
  return composite_of_integers({2, 5}, quantize::infer_unary, quantize::sigmoid_of);
}
OpDef ms_QLinearSoftmax(int) {
  return composite_of_integers({2, 5}, quantize::infer_unary, quantize::softmax);
}
OpDef ms_QLinearWhere(int) {
  return composite_of_integers({3, 9}, quantize::infer_where, quantize::where_of);
}

}  // namespace hugot::ops
