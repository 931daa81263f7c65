// The matrix view of a convolution.
#ifndef HUGOT_KERNELS_CONV_COLUMNS_H_
#define HUGOT_KERNELS_CONV_COLUMNS_H_

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/conv/conv.h"

namespace hugot::conv {

// Outputs of one image and group that lie next to each other in a row of y, and what they see
// through one tap, an index of the kernel. Outputs outside of [first, last) see padding; output
// `first` sees element `source` of a channel, the next ones every `step` further.
struct Run {
  int64_t tap;
  int64_t column, count;  // outputs [column, column + count)
  int64_t first, last;    // counted from `column`
  int64_t source, step;
};

// The matrix [channels * taps, outputs] whose product with the filters [filters, channels * taps]
// is the convolution of one image and group: a column is what the window at one output sees. It is
// never there as a whole.
class Columns {
 public:
  explicit Columns(const Geometry& geometry);

  int64_t taps() const { return taps_; }
  int64_t rows() const { return channels_ * taps_; }
  int64_t outputs() const { return outputs_; }

  // Calls body(run) for every run of outputs within [begin, end) and every tap.
  template <class Body>
  void for_runs(int64_t begin, int64_t end, const Body& body) const;

  // Writes the columns [begin, end) of channels [channel, channel_end) of the image `x` to `to`,
  // where column `begin` is first and rows are `stride` apart.
  void gather(const float* x, int64_t channel, int64_t channel_end, int64_t begin, int64_t end,
              float* to, int64_t stride) const;
  // Adds them, from the same place, to the elements of `x` that they are copies of.
  void scatter(const float* from, int64_t stride, int64_t channel, int64_t channel_end,
               int64_t begin, int64_t end, float* x) const;

 private:
  struct Range {
    int64_t first, last;
  };

  int64_t channels_, taps_, inputs_, outputs_;
  size_t rank_;
  std::array<Axis, kMaxSpatial> axes_;
  std::vector<Range> inside_;  // outputs of the last axis that see no padding, by kernel index
};

template <class Body>
void Columns::for_runs(int64_t begin, int64_t end, const Body& body) const {
  const Axis& inner = axes_[rank_ - 1];
  std::array<int64_t, kMaxSpatial> out{}, index{};
  for (int64_t at = begin; at < end;) {
    int64_t rest = at;
    for (size_t axis = rank_; axis-- > 0; rest /= axes_[axis].out)
      out[axis] = rest % axes_[axis].out;
    const int64_t j = out[rank_ - 1];
    Run run{0, at - begin, std::min(end - at, inner.out - j), 0, 0, 0, inner.stride};
    index.fill(0);
    for (; run.tap < taps_; ++run.tap) {
      bool inside = true;
      int64_t row = 0;
      for (size_t axis = 0; axis + 1 < rank_; ++axis) {
        const Axis& a = axes_[axis];
        const int64_t i = out[axis] * a.stride + index[axis] * a.dilation - a.before;
        inside = inside && i >= 0 && i < a.in;
        row = row * a.in + i;
      }
      const int64_t k = index[rank_ - 1];
      const Range& range = inside_[static_cast<size_t>(k)];
      run.first = std::clamp<int64_t>(range.first - j, 0, run.count);
      run.last = inside ? std::clamp<int64_t>(range.last - j, run.first, run.count) : run.first;
      if (run.first < run.last) {
        run.source =
            row * inner.in + (j + run.first) * inner.stride + k * inner.dilation - inner.before;
      }
      body(run);
      for (size_t axis = rank_; axis-- > 0;) {
        if (++index[axis] < axes_[axis].kernel) break;
        index[axis] = 0;
      }
    }
    at += run.count;
  }
}

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_COLUMNS_H_
