#include "kernels/quantize/granularity.h"

#include "base/error.h"

namespace hugot::quantize {
namespace {

// Elements for one thread: a tensor with one scale is cut into such runs.
constexpr int64_t kChunk = 1 << 15;

}  // namespace

Granularity::Granularity(const Node& node, const Shape& x, const Shape& scale)
    : elements_(x.size()) {
  if (scale.size() == 1) {
    length_ = kChunk;
    runs_ = (elements_ + kChunk - 1) / kChunk;
    return;
  }
  const int64_t block = node.get<int64_t>("block_size", 0);
  require(block >= 0, ErrorCode::kInvalidArgument, "attribute block_size is ", block);
  require(x.rank() > 0, ErrorCode::kInvalidArgument, "a scalar has one scale, not ",
          scale.to_string());
  // A list has one axis, whatever the attribute says.
  const int axis = x.rank() == 1 ? 0 : normalize_axis(node.get<int64_t>("axis", 1), x.rank());
  axis_ = x[axis];
  inner_ = x.product(axis + 1, x.rank());
  if (block == 0) {
    require(scale.rank() == 1 && scale[0] == axis_, ErrorCode::kInvalidArgument, "scales ",
            scale.to_string(), " do not fit axis ", axis, " of ", x.to_string());
    kind_ = Kind::kAxis;
    length_ = inner_ == 1 ? axis_ : inner_;
  } else {
    kind_ = Kind::kBlock;
    block_ = std::min(block, std::max<int64_t>(axis_, 1));
    blocks_ = axis_ / block_ + (axis_ % block_ != 0 ? 1 : 0);
    require(scale.rank() == x.rank() && scale == x.with(axis, blocks_), ErrorCode::kInvalidArgument,
            "scales ", scale.to_string(), " do not fit blocks of ", block, " along axis ", axis,
            " of ", x.to_string());
    length_ = inner_;
    if (inner_ == 1) {
      runs_ = elements_ == 0 ? 0 : elements_ / axis_ * blocks_;
      return;
    }
  }
  runs_ = elements_ == 0 ? 0 : elements_ / length_;
}

int64_t Granularity::grain() const {
  return std::max<int64_t>(1,
                           kChunk / std::max<int64_t>(1, elements_ / std::max<int64_t>(runs_, 1)));
}

}  // namespace hugot::quantize
