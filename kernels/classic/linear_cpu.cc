// Kernels of LinearClassifier and LinearRegressor.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/classic/classic.h"
#include "kernels/classic/scores.h"
#include "kernels/convert.h"

namespace hugot::classic {
namespace {

// Scores of a row by as many lists of coefficients as there are scores.
class Linear {
 public:
  // `count` scores; 0: as many as there are intercepts.
  Linear(const Node& node, int64_t count, int64_t columns)
      : coefficients_(node.get<std::vector<float>>("coefficients", {})),
        intercepts_(node.get<std::vector<float>>("intercepts", {})),
        count_(count > 0 ? count : static_cast<int64_t>(intercepts_.size())),
        columns_(columns) {
    const auto given = static_cast<int64_t>(coefficients_.size());
    require(count_ > 0 && given / count_ == columns && given % count_ == 0, ErrorCode::kInvalidData,
            given, " coefficients do not make ", count_, " scores of ", columns, " features");
    require(intercepts_.empty() || static_cast<int64_t>(intercepts_.size()) == count_,
            ErrorCode::kInvalidData, intercepts_.size(), " intercepts for ", count_, " scores");
  }

  int64_t count() const { return count_; }

  void run(const double* x, std::vector<double>& scores) const {
    scores.assign(static_cast<size_t>(count_), 0.0);
    const float* w = coefficients_.data();
    for (size_t k = 0; k < scores.size(); ++k) {
      double sum = intercepts_.empty() ? 0 : static_cast<double>(intercepts_[k]);
      for (int64_t i = 0; i < columns_; ++i) sum += x[i] * static_cast<double>(*w++);
      scores[k] = sum;
    }
  }

 private:
  const std::vector<float> coefficients_, intercepts_;
  const int64_t count_, columns_;
};

}  // namespace

void linear_regressor(KernelContext& ctx) {
  const Samples samples(ctx.input(0));
  const auto targets = ctx.node().get<int64_t>("targets", 1);
  require(targets > 0, ErrorCode::kInvalidData, targets, " targets");
  const Linear linear(ctx.node(), targets, samples.columns);
  const Transform post = transform_of(ctx.node());
  float* y = ctx.output(0, DType::kFloat32, {samples.rows, targets}).data<float>();
  std::vector<double> x(static_cast<size_t>(samples.columns)), scores;
  for (int64_t row = 0; row < samples.rows; ++row) {
    samples.read(row, x.data());
    linear.run(x.data(), scores);
    transform(post, scores);
    convert_all(scores.data(), y + row * targets, targets);
  }
}

void linear_classifier(KernelContext& ctx) {
  const Samples samples(ctx.input(0));
  const Node& node = ctx.node();
  Tensor labels = class_labels(node, "classlabels_strings", "classlabels_ints");
  const Linear linear(node, 0, samples.columns);
  // Two classes may have one score, that of the second one.
  const bool shared = linear.count() == 1 && labels.size() != 1;
  if (labels.size() == 0) labels = Tensor::from<int64_t>({2}, {0, 1});
  require(shared ? labels.size() == 2 : labels.size() == linear.count(), ErrorCode::kInvalidData,
          labels.size(), " labels for ", linear.count(), " scores");
  const int64_t classes = labels.size();
  const Transform post = transform_of(node);
  Tensor dropped(labels.dtype(), {ctx.wants_output(0) ? 0 : samples.rows});
  Tensor& y = ctx.wants_output(0) ? ctx.output(0, labels.dtype(), {samples.rows}) : dropped;
  float* z = nullptr;
  if (ctx.wants_output(1)) {
    z = ctx.output(1, DType::kFloat32, {samples.rows, classes}).data<float>();
  }
  std::vector<double> x(static_cast<size_t>(samples.columns)), scores;
  for (int64_t row = 0; row < samples.rows; ++row) {
    samples.read(row, x.data());
    linear.run(x.data(), scores);
    int64_t best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    if (shared) {
      best = scores[0] > 0 ? 1 : 0;
      const auto both = shared_score(scores[0], true, post);
      scores.assign(both.begin(), both.end());
    } else {
      transform(post, scores);
    }
    write_label(labels, best, y, row);
    if (z != nullptr) convert_all(scores.data(), z + row * classes, classes);
  }
}

}  // namespace hugot::classic
