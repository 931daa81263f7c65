// Which scale belongs to which element.
#ifndef HUGOT_KERNELS_QUANTIZE_GRANULARITY_H_
#define HUGOT_KERNELS_QUANTIZE_GRANULARITY_H_

#include <algorithm>
#include <cstdint>

#include "graph/graph.h"

namespace hugot::quantize {

// One scale for the whole tensor, one for each index of an axis, or one for each block along it.
// Elements lie in runs; along a run the scale stays or advances with the element.
class Granularity {
 public:
  // Throws kInvalidArgument when the shape of the scale is none of the three for this node.
  Granularity(const Node& node, const Shape& x, const Shape& scale);

  int64_t run_count() const { return runs_; }
  // Runs that make a task for another thread.
  int64_t grain() const;

  struct Run {
    int64_t at, count;  // elements
    int64_t scale, step;
  };
  Run run(int64_t i) const {
    const int64_t at = i * length_;
    const int64_t count = std::min(length_, elements_ - at);
    switch (kind_) {
      case Kind::kTensor:
        return {at, count, 0, 0};
      case Kind::kAxis:
        return inner_ == 1 ? Run{at, count, 0, 1} : Run{at, count, i % axis_, 0};
      case Kind::kBlock:
        break;
    }
    if (inner_ != 1) {
      return {at, count, (i / axis_ * blocks_ + i % axis_ / block_) * inner_, 1};
    }
    // Runs are blocks, the last of each row may be shorter.
    const int64_t row = i / blocks_, k = i % blocks_;
    return {row * axis_ + k * block_, std::min(block_, axis_ - k * block_), i, 0};
  }

 private:
  enum class Kind { kTensor, kAxis, kBlock };
  Kind kind_ = Kind::kTensor;
  int64_t elements_ = 0, runs_ = 0, length_ = 1;
  int64_t axis_ = 1, inner_ = 1;  // lengths of the axis and of what is behind it
  int64_t block_ = 1, blocks_ = 1;
};

}  // namespace hugot::quantize

#endif  // HUGOT_KERNELS_QUANTIZE_GRANULARITY_H_
