// Kernels of SVMClassifier and SVMRegressor.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/classic/classic.h"
#include "kernels/classic/scores.h"
#include "kernels/convert.h"

namespace hugot::classic {
namespace {

using Floats = std::vector<float>;

// The kernel function of two vectors.
class Kernel {
 public:
  explicit Kernel(const Node& node) {
    const std::string name = node.get<std::string>("kernel_type", "LINEAR");
    constexpr std::string_view kNames[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
    const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
    require(found != std::end(kNames), ErrorCode::kInvalidData, "there is no kernel ", name);
    type_ = static_cast<Type>(found - std::begin(kNames));
    const Floats given = node.get<Floats>("kernel_params", {});
    require(given.empty() || given.size() == 3, ErrorCode::kInvalidData, given.size(),
            " kernel parameters instead of 3");
    if (given.empty()) return;
    gamma_ = static_cast<double>(given[0]);
    offset_ = static_cast<double>(given[1]);
    degree_ = static_cast<double>(given[2]);
  }

  double operator()(const double* x, const float* support, int64_t n) const {
    double sum = 0;
    if (type_ == Type::kRbf) {
      for (int64_t i = 0; i < n; ++i) {
        const double distance = x[i] - static_cast<double>(support[i]);
        sum += distance * distance;
      }
      return std::exp(-gamma_ * sum);
    }
    for (int64_t i = 0; i < n; ++i) sum += x[i] * static_cast<double>(support[i]);
    switch (type_) {
      case Type::kPoly:
        return std::pow(gamma_ * sum + offset_, degree_);
      case Type::kSigmoid:
        return std::tanh(gamma_ * sum + offset_);
      default:
        return sum;
    }
  }

 private:
  enum class Type { kLinear, kPoly, kRbf, kSigmoid };
  Type type_ = Type::kLinear;
  double gamma_ = 0, offset_ = 0, degree_ = 0;
};

// The numbers of a node with `count` support vectors for samples of `columns` features.
void require_vectors(const Floats& vectors, int64_t count, int64_t columns) {
  const auto given = static_cast<int64_t>(vectors.size());
  require(count > 0 && given / count == columns && given % count == 0, ErrorCode::kInvalidData,
          given, " numbers do not make ", count, " vectors of ", columns, " features");
}

}  // namespace

void svm_regressor(KernelContext& ctx) {
  const Samples samples(ctx.input(0));
  const Node& node = ctx.node();
  const auto supports = node.get<int64_t>("n_supports", 0);
  const Floats coefficients = node.get<Floats>("coefficients", {});
  const Floats vectors = node.get<Floats>("support_vectors", {});
  const Floats rho = node.get<Floats>("rho", {});
  require(!rho.empty(), ErrorCode::kInvalidData, "attribute rho is empty");
  const int64_t n = samples.columns;
  if (supports > 0) {
    require_vectors(vectors, supports, n);
    require(static_cast<int64_t>(coefficients.size()) == supports, ErrorCode::kInvalidData,
            coefficients.size(), " coefficients for ", supports, " vectors");
  } else {
    require_vectors(coefficients, 1, n);
  }
  const Kernel kernel(node);
  const bool one_class = node.get<int64_t>("one_class", 0) != 0;
  const Transform post = transform_of(node);
  float* y = ctx.output(0, DType::kFloat32, {samples.rows, 1}).data<float>();
  std::vector<double> x(static_cast<size_t>(n));
  for (int64_t row = 0; row < samples.rows; ++row) {
    samples.read(row, x.data());
    double sum = static_cast<double>(rho[0]);
    if (supports > 0) {
      for (int64_t k = 0; k < supports; ++k) {
        sum += static_cast<double>(coefficients[static_cast<size_t>(k)]) *
               kernel(x.data(), vectors.data() + k * n, n);
      }
    } else {
      sum += std::inner_product(x.begin(), x.end(), coefficients.begin(), 0.0);
    }
    if (one_class) sum = sum > 0 ? 1 : -1;
    transform(post, std::span(&sum, 1));
    y[row] = static_cast<float>(sum);
  }
}

namespace {

// Probabilities of classes from those of pairs: pair[i * n + j] is that of i when it is i or j.
// Method 2 of Wu, Lin and Weng (2004).
std::vector<double> couple(const std::vector<double>& pair, size_t n) {
  std::vector<double> q(n * n), p(n, 1.0 / static_cast<double>(n)), qp(n);
  for (size_t t = 0; t < n; ++t) {
    for (size_t j = 0; j < n; ++j) {
      if (j == t) continue;
      q[t * n + t] += pair[j * n + t] * pair[j * n + t];
      q[t * n + j] = -pair[j * n + t] * pair[t * n + j];
    }
  }
  const double epsilon = 0.005 / static_cast<double>(n);
  const size_t most = std::max<size_t>(100, n);
  for (size_t round = 0; round < most; ++round) {
    double pqp = 0;
    for (size_t t = 0; t < n; ++t) {
      qp[t] = 0;
      for (size_t j = 0; j < n; ++j) qp[t] += q[t * n + j] * p[j];
      pqp += p[t] * qp[t];
    }
    double worst = 0;
    for (size_t t = 0; t < n; ++t) worst = std::max(worst, std::abs(qp[t] - pqp));
    if (worst < epsilon) break;
    for (size_t t = 0; t < n; ++t) {
      const double step = (pqp - qp[t]) / q[t * n + t];
      p[t] += step;
      const double scale = 1 + step;
      pqp = (pqp + step * (step * q[t * n + t] + 2 * qp[t])) / (scale * scale);
      for (size_t j = 0; j < n; ++j) {
        qp[j] = (qp[j] + step * q[t * n + j]) / scale;
        p[j] /= scale;
      }
    }
  }
  return p;
}

struct Machine {
  Machine(const Node& node, int64_t columns, int64_t count)
      : kernel(node),
        coefficients(node.get<Floats>("coefficients", {})),
        vectors(node.get<Floats>("support_vectors", {})),
        rho(node.get<Floats>("rho", {})),
        prob_a(node.get<Floats>("prob_a", {})),
        prob_b(node.get<Floats>("prob_b", {})),
        per_class(node.get<std::vector<int64_t>>("vectors_per_class", {})),
        features(columns),
        classes(static_cast<size_t>(count)) {
    const auto rhos = static_cast<int64_t>(rho.size());
    if (per_class.empty()) {
      require_vectors(coefficients, count, columns);
      require(rhos >= 1, ErrorCode::kInvalidData, "attribute rho is empty");
      return;
    }
    require(per_class.size() == classes, ErrorCode::kInvalidData, per_class.size(),
            " numbers of vectors for ", count, " classes");
    for (const int64_t number : per_class) {
      require(number >= 0 && number < int64_t{1} << 32, ErrorCode::kInvalidData, "a class of ",
              number, " vectors");
      first.push_back(total);
      total += number;
    }
    require_vectors(vectors, total, columns);
    const int64_t pairs = count * (count - 1) / 2;
    require(rhos == pairs && static_cast<int64_t>(coefficients.size()) == (count - 1) * total,
            ErrorCode::kInvalidData, rhos, " offsets and ", coefficients.size(),
            " coefficients do not belong to ", count, " classes of ", total, " vectors");
    require(prob_a.size() == prob_b.size() && (prob_a.empty() || prob_a.size() == rho.size()),
            ErrorCode::kInvalidData, prob_a.size(), " and ", prob_b.size(), " numbers for ", pairs,
            " probabilities");
  }

  bool has_probabilities() const { return !per_class.empty() && !prob_a.empty(); }

  // The decision function of each pair of classes, and how many pairs each class wins.
  void decide(const double* x, std::vector<double>& scores, std::vector<int64_t>& votes) const {
    std::vector<double> k(static_cast<size_t>(total));
    for (int64_t v = 0; v < total; ++v) {
      k[static_cast<size_t>(v)] = kernel(x, vectors.data() + v * features, features);
    }
    const auto part = [&](size_t of, size_t against) {
      const auto begin = static_cast<size_t>(first[of]);
      const float* c = coefficients.data() + against * static_cast<size_t>(total) + begin;
      double sum = 0;
      for (size_t v = 0; v < static_cast<size_t>(per_class[of]); ++v) {
        sum += static_cast<double>(c[v]) * k[begin + v];
      }
      return sum;
    };
    scores.clear();
    votes.assign(classes, 0);
    for (size_t i = 0; i < classes; ++i) {
      for (size_t j = i + 1; j < classes; ++j) {
        const double score = static_cast<double>(rho[scores.size()]) + part(i, j - 1) + part(j, i);
        ++votes[score > 0 ? i : j];
        scores.push_back(score);
      }
    }
  }

  std::vector<double> probabilities(const std::vector<double>& scores) const {
    constexpr double kLeast = 1e-7;
    std::vector<double> pair(classes * classes);
    size_t at = 0;
    for (size_t i = 0; i < classes; ++i) {
      for (size_t j = i + 1; j < classes; ++j, ++at) {
        const double raw =
            scores[at] * static_cast<double>(prob_a[at]) + static_cast<double>(prob_b[at]);
        pair[i * classes + j] = std::clamp(1 - logistic(raw), kLeast, 1 - kLeast);
        pair[j * classes + i] = 1 - pair[i * classes + j];
      }
    }
    return couple(pair, classes);
  }

  // One score for each class, by its own coefficients.
  void linear(const double* x, std::vector<double>& scores) const {
    scores.assign(classes, 0.0);
    for (size_t c = 0; c < classes; ++c) {
      const float* w = coefficients.data() + c * static_cast<size_t>(features);
      scores[c] = std::inner_product(x, x + features, w, 0.0) +
                  static_cast<double>(rho[rho.size() == classes ? c : 0]);
    }
  }

  const Kernel kernel;
  const Floats coefficients, vectors, rho, prob_a, prob_b;
  const std::vector<int64_t> per_class;
  std::vector<int64_t> first;  // vector of each class
  int64_t total = 0;
  const int64_t features;
  const size_t classes;
};

size_t largest(const auto& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

void svm_classifier(KernelContext& ctx) {
  const Samples samples(ctx.input(0));
  const Node& node = ctx.node();
  const Tensor labels = class_labels(node, "classlabels_strings", "classlabels_ints");
  require(labels.size() > 0, ErrorCode::kInvalidData, "a classifier without labels");
  const Machine machine(node, samples.columns, labels.size());
  const Transform post = transform_of(node);
  Tensor dropped(labels.dtype(), {ctx.wants_output(0) ? 0 : samples.rows});
  Tensor& y = ctx.wants_output(0) ? ctx.output(0, labels.dtype(), {samples.rows}) : dropped;
  // Scores of pairs, of classes where there are probabilities or no vectors; of two classes both.
  const bool pairs = !machine.per_class.empty() && !machine.has_probabilities();
  const int64_t width =
      labels.size() <= 2 || !pairs ? labels.size() : static_cast<int64_t>(machine.rho.size());
  float* z = nullptr;
  if (ctx.wants_output(1)) {
    z = ctx.output(1, DType::kFloat32, {samples.rows, width}).data<float>();
  }
  std::vector<double> x(static_cast<size_t>(samples.columns)), scores;
  std::vector<int64_t> votes;
  for (int64_t row = 0; row < samples.rows; ++row) {
    samples.read(row, x.data());
    size_t best = 0;
    if (machine.per_class.empty()) {
      machine.linear(x.data(), scores);
      best = largest(scores);
    } else {
      machine.decide(x.data(), scores, votes);
      best = largest(votes);
      if (machine.has_probabilities()) scores = machine.probabilities(scores);
    }
    if (pairs && scores.size() == 1) {
      const auto both = shared_score(scores[0], post != Transform::kNone, post);
      scores.assign(both.begin(), both.end());
    } else {
      transform(post, scores);
    }
    write_label(labels, static_cast<int64_t>(best), y, row);
    if (z != nullptr) convert_all(scores.data(), z + row * width, width);
  }
}

}  // namespace hugot::classic
