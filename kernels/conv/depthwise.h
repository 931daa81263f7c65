// Convolutions whose filters see one channel each.
#ifndef HUGOT_KERNELS_CONV_DEPTHWISE_H_
#define HUGOT_KERNELS_CONV_DEPTHWISE_H_

#include "kernels/conv/conv.h"

namespace hugot::conv {

// True when convolve_depthwise() can take it.
bool is_depthwise(const Geometry& geometry);

// REQUIRES: is_depthwise(), and a result that is not empty. `bias` may be null.
void convolve_depthwise(KernelContext& ctx, const Geometry& geometry, const float* x,
                        const float* w, const float* bias, float* y);

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_DEPTHWISE_H_
