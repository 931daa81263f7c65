// The table of derivatives. Where a function has a kink the derivative of one side is taken;
// operands that share an extreme share its gradient equally.
#include <cmath>
#include <numbers>
#include <numeric>

#include "graph/gradient.h"
#include "kernels/elementwise/elementwise.h"

namespace hugot::elementwise::rule {
namespace {

using G = GradientContext;

double alpha(const G& g, float fallback) { return g.node().get("alpha", fallback); }

// ---------------------------------------------------------------------------------------------
// Derivatives that several rules use

// d/dx x sigmoid(a x)
Term swish_slope(const Term& x, double a) {
  const Term s = sigmoid(x * a);
  return s * (1 + x * a * (1 - s));
}

// d/dx x/2 (1 + erf(x / sqrt 2)): the normal distribution function, and x times its density.
Term gelu_slope(const Term& x) {
  constexpr double kDensityAt0 = 0.39894228040143267794;  // 1 / sqrt(2 pi)
  return 0.5 * (1 + erf(x * std::numbers::sqrt2 / 2)) + x * exp(square(x) * -0.5) * kDensityAt0;
}

// d/dx x/2 (1 + tanh(c (x + b x^3)))
Term gelu_tanh_slope(const Term& x) {
  constexpr double b = 0.044715, c = 0.79788456080286535588;  // c = sqrt(2 / pi)
  const Term x2 = square(x);
  const Term t = tanh(x * (c + c * b * x2));
  return 0.5 * (1 + t) + 0.5 * x * (1 - square(t)) * (c + 3 * b * c * x2);
}

// max(x, 0) + log(1 + e^-|x|) without overflow is an operator of its own.
Term softplus(G& g, const Term& x) { return g.op("Softplus", {x}); }

// Operand B of a binary operator, shaped so that numpy's broadcasting applies: before version 7 the
// attribute `axis` said where it meets operand A.
Term operand_b(G& g) {
  const Term b = g.x(1);
  if (g.since_version() >= 7 || (g.x(0).rank() == 0 && b.rank() == 0)) return b;
  const Dims met = shape_of_b(g.node(), *g.x(0).fact().shape, *b.fact().shape);
  const auto rank_b = static_cast<size_t>(b.rank());
  if (met.size() == rank_b) return b;
  std::vector<int64_t> axes(met.size() - rank_b);
  std::iota(axes.begin(), axes.end(), static_cast<int64_t>(rank_b));
  return unsqueeze(b, axes);
}

// Sets the gradient of operand B from that of operand_b().
void set_b(G& g, const Term& b, const Term& db) { g.set(1, reshape_like(sum_to(db, b), g.x(1))); }

// The operands that equal the result get its gradient, in equal parts.
void share_extreme(G& g) {
  std::vector<Term> hits, counts;
  for (int i = 0; i < g.num_inputs(); ++i) {
    hits.push_back(equal(g.x(i), g.y()));
    counts.push_back(indicator(hits.back(), g.y()));
  }
  const Term share = g.dy() / g.op("Sum", counts);
  for (int i = 0; i < g.num_inputs(); ++i) g.set(i, where(hits[static_cast<size_t>(i)], share, 0));
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// y = f(x)

void Flat(G&) {}

void Abs(G& g) { g.set(0, g.dy() * sign(g.x())); }
void Neg(G& g) { g.set(0, -g.dy()); }
void Reciprocal(G& g) { g.set(0, -g.dy() * square(g.y())); }
void Sqrt(G& g) { g.set(0, g.dy() * 0.5 / g.y()); }
void Exp(G& g) { g.set(0, g.dy() * g.y()); }
void Log(G& g) { g.set(0, g.dy() / g.x()); }
void Erf(G& g) { g.set(0, g.dy() * exp(-square(g.x())) * (2 * std::numbers::inv_sqrtpi)); }

void Sin(G& g) { g.set(0, g.dy() * g.op("Cos", {g.x()})); }
void Cos(G& g) { g.set(0, -g.dy() * g.op("Sin", {g.x()})); }
void Tan(G& g) { g.set(0, g.dy() * (1 + square(g.y()))); }
void Asin(G& g) { g.set(0, g.dy() / sqrt(1 - square(g.x()))); }
void Acos(G& g) { g.set(0, -g.dy() / sqrt(1 - square(g.x()))); }
void Atan(G& g) { g.set(0, g.dy() / (1 + square(g.x()))); }
void Sinh(G& g) { g.set(0, g.dy() * g.op("Cosh", {g.x()})); }
void Cosh(G& g) { g.set(0, g.dy() * g.op("Sinh", {g.x()})); }
void Tanh(G& g) { g.set(0, g.dy() * (1 - square(g.y()))); }
void Asinh(G& g) { g.set(0, g.dy() / sqrt(1 + square(g.x()))); }
void Acosh(G& g) { g.set(0, g.dy() / sqrt((g.x() - 1) * (g.x() + 1))); }
void Atanh(G& g) { g.set(0, g.dy() / (1 - square(g.x()))); }

void Sigmoid(G& g) { g.set(0, g.dy() * g.y() * (1 - g.y())); }
void Softplus(G& g) { g.set(0, g.dy() * sigmoid(g.x())); }
void Softsign(G& g) { g.set(0, g.dy() / square(1 + g.op("Abs", {g.x()}))); }
void Relu(G& g) { g.set(0, where(g.x() > 0, g.dy(), 0)); }
void LeakyRelu(G& g) { g.set(0, where(g.x() < 0, g.dy() * alpha(g, 0.01f), g.dy())); }
void ThresholdedRelu(G& g) { g.set(0, where(g.x() > alpha(g, 1.0f), g.dy(), 0)); }
void Elu(G& g) { g.set(0, where(g.x() < 0, g.dy() * (g.y() + alpha(g, 1.0f)), g.dy())); }
void Celu(G& g) { g.set(0, where(g.x() < 0, g.dy() * (g.y() / alpha(g, 1.0f) + 1), g.dy())); }

void Selu(G& g) {
  const double a = alpha(g, 1.67326319217681884765625f);
  const double gamma = g.node().get("gamma", 1.05070102214813232421875f);
  g.set(0, g.dy() * where(g.x() < 0, g.y() + a * gamma, gamma));
}

void Shrink(G& g) {
  const double lambda = g.node().get("lambd", 0.5f);
  g.set(0, where(both(g.x() <= lambda, g.x() >= -lambda), 0, g.dy()));
}

void HardSigmoid(G& g) {
  const double a = alpha(g, 0.2f);
  g.set(0, where(both(g.y() > 0, g.y() < 1), g.dy() * a, 0));
}

// 0 below -3, x above 3, between them x (x/6 + 1/2)
void HardSwish(G& g) {
  const Term x = g.x();
  g.set(0, g.dy() * where(x < -3, 0, where(x > 3, 1, x / 3 + 0.5)));
}

void Swish(G& g) { g.set(0, g.dy() * swish_slope(g.x(), alpha(g, 1.0f))); }

// y = x tanh(softplus(x)), and sigmoid is the derivative of softplus.
void Mish(G& g) {
  const Term t = tanh(softplus(g, g.x()));
  g.set(0, g.dy() * (t + g.x() * (1 - square(t)) * sigmoid(g.x())));
}

void Gelu(G& g) {
  const DType dtype = g.x().dtype();
  if (g.fused() && (dtype == DType::kFloat32 || dtype == DType::kFloat64)) {
    g.set(0, g.writer().op("GeluGradient", {g.x(), g.dy()}, g.node().attributes, "hugot"));
    return;
  }
  const bool approximate = g.node().get<std::string>("approximate", "none") == "tanh";
  g.set(0, g.dy() * (approximate ? gelu_tanh_slope(g.x()) : gelu_slope(g.x())));
}

// ---------------------------------------------------------------------------------------------
// y = f(a, b)

void Add(G& g) {
  g.set(0, g.dy());
  set_b(g, operand_b(g), g.dy());
}

void Sub(G& g) {
  g.set(0, g.dy());
  if (g.wants(1)) set_b(g, operand_b(g), -g.dy());
}

void Mul(G& g) {
  const Term b = operand_b(g);
  g.set(0, g.dy() * b);
  set_b(g, b, g.dy() * g.x(0));
}

void Div(G& g) {
  const Term b = operand_b(g);
  g.set(0, g.dy() / b);
  set_b(g, b, -g.dy() * g.y() / b);
}

// y = a^b: dy/da = b a^(b-1), which is 0 for b = 0 also where a is 0; dy/db = y log a, which is 0
// in the limit where a is 0.
void Pow(G& g) {
  const Term a = g.x(0), b_given = operand_b(g), b = cast_to(b_given, a.dtype());
  if (g.wants(0)) g.set(0, g.dy() * where(equal(b, 0), 0, b * pow(a, b - 1)));
  if (g.wants(1)) set_b(g, b_given, g.dy() * where(equal(a, 0), 0, g.y() * log(a)));
}

// y = a - n b with a whole number n
void Mod(G& g) {
  g.set(0, g.dy());
  g.set(1, g.dy() * (g.y() - g.x(0)) / g.x(1));
}

void PRelu(G& g) {
  const Term x = g.x(0), slope = operand_b(g);
  g.set(0, g.dy() * where(x < 0, slope, 1));
  set_b(g, slope, g.dy() * where(x < 0, x, 0));
}

// ---------------------------------------------------------------------------------------------
// Others

void Max(G& g) { share_extreme(g); }
void Min(G& g) { share_extreme(g); }

void Sum(G& g) {
  for (int i = 0; i < g.num_inputs(); ++i) g.set(i, g.dy());
}

void Mean(G& g) {
  const Term share = g.dy() / g.num_inputs();
  for (int i = 0; i < g.num_inputs(); ++i) g.set(i, share);
}

// y = min(max(x, low), high): the gradient goes to the one that y is. Limits come as inputs, before
// version 11 as attributes.
void Clip(G& g) {
  const bool attributes = g.since_version() < 11;
  const auto limit = [&](int input, std::string_view name) -> Term {
    if (!attributes) return g.x(input);
    return g.node().has(name) ? Term(g.node().at<float>(name)) : Term();
  };
  const Term x = g.x(), low = limit(1, "min"), high = limit(2, "max");
  Term dx = g.dy();
  const Term raised = low ? g.op("Max", {x, low}) : x;
  if (high) {
    const Term cut = raised > high;
    if (!attributes) g.set(2, where(cut, dx, 0));
    dx = where(cut, 0, dx);
  }
  if (low) {
    const Term lifted = x < low;
    if (!attributes) g.set(1, where(lifted, dx, 0));
    dx = where(lifted, 0, dx);
  }
  g.set(0, dx);
}

void Where(G& g) {
  g.set(1, where(g.x(0), g.dy(), 0));
  g.set(2, where(g.x(0), 0, g.dy()));
}

}  // namespace hugot::elementwise::rule
