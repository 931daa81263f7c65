#include <doctest/doctest.h>

#include <limits>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor labels(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kInt64, shape, values);
}
Attributes form(const char* reduction) { return {{"reduction", std::string(reduction)}}; }
Attributes form(const char* reduction, int64_t ignored) {
  return {{"reduction", std::string(reduction)}, {"ignore_index", ignored}};
}

}  // namespace

TEST_CASE("losses agree with float64 in every type and form") {
  for (const char* op : {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}) {
    for (const DType dtype :
         {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
      const Tensor scores = random_tensor(dtype, {3, 5, 2}, -3, 0, 1);
      const Tensor weights = random_tensor(dtype, {5}, 0.5, 1.5, 2);
      const Tensor targets = labels({3, 2}, {0, 4, 2, 2, 1, 3});
      for (const char* reduction : {"none", "sum", "mean"}) {
        const std::string name = str(dtype_name(dtype), reduction);
        run_cases(
            {{.name = name,
              .op_type = op,
              .inputs = {scores, targets, weights},
              .attributes = form(reduction)},
             {.name = "an ignored label " + name,
              .op_type = op,
              .inputs = {scores, targets, weights},
              .attributes = form(reduction, 2),
              .opset = 12},
             {.name = "an ignored label outside of the classes, no weights " + name,
              .op_type = op,
              .inputs = {scores, as_type(labels({3, 2}, {0, -100, 2, -100, 1, 3}), DType::kInt32)},
              .attributes = form(reduction, -100)}});
      }
    }
  }
}

TEST_CASE("losses by hand") {
  const Tensor scores = floats({2, 3, 2}, {1, 2, 2, 2, 3, 2, 0, 1, 2, 2, 1, 2});
  const Tensor targets = labels({2, 2}, {2, 1, 0, 2});
  const Tensor weights = floats({3}, {0.2, 0.3, 0.1});
  run_cases({
      {.name = "each",
       .op_type = "NegativeLogLikelihoodLoss",
       .inputs = {scores, targets},
       .attributes = form("none"),
       .expected = {floats({2, 2}, {-3, -2, 0, -2})}},
      {.name = "sum with weights",
       .op_type = "NegativeLogLikelihoodLoss",
       .inputs = {scores, targets, weights},
       .attributes = form("sum"),
       .expected = {floats({}, {-1.1})}},
      {.name = "mean with weights",
       .op_type = "NegativeLogLikelihoodLoss",
       .inputs = {scores, targets, weights},
       .expected = {floats({}, {-1.1 / 0.7})}},
      {.name = "with log-probabilities",
       .op_type = "SoftmaxCrossEntropyLoss",
       .inputs = {floats({1, 2}, {1, 1}), labels({1}, {1})},
       .expected = {floats({}, {0.693147181}), floats({1, 2}, {-0.693147181, -0.693147181})}},
      {.name = "two outputs",
       .op_type = "SoftmaxCrossEntropyLoss",
       .inputs = {random_tensor(DType::kFloat64, {2, 4, 3}, -3, 3, 1),
                  labels({2, 3}, {0, 1, 2, 3, 3, 0})},
       .outputs = 2},
      {.name = "no such class",
       .op_type = "NegativeLogLikelihoodLoss",
       .inputs = {scores, labels({2, 2}, {2, 3, 0, 2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "a negative class",
       .op_type = "SoftmaxCrossEntropyLoss",
       .inputs = {scores, labels({2, 2}, {2, -1, 0, 2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "labels of another shape",
       .op_type = "SoftmaxCrossEntropyLoss",
       .inputs = {scores, labels({4}, {2, 1, 0, 2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "weights of another shape",
       .op_type = "NegativeLogLikelihoodLoss",
       .inputs = {scores, targets, floats({2}, {1, 1})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no such reduction",
       .op_type = "NegativeLogLikelihoodLoss",
       .inputs = {scores, targets},
       .attributes = form("median"),
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
