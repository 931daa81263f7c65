// Linear models and support vector machines; expected numbers are those of onnxruntime.
#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr const char* kDomain = "ai.onnx.ml";
using Strings = std::vector<std::string>;
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor int64s(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kInt64, shape, values);
}

void run_ml(std::vector<Case> cases) {
  for (Case& test : cases) test.domain = kDomain;
  run_cases(cases);
}

Attribute text(const char* value) { return std::string(value); }

}  // namespace

TEST_CASE("linear models") {
  const Tensor x = floats({2, 2}, {1, 2, -1, 0.5});
  run_ml({
      {.name = "two targets",
       .op_type = "LinearRegressor",
       .inputs = {x},
       .attributes = {{"targets", int64_t{2}},
                      {"coefficients", Floats{1, 2, 3, 4}},
                      {"intercepts", Floats{0.5, -0.5}}},
       .expected = {floats({2, 2}, {5.5, 10.5, 0.5, -1.5})}},
      {.name = "no intercept, one sample of integers",
       .op_type = "LinearRegressor",
       .inputs = {int64s({2}, {3, 4})},
       .attributes = {{"coefficients", Floats{1, 2}}},
       .expected = {floats({1, 1}, {11})}},
      {.name = "softmax",
       .op_type = "LinearRegressor",
       .inputs = {floats({1, 1}, {1})},
       .attributes = {{"targets", int64_t{2}},
                      {"coefficients", Floats{1, 2}},
                      {"post_transform", text("SOFTMAX")}},
       .expected = {floats({1, 2}, {0.268941421, 0.731058579})}},
      {.name = "other features",
       .op_type = "LinearRegressor",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 2, 3}}},
       .error = ErrorCode::kInvalidData},
      {.name = "three classes",
       .op_type = "LinearClassifier",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 0, 0, 1, -1, -1}},
                      {"intercepts", Floats{0, 0, 1}},
                      {"classlabels_strings", Strings{"a", "b", "c"}}},
       .expected = {Tensor::from<std::string>({2}, {"b", "c"}),
                    floats({2, 3}, {1, 2, -2, -1, 0.5, 1.5})}},
      {.name = "two classes, one score",
       .op_type = "LinearClassifier",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 0}},
                      {"intercepts", Floats{0}},
                      {"post_transform", text("LOGISTIC")},
                      {"classlabels_ints", Ints{4, 7}}},
       .expected = {int64s({2}, {7, 4}),
                    floats({2, 2}, {0.268941421, 0.731058579, 0.731058579, 0.268941421})}},
      {.name = "labels for other scores",
       .op_type = "LinearClassifier",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 0, 0, 1}},
                      {"intercepts", Floats{0, 0}},
                      {"classlabels_ints", Ints{4, 7, 9}}},
       .error = ErrorCode::kInvalidData},
      {.name = "no scores",
       .op_type = "LinearClassifier",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 0}}, {"classlabels_ints", Ints{4, 7}}},
       .error = ErrorCode::kInvalidData},
      {.name = "no such transform",
       .op_type = "LinearRegressor",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 2}}, {"post_transform", text("LOG")}},
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("support vector machines") {
  const Tensor x = floats({2, 2}, {1, 2, -1, 0.5});
  const auto regressor = [](const char* kernel) {
    return Attributes{{"kernel_type", text(kernel)},   {"kernel_params", Floats{0.5, 1, 2}},
                      {"n_supports", int64_t{2}},      {"support_vectors", Floats{1, 0, 0, 2}},
                      {"coefficients", Floats{1, -1}}, {"rho", Floats{0.25}}};
  };
  Attributes outlier = regressor("LINEAR");
  outlier["one_class"] = int64_t{1};
  const Attributes three = {{"classlabels_ints", Ints{1, 2, 3}},
                            {"vectors_per_class", Ints{1, 1, 1}},
                            {"support_vectors", Floats{1, 0, 0, 1, -1, -1}},
                            {"coefficients", Floats{1, -1, -0.5, 0.5, 1, -1}},
                            {"rho", Floats{0, 0.25, -0.25}}};
  Attributes coupled = three, short_of_pairs = three;
  coupled["prob_a"] = Floats{-1, -2, -1};
  coupled["prob_b"] = Floats{0, 0.5f, 0.1f};
  short_of_pairs["coefficients"] = Floats{1, -1, 1};
  run_ml({
      {.name = "linear",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = regressor("LINEAR"),
       .expected = {floats({2, 1}, {-2.75, -1.75})}},
      {.name = "polynomial",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = regressor("POLY"),
       .expected = {floats({2, 1}, {-6.5, -1.75})}},
      {.name = "radial",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = regressor("RBF"),
       .expected = {floats({2, 1}, {-0.2211954, 0.1725213})},
       .tolerance = Tolerance{1e-5, 1e-5}},
      {.name = "sigmoid",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = regressor("SIGMOID"),
       .expected = {floats({2, 1}, {0.160093486, -0.193031043})},
       .tolerance = Tolerance{1e-5, 1e-5}},
      {.name = "outliers",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = outlier,
       .expected = {floats({2, 1}, {-1, -1})}},
      {.name = "no vectors",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 2}}, {"rho", Floats{0.5}}},
       .expected = {floats({2, 1}, {5.5, 0.5})}},
      {.name = "pairs of classes",
       .op_type = "SVMClassifier",
       .inputs = {x},
       .attributes = three,
       .expected = {int64s({2}, {2, 3}), floats({2, 3}, {-1, -2.25, 4.75, -1.5, 1, 0.75})},
       .tolerance = Tolerance{1, 10}},
      {.name = "other vectors",
       .op_type = "SVMRegressor",
       .inputs = {floats({1, 3}, {1, 2, 3})},
       .attributes = regressor("LINEAR"),
       .error = ErrorCode::kInvalidData},
      {.name = "no offset",
       .op_type = "SVMRegressor",
       .inputs = {x},
       .attributes = {{"coefficients", Floats{1, 2}}},
       .error = ErrorCode::kInvalidData},
  });
}

}  // namespace hugot::test
