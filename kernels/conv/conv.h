// Convolution: Conv, and the two linear maps that its derivatives consist of.
#ifndef HUGOT_KERNELS_CONV_CONV_H_
#define HUGOT_KERNELS_CONV_CONV_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "graph/op.h"

namespace hugot::conv {

inline constexpr int kMaxSpatial = Shape::kMaxRank - 2;

// One spatial axis of a convolution: out index o meets in index o * stride + k * dilation - before
// for each index k of the kernel.
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
};

// A convolution of x[batch, groups * channels, in..] with w[groups * filters, channels, kernel..],
// which gives y[batch, groups * filters, out..].
struct Geometry {
  int64_t batch = 1, groups = 1;
  int64_t channels = 1, filters = 1;  // of one group
  int spatial = 1;
  std::array<Axis, kMaxSpatial> axes;
  Shape y;

  int64_t in_size() const;      // elements of one channel of x
  int64_t out_size() const;     // of one channel of y
  int64_t kernel_size() const;  // of one channel of a filter
};

// The window along spatial axis `axis` of `count`. Throws kInvalidArgument for attributes that are
// no convolution.
Window window_of(const Node& node, int axis, int count);

// Throws kInvalidArgument for shapes and attributes that do not fit each other.
Geometry geometry(const Node& node, const Shape& x, const Shape& w);

// Sets the shape of output 0 from those of x and w, inputs `input` and `weight`, as far as it is
// known. Throws kInvalidArgument for what cannot be convolved.
void infer_result_shape(InferContext& ctx, int input, int weight);
// Every image has its own result.
Batching batch_images(const BatchQuery& query);

// y from x, w and an optional bias: Conv.
void conv(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_conv(const Node& node,
                                             std::span<const Tensor* const> constants,
                                             BlockStore& store);
// The gradient of x from that of y, from w and the shape of x; linear in the first two.
void input_gradient(KernelContext& ctx);
// The gradient of w from x, the gradient of y and the shape of w; linear in the first two.
void weight_gradient(KernelContext& ctx);

// Gradient rules: conv_gradient.cc.
namespace rule {
GradientRule Conv, ConvInputGradient, ConvWeightGradient;
}  // namespace rule

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_CONV_H_
