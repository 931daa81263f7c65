// Matrix products of com.microsoft that have swallowed transpositions, factors and activations.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/fused_activation.h"
#include "kernels/infer_helpers.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ops.h"

namespace hugot::matmul {
namespace {

// How axes of an operand are read: with `batch` the first axis is that of rows, with `swap` the
// last two change places. Operands of one axis stay.
std::vector<int64_t> reading_order(int rank, bool swap, bool batch) {
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  std::iota(perm.begin(), perm.end(), 0);
  if (rank < 2) return perm;
  if (batch) std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
  if (swap) std::swap(perm[perm.size() - 2], perm.back());
  return perm;
}

std::vector<int64_t> reading_order(const Node& node, int rank, bool left) {
  const auto flag = [&](const char* name) { return node.get<int64_t>(name, 0) != 0; };
  return left ? reading_order(rank, flag("transA"), flag("transBatchA"))
              : reading_order(rank, flag("transB"), flag("transBatchB"));
}

bool fused_matmul(Expansion& e) {
  if (!e.ranks_known()) return false;
  const auto operand = [&](int i) {
    const Term x = e.x(i);
    std::vector<int64_t> perm = reading_order(e.node(), x.rank(), i == 0);
    return std::is_sorted(perm.begin(), perm.end()) ? x : transpose(x, std::move(perm));
  };
  const Term product = matrix_product(operand(0), operand(1));
  const auto alpha = e.node().get<float>("alpha", 1.0f);
  e.set(0, alpha == 1.0f ? product : product * static_cast<double>(alpha));
  return true;
}

void infer_fused_matmul(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  if (!ctx.input(0).shape || !ctx.input(1).shape) return;
  const auto operand = [&](int i) {
    const Dims& own = *ctx.input(i).shape;
    Dims dims;
    for (const int64_t axis : reading_order(ctx.node(), static_cast<int>(own.size()), i == 0)) {
      dims.push_back(own[static_cast<size_t>(axis)]);
    }
    return dims;
  };
  ctx.output(0).shape = product_dims(operand(0), operand(1));
}

bool fused_gemm(Expansion& e) {
  const Node& node = e.node();
  Attributes gemm;
  for (const char* name : {"alpha", "beta"}) gemm[name] = node.get<float>(name, 1.0f);
  for (const char* name : {"transA", "transB"}) gemm[name] = node.get<int64_t>(name, 0);
  std::vector<float> parameters;
  for (const char* name : {"activation_alpha", "activation_beta", "activation_gamma"}) {
    if (node.has(name)) parameters.push_back(node.at<float>(name));
  }
  const Term y = e.op("Gemm", {e.x(0), e.x(1), e.x(2)}, std::move(gemm));
  e.set(0, fused_activation(e, y, node.get<std::string>("activation", ""), parameters));
  return true;
}

}  // namespace
}  // namespace hugot::matmul

namespace hugot::ops {

OpDef ms_FusedMatMul(int) {
  return composite({2, 2}, matmul::infer_fused_matmul, matmul::fused_matmul);
}
OpDef ms_TransposeMatMul(int version) { return ms_FusedMatMul(version); }
OpDef ms_FusedGemm(int) { return composite({2, 3}, matmul::infer_gemm, matmul::fused_gemm); }

}  // namespace hugot::ops
