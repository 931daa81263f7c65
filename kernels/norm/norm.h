// Normalizations: layer norm, RMS norm, batch norm.
#ifndef HUGOT_KERNELS_NORM_NORM_H_
#define HUGOT_KERNELS_NORM_NORM_H_

#include "graph/op.h"

namespace hugot::norm {

// LayerNormalization: y = (x - mean) / sqrt(var + epsilon) * scale + bias over the axes from `axis`
// on; outputs y, mean, 1 / sqrt(var + epsilon).
void layer_norm(KernelContext& ctx);
// RMSNormalization and SimplifiedLayerNormalization: y = x / sqrt(mean(x^2) + epsilon) * scale;
// outputs y, 1 / sqrt(..).
void rms_norm(KernelContext& ctx);

// BatchNormalization over axis 1; in training mode with the statistics of the batch.
void batch_norm(KernelContext& ctx);

// Gradient rules: norm_gradient.cc. RMSNormalization serves SimplifiedLayerNormalization, too.
namespace rule {
GradientRule BatchNormalization, LayerNormalization, RMSNormalization;
}  // namespace rule

// The type of the saved statistics: attribute stash_type.
DType stash_type(const Node& node);

}  // namespace hugot::norm

#endif  // HUGOT_KERNELS_NORM_NORM_H_
