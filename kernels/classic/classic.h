// Classic models (domain ai.onnx.ml): linear, support vector machines, ensembles of trees.
#ifndef HUGOT_KERNELS_CLASSIC_CLASSIC_H_
#define HUGOT_KERNELS_CLASSIC_CLASSIC_H_

#include "graph/op.h"

namespace hugot::classic {

// scores = x coefficients^T + intercepts, transformed. Classifiers give the label of the largest
// score, or of two classes with one score by its sign.
void linear_classifier(KernelContext& ctx);
void linear_regressor(KernelContext& ctx);

// Decision functions over pairs of classes that vote for the label; the scores are theirs, or
// probabilities by pairwise coupling where the node has the numbers for it.
void svm_classifier(KernelContext& ctx);
void svm_regressor(KernelContext& ctx);

// The leaves that a sample reaches in each tree add up to its scores; all versions of all three
// operators on trees. The ensemble is checked and laid out once per model.
void tree_classifier(KernelContext& ctx);
void tree_regressor(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_trees(const Node& node,
                                              std::span<const Tensor* const> constants,
                                              BlockStore& store);
// How many targets TreeEnsemble and TreeEnsembleRegressor have. Throws kInvalidData for a number
// that is not positive.
int64_t tree_targets(const Node& node);

}  // namespace hugot::classic

#endif  // HUGOT_KERNELS_CLASSIC_CLASSIC_H_
