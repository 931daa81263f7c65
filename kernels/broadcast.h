// Loops over broadcast operands.
#ifndef HUGOT_KERNELS_BROADCAST_H_
#define HUGOT_KERNELS_BROADCAST_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/shape.h"

namespace hugot {

// How operands meet an output shape under numpy's broadcasting, with neighbouring axes that behave
// alike merged. Along the innermost merged axis every operand is either contiguous or one element,
// so kernels see long runs and no index arithmetic.
class BroadcastPlan {
 public:
  static constexpr int kMaxOperands = 3;
  using Offsets = std::array<int64_t, kMaxOperands>;

  // Throws kInvalidArgument when an operand cannot be broadcast to `output`.
  BroadcastPlan(const Shape& output, std::initializer_list<const Shape*> operands);

  // Step of operand i along a run: 1 (contiguous) or 0 (one element for the whole run).
  int64_t step(int i) const { return inner_steps_[static_cast<size_t>(i)]; }

  // The merged axes, outermost first; the last one is the run. What a device kernel counts with.
  int axes() const { return outer_rank_ + 1; }
  int64_t dim(int axis) const {
    return axis == outer_rank_ ? run_ : dims_[static_cast<size_t>(axis)];
  }
  int64_t step(int axis, int i) const {
    return axis == outer_rank_ ? step(i)
                               : steps_[static_cast<size_t>(axis)][static_cast<size_t>(i)];
  }

  // The longest run.
  int64_t run_length() const { return run_; }

  // Calls body(at, from, n) for runs that cover output elements [begin, end): n elements from `at`
  // on, operand i beginning at from[i].
  template <class Body>
  void for_runs(int64_t begin, int64_t end, Body&& body) const;

 private:
  using Axes = std::array<int64_t, Shape::kMaxRank>;

  int outer_rank_ = 0;
  int64_t run_ = 1;  // length of the innermost merged axis
  Axes dims_{};      // merged axes before it
  std::array<Offsets, Shape::kMaxRank> steps_{};
  Offsets inner_steps_{};
};

template <class Body>
void BroadcastPlan::for_runs(int64_t begin, int64_t end, Body&& body) const {
  if (begin >= end) return;
  int64_t row = begin / run_;
  int64_t column = begin % run_;
  Axes index{};
  Offsets base{};
  for (int axis = outer_rank_ - 1; axis >= 0; --axis) {
    const auto d = static_cast<size_t>(axis);
    index[d] = row % dims_[d];
    row /= dims_[d];
    for (size_t i = 0; i < kMaxOperands; ++i) base[i] += index[d] * steps_[d][i];
  }
  while (true) {
    const int64_t n = std::min(run_ - column, end - begin);
    Offsets from;
    for (size_t i = 0; i < kMaxOperands; ++i) from[i] = base[i] + column * inner_steps_[i];
    body(begin, from, n);
    begin += n;
    if (begin >= end) return;
    column = 0;
    for (int axis = outer_rank_ - 1; axis >= 0; --axis) {  // the next row, as an odometer counts
      const auto d = static_cast<size_t>(axis);
      for (size_t i = 0; i < kMaxOperands; ++i) base[i] += steps_[d][i];
      if (++index[d] < dims_[d]) break;
      for (size_t i = 0; i < kMaxOperands; ++i) base[i] -= dims_[d] * steps_[d][i];
      index[d] = 0;
    }
  }
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_BROADCAST_H_
