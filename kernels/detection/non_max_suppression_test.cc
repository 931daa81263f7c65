#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

Tensor found(std::initializer_list<double> values) {
  return numbers(DType::kInt64, {std::ssize(values) / 3, 3}, values);
}

}  // namespace

TEST_CASE("NonMaxSuppression") {
  // The second box covers nearly the first one, the third lies apart.
  const Tensor boxes = floats({1, 3, 4}, {0, 0, 1, 1, 1.1, 1, 0.1, 0, 0, 10, 1, 11});
  const Tensor centers = floats({1, 3, 4}, {0.5, 0.5, 1, 1, 0.5, 0.6, 1, 1, 10.5, 0.5, 1, 1});
  const Tensor scores = floats({1, 1, 3}, {0.8, 0.9, 0.7});
  const Tensor all = Tensor::scalar<int64_t>(10), half = Tensor::scalar<float>(0.5f);
  const auto one = [&](const char* name, std::vector<Tensor> inputs, Tensor expected,
                       Attributes attributes = {}) {
    return Case{.name = name,
                .op_type = "NonMaxSuppression",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .expected = {std::move(expected)}};
  };
  run_cases({
      one("the better one stays", {boxes, scores, all, half}, found({0, 0, 1, 0, 0, 2})),
      one("centers", {centers, scores, all, half}, found({0, 0, 1, 0, 0, 2}),
          {{"center_point_box", int64_t{1}}}),
      one("a limit", {boxes, scores, Tensor::scalar<int64_t>(1), half}, found({0, 0, 1})),
      one("without a limit there is none", {boxes, scores}, found({})),
      one("a negative limit", {boxes, scores, Tensor::scalar<int64_t>(-1)}, found({})),
      one("scores", {boxes, scores, all, half, Tensor::scalar<float>(0.75f)}, found({0, 0, 1})),
      one("the least score itself is too little",
          {boxes, scores, all, half, Tensor::scalar<float>(0.9f)}, found({})),
      one("the first of equals", {boxes, floats({1, 1, 3}, {1, 1, 1}), all, half},
          found({0, 0, 0, 0, 0, 2})),
      one("two classes", {boxes, floats({1, 2, 3}, {3, 2, 1, 1, 2, 3}), all, half},
          found({0, 0, 0, 0, 0, 2, 0, 1, 2, 0, 1, 1})),
      one("no number", {boxes, floats({1, 1, 3}, {std::nan(""), 1, 2}), all, half},
          found({0, 0, 2, 0, 0, 1})),
      one("no box", {floats({1, 0, 4}, {}), floats({1, 1, 0}, {}), all}, found({})),
  });
  const auto refused = [&](const char* name, std::vector<Tensor> inputs,
                           Attributes attributes = {}) {
    run_cases({{.name = name,
                .op_type = "NonMaxSuppression",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidArgument}});
  };
  refused("other boxes", {floats({1, 1, 4}, {0, 0, 1, 1}), scores});
  refused("ranks", {boxes.reshaped({3, 4}), scores});
  refused("a threshold above 1", {boxes, scores, all, Tensor::scalar<float>(1.5f)});
  refused("a threshold of another type", {boxes, scores, all, Tensor::scalar<double>(0.5)});
  refused("a format", {boxes, scores}, {{"center_point_box", int64_t{2}}});
}

}  // namespace hugot::test
