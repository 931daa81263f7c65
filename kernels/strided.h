// Strided views: the common core of Transpose, Expand, Slice, Tile and their kin.
#ifndef HUGOT_KERNELS_STRIDED_H_
#define HUGOT_KERNELS_STRIDED_H_

#include <array>
#include <cstdint>
#include <span>

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace hugot {

// Which element of the source each element of a row-major result is: the result's axes, outermost
// first, each with the step (in elements, of any sign, 0 repeats) that it takes in the source. Axes
// that continue each other are merged as they are added.
class StridedView {
 public:
  explicit StridedView(int64_t offset = 0) : offset_(offset) {}

  // Appends an axis inside of those there are. At most 2 * Shape::kMaxRank axes.
  void add(int64_t dim, int64_t stride);

  int64_t offset() const { return offset_; }
  int64_t size() const { return size_; }
  int rank() const { return rank_; }
  int64_t dim(int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t stride(int axis) const { return strides_[static_cast<size_t>(axis)]; }

 private:
  static constexpr size_t kMaxAxes = 2 * Shape::kMaxRank;
  std::array<int64_t, kMaxAxes> dims_{};
  std::array<int64_t, kMaxAxes> strides_{};
  int rank_ = 0;
  int64_t offset_ = 0;
  int64_t size_ = 1;
};

// Elements from one index to the next along each axis of a contiguous tensor.
std::array<int64_t, Shape::kMaxRank> row_major_strides(const Shape& shape);

// Writes the viewed elements of `in` to `out` in row-major order. The element types are equal and
// out.size() == view.size(); the caller has checked that the view stays inside of `in`.
void copy_view(const Tensor& in, const StridedView& view, Tensor& out, ThreadPool* pool);

// Copies `rows` runs of `count` elements between two pitches; offsets and pitches in elements.
// Throws kUnsupported for packed types.
void copy_rows(DType dtype, const void* in, int64_t in_offset, int64_t in_pitch, void* out,
               int64_t out_offset, int64_t out_pitch, int64_t rows, int64_t count,
               ThreadPool* pool);

// The position in memory while one counts through the indices of some axes, row-major.
class Odometer {
 public:
  static constexpr size_t kMaxAxes = 2 * Shape::kMaxRank;

  void add(int64_t dim, int64_t stride) {
    dims_[rank_] = dim;
    strides_[rank_++] = stride;
  }
  size_t rank() const { return rank_; }
  int64_t dim(size_t axis) const { return dims_[axis]; }
  int64_t stride(size_t axis) const { return strides_[axis]; }
  int64_t offset() const { return offset_; }
  // Goes to the index with this row-major number. REQUIRES: no dimension is 0.
  void seek(int64_t number);
  void next();

 private:
  std::array<int64_t, kMaxAxes> dims_{};
  std::array<int64_t, kMaxAxes> strides_{};
  std::array<int64_t, kMaxAxes> index_{};
  size_t rank_ = 0;
  int64_t offset_ = 0;
};

inline void Odometer::seek(int64_t number) {
  offset_ = 0;
  for (size_t axis = rank_; axis-- > 0;) {
    index_[axis] = number % dims_[axis];
    number /= dims_[axis];
    offset_ += index_[axis] * strides_[axis];
  }
}

inline void Odometer::next() {
  for (size_t axis = rank_; axis-- > 0;) {
    offset_ += strides_[axis];
    if (++index_[axis] < dims_[axis]) return;
    offset_ -= dims_[axis] * strides_[axis];
    index_[axis] = 0;
  }
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_STRIDED_H_
