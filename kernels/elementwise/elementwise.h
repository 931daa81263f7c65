// Kernels of the operators that compute every element alone.
#ifndef HUGOT_KERNELS_ELEMENTWISE_ELEMENTWISE_H_
#define HUGOT_KERNELS_ELEMENTWISE_ELEMENTWISE_H_

#include "graph/op.h"

namespace hugot::elementwise {

// The function of one operator. A functor type says which element types it takes, how to compute
// an element, and, where there is one, which vector kernel does the same for float32. Attributes
// come in through its constructor.
namespace fn {
// y = f(x): unary_cpu.cc, activation_cpu.cc
struct Abs;
struct Acos;
struct Acosh;
struct Asin;
struct Asinh;
struct Atan;
struct Atanh;
struct BitwiseNot;
struct Ceil;
struct Celu;
struct Cos;
struct Cosh;
struct Elu;
struct Erf;
struct Exp;
struct Floor;
struct Gelu;
struct HardSigmoid;
struct HardSwish;
struct IsInf;
struct IsNaN;
struct LeakyRelu;
struct Log;
struct Mish;
struct Neg;
struct Not;
struct Reciprocal;
struct Relu;
struct Round;
struct Selu;
struct Shrink;
struct Sigmoid;
struct Sign;
struct Sin;
struct Sinh;
struct Softplus;
struct Softsign;
struct Sqrt;
struct Swish;
struct Tan;
struct Tanh;
struct ThresholdedRelu;
// y = f(a, b): arithmetic_cpu.cc, compare_cpu.cc
struct Add;
struct And;
struct BitShift;
struct BitwiseAnd;
struct BitwiseOr;
struct BitwiseXor;
struct Div;
struct Equal;
struct Greater;
struct GreaterOrEqual;
struct Less;
struct LessOrEqual;
struct Max;
struct Min;
struct Mod;
struct Mul;
struct Or;
struct Pow;
struct PRelu;
struct Sub;
struct Xor;
}  // namespace fn

// Instantiated for the functors above in the files named there.
template <class F>
void unary(KernelContext& ctx);
template <class F>
void binary(KernelContext& ctx);
// f(..f(f(x0, x1), x2).., xn); one input is copied.
template <class F>
void variadic(KernelContext& ctx);

void pow(KernelContext& ctx);    // base and exponent may have different types
void equal(KernelContext& ctx);  // binary<Equal>, and strings
void mean(KernelContext& ctx);
void clip(KernelContext& ctx);
void where(KernelContext& ctx);

// Before version 7, operand B of a binary operator met operand A by the attributes `broadcast` and
// `axis`. The shape with which B takes part in numpy's broadcasting. `Dims` or `Shape`.
template <class S>
S shape_of_b(const Node& node, const S& a, const S& b);

// hugot.GeluGradient: dy times the derivative of Gelu at x; inputs x, dy. float32 and float64.
void gelu_gradient(KernelContext& ctx);

// Gradient rules: elementwise_gradient.cc.
namespace rule {
// y = f(x)
GradientRule Abs, Acos, Acosh, Asin, Asinh, Atan, Atanh, Celu, Cos, Cosh, Elu, Erf, Exp, Gelu,
    HardSigmoid, HardSwish, LeakyRelu, Log, Mish, Neg, Reciprocal, Relu, Selu, Shrink, Sigmoid, Sin,
    Sinh, Softplus, Softsign, Sqrt, Swish, Tan, Tanh, ThresholdedRelu;
// Ceil, Floor, Round, Sign: zero wherever there is a derivative.
GradientRule Flat;
// y = f(a, b)
GradientRule Add, Div, Mod, Mul, Pow, PRelu, Sub;
// Others.
GradientRule Clip, Max, Mean, Min, Sum, Where;
}  // namespace rule

}  // namespace hugot::elementwise

#endif  // HUGOT_KERNELS_ELEMENTWISE_ELEMENTWISE_H_
