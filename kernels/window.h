// Windows that slide over the spatial axes of [batch, channels, spatial..]: what convolutions and
// pools have in common.
#ifndef HUGOT_KERNELS_WINDOW_H_
#define HUGOT_KERNELS_WINDOW_H_

#include <cstdint>
#include <string_view>

#include "graph/op.h"
#include "graph/writer.h"

namespace hugot {

inline constexpr int kMaxSpatial = Shape::kMaxRank - 2;

// Kernels, strides, dilations and pads are below it: they can be multiplied in pairs and added up
// without overflow.
inline constexpr int64_t kMaxWindow = int64_t{1} << 30;

// One spatial axis: out index o meets in index o * stride + k * dilation - before for each index k
// of the kernel.
struct Axis {
  int64_t in = 1, kernel = 1, out = 1;
  int64_t stride = 1, dilation = 1;
  int64_t before = 0;  // padding in front
};

// What the attributes say of one spatial axis.
struct Window {
  enum class Padding { kGiven, kSameUpper, kSameLower };
  int64_t stride = 1, dilation = 1;
  int64_t before = 0, after = 0;
  Padding padding = Padding::kGiven;
  bool ceil = false;  // a last window may reach beyond the padding, if it starts in front of it

  // From the first to the last element that a window meets.
  int64_t extent(int64_t kernel) const { return dilation * (kernel - 1) + 1; }
};

// An attribute with one number per axis, or `fallback` when there is none. Throws kInvalidArgument
// for another count than `count` and for numbers outside of [lowest, kMaxWindow).
int64_t per_axis(const Node& node, std::string_view name, int axis, int count, int64_t fallback,
                 int64_t lowest);

// The window along spatial axis `axis` of `count`: strides, dilations, pads, auto_pad, ceil_mode.
// Throws kInvalidArgument for attributes that mean nothing.
Window window_of(const Node& node, int axis, int count);

// The window on an axis of length `in`. Throws kInvalidArgument where it does not fit.
Axis axis_of(const Window& window, int64_t in, int64_t kernel);

// The length of the result for an axis whose length may have a name; nothing when it cannot be
// written down.
std::optional<Dim> out_dim(const Window& window, const Dim& in, int64_t kernel);

// Throws kInvalidArgument when a tensor of this rank has no spatial axes.
void require_spatial_axes(int64_t rank);

// For operators that treat every image alone: axes 1 and behind of input 0 are worked on.
Batching batch_images(const BatchQuery& query);

// An image [batch, spatial.., channels] as [batch, channels, spatial..], and the way back. Throw
// kUnsupported when the rank is not known.
Term channels_first(const Term& image);
Term channels_last(const Term& image);

}  // namespace hugot

#endif  // HUGOT_KERNELS_WINDOW_H_
