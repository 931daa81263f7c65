// Pooling: maxima, means and norms of windows, of whole images, and of regions.
#ifndef HUGOT_KERNELS_POOLING_POOLING_H_
#define HUGOT_KERNELS_POOLING_POOLING_H_

#include <array>
#include <cstdint>
#include <vector>

#include "graph/op.h"
#include "kernels/window.h"

namespace hugot::pooling {

// The windows of a pool over images of one shape, [batch, channels, spatial..].
struct Pool {
  int spatial = 1;
  std::array<Axis, kMaxSpatial> axes;
  std::array<int64_t, kMaxSpatial> after{};  // padding behind
  int64_t planes = 1;                        // batch * channels
  int64_t inputs = 1, outputs = 1;           // elements of a plane
  Shape y;
};

// Throws kInvalidArgument for attributes that mean nothing or do not fit the shape.
Pool pool_of(const Node& node, const Shape& x);

// What GlobalLpPool and LpPool raise to; version 1 has a float.
float exponent_of(const Node& node);

// Throws kInvalidArgument when the size of LRN is no number of channels.
int64_t channels_of_lrn(const Node& node);

void max_pool(KernelContext& ctx);
void average_pool(KernelContext& ctx);
void lp_pool(KernelContext& ctx);
// The sums of windows, and the transposed maps of means and sums: the gradient of x from that of y
// and the shape of x.
void sum_pool(KernelContext& ctx);
void average_pool_gradient(KernelContext& ctx);
void sum_pool_gradient(KernelContext& ctx);

void global_lp_pool(KernelContext& ctx);
void lrn(KernelContext& ctx);

// What MaxUnpool gives without a wanted shape: the shape that its indices count in.
Shape unpooled_shape(const Node& node, const Shape& x);
void max_unpool(KernelContext& ctx);

// Throws kInvalidArgument when this is no height and width of a pooled region.
void check_bins(int64_t height, int64_t width);
void max_roi_pool(KernelContext& ctx);
void roi_align(KernelContext& ctx);
// hugot.MaxRoiPoolGradient: the gradient of x from that of y, x and the regions.
void max_roi_pool_gradient(KernelContext& ctx);
// hugot.RoiAlignGradient: the gradients of x and of the regions from that of y, x, the regions and
// their images.
void roi_align_gradient(KernelContext& ctx);

// Gradient rules: pooling_gradient.cc.
namespace rule {
GradientRule AveragePool, AveragePoolGradient, GlobalLpPool, LpPool, Lrn, MaxPool, MaxRoiPool,
    MaxUnpool, RoiAlign, SumPool, SumPoolGradient;
}  // namespace rule

}  // namespace hugot::pooling

#endif  // HUGOT_KERNELS_POOLING_POOLING_H_
