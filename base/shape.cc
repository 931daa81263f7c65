#include "base/shape.h"

#include <algorithm>

#include "base/error.h"

namespace hugot {

Shape::Shape(std::span<const int64_t> dims) {
  require(dims.size() <= kMaxRank, ErrorCode::kUnsupported, "a tensor of rank ", dims.size(),
          " is beyond the limit of ", kMaxRank);
  rank_ = static_cast<int>(dims.size());
  bool empty = false;
  int64_t product = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    require(dims[i] >= 0, ErrorCode::kInvalidArgument, "dimension ", i, " is negative (", dims[i],
            ")");
    dims_[i] = dims[i];
    if (dims[i] == 0) {
      empty = true;
    } else {
      require(!__builtin_mul_overflow(product, dims[i], &product), ErrorCode::kInvalidArgument,
              "the number of elements of shape ", to_string(), " overflows");
    }
  }
  size_ = empty ? 0 : product;
}

int64_t Shape::product(int first, int last) const {
  int64_t result = 1;
  for (int i = first; i < last; ++i) result *= dims_[static_cast<size_t>(i)];
  return result;
}

int Shape::axis(int64_t axis) const { return normalize_axis(axis, rank_); }

Shape Shape::with(int axis, int64_t value) const {
  std::array<int64_t, kMaxRank> dims = dims_;
  dims[static_cast<size_t>(axis)] = value;
  return Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank_)));
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ',';
    text += std::to_string(dims_[static_cast<size_t>(i)]);
  }
  return text + "]";
}

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<int64_t, Shape::kMaxRank> dims{};
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank());
    const int ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia];
    const int64_t db = ib < 0 ? 1 : b[ib];
    require(da == db || da == 1 || db == 1, ErrorCode::kInvalidArgument, "shapes ", a.to_string(),
            " and ", b.to_string(), " cannot be broadcast together");
    dims[static_cast<size_t>(i)] = da == 1 ? db : da;
  }
  return Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank)));
}

int normalize_axis(int64_t axis, int rank) {
  require(axis >= -rank && axis < rank, ErrorCode::kInvalidArgument, "axis ", axis,
          " is outside of a tensor of rank ", rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace hugot
