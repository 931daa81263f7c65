// Resize and Upsample: every element of the result is a weighted sum of elements of the input, with
// weights that are products of one factor per axis.
#ifndef HUGOT_KERNELS_RESIZE_RESIZE_H_
#define HUGOT_KERNELS_RESIZE_RESIZE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "graph/op.h"

namespace hugot::resize {

enum class Mode { kNearest, kLinear, kCubic };
enum class Coordinates {
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kTfHalfPixelForNearest,  // version 11 only
  kTfCropAndResize,
};
enum class Rounding {
  kPreferFloor,
  kPreferCeil,
  kFloor,
  kCeil,
  kSimple,  // of version 10, which has no such attribute: up when the axis shrinks, else down
};
enum class AspectRatio { kStretch, kNotLarger, kNotSmaller };

// What the attributes say.
struct Method {
  Mode mode = Mode::kNearest;
  Coordinates coordinates = Coordinates::kAsymmetric;
  Rounding rounding = Rounding::kSimple;
  AspectRatio aspect_ratio = AspectRatio::kStretch;
  double cubic_a = -0.75;
  bool exclude_outside = false;
  bool antialias = false;
  float extrapolation = 0;
};

// Which inputs say what to do; -1 for those that the version does not have.
struct Operands {
  int roi = -1, scales = -1, sizes = -1;
};

// One axis of the input.
struct Axis {
  int64_t in = 0, out = 0;
  float scale = 1;
  // The scale as a quotient of two lengths when it comes from sizes; else 0.
  double numerator = 0, denominator = 0;
  double width = 0;  // `out` before it was rounded
  double roi_start = 0, roi_end = 1;
  bool changes = false;  // false: the result is the input
};

struct Plan {
  Method method;
  int rank = 0;
  std::array<Axis, Shape::kMaxRank> axes;
  Shape out;
};

// The weights along one axis: element j of the result is the sum of weight[j, t] times element
// index[j, t] of the input over t < taps.
struct Table {
  int64_t in = 0, out = 0, taps = 0;
  std::vector<int64_t> index;
  std::vector<double> weight;
  std::vector<int64_t> outside;  // elements that hold the extrapolation value instead
};

// Throws kInvalidArgument for attributes that mean nothing.
Method method_of(const Node& node);
Operands operands_of(const Node& node);
// The scales of all axes that older versions of Upsample have as attributes; nothing for nodes with
// operands. Throws kInvalidArgument when they do not fit.
std::optional<std::vector<float>> scales_of(const Node& node, int rank);
// Attribute `axes`, or all.
std::vector<int> axes_of(const Node& node, int rank);
// The length of an axis under a scale. Throws kInvalidArgument for one that is no number above 0.
int64_t scaled(int64_t length, float scale);
// Sets the length and the scale of the given axes to what `sizes` and the policy ask for.
void fit_sizes(AspectRatio policy, std::span<const int> which, std::span<const int64_t> sizes,
               std::span<Axis> axes);

// What the node does to an input of this shape.
Plan plan(const KernelContext& ctx, const Shape& in);
Table table_of(const Method& method, const Axis& axis);

void resize(KernelContext& ctx);
// The gradient of the input from that of the result and the shape of the input: the transposed map,
// which leaves out the extrapolation value.
void resize_gradient(KernelContext& ctx);

// Gradient rules: resize_gradient.cc.
namespace rule {
GradientRule Resize, ResizeGradient;
}  // namespace rule

}  // namespace hugot::resize

#endif  // HUGOT_KERNELS_RESIZE_RESIZE_H_
