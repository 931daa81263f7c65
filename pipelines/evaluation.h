// Metrics of embeddings and of class scores.
#ifndef HUGOT_PIPELINES_EVALUATION_H_
#define HUGOT_PIPELINES_EVALUATION_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace hugot {

using Metrics = std::map<std::string, double>;

// Correlation of two lists; 0 when one of them does not vary.
double pearson(std::span<const double> a, std::span<const double> b);
// That of the ranks; equal numbers share their mean rank.
double spearman(std::span<const double> a, std::span<const double> b);

// Rows of matrices [n, dim] are vectors; similarities are cosines.

// "pearson", "spearman" of the similarities of u_i and v_i with `scores`; where all scores are 0 or
// 1 also "average_precision" of the pairs with 1.
Metrics evaluate_similarity(const Tensor& u, const Tensor& v, std::span<const double> scores);

// "triplet_accuracy": the part of the rows whose anchor is closer to the positive.
Metrics evaluate_triplets(const Tensor& anchors, const Tensor& positives, const Tensor& negatives);

// The rank of candidate i among all candidates for query i: "accuracy@k" for k = 1, 3, 5, 10,
// "mrr@10", "ndcg@10". Of equal similarities the candidate with the smaller number comes first.
Metrics evaluate_retrieval(const Tensor& queries, const Tensor& candidates, ThreadPool& pool);

// "accuracy" and "f1", the mean over the classes that occur among labels or predictions.
Metrics evaluate_classes(const Tensor& logits, std::span<const int64_t> labels);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_EVALUATION_H_
