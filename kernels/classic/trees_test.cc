// Ensembles of trees; expected numbers are those of onnxruntime where nothing else is said.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

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

void run_ml(std::vector<Case> cases) {
  for (Case& test : cases) test.domain = kDomain;
  run_cases(cases);
}

// Two trees over two features:
//   tree 0: x0 <= 1 ? leaf 1 : leaf 2
//   tree 7: x1 < 0 ? (x0 > 5 ? leaf 3 : leaf 4) : leaf 2, where NaN is less than 0
Attributes two_trees() {
  return {{"nodes_treeids", Ints{0, 0, 0, 7, 7, 7, 7, 7}},
          {"nodes_nodeids", Ints{0, 1, 2, 0, 1, 2, 3, 4}},
          {"nodes_featureids", Ints{0, 0, 0, 1, 0, 0, 0, 0}},
          {"nodes_modes",
           Strings{"BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "BRANCH_GT", "LEAF", "LEAF", "LEAF"}},
          {"nodes_values", Floats{1, 0, 0, 0, 5, 0, 0, 0}},
          {"nodes_truenodeids", Ints{1, 0, 0, 1, 3, 0, 0, 0}},
          {"nodes_falsenodeids", Ints{2, 0, 0, 2, 4, 0, 0, 0}},
          {"nodes_missing_value_tracks_true", Ints{0, 0, 0, 1, 0, 0, 0, 0}}};
}

Attributes regressor(const char* aggregate, const char* transform) {
  Attributes all = two_trees();
  all["aggregate_function"] = std::string(aggregate);
  all["post_transform"] = std::string(transform);
  all["n_targets"] = int64_t{2};
  all["target_treeids"] = Ints{0, 0, 7, 7, 7, 7};
  all["target_nodeids"] = Ints{1, 2, 2, 3, 4, 4};
  all["target_ids"] = Ints{0, 1, 0, 1, 0, 1};
  all["target_weights"] = Floats{1, 2, 4, 8, 16, 32};
  return all;
}

Attributes with(Attributes attributes, const char* name, Attribute value) {
  attributes[name] = std::move(value);
  return attributes;
}

const double kNaN = std::numeric_limits<double>::quiet_NaN();
// Leaves 1 and 2; 2 and 3; 2 and 4.
Tensor samples() { return floats({3, 2}, {1, 0, 6, -1, kNaN, kNaN}); }

}  // namespace

TEST_CASE("leaves are aggregated by target") {
  run_ml({
      {.name = "sum",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {samples()},
       .attributes = regressor("SUM", "NONE"),
       .expected = {floats({3, 2}, {5, 0, 0, 10, 16, 34})},
       .opset = 1},
      {.name = "average, with base values",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {as_type(samples(), DType::kFloat64)},
       .attributes = with(regressor("AVERAGE", "NONE"), "base_values", Floats{100, 200}),
       .expected = {floats({3, 2}, {102.5, 200, 100, 205, 108, 217})},
       .opset = 3},
      {.name = "minimum",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {samples()},
       .attributes = regressor("MIN", "NONE"),
       .expected = {floats({3, 2}, {1, 0, 0, 2, 16, 2})}},
      {.name = "maximum of integers",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {numbers(DType::kInt64, {1, 2}, {6, -1})},
       .attributes = regressor("MAX", "NONE"),
       .expected = {floats({1, 2}, {0, 8})}},
      {.name = "softmax",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {samples()},
       .attributes = with(regressor("SUM", "SOFTMAX"), "target_weights", Floats{0, 1, 0, 0, 0, 0}),
       .expected = {floats({3, 2},
                           {0.5, 0.5, 0.268941421, 0.731058579, 0.268941421, 0.731058579})}},
      {.name = "tensors of float64",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {numbers(DType::kFloat64, {1, 2}, {1.0000000001, 0})},
       .attributes = with(regressor("SUM", "NONE"), "nodes_values_as_tensor",
                          numbers(DType::kFloat64, {8}, {1, 0, 0, 0, 5, 0, 0, 0})),
       .expected = {floats({1, 2}, {4, 2})},
       .opset = 3},
      {.name = "many rows in two threads",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {random_tensor(DType::kFloat32, {1000, 2}, -8, 8, 1)},
       .attributes = regressor("SUM", "LOGISTIC")},
      {.name = "too few features",
       .op_type = "TreeEnsembleRegressor",
       .inputs = {floats({3, 1}, {1, 2, 3})},
       .attributes = regressor("SUM", "NONE"),
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("classes are chosen by score") {
  const auto classifier = [](Ints ids, Floats weights, const char* transform, Ints labels) {
    Attributes all = two_trees();
    all["class_treeids"] = Ints{0, 0, 7, 7, 7};
    all["class_nodeids"] = Ints{1, 2, 2, 3, 4};
    all["class_ids"] = std::move(ids);
    all["class_weights"] = std::move(weights);
    all["post_transform"] = std::string(transform);
    all["classlabels_int64s"] = std::move(labels);
    return all;
  };
  const auto int64s = [](std::initializer_list<double> values) {
    return numbers(DType::kInt64, {3}, values);
  };
  Attributes named = classifier({0, 1, 2, 1, 2}, {1, 2, 4, 8, 16}, "NONE", {});
  named.erase("classlabels_int64s");
  named["classlabels_strings"] = Strings{"a", "b", "c"};
  run_ml({
      {.name = "three",
       .op_type = "TreeEnsembleClassifier",
       .inputs = {samples()},
       .attributes = named,
       .expected = {Tensor::from<std::string>({3}, {"c", "b", "c"}),
                    floats({3, 3}, {1, 0, 4, 0, 10, 0, 0, 2, 16})},
       .opset = 1},
      {.name = "two with scores of their own",
       .op_type = "TreeEnsembleClassifier",
       .inputs = {samples()},
       .attributes = classifier({0, 1, 0, 1, 0}, {1, 2, 4, 8, 16}, "NONE", {10, 20}),
       .expected = {int64s({10, 20, 10}), floats({3, 2}, {5, 0, 0, 10, 16, 2})},
       .opset = 3},
      {.name = "two that share a probability",
       .op_type = "TreeEnsembleClassifier",
       .inputs = {samples()},
       .attributes = classifier({0, 0, 0, 0, 0}, {0.25, 0.5, 0, 0.25, 0}, "NONE", {10, 20}),
       .expected = {int64s({10, 20, 10}), floats({3, 2}, {0.75, 0.25, 0.25, 0.75, 0.5, 0.5})}},
      {.name = "two that share a score",
       .op_type = "TreeEnsembleClassifier",
       .inputs = {samples()},
       .attributes = classifier({0, 0, 0, 0, 0}, {-1, 1, 0, 1, 0}, "LOGISTIC", {10, 20}),
       .expected = {int64s({10, 20, 20}), floats({3, 2}, {0.731058579, 0.268941421, 0.119202922,
                                                          0.880797078, 0.268941421, 0.731058579})}},
      {.name = "no labels",
       .op_type = "TreeEnsembleClassifier",
       .inputs = {samples()},
       .attributes = classifier({0, 0, 0, 0, 0}, {-1, 1, 0, 1, 0}, "NONE", {}),
       .error = ErrorCode::kInvalidData},
      {.name = "no such class",
       .op_type = "TreeEnsembleClassifier",
       .inputs = {samples()},
       .attributes = classifier({0, 0, 2, 0, 0}, {-1, 1, 0, 1, 0}, "NONE", {1, 2}),
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("trees of version 5 have leaves of their own and sets of members") {
  const Attributes trees = {
      {"tree_roots", Ints{0}},
      {"n_targets", int64_t{2}},
      {"nodes_modes", numbers(DType::kUInt8, {3}, {6, 6, 0})},
      {"nodes_featureids", Ints{0, 0, 1}},
      {"nodes_splits", floats({3}, {0, 0, 2})},
      {"nodes_truenodeids", Ints{0, 2, 1}},
      {"nodes_trueleafs", Ints{1, 0, 1}},
      {"nodes_falsenodeids", Ints{1, 2, 0}},
      {"nodes_falseleafs", Ints{0, 1, 1}},
      {"nodes_missing_value_tracks_true", Ints{0, 0, 1}},
      {"leaf_targetids", Ints{0, 1, 1}},
      {"leaf_weights", floats({3}, {1, 2, 3})},
      {"membership_values", floats({6}, {4, 2, kNaN, 7, 5, kNaN})},
  };
  run_ml({
      {.name = "members",
       .op_type = "TreeEnsemble",
       .inputs = {floats({6, 2}, {2, 0, 4, 0, 5, 2, 7, 3, 5, kNaN, kNaN, 0})},
       .attributes = trees,
       .expected = {floats({6, 2}, {1, 0, 1, 0, 0, 2, 1, 0, 0, 2, 0, 3})}},
      {.name = "half precision",
       .op_type = "TreeEnsemble",
       .inputs = {numbers(DType::kFloat16, {1, 2}, {2, 0})},
       .attributes = trees,
       .expected = {numbers(DType::kFloat16, {1, 2}, {1, 0})}},
      {.name = "a set is missing",
       .op_type = "TreeEnsemble",
       .inputs = {floats({1, 2}, {2, 0})},
       .attributes = with(trees, "membership_values", floats({2}, {4, 2})),
       .error = ErrorCode::kInvalidData},
      {.name = "a node that is its own child",
       .op_type = "TreeEnsemble",
       .inputs = {floats({1, 2}, {2, 0})},
       .attributes = with(trees, "nodes_falsenodeids", Ints{0, 2, 0}),
       .error = ErrorCode::kInvalidData},
      {.name = "a node that is nobody's child",
       .op_type = "TreeEnsemble",
       .inputs = {floats({1, 2}, {2, 0})},
       .attributes = with(trees, "nodes_trueleafs", Ints{1, 1, 1}),
       .error = ErrorCode::kInvalidData},
      {.name = "no such leaf",
       .op_type = "TreeEnsemble",
       .inputs = {floats({1, 2}, {2, 0})},
       .attributes = with(trees, "nodes_falsenodeids", Ints{1, 3, 0}),
       .error = ErrorCode::kInvalidData},
      {.name = "no such root",
       .op_type = "TreeEnsemble",
       .inputs = {floats({1, 2}, {2, 0})},
       .attributes = with(trees, "tree_roots", Ints{-1}),
       .error = ErrorCode::kInvalidData},
      {.name = "no such mode",
       .op_type = "TreeEnsemble",
       .inputs = {floats({1, 2}, {2, 0})},
       .attributes = with(trees, "nodes_modes", numbers(DType::kUInt8, {3}, {0, 7, 0})),
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("what is no tree is refused") {
  const auto refused = [](const char* name, Attributes attributes) {
    return Case{.name = name,
                .op_type = "TreeEnsembleRegressor",
                .inputs = {samples()},
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidData};
  };
  const Attributes good = regressor("SUM", "NONE");
  run_ml({
      refused("a cycle", with(good, "nodes_truenodeids", Ints{1, 0, 0, 1, 1, 0, 0, 0})),
      refused("two parents", with(good, "nodes_truenodeids", Ints{1, 0, 0, 1, 4, 0, 0, 0})),
      refused("a child of another tree",
              with(good, "nodes_truenodeids", Ints{3, 0, 0, 1, 3, 0, 0, 0})),
      refused("two nodes of one number", with(good, "nodes_nodeids", Ints{0, 1, 1, 0, 1, 2, 3, 4})),
      refused("an unknown mode", with(good, "nodes_modes", Strings(8, "BRANCH_MEMBER"))),
      refused("lists of different lengths", with(good, "nodes_values", Floats{1, 2})),
      refused("a negative feature", with(good, "nodes_featureids", Ints{-1, 0, 0, 1, 0, 0, 0, 0})),
      refused("a weight for a branch", with(good, "target_nodeids", Ints{0, 2, 2, 3, 4, 4})),
      refused("a weight for no target", with(good, "target_ids", Ints{0, 1, 0, 1, 0, 2})),
      refused("no targets", with(good, "n_targets", int64_t{0})),
      refused("base values for other targets", with(good, "base_values", Floats{1})),
      refused("no such aggregate", with(good, "aggregate_function", std::string("MEDIAN"))),
      refused("no nodes", {{"n_targets", int64_t{1}}}),
  });
}

}  // namespace hugot::test
