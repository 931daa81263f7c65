// What classifiers and regressors have in common: labels and transforms of scores.
#ifndef HUGOT_KERNELS_CLASSIC_SCORES_H_
#define HUGOT_KERNELS_CLASSIC_SCORES_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"
#include "graph/graph.h"

namespace hugot::classic {

enum class Transform { kNone, kSoftmax, kLogistic, kSoftmaxZero, kProbit };

// By its name. Throws kInvalidData for another one.
Transform transform_named(std::string_view name);
// By its number in TreeEnsemble.
Transform transform_numbered(int64_t number);
// Attribute `post_transform`.
Transform transform_of(const Node& node);

double logistic(double x);

// Transforms the scores of one row in place. As in onnxruntime, a single score is left as it is by
// all but PROBIT. SOFTMAX_ZERO is softmax that leaves scores of 0 at 0; PROBIT is the inverse of
// the normal distribution function, with Winitzki's approximation of the inverse error function
// (2008), which is what models are made with.
void transform(Transform transform, std::span<double> scores);

// The scores of two classes that share the score of the second one: its complement to 1, or its
// negative, and itself. Of the transforms LOGISTIC and PROBIT are applied, as in onnxruntime.
std::array<double, 2> shared_score(double score, bool complement, Transform transform);

// The class labels of a node: strings or integers, as a list; empty int64 when it has none. Throws
// kInvalidData when it has both.
Tensor class_labels(const Node& node, std::string_view strings, std::string_view integers);

// Writes label number `label` as element i of `out`.
void write_label(const Tensor& labels, int64_t label, Tensor& out, int64_t i);

// A tensor of any type of numbers as rows [rows, columns]; a list is one row. Throws
// kInvalidArgument for
// other ranks.
struct Samples {
  explicit Samples(const Tensor& x);
  const Tensor& tensor;
  int64_t rows, columns;
  // Row i as float64.
  void read(int64_t row, double* to) const;
};

}  // namespace hugot::classic

#endif  // HUGOT_KERNELS_CLASSIC_SCORES_H_
