// Normalizations: layer norm, RMS norm, batch norm.
#ifndef HUGOT_KERNELS_NORM_NORM_H_
#define HUGOT_KERNELS_NORM_NORM_H_

#include <cstdint>
#include <vector>

#include "graph/op.h"

namespace hugot::norm {

// LayerNormalization: y = (x - mean) / sqrt(var + epsilon) * scale + bias over the axes from `axis`
// on; outputs y, mean, 1 / sqrt(var + epsilon).
void layer_norm(KernelContext& ctx);
// RMSNormalization and SimplifiedLayerNormalization: y = x / sqrt(mean(x^2) + epsilon) * scale;
// outputs y, 1 / sqrt(..).
void rms_norm(KernelContext& ctx);

// hugot.LayerNormalizationGradient: from x, scale and dy the gradients of x, scale and bias of
// LayerNormalization over the last axis. float32 and float64.
void layer_norm_gradient(KernelContext& ctx);

// BatchNormalization over axis 1 (with spatial = 0, an attribute of old versions: over all axes but
// the first); in training mode with the statistics of the batch. Outputs: y, the running mean and
// variance, and in versions before 14 those of the batch.
void batch_norm(KernelContext& ctx);
// Whether a node of BatchNormalization trains, by the rules of its version.
bool trains_batch_norm(const Node& node);
// The first axis of the statistics that is not theirs: 2, or the rank for spatial = 0.
int batch_norm_inner(const Node& node, int rank);

// GroupNormalization, and InstanceNormalization, where every channel is a group: the groups of each
// instance get mean 0 and variance 1, then scale and bias by channel (version 18 of
// GroupNormalization: by group).
void group_norm(KernelContext& ctx);
// The groups of a node among `channels`, which they divide. Throws kInvalidArgument otherwise.
int64_t group_count(const Node& node, int64_t channels);

// MeanVarianceNormalization: (x - mean) / (deviation + 1e-9) over `axes`.
void mean_variance_norm(KernelContext& ctx);
std::vector<int64_t> mean_variance_axes(const Node& node);

// LpNormalization: x / (sum |x|^p)^(1/p) along `axis`, and 0 where that is 0 / 0; p is 1 or 2.
void lp_norm(KernelContext& ctx);
// Throws kInvalidArgument for other p.
bool is_l1(const Node& node);

// Gradient rules: norm_gradient.cc, group_gradient.cc. RMSNormalization serves
// SimplifiedLayerNormalization, too.
namespace rule {
GradientRule BatchNormalization, GroupNormalization, LayerNormalization, LpNormalization,
    MeanVarianceNormalization, RMSNormalization;
}  // namespace rule

// The type of the saved statistics: attribute stash_type.
DType stash_type(const Node& node);

}  // namespace hugot::norm

#endif  // HUGOT_KERNELS_NORM_NORM_H_
