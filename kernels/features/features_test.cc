#include "kernels/features/features.h"

#include <doctest/doctest.h>

#include <limits>

#include "graph/op.h"
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
Tensor strings(const Shape& shape, std::initializer_list<std::string> values) {
  return Tensor::from<std::string>(shape, values);
}

void run_ml(std::vector<Case> cases) {
  for (Case& test : cases) test.domain = kDomain;
  run_cases(cases);
}

Datum run_on(const Case& test, const Datum& input) {
  Case with_one = test;
  with_one.domain = kDomain;
  with_one.inputs.resize(1);
  return evaluate_data(node_of(with_one), std::span(&input, 1)).at(0);
}

}  // namespace

TEST_CASE("features are selected and joined") {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  run_ml({
      {.name = "columns",
       .op_type = "ArrayFeatureExtractor",
       .inputs = {x, int64s({1, 2}, {2, 0})},
       .expected = {floats({2, 2}, {3, 1, 6, 4})}},
      {.name = "a list",
       .op_type = "ArrayFeatureExtractor",
       .inputs = {strings({3}, {"a", "b", "c"}), int64s({2}, {1, 1})},
       .expected = {strings({1, 2}, {"b", "b"})}},
      {.name = "no such column",
       .op_type = "ArrayFeatureExtractor",
       .inputs = {x, int64s({1}, {3})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "joined",
       .op_type = "FeatureVectorizer",
       .inputs = {x, int64s({2, 1}, {7, 8})},
       .expected = {floats({2, 4}, {1, 2, 3, 7, 4, 5, 6, 8})}},
      {.name = "cut and filled up",
       .op_type = "FeatureVectorizer",
       .inputs = {x, int64s({2, 1}, {7, 8})},
       .attributes = {{"inputdimensions", Ints{2, 2}}},
       .expected = {floats({2, 4}, {1, 2, 7, 0, 4, 5, 8, 0})}},
      {.name = "other rows",
       .op_type = "FeatureVectorizer",
       .inputs = {x, int64s({1}, {7})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative width",
       .op_type = "FeatureVectorizer",
       .inputs = {x},
       .attributes = {{"inputdimensions", Ints{-1}}},
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("features are scaled and replaced") {
  const Tensor x = floats({2, 2}, {1, -4, 3, 0});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto norm = [](const char* name) { return Attributes{{"norm", std::string(name)}}; };
  run_ml({
      {.name = "threshold",
       .op_type = "Binarizer",
       .inputs = {x},
       .attributes = {{"threshold", 1.0f}},
       .expected = {floats({2, 2}, {0, 0, 1, 0})}},
      {.name = "integers",
       .op_type = "Binarizer",
       .inputs = {int64s({3}, {-1, 0, 1})},
       .expected = {int64s({3}, {0, 0, 1})}},
      {.name = "by column",
       .op_type = "Scaler",
       .inputs = {x},
       .attributes = {{"offset", Floats{1, 2}}, {"scale", Floats{2, 0.5}}},
       .expected = {floats({2, 2}, {0, -3, 4, -1})}},
      {.name = "the same for all",
       .op_type = "Scaler",
       .inputs = {as_type(x, DType::kInt32)},
       .attributes = {{"offset", Floats{1}}, {"scale", Floats{2}}},
       .expected = {floats({2, 2}, {0, -10, 4, -2})}},
      {.name = "too many scales",
       .op_type = "Scaler",
       .inputs = {x},
       .attributes = {{"offset", Floats{1}}, {"scale", Floats{2, 1, 1}}},
       .error = ErrorCode::kInvalidData},
      {.name = "maximum",
       .op_type = "Normalizer",
       .inputs = {x},
       .attributes = norm("MAX"),
       .expected = {floats({2, 2}, {1, -4, 1, 0})}},
      {.name = "L1",
       .op_type = "Normalizer",
       .inputs = {as_type(x, DType::kInt64)},
       .attributes = norm("L1"),
       .expected = {floats({2, 2}, {0.2, -0.8, 1, 0})}},
      {.name = "L2, and zeros",
       .op_type = "Normalizer",
       .inputs = {numbers(DType::kFloat64, {2, 2}, {3, -4, 0, 0})},
       .attributes = norm("L2"),
       .expected = {floats({2, 2}, {0.6, -0.8, 0, 0})}},
      {.name = "no such norm",
       .op_type = "Normalizer",
       .inputs = {x},
       .attributes = norm("L3"),
       .error = ErrorCode::kInvalidArgument},
      {.name = "numbers that are none",
       .op_type = "Imputer",
       .inputs = {floats({2, 2}, {nan, 1, 2, nan})},
       .attributes = {{"imputed_value_floats", Floats{5, 6}},
                      {"replaced_value_float", static_cast<float>(nan)}},
       .expected = {floats({2, 2}, {5, 1, 2, 6})}},
      {.name = "integers",
       .op_type = "Imputer",
       .inputs = {numbers(DType::kInt32, {3}, {-1, 2, -1})},
       .attributes = {{"imputed_value_int64s", Ints{7}}, {"replaced_value_int64", int64_t{-1}}},
       .expected = {numbers(DType::kInt32, {3}, {7, 2, 7})}},
      {.name = "a value that does not fit",
       .op_type = "Imputer",
       .inputs = {numbers(DType::kInt32, {3}, {-1, 2, -1})},
       .attributes = {{"imputed_value_int64s", Ints{int64_t{1} << 40}}},
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("categories become numbers") {
  const Attributes mapper = {{"cats_strings", Strings{"a", "b"}}, {"cats_int64s", Ints{5, 6}}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  run_ml({
      {.name = "one of the strings",
       .op_type = "OneHotEncoder",
       .inputs = {strings({3}, {"b", "x", "a"})},
       .attributes = {{"cats_strings", Strings{"a", "b"}}},
       .expected = {floats({3, 2}, {0, 1, 0, 0, 1, 0})}},
      {.name = "cut to integers",
       .op_type = "OneHotEncoder",
       .inputs = {floats({1, 2}, {5.5, 7})},
       .attributes = {{"cats_int64s", Ints{7, 5}}},
       .expected = {floats({1, 2, 2}, {0, 1, 1, 0})}},
      {.name = "strict",
       .op_type = "OneHotEncoder",
       .inputs = {int64s({1}, {1})},
       .attributes = {{"cats_int64s", Ints{7, 5}}, {"zeros", int64_t{0}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no categories",
       .op_type = "OneHotEncoder",
       .inputs = {int64s({1}, {1})},
       .error = ErrorCode::kInvalidData},
      {.name = "strings to integers",
       .op_type = "CategoryMapper",
       .inputs = {strings({3}, {"b", "x", "a"})},
       .attributes = mapper,
       .expected = {int64s({3}, {6, -1, 5})}},
      {.name = "integers to strings",
       .op_type = "CategoryMapper",
       .inputs = {int64s({2}, {6, 7})},
       .attributes = mapper,
       .expected = {strings({2}, {"b", "_Unused"})}},
      {.name = "as many of both",
       .op_type = "CategoryMapper",
       .inputs = {int64s({2}, {6, 7})},
       .attributes = {{"cats_strings", Strings{"a"}}, {"cats_int64s", Ints{5, 6}}},
       .error = ErrorCode::kInvalidData},
      {.name = "classes",
       .op_type = "LabelEncoder",
       .inputs = {strings({2}, {"b", "x"})},
       .attributes = {{"classes_strings", Strings{"a", "b"}}, {"default_int64", int64_t{9}}},
       .expected = {int64s({2}, {1, 9})},
       .opset = 1},
      {.name = "classes by number",
       .op_type = "LabelEncoder",
       .inputs = {int64s({2}, {1, 2})},
       .attributes = {{"classes_strings", Strings{"a", "b"}}},
       .expected = {strings({2}, {"b", "_Unused"})},
       .opset = 1},
      {.name = "floats, the last of equal keys counts",
       .op_type = "LabelEncoder",
       .inputs = {floats({4}, {nan, -0.0, 0.5, 2})},
       .attributes = {{"keys_floats", Floats{0.5, static_cast<float>(nan), 0, 0.5}},
                      {"values_strings", Strings{"old", "none", "zero", "half"}}},
       .expected = {strings({4}, {"none", "zero", "half", "_Unused"})},
       .opset = 2},
      {.name = "tensors",
       .op_type = "LabelEncoder",
       .inputs = {numbers(DType::kInt16, {3}, {1, 2, 3})},
       .attributes = {{"keys_tensor", numbers(DType::kInt16, {2}, {1, 2})},
                      {"values_tensor", numbers(DType::kFloat64, {2}, {0.5, 1.5})},
                      {"default_tensor", numbers(DType::kFloat64, {1}, {-7})}},
       .expected = {numbers(DType::kFloat64, {3}, {0.5, 1.5, -7})}},
      {.name = "a default of another type",
       .op_type = "LabelEncoder",
       .inputs = {int64s({1}, {1})},
       .attributes = {{"keys_int64s", Ints{1}},
                      {"values_floats", Floats{1}},
                      {"default_tensor", int64s({1}, {1})}},
       .error = ErrorCode::kInvalidData},
      {.name = "keys of another type",
       .op_type = "LabelEncoder",
       .inputs = {strings({1}, {"a"})},
       .attributes = {{"keys_int64s", Ints{1}}, {"values_floats", Floats{1}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "two lists of keys",
       .op_type = "LabelEncoder",
       .inputs = {int64s({1}, {1})},
       .attributes = {{"keys_int64s", Ints{1}},
                      {"keys_floats", Floats{1}},
                      {"values_floats", Floats{1}}},
       .error = ErrorCode::kInvalidData},
  });
}

TEST_CASE("maps become tensors and tensors maps") {
  const Datum map = Datum::map(int64s({2}, {3, 1}), {floats({}, {30.5}), floats({}, {10})});
  const auto cast = [&](const char* to, const char* form, int64_t length) {
    return run_on({.name = "",
                   .op_type = "CastMap",
                   .inputs = {},
                   .attributes = {{"cast_to", std::string(to)},
                                  {"map_form", std::string(form)},
                                  {"max_map", length}}},
                  map)
        .tensor();
  };
  CHECK(identical(cast("TO_FLOAT", "DENSE", 1), floats({1, 2}, {10, 30.5})));
  CHECK(identical(cast("TO_INT64", "SPARSE", 4), int64s({1, 4}, {0, 10, 0, 30})));
  CHECK(difference(cast("TO_STRING", "SPARSE", 4), strings({1, 4}, {"", "10.0", "", "30.5"}), {}) ==
        "");
  CHECK_THROWS_AS(cast("TO_FLOAT", "SPARSE", 3), Error);
  CHECK_THROWS_AS(cast("TO_FLOAT", "LOOSE", 3), Error);

  const Case vectorizer = {.name = "",
                           .op_type = "DictVectorizer",
                           .inputs = {},
                           .attributes = {{"string_vocabulary", Strings{"a", "c", "b"}}}};
  const Datum words = Datum::map(strings({3}, {"c", "z", "a"}),
                                 {int64s({}, {8}), int64s({}, {9}), int64s({}, {4})});
  CHECK(identical(run_on(vectorizer, words).tensor(), int64s({1, 3}, {4, 8, 0})));
  CHECK_THROWS_AS(run_on(vectorizer, map), Error);

  const Case zip = {.name = "",
                    .op_type = "ZipMap",
                    .inputs = {},
                    .attributes = {{"classlabels_int64s", Ints{5, 6}}}};
  const Datum rows = run_on(zip, floats({2, 2}, {0.25, 0.75, 1, 0}));
  REQUIRE(rows.items().size() == 2);
  CHECK(identical(rows.items()[0].keys(), int64s({2}, {5, 6})));
  CHECK(identical(rows.items()[0].items()[1].tensor(), floats({}, {0.75})));
  CHECK_THROWS_AS(run_on(zip, floats({2, 3}, {1, 2, 3, 4, 5, 6})), Error);
}

}  // namespace hugot::test
