// Losses of classifiers.
#ifndef HUGOT_KERNELS_LOSS_LOSS_H_
#define HUGOT_KERNELS_LOSS_LOSS_H_

#include "graph/op.h"

namespace hugot::loss {

// Scores [N, C, ..], labels [N, ..] and maybe a weight for each class: the negative log-probability
// of the labelled class times its weight, 0 for the label ignore_index; by attribute `reduction`
// for each label, summed up, or divided by the sum of the weights.

// The scores are log-probabilities.
void negative_log_likelihood(KernelContext& ctx);
// The scores become probabilities by softmax over the classes. Output 1: their logarithms.
void softmax_cross_entropy(KernelContext& ctx);

enum class Reduction { kNone, kSum, kMean };
Reduction reduction_of(const Node& node);

// Gradient rules: loss_gradient.cc.
namespace rule {
GradientRule NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss;
}  // namespace rule

}  // namespace hugot::loss

#endif  // HUGOT_KERNELS_LOSS_LOSS_H_
