// Convolution: Conv, the two linear maps that its derivatives consist of, and its kin.
#ifndef HUGOT_KERNELS_CONV_CONV_H_
#define HUGOT_KERNELS_CONV_CONV_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "graph/op.h"
#include "kernels/window.h"

namespace hugot::conv {

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

// Throws kInvalidArgument for shapes and attributes that do not fit each other.
Geometry geometry(const Node& node, const Shape& x, const Shape& w);

// Sets the shape of output 0 from those of x and w, inputs `input` and `weight`, as far as it is
// known. Throws kInvalidArgument for what cannot be convolved.
void infer_result_shape(InferContext& ctx, int input, int weight);

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
GradientRule CausalConvWithState, Col2Im, Conv, ConvInputGradient, ConvTranspose,
    ConvTransposeInputGradient, ConvTransposeWeightGradient, ConvWeightGradient, Im2Col;
}  // namespace rule

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_CONV_H_
