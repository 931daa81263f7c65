#include "pipelines/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autodiff/float_type.h"
#include "base/error.h"

namespace hugot {
namespace {

// Rows of length 1 in double precision.
class UnitRows {
 public:
  explicit UnitRows(const Tensor& matrix) : data_(convert_float(matrix, DType::kFloat64)) {
    require(matrix.rank() == 2, ErrorCode::kInvalidArgument, "metrics need vectors, not ",
            describe(matrix));
    for (int64_t i = 0; i < rows(); ++i) {
      double* const row = data_.data<double>() + i * dim();
      const double norm = std::sqrt(std::inner_product(row, row + dim(), row, 0.0));
      for (int64_t k = 0; k < dim(); ++k) row[k] /= std::max(norm, 1e-12);
    }
  }

  int64_t rows() const { return data_.shape()[0]; }
  int64_t dim() const { return data_.shape()[1]; }
  const double* row(int64_t i) const { return data_.data<double>() + i * dim(); }

 private:
  Tensor data_;
};

double dot(const UnitRows& a, int64_t i, const UnitRows& b, int64_t j) {
  return std::inner_product(a.row(i), a.row(i) + a.dim(), b.row(j), 0.0);
}

std::vector<double> cosines(const Tensor& u, const Tensor& v) {
  const UnitRows a(u), b(v);
  require(a.rows() == b.rows() && a.dim() == b.dim(), ErrorCode::kInvalidArgument,
          "pairs of vectors are ", describe(u), " and ", describe(v));
  std::vector<double> result(static_cast<size_t>(a.rows()));
  for (int64_t i = 0; i < a.rows(); ++i) result[static_cast<size_t>(i)] = dot(a, i, b, i);
  return result;
}

// Indices by descending value; equal ones in their order.
std::vector<size_t> order_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  return order;
}

std::vector<double> ranks(std::span<const double> values) {
  const std::vector<size_t> order = order_of(values);
  std::vector<double> result(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) {
      result[order[i]] = 0.5 * static_cast<double>(begin + end - 1);
    }
    begin = end;
  }
  return result;
}

double average_precision(std::span<const double> similarities, std::span<const double> labels) {
  double found = 0, sum = 0, seen = 0;
  for (const size_t i : order_of(similarities)) {
    ++seen;
    if (labels[i] < 0.5) continue;
    ++found;
    sum += found / seen;
  }
  return found > 0 ? sum / found : 0;
}

}  // namespace

double pearson(std::span<const double> a, std::span<const double> b) {
  require(a.size() == b.size() && !a.empty(), ErrorCode::kInvalidArgument,
          "a correlation needs two lists of one length");
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double spearman(std::span<const double> a, std::span<const double> b) {
  return pearson(ranks(a), ranks(b));
}

Metrics evaluate_similarity(const Tensor& u, const Tensor& v, std::span<const double> scores) {
  const std::vector<double> similarities = cosines(u, v);
  Metrics metrics = {{"pearson", pearson(similarities, scores)},
                     {"spearman", spearman(similarities, scores)}};
  if (std::all_of(scores.begin(), scores.end(), [](double x) { return x == 0 || x == 1; })) {
    metrics["average_precision"] = average_precision(similarities, scores);
  }
  return metrics;
}

Metrics evaluate_triplets(const Tensor& anchors, const Tensor& positives, const Tensor& negatives) {
  const std::vector<double> near = cosines(anchors, positives), far = cosines(anchors, negatives);
  double right = 0;
  for (size_t i = 0; i < near.size(); ++i) right += near[i] > far[i] ? 1 : 0;
  return {{"triplet_accuracy", right / static_cast<double>(near.size())}};
}

Metrics evaluate_retrieval(const Tensor& queries, const Tensor& candidates, ThreadPool& pool) {
  const UnitRows a(queries), b(candidates);
  require(a.rows() == b.rows() && a.dim() == b.dim() && a.rows() > 0, ErrorCode::kInvalidArgument,
          "queries and their candidates are ", describe(queries), " and ", describe(candidates));
  std::vector<int64_t> before(static_cast<size_t>(a.rows()));  // candidates before the right one
  pool.parallel_for(a.rows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double own = dot(a, i, b, i);
      int64_t count = 0;
      for (int64_t j = 0; j < b.rows(); ++j) {
        const double other = j == i ? own : dot(a, i, b, j);
        if (other > own || (other == own && j < i)) ++count;
      }
      before[static_cast<size_t>(i)] = count;
    }
  });
  Metrics metrics;
  const auto mean = [&](const auto& value) {
    double sum = 0;
    for (const int64_t rank : before) sum += value(rank);
    return sum / static_cast<double>(before.size());
  };
  for (const int64_t k : {1, 3, 5, 10}) {
    metrics[str("accuracy@", k)] = mean([&](int64_t rank) { return rank < k ? 1.0 : 0.0; });
  }
  metrics["mrr@10"] =
      mean([](int64_t rank) { return rank < 10 ? 1 / static_cast<double>(rank + 1) : 0.0; });
  metrics["ndcg@10"] = mean(
      [](int64_t rank) { return rank < 10 ? 1 / std::log2(static_cast<double>(rank + 2)) : 0.0; });
  return metrics;
}

Metrics evaluate_classes(const Tensor& logits, std::span<const int64_t> labels) {
  const Tensor scores = convert_float(logits, DType::kFloat64);
  require(scores.rank() == 2 && scores.shape()[0] == static_cast<int64_t>(labels.size()) &&
              !labels.empty() && scores.shape()[1] > 0,
          ErrorCode::kInvalidArgument, "scores of ", labels.size(), " texts are ",
          describe(logits));
  const auto classes = static_cast<size_t>(scores.shape()[1]);
  std::vector<double> hits(classes), predicted(classes), actual(classes);
  double right = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto label = static_cast<size_t>(labels[i]);
    require(labels[i] >= 0 && label < classes, ErrorCode::kInvalidArgument, "class ", labels[i],
            " is none of ", classes);
    const double* const row = scores.data<double>() + i * classes;
    const auto best = static_cast<size_t>(std::max_element(row, row + classes) - row);
    ++predicted[best];
    ++actual[label];
    if (best != label) continue;
    ++hits[best];
    ++right;
  }
  double f1 = 0, seen = 0;
  for (size_t i = 0; i < classes; ++i) {
    if (predicted[i] + actual[i] == 0) continue;
    f1 += 2 * hits[i] / (predicted[i] + actual[i]);
    ++seen;
  }
  return {{"accuracy", right / static_cast<double>(labels.size())}, {"f1", f1 / seen}};
}

}  // namespace hugot
