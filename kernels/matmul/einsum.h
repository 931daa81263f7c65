// The equation of Einsum, "bhqd,bhkd->bhqk", and what its letters say about the axes of tensors.
#ifndef HUGOT_KERNELS_MATMUL_EINSUM_H_
#define HUGOT_KERNELS_MATMUL_EINSUM_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace hugot::matmul {

// Axes with the same label run together. The letters a-z and A-Z are 0 to 51. The axes that an
// ellipsis stands for follow, counted from the right, so that those of several operands meet as
// numpy's broadcasting aligns them. A set of labels fits into 64 bits.
using Labels = std::vector<int>;
using LabelSet = uint64_t;
inline constexpr int kLetters = 52;
inline constexpr int kMaxLabels = kLetters + Shape::kMaxRank;
static_assert(kMaxLabels <= 64);

constexpr LabelSet set_of(int label) { return LabelSet{1} << label; }
LabelSet set_of(const Labels& labels);
constexpr bool contains(LabelSet set, int label) { return (set >> label & 1) != 0; }
// Requires label < kLetters.
char letter(int label);

// The part of an equation that one operand, or the result, has.
struct Subscript {
  Labels before, behind;  // the letters around the ellipsis; all are in `before` without one
  bool ellipsis = false;

  int letters() const { return static_cast<int>(before.size() + behind.size()); }
  // One label for each axis, when the ellipsis stands for this many axes.
  Labels labels(int ellipsis_axes) const;
};

struct Equation {
  std::vector<Subscript> operands;
  Subscript result;
};

// The form without "->" gets the result that it implies. Throws kInvalidArgument for what is no
// equation.
Equation parse_equation(std::string_view text);
// That of a node, which has to have as many operands as inputs.
Equation equation_of(const Node& node);

// The number of axes that an ellipsis of this operand stands for. Throws kInvalidArgument when the
// rank does not fit.
int ellipsis_axes(const Subscript& subscript, int rank);

// The labels of all axes.
struct LabelledAxes {
  std::vector<Labels> operands;
  Labels result;
};
LabelledAxes label_axes(const Equation& equation, std::span<const int> ranks);

}  // namespace hugot::matmul

#endif  // HUGOT_KERNELS_MATMUL_EINSUM_H_
