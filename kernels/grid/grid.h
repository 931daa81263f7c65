// Grids of places in images: GridSample, which looks them up, and AffineGrid, which makes them.
#ifndef HUGOT_KERNELS_GRID_GRID_H_
#define HUGOT_KERNELS_GRID_GRID_H_

#include "graph/op.h"

namespace hugot::grid {

void grid_sample(KernelContext& ctx);
// The gradients of X and of the grid from that of Y, X and the grid.
void grid_sample_gradient(KernelContext& ctx);
void affine_grid(KernelContext& ctx);

namespace rule {
GradientRule AffineGrid, GridSample;
}  // namespace rule

}  // namespace hugot::grid

#endif  // HUGOT_KERNELS_GRID_GRID_H_
