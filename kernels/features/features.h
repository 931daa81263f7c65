// Features of classic machine learning (domain ai.onnx.ml): selected, scaled, encoded.
#ifndef HUGOT_KERNELS_FEATURES_FEATURES_H_
#define HUGOT_KERNELS_FEATURES_FEATURES_H_

#include <vector>

#include "graph/op.h"

namespace hugot::features {

// Elements along the last axis, picked by a list of indices.
void array_feature_extractor(KernelContext& ctx);
// 1 for what is greater than a threshold, else 0.
void binarizer(KernelContext& ctx);
// The columns of all inputs, each cut or filled up with zeros to the width that the node gives it.
void feature_vectorizer(KernelContext& ctx);
// Elements that equal one value replaced by another, which may depend on the column.
void imputer(KernelContext& ctx);
// Rows divided by their maximum, their L1 norm or their L2 norm, unless that is 0.
void normalizer(KernelContext& ctx);
// A row of zeros with a one at the place of the category.
void one_hot_encoder(KernelContext& ctx);
// (x - offset) * scale, by column.
void scaler(KernelContext& ctx);

// Keys to values: CategoryMapper and LabelEncoder, all versions.
void label_encoder(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_label_encoder(const Node& node,
                                                      std::span<const Tensor* const> constants,
                                                      BlockStore& store);
// The type of the values for keys of type `keys`.
DType label_value_type(const Node& node, DType keys);

// A map with integer keys as [1, n]: its values by ascending key, or placed by key.
void cast_map(KernelContext& ctx);
DType cast_map_type(const Node& node);
// The values of a map as [1, n], in the order of a vocabulary; 0 for what the map does not have.
// Keys that are not in the vocabulary are ignored, as onnxruntime and scikit-learn do.
void dict_vectorizer(KernelContext& ctx);
// Each row as a map from the node's labels.
void zip_map(KernelContext& ctx);

// The one of two attributes for lists of strings and of integers that the node has, as a tensor.
// Throws kInvalidData when it has both or none.
Tensor labels_of(const Node& node, std::string_view strings, std::string_view integers);

// Gradient rules: features_gradient.cc.
namespace rule {
GradientRule ArrayFeatureExtractor, Scaler;
}  // namespace rule

}  // namespace hugot::features

#endif  // HUGOT_KERNELS_FEATURES_FEATURES_H_
