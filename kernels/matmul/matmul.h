// Matrix products: MatMul, Gemm, Einsum and the engine's own Linear.
#ifndef HUGOT_KERNELS_MATMUL_MATMUL_H_
#define HUGOT_KERNELS_MATMUL_MATMUL_H_

#include <memory>
#include <span>
#include <vector>

#include "graph/op.h"
#include "kernels/cpu/gemm.h"
#include "kernels/strided.h"

namespace hugot::matmul {

// Gemm, and what is one with more behind it.
void infer_gemm(InferContext& ctx);

// C[m, n] = A[m, k] . B with B [k, n], or [n, k] when `transposed`. Rows are contiguous.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  bool transposed = false;
};

// numpy.matmul of two shapes: the result, one product, and where the operands of each product are.
struct BatchedProduct {
  Product product;
  int64_t batches = 1;
  Odometer a, b;
  Shape shape;
};

// The shape of numpy.matmul. Throws kInvalidArgument for shapes that cannot fit.
Dims product_dims(Dims a, Dims b);
// Sets the shape of output 0, numpy.matmul of inputs `left` and `right`, as far as it is known.
void infer_product_shape(InferContext& ctx, int left, int right);

// Throws kInvalidArgument for shapes that do not fit.
BatchedProduct plan_product(const Shape& a, const Shape& b);

// How the weight of Linear is stored, and with it how the product is computed: attribute
// `precision`.
enum class WeightPrecision { kFloat32, kBFloat16, kInt8 };

// Products of a LinearGroup: all that the pass which makes them puts into one.
inline constexpr int kMaxGroup = 8;

// Constant right-hand sides, packed once per model for all threads: inputs 1, 3, 5 and so on of the
// node.
class PackedWeights final : public Prepared {
 public:
  using Matrices = std::vector<std::shared_ptr<const cpu::PackedMatrix>>;

  PackedWeights(WeightPrecision precision, Matrices matrices)
      : precision_(precision), matrices_(std::move(matrices)) {}
  size_t bytes() const override {
    size_t sum = 0;
    for (const auto& matrix : matrices_) sum += static_cast<size_t>(matrix->bytes());
    return sum;
  }
  bool replaces_input(int i) const override {
    return i % 2 == 1 && static_cast<size_t>(i / 2) < matrices_.size();
  }
  const cpu::PackedMatrix& matrix(size_t i = 0) const { return *matrices_[i]; }
  const Matrices& matrices() const { return matrices_; }
  WeightPrecision precision() const { return precision_; }

 private:
  WeightPrecision precision_;
  Matrices matrices_;
};

// The activation that attribute `activation` of Linear names. Throws kUnsupported for others.
cpu::Activation activation_of(const Node& node);

// What attribute `precision` of Linear says. Throws kUnsupported for others.
WeightPrecision precision_of(const Node& node);

// Packs constants[1], [3] and so on, `count` of them, when they are float32 matrices; null
// otherwise.
std::shared_ptr<const PackedWeights> pack_weights(
    std::span<const Tensor* const> constants, size_t count, bool transposed, BlockStore& store,
    WeightPrecision precision = WeightPrecision::kFloat32);

// What pack_weights() gave, or null.
inline const PackedWeights* packed_weights(const KernelContext& ctx) {
  return static_cast<const PackedWeights*>(ctx.prepared());
}

// These pack input 1 when it is a constant float32 matrix, and give null otherwise.
std::shared_ptr<const Prepared> prepare_matmul(const Node& node,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store);
std::shared_ptr<const Prepared> prepare_gemm(const Node& node,
                                             std::span<const Tensor* const> constants,
                                             BlockStore& store);
std::shared_ptr<const Prepared> prepare_linear(const Node& node,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store);
// The same for the weights of a LinearGroup, which are its inputs 1, 3, 5 and so on.
std::shared_ptr<const Prepared> prepare_linear_group(const Node& node,
                                                     std::span<const Tensor* const> constants,
                                                     BlockStore& store);

void matmul(KernelContext& ctx);
void gemm(KernelContext& ctx);
void linear(KernelContext& ctx);
void linear_group(KernelContext& ctx);
void einsum(KernelContext& ctx);

// hugot.LinearWeightGradient: from x [.., k] and dy [.., n], dW [k, n], or [n, k] with attribute
// trans_w, and dbias [n]. float32 and float64.
void linear_weight_gradient(KernelContext& ctx);

// Gradient rules: matmul_gradient.cc, einsum_gradient.cc.
namespace rule {
GradientRule Einsum, Gemm, Linear, LinearGroup, MatMul;
}  // namespace rule

}  // namespace hugot::matmul

#endif  // HUGOT_KERNELS_MATMUL_MATMUL_H_
