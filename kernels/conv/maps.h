// The three linear maps that belong to a convolution, each the derivative of the others. Operands
// and results have the shapes that the geometry tells and do not overlap.
#ifndef HUGOT_KERNELS_CONV_MAPS_H_
#define HUGOT_KERNELS_CONV_MAPS_H_

#include "kernels/conv/conv.h"

namespace hugot::conv {

// y = Conv(x, w) + bias; bias may be null. When the node has prepared filters, w is not read.
void convolve(KernelContext& ctx, const Geometry& g, const float* x, const float* w,
              const float* bias, float* y);
void convolve(KernelContext& ctx, const Geometry& g, const double* x, const double* w,
              const double* bias, double* y);

// dx from dy and w: every element of dy is spread over the window that it came from.
void spread(KernelContext& ctx, const Geometry& g, const float* dy, const float* w, float* dx);
void spread(KernelContext& ctx, const Geometry& g, const double* dy, const double* w, double* dx);

// dw from x and dy.
void correlate(KernelContext& ctx, const Geometry& g, const float* x, const float* dy, float* dw);
void correlate(KernelContext& ctx, const Geometry& g, const double* x, const double* dy,
               double* dw);

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_MAPS_H_
