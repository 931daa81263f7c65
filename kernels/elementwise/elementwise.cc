// Definitions of the operators that compute every element alone.
#include "kernels/elementwise/elementwise.h"

#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::elementwise {
namespace {

// ---------------------------------------------------------------------------------------------
// Symbolic elements: integer arithmetic on lengths. Types that lengths come in are wide enough for
// it not to wrap around.

using Elements = std::span<const Dim>;
using Element = std::optional<Dim>;

// A bool when one of the two can be proved.
Element decide(bool provably_true, bool provably_false) {
  if (provably_true) return Dim(1);
  if (provably_false) return Dim(0);
  return std::nullopt;
}

bool provably_less(const Dim& a, const Dim& b) { return (b - a).provably_at_least(1); }
bool provably_not_less(const Dim& a, const Dim& b) { return (a - b).provably_at_least(0); }

Element add_rule(Elements e) { return e[0] + e[1]; }
Element sub_rule(Elements e) { return e[0] - e[1]; }
Element mul_rule(Elements e) { return e[0] * e[1]; }
Element div_rule(Elements e) {
  if (e[1].is(0)) return std::nullopt;
  return Dim::divide(e[0], e[1]);
}
Element neg_rule(Elements e) { return 0 - e[0]; }
Element abs_rule(Elements e) {
  if (e[0].provably_at_least(0)) return e[0];
  if ((0 - e[0]).provably_at_least(0)) return 0 - e[0];
  return std::nullopt;
}
Element sign_rule(Elements e) {
  if (e[0].provably_at_least(1)) return Dim(1);
  if ((0 - e[0]).provably_at_least(1)) return Dim(-1);
  if (e[0].is(0)) return Dim(0);
  return std::nullopt;
}
Element relu_rule(Elements e) { return Dim::max(e[0], 0); }
Element max_rule(Elements e) {
  Dim result = e[0];
  for (const Dim& next : e.subspan(1)) result = Dim::max(result, next);
  return result;
}
Element min_rule(Elements e) {
  Dim result = e[0];
  for (const Dim& next : e.subspan(1)) result = Dim::min(result, next);
  return result;
}
Element clip_rule(Elements e) {
  Dim result = e[0];
  if (e.size() > 1) result = Dim::max(result, e[1]);
  if (e.size() > 2) result = Dim::min(result, e[2]);
  return result;
}
Element equal_rule(Elements e) { return decide(e[0] == e[1], Dim::provably_different(e[0], e[1])); }
Element less_rule(Elements e) {
  return decide(provably_less(e[0], e[1]), provably_not_less(e[0], e[1]));
}
Element less_or_equal_rule(Elements e) {
  return decide(provably_not_less(e[1], e[0]), provably_less(e[1], e[0]));
}
Element greater_rule(Elements e) {
  return decide(provably_less(e[1], e[0]), provably_not_less(e[1], e[0]));
}
Element greater_or_equal_rule(Elements e) {
  return decide(provably_not_less(e[0], e[1]), provably_less(e[0], e[1]));
}
Element not_rule(Elements e) { return decide(e[0].is(0), e[0].is(1)); }
Element and_rule(Elements e) { return decide(e[0].is(1) && e[1].is(1), e[0].is(0) || e[1].is(0)); }
Element or_rule(Elements e) { return decide(e[0].is(1) || e[1].is(1), e[0].is(0) && e[1].is(0)); }
Element xor_rule(Elements e) {
  if (!e[0].is_number() || !e[1].is_number()) return std::nullopt;
  return Dim(e[0] == e[1] ? 0 : 1);
}
Element where_rule(Elements e) {
  if (e[0].is(1) || e[1] == e[2]) return e[1];
  if (e[0].is(0)) return e[2];
  return std::nullopt;
}

// ---------------------------------------------------------------------------------------------
// Inference

bool may_be_symbolic(DType dtype) {
  return dtype == DType::kInt64 || dtype == DType::kInt32 || dtype == DType::kBool;
}

template <SymbolicRule kRule>
void propagate(InferContext& ctx) {
  propagate_uniform(ctx);
  if constexpr (kRule != nullptr) {
    if (may_be_symbolic(ctx.output(0).dtype)) propagate_symbolic(ctx, kRule);
  }
}

template <SymbolicRule kRule = nullptr>
void infer_unary(InferContext& ctx) {
  infer_same_as_input(ctx);
  propagate<kRule>(ctx);
}

template <SymbolicRule kRule = nullptr>
void infer_test(InferContext& ctx) {
  ctx.output(0).dtype = DType::kBool;
  ctx.output(0).shape = ctx.input(0).shape;
  propagate<kRule>(ctx);
}

// The type that all inputs share.
DType common_dtype(const InferContext& ctx, int first = 0) {
  DType dtype = DType::kUndefined;
  for (int i = first; i < ctx.num_inputs(); ++i) {
    if (ctx.has_input(i)) require_same_dtype(ctx, first, i);
    if (dtype == DType::kUndefined) dtype = input_dtype(ctx, i);
  }
  return dtype;
}

std::optional<Dims> shape_of_binary(const InferContext& ctx) {
  const std::optional<Dims>& a = ctx.input(0).shape;
  const std::optional<Dims>& b = ctx.input(1).shape;
  if (!a || !b) return std::nullopt;
  return broadcast(*a, shape_of_b(ctx.node(), *a, *b));
}

template <SymbolicRule kRule = nullptr>
void infer_arithmetic(InferContext& ctx) {
  ctx.output(0).dtype = common_dtype(ctx);
  ctx.output(0).shape = shape_of_binary(ctx);
  propagate<kRule>(ctx);
}

template <SymbolicRule kRule>
void infer_comparison(InferContext& ctx) {
  common_dtype(ctx);
  ctx.output(0).dtype = DType::kBool;
  ctx.output(0).shape = shape_of_binary(ctx);
  propagate<kRule>(ctx);
}

// And, Or: one operand that is `kAbsorbing` everywhere decides alone.
template <SymbolicRule kRule, bool kAbsorbing>
void infer_logic(InferContext& ctx) {
  infer_comparison<kRule>(ctx);
  for (int i = 0; i < 2; ++i) {
    const std::optional<Tensor> value = ctx.input(i).single_value();
    if (value && value->dtype() == DType::kBool && *value->data<bool>() == kAbsorbing) {
      ctx.output(0).uniform = *value;
    }
  }
}

// Pow: the exponent may have another type.
void infer_pow(InferContext& ctx) {
  ctx.output(0).dtype = input_dtype(ctx, 0);
  ctx.output(0).shape = shape_of_binary(ctx);
  propagate_uniform(ctx);
}

template <SymbolicRule kRule = nullptr>
void infer_variadic(InferContext& ctx) {
  ctx.output(0).dtype = common_dtype(ctx);
  ctx.output(0).shape = broadcast_inputs(ctx);
  propagate<kRule>(ctx);
}

// Activations with an optional bias, and Clip with its limits: the output is like input 0.
template <SymbolicRule kRule = nullptr>
void infer_like_first(InferContext& ctx) {
  common_dtype(ctx);
  infer_unary<kRule>(ctx);
}

// With a known condition the output is one of the branches; otherwise they may agree.
void infer_where(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = common_dtype(ctx, 1);
  out.shape = broadcast_inputs(ctx);
  const std::optional<Tensor> condition = ctx.input(0).single_value();
  if (condition && condition->dtype() == DType::kBool) {
    const Fact& branch = ctx.input(*condition->data<bool>() ? 1 : 2);
    out.uniform = branch.single_value();
    if (branch.shape && branch.shape == out.shape) {
      out.constant = branch.constant;
      out.symbolic = branch.symbolic;
    }
    return;
  }
  const std::optional<Tensor> a = ctx.input(1).single_value();
  const std::optional<Tensor> b = ctx.input(2).single_value();
  if (a && b && identical(*a, *b)) out.uniform = a;
  if (may_be_symbolic(out.dtype)) propagate_symbolic(ctx, where_rule);
}

// ---------------------------------------------------------------------------------------------
// Definitions

Batching batching(const BatchQuery& query) {
  const Node& node = query.node();
  const bool aligned_by_axis = node.op->since_version < 7 && node.has("axis");
  return aligned_by_axis ? Batching::kLoop : batch_elementwise(query);
}

OpDef define(int min_inputs, int max_inputs, InferFunction infer, KernelFunction cpu,
             GradientRule* gradient = nullptr) {
  OpDef op;
  op.min_inputs = min_inputs;
  op.max_inputs = max_inputs;
  op.infer = infer;
  op.batching = batching;
  op.cpu = cpu;
  op.gradient = gradient;
  return op;
}

template <class F, SymbolicRule kRule = nullptr>
OpDef function(GradientRule* gradient = nullptr) {
  return define(1, 1, infer_unary<kRule>, unary<F>, gradient);
}

template <class F, SymbolicRule kRule = nullptr>
OpDef arithmetic(GradientRule* gradient = nullptr) {
  return define(2, 2, infer_arithmetic<kRule>, binary<F>, gradient);
}

template <class F, SymbolicRule kRule>
OpDef comparison() {
  return define(2, 2, infer_comparison<kRule>, binary<F>);
}

template <SymbolicRule kRule = nullptr>
OpDef fold(KernelFunction cpu, GradientRule* gradient) {
  return define(1, OpDef::kVariadic, infer_variadic<kRule>, cpu, gradient);
}

}  // namespace
}  // namespace hugot::elementwise

namespace hugot::ops {

using namespace elementwise;  // NOLINT: the room's own names

OpDef onnx_Abs(int) { return function<fn::Abs, abs_rule>(rule::Abs); }
OpDef onnx_Acos(int) { return function<fn::Acos>(rule::Acos); }
OpDef onnx_Acosh(int) { return function<fn::Acosh>(rule::Acosh); }
OpDef onnx_Asin(int) { return function<fn::Asin>(rule::Asin); }
OpDef onnx_Asinh(int) { return function<fn::Asinh>(rule::Asinh); }
OpDef onnx_Atan(int) { return function<fn::Atan>(rule::Atan); }
OpDef onnx_Atanh(int) { return function<fn::Atanh>(rule::Atanh); }
OpDef onnx_BitwiseNot(int) { return function<fn::BitwiseNot>(); }
OpDef onnx_Ceil(int) { return function<fn::Ceil>(rule::Flat); }
OpDef onnx_Celu(int) { return function<fn::Celu>(rule::Celu); }
OpDef onnx_Cos(int) { return function<fn::Cos>(rule::Cos); }
OpDef onnx_Cosh(int) { return function<fn::Cosh>(rule::Cosh); }
OpDef onnx_Elu(int) { return function<fn::Elu>(rule::Elu); }
OpDef onnx_Erf(int) { return function<fn::Erf>(rule::Erf); }
OpDef onnx_Exp(int) { return function<fn::Exp>(rule::Exp); }
OpDef onnx_Floor(int) { return function<fn::Floor>(rule::Flat); }
OpDef onnx_Gelu(int) { return function<fn::Gelu>(rule::Gelu); }
OpDef hugot_GeluGradient(int) { return define(2, 2, infer_same_as_input, gelu_gradient); }
OpDef onnx_HardSigmoid(int) { return function<fn::HardSigmoid>(rule::HardSigmoid); }
OpDef onnx_HardSwish(int) { return function<fn::HardSwish>(rule::HardSwish); }
OpDef onnx_LeakyRelu(int) { return function<fn::LeakyRelu>(rule::LeakyRelu); }
OpDef onnx_Log(int) { return function<fn::Log>(rule::Log); }
OpDef onnx_Mish(int) { return function<fn::Mish>(rule::Mish); }
OpDef onnx_Neg(int) { return function<fn::Neg, neg_rule>(rule::Neg); }
OpDef onnx_Reciprocal(int) { return function<fn::Reciprocal>(rule::Reciprocal); }
OpDef onnx_Relu(int) { return function<fn::Relu, relu_rule>(rule::Relu); }
OpDef onnx_Round(int) { return function<fn::Round>(rule::Flat); }
OpDef onnx_Selu(int) { return function<fn::Selu>(rule::Selu); }
OpDef onnx_Shrink(int) { return function<fn::Shrink>(rule::Shrink); }
OpDef onnx_Sigmoid(int) { return function<fn::Sigmoid>(rule::Sigmoid); }
OpDef onnx_Sign(int) { return function<fn::Sign, sign_rule>(rule::Flat); }
OpDef onnx_Sin(int) { return function<fn::Sin>(rule::Sin); }
OpDef onnx_Sinh(int) { return function<fn::Sinh>(rule::Sinh); }
OpDef onnx_Softplus(int) { return function<fn::Softplus>(rule::Softplus); }
OpDef onnx_Softsign(int) { return function<fn::Softsign>(rule::Softsign); }
OpDef onnx_Sqrt(int) { return function<fn::Sqrt>(rule::Sqrt); }
OpDef onnx_Swish(int) { return function<fn::Swish>(rule::Swish); }
OpDef onnx_Tan(int) { return function<fn::Tan>(rule::Tan); }
OpDef onnx_Tanh(int) { return function<fn::Tanh>(rule::Tanh); }
OpDef onnx_ThresholdedRelu(int) { return function<fn::ThresholdedRelu>(rule::ThresholdedRelu); }

OpDef onnx_IsInf(int) { return define(1, 1, infer_test<>, unary<fn::IsInf>); }
OpDef onnx_IsNaN(int) { return define(1, 1, infer_test<>, unary<fn::IsNaN>); }
OpDef onnx_Not(int) { return define(1, 1, infer_test<not_rule>, unary<fn::Not>); }

OpDef onnx_Add(int) { return arithmetic<fn::Add, add_rule>(rule::Add); }
OpDef onnx_BitShift(int) { return arithmetic<fn::BitShift>(); }
OpDef onnx_BitwiseAnd(int) { return arithmetic<fn::BitwiseAnd>(); }
OpDef onnx_BitwiseOr(int) { return arithmetic<fn::BitwiseOr>(); }
OpDef onnx_BitwiseXor(int) { return arithmetic<fn::BitwiseXor>(); }
OpDef onnx_Div(int) { return arithmetic<fn::Div, div_rule>(rule::Div); }
OpDef onnx_Mod(int) { return arithmetic<fn::Mod>(rule::Mod); }
OpDef onnx_Mul(int) { return arithmetic<fn::Mul, mul_rule>(rule::Mul); }
OpDef onnx_PRelu(int) { return arithmetic<fn::PRelu>(rule::PRelu); }
OpDef onnx_Pow(int) { return define(2, 2, infer_pow, elementwise::pow, rule::Pow); }
OpDef onnx_Sub(int) { return arithmetic<fn::Sub, sub_rule>(rule::Sub); }

OpDef onnx_And(int) { return define(2, 2, infer_logic<and_rule, false>, binary<fn::And>); }
OpDef onnx_Or(int) { return define(2, 2, infer_logic<or_rule, true>, binary<fn::Or>); }
OpDef onnx_Xor(int) { return comparison<fn::Xor, xor_rule>(); }
OpDef onnx_Equal(int) { return define(2, 2, infer_comparison<equal_rule>, equal); }
OpDef onnx_Greater(int) { return comparison<fn::Greater, greater_rule>(); }
OpDef onnx_GreaterOrEqual(int) { return comparison<fn::GreaterOrEqual, greater_or_equal_rule>(); }
OpDef onnx_Less(int) { return comparison<fn::Less, less_rule>(); }
OpDef onnx_LessOrEqual(int) { return comparison<fn::LessOrEqual, less_or_equal_rule>(); }

OpDef onnx_Max(int) { return fold<max_rule>(variadic<fn::Max>, rule::Max); }
OpDef onnx_Mean(int) { return fold(mean, rule::Mean); }
OpDef onnx_Min(int) { return fold<min_rule>(variadic<fn::Min>, rule::Min); }
OpDef onnx_Sum(int) { return fold(variadic<fn::Add>, rule::Sum); }

OpDef onnx_Clip(int since_version) {
  return define(1, since_version < 11 ? 1 : 3, infer_like_first<clip_rule>, clip, rule::Clip);
}
OpDef onnx_Where(int) { return define(3, 3, infer_where, where, rule::Where); }

}  // namespace hugot::ops
