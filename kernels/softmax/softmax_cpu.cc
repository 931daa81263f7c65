#include <algorithm>
#include <cmath>

#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/softmax/softmax.h"

namespace hugot::softmax {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements that make a task for another thread

// The input as [outer, length, inner]: rows along the middle axis.
struct Rows {
  int64_t outer, length, inner;

  Rows(const Node& node, const Shape& shape) {
    const bool flatten = node.op->since_version < kOneAxis;
    // An axis equal to the rank is allowed when flattening: every row has one element.
    const int64_t given = axis_of(node);
    const int axis = flatten && given == shape.rank() ? shape.rank()
                     : shape.rank() == 0              ? 0
                                                      : shape.axis(given);
    const int end = flatten ? shape.rank() : std::min(axis + 1, shape.rank());
    outer = shape.product(0, axis);
    length = shape.product(axis, end);
    inner = shape.product(end, shape.rank());
  }
};

// One row of float64.
template <Kind kKind>
void row_of_doubles(const double* x, double* y, int64_t n) {
  const double largest = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
  const double log_sum = std::log(sum);
  for (int64_t i = 0; i < n; ++i) {
    const double shifted = x[i] - largest;
    y[i] = kKind == Kind::kSoftmax ? std::exp(shifted) / sum : shifted - log_sum;
  }
}

// Rows [rows, n] in the computing type.
template <Kind kKind, class C>
void compute_rows(const C* x, C* y, int64_t rows, int64_t n) {
  if constexpr (kKind == Kind::kHardmax) {
    for (int64_t r = 0; r < rows; ++r) {  // x may be y
      const int64_t largest = std::max_element(x + r * n, x + r * n + n) - (x + r * n);
      std::fill_n(y + r * n, n, C{0});
      y[r * n + largest] = 1;
    }
  } else if constexpr (std::is_same_v<C, float>) {
    const cpu::VectorKernels& k = cpu::active_kernels();
    (kKind == Kind::kSoftmax ? k.softmax : k.log_softmax)(x, y, rows, n);
  } else {
    for (int64_t r = 0; r < rows; ++r) row_of_doubles<kKind>(x + r * n, y + r * n, n);
  }
}

}  // namespace

template <Kind kKind>
void kernel(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Rows rows(ctx.node(), x.shape());
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    const T* from = x.data<T>();
    T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
    if (x.size() == 0) return;
    const int64_t n = rows.length;
    const int64_t grain = std::max<int64_t>(kGrain / n, 1);
    if constexpr (std::is_same_v<T, C>) {
      if (rows.inner == 1) {
        parallel_for(ctx.pool(), rows.outer, grain, [&](int64_t begin, int64_t end) {
          compute_rows<kKind>(from + begin * n, y + begin * n, end - begin, n);
        });
        return;
      }
    }
    // Rows that are strided or stored narrow are gathered, computed, and scattered.
    C* row = ctx.scratch_of<C>(n);
    for (int64_t r = 0; r < rows.outer * rows.inner; ++r) {
      const int64_t start = r / rows.inner * n * rows.inner + r % rows.inner;
      for (int64_t i = 0; i < n; ++i) row[i] = convert<C>(from[start + i * rows.inner]);
      compute_rows<kKind>(row, row, 1, n);
      for (int64_t i = 0; i < n; ++i) y[start + i * rows.inner] = convert<T>(row[i]);
    }
  });
}

template void kernel<Kind::kSoftmax>(KernelContext&);
template void kernel<Kind::kLogSoftmax>(KernelContext&);
template void kernel<Kind::kHardmax>(KernelContext&);

}  // namespace hugot::softmax
