// Derivatives of matrix products: for Y = A B, dA = dY B^T and dB = A^T dY.
#include "graph/gradient.h"
#include "kernels/matmul/matmul.h"

namespace hugot::matmul::rule {
namespace {

using G = GradientContext;

// alpha A B with the operands transposed on request; all are matrices.
Term gemm(G& g, const Term& a, bool trans_a, const Term& b, bool trans_b, float alpha = 1) {
  return g.op("Gemm", {a, b},
              {{"transA", int64_t{trans_a}}, {"transB", int64_t{trans_b}}, {"alpha", alpha}});
}

// All rows in one matrix.
Term rows(G& g, const Term& x) { return g.op("Flatten", {x}, {{"axis", int64_t{-1}}}); }

}  // namespace

// With one matrix on the right, all rows of A are one product. Otherwise vectors are made matrices,
// matrices are multiplied pair by pair, and what broadcasting has repeated is summed.
void MatMul(G& g) {
  const Term a = g.x(0), b = g.x(1), dy = g.dy();
  if (a.rank() >= 2 && b.rank() == 2) {
    if (g.wants(0)) g.set(0, reshape_like(gemm(g, rows(g, dy), false, b, true), a));
    if (g.wants(1)) g.set(1, gemm(g, rows(g, a), true, rows(g, dy), false));
    return;
  }
  const bool vector_a = a.rank() == 1, vector_b = b.rank() == 1;
  const Term matrix_a = vector_a ? unsqueeze(a, {0}) : a;
  const Term matrix_b = vector_b ? unsqueeze(b, {1}) : b;
  Term matrix_dy = vector_b ? unsqueeze(dy, {-1}) : dy;
  if (vector_a) matrix_dy = unsqueeze(matrix_dy, {-2});
  if (g.wants(0)) {
    const Term da = matrix_product(matrix_dy, transposed(matrix_b));
    g.set(0, reshape_like(sum_to(da, matrix_a), a));
  }
  if (g.wants(1)) {
    const Term db = matrix_product(transposed(matrix_a), matrix_dy);
    g.set(1, reshape_like(sum_to(db, matrix_b), b));
  }
}

// Y = alpha A' B' + beta C, where A' is A or its transpose.
void Gemm(G& g) {
  const bool trans_a = g.node().get<int64_t>("transA", 0) != 0;
  const bool trans_b = g.node().get<int64_t>("transB", 0) != 0;
  const auto alpha = g.node().get<float>("alpha", 1), beta = g.node().get<float>("beta", 1);
  const Term a = g.x(0), b = g.x(1), dy = g.dy();
  if (g.wants(0)) {
    g.set(0,
          trans_a ? gemm(g, b, trans_b, dy, true, alpha) : gemm(g, dy, false, b, !trans_b, alpha));
  }
  if (g.wants(1)) {
    g.set(1,
          trans_b ? gemm(g, dy, true, a, trans_a, alpha) : gemm(g, a, !trans_a, dy, false, alpha));
  }
  if (g.wants(2)) g.set(2, beta == 1 ? dy : dy * static_cast<double>(beta));
}

namespace {

// Of y = x W + bias + residual: dx = dy W^T, dW = x^T dy, dbias sums the rows of dy.
void linear_at_once(G& g, bool transpose) {
  const Term dy = g.dy();
  if (g.wants(0)) {
    g.set(0, g.writer().op("Linear", {dy, g.x(1)}, {{"trans_w", int64_t{!transpose}}}, "hugot"));
  }
  if (g.wants(1)) {
    const std::vector<Term> sums =
        g.writer().outputs("LinearWeightGradient", {g.x(0), dy}, {{"trans_w", int64_t{transpose}}},
                           g.wants(2) ? 2 : 1, "hugot");
    g.set(1, sums[0]);
    if (g.wants(2)) g.set(2, sums[1]);
  } else {
    g.set(2, dy);
  }
  g.set(3, dy);
}

}  // namespace

// The parts that were fused: MatMul, Add, the activation, Add.
void Linear(G& g) {
  const bool transpose = g.node().get<int64_t>("trans_w", 0) != 0;
  if (g.fused() && activation_of(g.node()) == cpu::Activation::kNone) {
    return linear_at_once(g, transpose);
  }
  Term y = matrix_product(g.x(0), transpose ? transposed(g.x(1)) : g.x(1));
  if (g.x(2)) y = y + g.x(2);
  switch (activation_of(g.node())) {
    case cpu::Activation::kNone:
      break;
    case cpu::Activation::kRelu:
      y = g.op("Relu", {y});
      break;
    case cpu::Activation::kGelu:
      y = g.op("Gelu", {y});
      break;
    case cpu::Activation::kGeluTanh:
      y = g.op("Gelu", {y}, {{"approximate", std::string("tanh")}});
      break;
    case cpu::Activation::kTanh:
      y = tanh(y);
      break;
    case cpu::Activation::kSigmoid:
      y = sigmoid(y);
      break;
    case cpu::Activation::kSilu:
      y = g.op("Swish", {y});
      break;
  }
  if (g.x(3)) y = y + g.x(3);
  g.differentiate(std::span(&y, 1));
}

void LinearGroup(G& g) {
  const bool transpose = g.node().get<int64_t>("trans_w", 0) != 0;
  std::vector<Term> y;
  for (int i = 0; i < static_cast<int>(g.node().outputs.size()); ++i) {
    const Term w = g.x(1 + 2 * i), bias = g.x(2 + 2 * i);
    y.push_back(matrix_product(g.x(0), transpose ? transposed(w) : w));
    if (bias) y.back() = y.back() + bias;
  }
  g.differentiate(y);
}

}  // namespace hugot::matmul::rule
