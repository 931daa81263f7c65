#include "autodiff/loss_formulas.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace hugot {
namespace {

constexpr int kManyColumns = 1 << 10;
constexpr double kSmallestNorm = 1e-12;    // torch.nn.functional.normalize
constexpr double kDistanceEpsilon = 1e-6;  // torch.nn.functional.pairwise_distance
constexpr double kNever = -1e12;           // a logit without weight

Term reduce(const char* type, const Term& x) {
  return x.writer().op(type, {x}, {{"keepdims", int64_t{0}}});
}
Term total_mean(const Term& x) { return reduce("ReduceMean", x); }
Term total(const Term& x) { return reduce("ReduceSum", x); }
Term relu(const Term& x) { return x.writer().op("Relu", {x}); }
Term absolute(const Term& x) { return x.writer().op("Abs", {x}); }
Term logical_not(const Term& x) { return x.writer().op("Not", {x}); }

// Sums over the last axis: [rows, n] -> [rows].
Term row_sum(const Term& x) {
  GraphWriter& w = x.writer();
  return w.op("ReduceSum", {x, w.integers({1})}, {{"keepdims", int64_t{0}}});
}

// Rows of length 1, zeros where a row is too short to have a direction.
Term unit(const Term& x) {
  GraphWriter& w = x.writer();
  const Term squares = sum(square(x), w.integers({-1}));
  return x / sqrt(w.op("Max", {squares, kSmallestNorm * kSmallestNorm}));
}

Term cosine(const Term& u, const Term& v) { return row_sum(unit(u) * unit(v)); }

// A number per pair of rows.
Term distance(Distance kind, const Term& u, const Term& v) {
  switch (kind) {
    case Distance::kCosine:
      return 1 - cosine(u, v);
    case Distance::kEuclidean:
      return sqrt(row_sum(square(u - v + kDistanceEpsilon)));
    case Distance::kManhattan:
      return row_sum(absolute(u - v + kDistanceEpsilon));
  }
  fail(ErrorCode::kInternal, "no such distance");
}

// Mean of -log softmax(scores)[i, classes[i]].
Term cross_entropy(const Term& scores, const Term& classes, double smoothing = 0) {
  GraphWriter& w = scores.writer();
  const Term logs = w.op("LogSoftmax", {scores}, {{"axis", int64_t{-1}}});
  const Term own =
      total_mean(w.op("GatherElements", {logs, unsqueeze(classes, {1})}, {{"axis", int64_t{1}}}));
  if (smoothing == 0) return -own;
  return -((1 - smoothing) * own + smoothing * total_mean(logs));
}

// log(1 + sum over pairs with y_i < y_j of exp(s_i - s_j)): minus the logarithm of the softmax at
// an added 0.
Term ranked(const Term& scores, const Term& labels) {
  GraphWriter& w = scores.writer();
  const Term wrong = unsqueeze(labels, {1}) < unsqueeze(labels, {0});
  const Term differences = unsqueeze(scores, {1}) - unsqueeze(scores, {0});
  const Term masked = where(wrong, differences, kNever);
  const Term zero =
      w.constant(scores.dtype() == DType::kFloat64 ? Tensor::from<double>({1}, {0.0})
                                                   : Tensor::from<float>({1}, {0.0f}));
  const Term all = w.concat({zero, reshape(masked, w.integers({-1}))}, 0);
  const Term logs = w.op("LogSoftmax", {all}, {{"axis", int64_t{0}}});
  return -total(w.op("Slice", {logs, w.integers({0}), w.integers({1}), w.integers({0})}));
}

// sentence_transformers.util.pairwise_angle_sim: the halves of a vector are real and imaginary
// parts; the sum of the parts of u / v, both scaled to equal length.
Term angle(const Term& u, const Term& v) {
  GraphWriter& w = u.writer();
  const Attributes halves = {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}};
  const std::vector<Term> a = w.outputs("Split", {u}, halves, 2);
  const std::vector<Term> b = w.outputs("Split", {v}, halves, 2);
  const Term norm_u = sqrt(row_sum(square(u))), norm_v = sqrt(row_sum(square(v)));
  const Term real = row_sum(a[0] * b[0] + a[1] * b[1]);
  const Term imaginary = row_sum(a[1] * b[0] - a[0] * b[1]);
  return absolute((real + imaginary) / (norm_u * norm_v));
}

Term similarities(const LossOptions& options, const LossTerms& t) {
  GraphWriter& w = t.columns[0].writer();
  const std::vector<Term> rest(t.columns.begin() + 1, t.columns.end());
  const Term candidates = rest.size() == 1 ? rest[0] : w.concat(rest, 0);
  const Term scores = options.dot_product
                          ? matrix_product(t.columns[0], transposed(candidates))
                          : matrix_product(unit(t.columns[0]), transposed(unit(candidates)));
  return scores * options.scale;
}

Term row_numbers(const LossTerms& t) {
  std::vector<int64_t> numbers(static_cast<size_t>(t.rows));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i);
  return t.columns[0].writer().integers(numbers);
}

namespace formula {

Term cosine_similarity(const LossOptions&, const LossTerms& t) {
  return total_mean(square(cosine(t.columns[0], t.columns[1]) - t.labels));
}

Term cosent(const LossOptions& options, const LossTerms& t) {
  return ranked(cosine(t.columns[0], t.columns[1]) * options.scale, t.labels);
}

Term angle(const LossOptions& options, const LossTerms& t) {
  return ranked(hugot::angle(t.columns[0], t.columns[1]) * options.scale, t.labels);
}

Term mnrl(const LossOptions& options, const LossTerms& t) {
  return cross_entropy(similarities(options, t), row_numbers(t));
}

Term mnrl_symmetric(const LossOptions& options, const LossTerms& t) {
  GraphWriter& w = t.columns[0].writer();
  const Term scores = similarities(options, t), own = row_numbers(t);
  const Term partners =
      w.op("Slice", {scores, w.integers({0}), w.integers({t.rows}), w.integers({1})});
  return (cross_entropy(scores, own) + cross_entropy(transposed(partners), own)) / 2;
}

Term triplet(const LossOptions& options, const LossTerms& t) {
  const Term near = distance(options.distance, t.columns[0], t.columns[1]);
  const Term far = distance(options.distance, t.columns[0], t.columns[2]);
  return total_mean(relu(near - far + options.margin));
}

Term contrastive(const LossOptions& options, const LossTerms& t) {
  const Term d = distance(options.distance, t.columns[0], t.columns[1]);
  return total_mean(t.labels * square(d) + (1 - t.labels) * square(relu(options.margin - d))) / 2;
}

// Pairs of the kind that count: those on the wrong side of the other kind's extreme, or of the mean
// of their own where the other kind has less than two.
Term online_contrastive(const LossOptions& options, const LossTerms& t) {
  const Term d = distance(options.distance, t.columns[0], t.columns[1]);
  const Term positive = t.labels > 0.5, negative = logical_not(positive);
  const Term is_positive = indicator(positive, d), is_negative = indicator(negative, d);
  const Term positives = total(is_positive), negatives = total(is_negative);
  constexpr double kFar = 1e12;
  const Term farthest = reduce("ReduceMax", where(positive, d, -kFar));
  const Term nearest = reduce("ReduceMin", where(negative, d, kFar));
  const Term mean_positive = total(d * is_positive) / positives;
  const Term mean_negative = total(d * is_negative) / negatives;
  const Term hard_negative = both(negative, d < where(positives > 1.5, farthest, mean_negative));
  const Term hard_positive = both(positive, d > where(negatives > 1.5, nearest, mean_positive));
  return total(indicator(hard_positive, d) * square(d)) +
         total(indicator(hard_negative, d) * square(relu(options.margin - d)));
}

Term softmax(const LossOptions& options, const LossTerms& t) {
  const Term &u = t.columns[0], &v = t.columns[1];
  std::vector<Term> features = {u, v, absolute(u - v)};
  if (options.multiply) features.push_back(u * v);
  GraphWriter& w = u.writer();
  const Term logits = w.op("Gemm", {w.concat(features, 1), t.parameters[0], t.parameters[1]},
                           {{"transB", int64_t{1}}});
  return hugot::cross_entropy(logits, t.labels);
}

Term cross_entropy(const LossOptions& options, const LossTerms& t) {
  return hugot::cross_entropy(t.columns[0], t.labels, options.label_smoothing);
}

Term bce(const LossOptions&, const LossTerms& t) {
  const Term& x = t.columns[0];
  const Term y = t.labels.rank() == 1 ? unsqueeze(t.labels, {1}) : t.labels;
  // log(1 + e^x) - x y, without overflow
  return total_mean(relu(x) + log(1 + exp(-absolute(x))) - x * y);
}

Term mse(const LossOptions&, const LossTerms& t) {
  return total_mean(square(t.columns[0] - t.labels));
}

Term matryoshka(const LossOptions& options, const LossTerms& t) {
  const LossFormula& inner = *find_loss_formula(options.inner->name);
  GraphWriter& w = t.columns[0].writer();
  Term result;
  for (size_t i = 0; i < options.dims.size(); ++i) {
    LossTerms part = t;
    for (Term& column : part.columns) {
      column = unit(
          w.op("Slice", {column, w.integers({0}), w.integers({options.dims[i]}), w.integers({1})}));
    }
    const Term term = inner.term(*options.inner, part) * options.weights[i];
    result = result ? result + term : term;
  }
  return result;
}

}  // namespace formula

constexpr std::array<LossFormula, 13> kFormulas = {{
    {"cosine_similarity", {2, 2, LabelKind::kNumber}, formula::cosine_similarity},
    {"cosent", {2, 2, LabelKind::kNumber}, formula::cosent},
    {"angle", {2, 2, LabelKind::kNumber}, formula::angle},
    {"mnrl", {2, kManyColumns, LabelKind::kNone}, formula::mnrl},
    {"mnrl_symmetric", {2, kManyColumns, LabelKind::kNone}, formula::mnrl_symmetric},
    {"triplet", {3, 3, LabelKind::kNone}, formula::triplet},
    {"contrastive", {2, 2, LabelKind::kNumber}, formula::contrastive},
    {"online_contrastive", {2, 2, LabelKind::kNumber}, formula::online_contrastive},
    {"softmax", {2, 2, LabelKind::kClass}, formula::softmax},
    {"cross_entropy", {1, 1, LabelKind::kClass}, formula::cross_entropy},
    {"bce", {1, 1, LabelKind::kNumbers}, formula::bce},
    {"mse", {1, 1, LabelKind::kNumbers}, formula::mse},
    {"matryoshka", {1, kManyColumns, LabelKind::kNone}, formula::matryoshka},
}};

}  // namespace

const LossFormula* find_loss_formula(std::string_view name) {
  const auto it = std::find_if(kFormulas.begin(), kFormulas.end(),
                               [&](const LossFormula& entry) { return entry.name == name; });
  return it == kFormulas.end() ? nullptr : &*it;
}

std::vector<std::string> loss_formula_names() {
  std::vector<std::string> names;
  for (const LossFormula& entry : kFormulas) names.emplace_back(entry.name);
  return names;
}

}  // namespace hugot
