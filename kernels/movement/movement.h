// Kernels of the movement room, and what its inference and kernels share.
#ifndef HUGOT_KERNELS_MOVEMENT_MOVEMENT_H_
#define HUGOT_KERNELS_MOVEMENT_MOVEMENT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "graph/op.h"

namespace hugot::movement {

// Axes of a tensor in some order.
class Permutation {
 public:
  explicit Permutation(int rank) : rank_(static_cast<size_t>(rank)) {}
  size_t size() const { return rank_; }
  int front() const { return axes_[0]; }
  int& operator[](size_t i) { return axes_[i]; }
  int operator[](size_t i) const { return axes_[i]; }
  const int* begin() const { return axes_.data(); }
  const int* end() const { return axes_.data() + rank_; }

 private:
  size_t rank_;
  std::array<int, Shape::kMaxRank> axes_{};
};

// `perm` of a Transpose node on a tensor of this rank; reversed axes when absent. Throws
// kInvalidArgument when it is no permutation.
Permutation permutation(const Node& node, int rank);

// What Slice takes of one axis.
struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};
SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t dim);

// Lengths of the parts of Split along an axis of length `dim`. `sizes` when the node gives them.
// Throws kInvalidArgument when they do not sum up.
Int64List split_sizes(const Node& node, std::optional<std::span<const int64_t>> sizes, int64_t dim);

// Pads before and after each axis, from the lists of a Pad node; axes empty: all axes.
struct Padding {
  std::vector<int64_t> before, after;
};
Padding padding(std::span<const int64_t> pads, const std::optional<std::vector<int64_t>>& axes,
                int rank);
// The attribute that holds the pads of a Pad node before version 11: version 1 calls it otherwise.
inline std::string_view pads_attribute(const Node& node) {
  return node.op->since_version < 2 ? "paddings" : "pads";
}

// The one number in an operand of any type of numbers, called `what` in errors. Throws
// kInvalidArgument for more or fewer.
int64_t single_int64(const Tensor& tensor, std::string_view what);

// The depth of OneHot. Throws kInvalidArgument when it is negative.
int64_t one_hot_depth(const Tensor& tensor);

// How often Tile repeats each axis. Version 1 has one axis and its repeats as operands, later ones
// a list of repeats for all.
Int64List tile_repeats(const Node& node, const Tensor& repeats, const Tensor* axis, int rank);

void transpose(KernelContext& ctx);
void concat(KernelContext& ctx);
void split(KernelContext& ctx);
void slice(KernelContext& ctx);
void tile(KernelContext& ctx);
void trilu(KernelContext& ctx);
void pad(KernelContext& ctx);
void gather(KernelContext& ctx);
// hugot.GatherGradient: the gradient of a table [n, width] of which rows were taken; inputs table
// (of which only the shape matters), indices, dy [indices.., width]. float32 and float64.
void gather_gradient(KernelContext& ctx);
void gather_elements(KernelContext& ctx);
void gather_nd(KernelContext& ctx);
void scatter_elements(KernelContext& ctx);
void scatter_nd(KernelContext& ctx);
// Input 0 with the slices (or, without axis, the elements) that a list of bools selects.
void compress(KernelContext& ctx);
// Each slice of the batch axis with the first entries of its time axis in reverse order.
void reverse_sequence(KernelContext& ctx);
// A cache with an update written into each of its batches.
void tensor_scatter(KernelContext& ctx);
// Different elements or slices with their first indices, inverse and counts.
void unique(KernelContext& ctx);
void one_hot(KernelContext& ctx);
void non_zero(KernelContext& ctx);

// Gradient rules: movement_gradient.cc.
namespace rule {
GradientRule CenterCropPad, Compress, Concat, DepthToSpace, Gather, GatherElements, GatherND, Moved,
    OneHot, Pad, ReverseSequence, ScatterElements, ScatterND, Slice, SpaceToDepth, Split,
    TensorScatter, Tile, Transpose, Trilu;
}  // namespace rule

}  // namespace hugot::movement

#endif  // HUGOT_KERNELS_MOVEMENT_MOVEMENT_H_
