// Matrix products. Matrices are row-major; strides count elements from one row to the next.
//
// The bits of row i of C depend on row i of A (and of the residual), on B, and on the bias alone:
// not on M, on the other rows, on strides, alignment or threads. Providers that cannot promise this
// say so in batch_invariant(). simd_gemm(), gemm() and gemm_f64() promise it, and that the packed
// and the unpacked product agree bitwise: every element is one chain of (fused) multiply-adds over
// ascending k that starts from the bias (or 0).
#ifndef HUGOT_KERNELS_CPU_GEMM_H_
#define HUGOT_KERNELS_CPU_GEMM_H_

#include <cstdint>
#include <memory>
#include <span>

#include "base/block_store.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/cpu/vector_kernels.h"

namespace hugot::cpu {

// A constant right-hand side [k, n] in the layout of the provider that made it. Immutable, owns
// its memory, may be shared between threads.
class PackedMatrix {
 public:
  PackedMatrix(int64_t k, int64_t n) : k_(k), n_(n) {}
  virtual ~PackedMatrix() = default;
  PackedMatrix(const PackedMatrix&) = delete;
  PackedMatrix& operator=(const PackedMatrix&) = delete;

  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  virtual int64_t bytes() const = 0;

 private:
  int64_t k_, n_;
};

// The elements of a matrix that is to be packed. Those of a deferred tensor are made when they are
// asked for.
class FloatSource {
 public:
  FloatSource(const float* data) : data_(data) {}  // NOLINT: is what it is made of
  // The elements of a float32 tensor, which outlives this, from `offset` on.
  FloatSource(const Tensor& tensor, int64_t offset = 0)  // NOLINT
      : tensor_(&tensor), offset_(offset) {}
  const float* get() const { return tensor_ != nullptr ? tensor_->data<float>() + offset_ : data_; }

 private:
  const float* data_ = nullptr;
  const Tensor* tensor_ = nullptr;
  int64_t offset_ = 0;
};

// Stateless and thread-safe.
class GemmProvider {
 public:
  virtual ~GemmProvider() = default;

  virtual const char* name() const = 0;
  virtual bool batch_invariant() const = 0;

  // Packs b, which is [k, n] with the given row stride, or the transpose [n, k] when `transposed`,
  // into a block of `store`; a provider whose layout is its own secret uses memory of its own.
  virtual std::shared_ptr<const PackedMatrix> pack(FloatSource b, int64_t k, int64_t n,
                                                   int64_t row_stride, bool transposed,
                                                   BlockStore& store = fresh_blocks()) const = 0;

  // C[m, b.n()] = activation(A[m, b.k()] . B + bias) + residual. `b` comes from this provider's
  // pack(). C overlaps neither A nor B; the residual may be C itself. `pool` may be null.
  virtual void run(int64_t m, const float* a, int64_t lda, const PackedMatrix& b, float* c,
                   int64_t ldc, const Epilogue& epilogue, ThreadPool* pool) const = 0;
};

// Our kernels, of the instruction set that is active when pack() is called.
const GemmProvider& simd_gemm();

// One of several products with the same A.
struct GemmProduct {
  const PackedMatrix* b;
  float* c;  // [m, b->n()]
  int64_t ldc;
  Epilogue epilogue;
};

// Products of A by matrices that simd_gemm() has packed, with equal k, bitwise as one by one: the
// threads share the columns of all of them. `next` are matrices of simd_gemm() that such a call
// with as many rows will read next: every thread begins to fetch its part of them when it has read
// its part of B.
void simd_gemm_group(int64_t m, const float* a, int64_t lda, std::span<const GemmProduct> products,
                     ThreadPool* pool,
                     std::span<const std::shared_ptr<const PackedMatrix>> next = {});

// oneDNN, or null in a build without it.
const GemmProvider* onednn_gemm();

// C = activation(A . B + bias) + residual for a B that changes from call to call. B is [k, n], or
// its transpose [n, k] when `b_transposed`. `workspace` holds gemm_workspace(k, pool) floats; null
// lets the function allocate.
void gemm(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          bool b_transposed, float* c, int64_t ldc, const Epilogue& epilogue = {},
          float* workspace = nullptr, ThreadPool* pool = nullptr);
int64_t gemm_workspace(int64_t k, const ThreadPool* pool);

// The same for so many rows that it pays to pack the whole of B first, as pack() does, into
// `workspace` of gemm_packed_floats(n, k) floats.
void gemm_of_packed(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                    int64_t ldb, bool b_transposed, float* c, int64_t ldc, const Epilogue& epilogue,
                    float* workspace, ThreadPool* pool);
int64_t gemm_packed_floats(int64_t n, int64_t k);
inline constexpr int64_t kGemmPackedRows = 64;  // from which on that is faster

// y [cols, rows] = x [rows, cols] transposed.
void transpose(const float* x, int64_t rows, int64_t cols, int64_t ldx, float* y, int64_t ldy,
               ThreadPool* pool = nullptr);

// One panel of such a product, for a B whose columns are made right before they are used: columns
// [panel_index * width, (panel_index + 1) * width) of C, where width is gemm_panel_width(). `panel`
// holds these columns of B in rows of `width` floats, zeros where they are past n.
int64_t gemm_panel_width();
void gemm_panel(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* panel,
                int64_t panel_index, float* c, int64_t ldc, const Epilogue& epilogue);

// C = A . B in float64, for exactness rather than speed.
void gemm_f64(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
              int64_t ldb, bool b_transposed, double* c, int64_t ldc, ThreadPool* pool = nullptr);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_GEMM_H_
