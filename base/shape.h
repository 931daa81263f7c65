// Dimensions of a tensor.
#ifndef HUGOT_BASE_SHAPE_H_
#define HUGOT_BASE_SHAPE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace hugot {

// Up to kMaxRank non-negative dimensions, row-major; rank 0 is a scalar. A value type without
// allocation. Construction checks rank and signs and that the product fits into int64.
class Shape {
 public:
  static constexpr int kMaxRank = 12;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  int64_t back() const { return dims_[static_cast<size_t>(rank_ - 1)]; }

  // Number of elements: 1 for a scalar, 0 when a dimension is 0.
  int64_t size() const { return size_; }
  // Product of the dimensions in [first, last).
  int64_t product(int first, int last) const;

  // Maps a negative axis to axis + rank. Throws kInvalidArgument when outside [-rank, rank).
  int axis(int64_t axis) const;

  // The same shape with dimension `axis` set to `value`.
  Shape with(int axis, int64_t value) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
  }

  // "[2,3]"
  std::string to_string() const;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
  int64_t size_ = 1;
};

// Numpy's broadcasting of two shapes. Throws kInvalidArgument when they do not fit.
Shape broadcast(const Shape& a, const Shape& b);

// Maps a negative axis to axis + rank; throws kInvalidArgument when outside [-rank, rank).
int normalize_axis(int64_t axis, int rank);

}  // namespace hugot

#endif  // HUGOT_BASE_SHAPE_H_
