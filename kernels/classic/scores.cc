#include "kernels/classic/scores.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"

namespace hugot::classic {
namespace {

constexpr std::string_view kTransforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO",
                                            "PROBIT"};

double probit(double p) {
  constexpr double kA = 0.147;
  const double x = 2 * p - 1;
  const double log = std::log((1 - x) * (1 + x));
  const double half = 2 / (std::numbers::pi * kA) + log / 2;
  const double erf_inverse = std::sqrt(std::sqrt(half * half - log / kA) - half);
  return std::numbers::sqrt2 * std::copysign(erf_inverse, x);
}

// Scores nearer to 0 than this are 0 to SOFTMAX_ZERO.
constexpr double kAlmostZero = 1e-7;

void softmax(std::span<double> scores, bool keep_zeros) {
  if (scores.empty()) return;
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) {
    if (keep_zeros && std::abs(score) <= kAlmostZero) {
      score *= std::exp(-top);
    } else {
      score = std::exp(score - top);
      sum += score;
    }
  }
  if (sum == 0) return;
  for (double& score : scores) score /= sum;
}

}  // namespace

Transform transform_numbered(int64_t number) {
  require(number >= 0 && number < static_cast<int64_t>(std::size(kTransforms)),
          ErrorCode::kInvalidData, "there is no transform ", number);
  return static_cast<Transform>(number);
}

Transform transform_named(std::string_view name) {
  const auto* found = std::find(std::begin(kTransforms), std::end(kTransforms), name);
  require(found != std::end(kTransforms), ErrorCode::kInvalidData, "there is no transform ", name);
  return static_cast<Transform>(found - std::begin(kTransforms));
}

Transform transform_of(const Node& node) {
  return transform_named(node.get<std::string>("post_transform", "NONE"));
}

double logistic(double x) {
  const double value = 1 / (1 + std::exp(-std::abs(x)));
  return x < 0 ? 1 - value : value;
}

void transform(Transform transform, std::span<double> scores) {
  if (scores.size() == 1 && transform != Transform::kProbit) return;
  switch (transform) {
    case Transform::kNone:
      return;
    case Transform::kSoftmax:
      return softmax(scores, false);
    case Transform::kSoftmaxZero:
      return softmax(scores, true);
    case Transform::kLogistic:
      for (double& score : scores) score = logistic(score);
      return;
    case Transform::kProbit:
      for (double& score : scores) score = probit(score);
      return;
  }
}

std::array<double, 2> shared_score(double score, bool complement, Transform transform) {
  if (transform == Transform::kLogistic) return {logistic(-score), logistic(score)};
  const double other = complement ? 1 - score : -score;
  if (transform == Transform::kProbit) return {probit(other), probit(score)};
  return {other, score};
}

Tensor class_labels(const Node& node, std::string_view strings, std::string_view integers) {
  const auto texts = node.get<std::vector<std::string>>(strings, {});
  const auto numbers = node.get<std::vector<int64_t>>(integers, {});
  require(texts.empty() || numbers.empty(), ErrorCode::kInvalidData, "only one of ", strings,
          " and ", integers, " may be there");
  if (texts.empty()) {
    return Tensor::from<int64_t>({static_cast<int64_t>(numbers.size())},
                                 std::span<const int64_t>(numbers));
  }
  return Tensor::from<std::string>({static_cast<int64_t>(texts.size())},
                                   std::span<const std::string>(texts));
}

void write_label(const Tensor& labels, int64_t label, Tensor& out, int64_t i) {
  if (labels.dtype() == DType::kString) {
    out.data<std::string>()[i] = labels.data<std::string>()[label];
  } else {
    out.data<int64_t>()[i] = labels.data<int64_t>()[label];
  }
}

Samples::Samples(const Tensor& x) : tensor(x), rows(1), columns(0) {
  require(x.rank() == 1 || x.rank() == 2, ErrorCode::kInvalidArgument,
          "the samples have to be [n,features] or [features], but are ", describe(x));
  if (x.rank() == 2) rows = x.shape()[0];
  columns = x.shape().back();
}

void Samples::read(int64_t row, double* to) const {
  dispatch(JoinTypes<FloatTypes, Types<int64_t, int32_t>>{}, tensor.dtype(),
           [&]<class T>() { convert_all(tensor.data<T>() + row * columns, to, columns); });
}

}  // namespace hugot::classic
