// Index arithmetic of device kernels.
#ifndef HUGOT_KERNELS_CUDA_INDEX_H_
#define HUGOT_KERNELS_CUDA_INDEX_H_

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "kernels/broadcast.h"
#include "kernels/cuda/launch.h"
#include "kernels/dispatch.h"
#include "kernels/strided.h"

namespace hugot::cuda {

// What device kernels compute with; other types run on the host.
using DeviceNumbers = JoinTypes<Types<float, double>, IntegerTypes>;

// From the row-major number of an element to where it lies. Passed to kernels by value.
struct StridedIndex {
  static constexpr int kMaxAxes = 2 * Shape::kMaxRank;

  int rank = 0;
  int64_t dims[kMaxAxes] = {};
  int64_t strides[kMaxAxes] = {};

  // Appends an axis inside of those there are.
  void add(int64_t dim, int64_t stride) {
    require(rank < kMaxAxes, ErrorCode::kUnsupported, "too many axes for a device");
    dims[rank] = dim;
    strides[rank++] = stride;
  }

  __host__ __device__ int64_t offset(int64_t number) const {
    int64_t result = 0;
    for (int axis = rank - 1; axis > 0; --axis) {
      result += number % dims[axis] * strides[axis];
      number /= dims[axis];
    }
    return rank > 0 ? result + number * strides[0] : 0;
  }
};

// Where the elements of operand i of a broadcast lie.
inline StridedIndex index_of(const BroadcastPlan& plan, int i) {
  StridedIndex index;
  for (int axis = 0; axis < plan.axes(); ++axis) index.add(plan.dim(axis), plan.step(axis, i));
  return index;
}

inline StridedIndex index_of(const Odometer& odometer) {
  StridedIndex index;
  for (size_t axis = 0; axis < odometer.rank(); ++axis) {
    index.add(odometer.dim(axis), odometer.stride(axis));
  }
  return index;
}

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_INDEX_H_
