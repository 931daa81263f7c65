// Matrix products: MatMul, Gemm, Einsum and the engine's own Linear.
#ifndef HUGOT_KERNELS_MATMUL_MATMUL_H_
#define HUGOT_KERNELS_MATMUL_MATMUL_H_

#include <memory>
#include <span>

#include "graph/op.h"
#include "kernels/cpu/gemm.h"
#include "kernels/strided.h"

namespace hugot::matmul {

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

// Sets the shape of output 0, numpy.matmul of inputs `left` and `right`, as far as it is known.
void infer_product_shape(InferContext& ctx, int left, int right);

// Throws kInvalidArgument for shapes that do not fit.
BatchedProduct plan_product(const Shape& a, const Shape& b);

// How the weight of Linear is stored, and with it how the product is computed: attribute
// `precision`.
enum class WeightPrecision { kFloat32, kBFloat16, kInt8 };

// A constant right-hand side, packed once per model for all threads.
class PackedWeight final : public Prepared {
 public:
  PackedWeight(WeightPrecision precision, std::shared_ptr<const cpu::PackedMatrix> matrix)
      : precision_(precision), matrix_(std::move(matrix)) {}
  size_t bytes() const override { return static_cast<size_t>(matrix_->bytes()); }
  bool replaces_input(int i) const override { return i == 1; }
  const cpu::PackedMatrix& matrix() const { return *matrix_; }
  WeightPrecision precision() const { return precision_; }

 private:
  WeightPrecision precision_;
  std::shared_ptr<const cpu::PackedMatrix> matrix_;
};

// The activation that attribute `activation` of Linear names. Throws kUnsupported for others.
cpu::Activation activation_of(const Node& node);

// What attribute `precision` of Linear says. Throws kUnsupported for others.
WeightPrecision precision_of(const Node& node);

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

void matmul(KernelContext& ctx);
void gemm(KernelContext& ctx);
void linear(KernelContext& ctx);
void einsum(KernelContext& ctx);

// Gradient rules: matmul_gradient.cc, einsum_gradient.cc.
namespace rule {
GradientRule Einsum, Gemm, Linear, MatMul;
}  // namespace rule

}  // namespace hugot::matmul

#endif  // HUGOT_KERNELS_MATMUL_MATMUL_H_
