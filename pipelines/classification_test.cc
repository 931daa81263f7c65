#include "pipelines/classification.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "hugot/hugot.hpp"
#include "pipelines/scores.h"
#include "pipelines/session.h"
#include "pipelines/testing.h"

namespace hugot {
namespace {

using test::token_model;

TEST_CASE("score functions") {
  const std::vector<float> scores = {1000, 1000, -1000};
  CHECK(apply_function(ScoreFunction::kSoftmax, scores) == std::vector<double>{0.5, 0.5, 0});
  CHECK(apply_function(ScoreFunction::kSigmoid, scores) == std::vector<double>{1, 1, 0});
  CHECK(apply_function(ScoreFunction::kNone, scores) == std::vector<double>{1000, 1000, -1000});
  CHECK(apply_function(ScoreFunction::kSoftmax, {}).empty());
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    CHECK_THROWS_AS(apply_function(ScoreFunction::kNone, {&bad, 1}), Error);
  }
}

TEST_CASE("the function of a model that classifies") {
  ModelDirectory directory;
  CHECK(default_function(directory, 3) == ScoreFunction::kSoftmax);
  CHECK(default_function(directory, 1) == ScoreFunction::kSigmoid);
  directory.problem_type = "multi_label_classification";
  CHECK(default_function(directory, 3) == ScoreFunction::kSigmoid);
  directory.problem_type = "regression";
  CHECK(default_function(directory, 1) == ScoreFunction::kNone);
}

TEST_CASE("token classification: offsets in both units, rows with errors") {
  Session session;
  const std::string_view texts[] = {"caf\xC3\xA9 noir", "\xFF", ""};
  const auto find = [&](bool bytes) {
    TokenClassificationOptions options;
    options.aggregation = Aggregation::kNone;
    options.byte_offsets = bytes;
    return session.token_classification(token_model(), options).run(texts);
  };
  const auto points = find(false), bytes = find(true);
  REQUIRE(!points[0].value.empty());
  CHECK(points[0].error.empty());
  CHECK(points[0].value.back().end == 9);
  CHECK(bytes[0].value.back().end == 10);
  CHECK(points[0].value[0].label.starts_with("LABEL_"));
  CHECK(points[1].error.find("not valid UTF-8") != std::string::npos);
  CHECK(points[2].error.empty());
  CHECK(points[2].value.empty());
}

TEST_CASE("token classification: windows lose nothing of a long text") {
  Session session;
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word ";
  TokenClassificationOptions options;
  options.model.max_length = 8;
  const std::string_view texts[] = {text};
  const auto last = [&] {
    return session.token_classification(token_model(), options).run(texts)[0].value.back().end;
  };
  CHECK(last() < 100);
  options.stride = 2;
  CHECK(last() == text.size() - 1);
  options.stride = 6;  // as many as a window has
  CHECK_THROWS_AS(last(), Error);
  options.stride = 1;
  options.aggregation = Aggregation::kNone;
  CHECK_THROWS_AS(last(), Error);
}

TEST_CASE("text pipelines refuse models and options that do not fit") {
  Session session;
  const TextPair texts[] = {{"a"}, {"a", "b"}};
  for (const auto& outcome : session.text_classification(token_model()).run(texts)) {
    CHECK(outcome.error.find("row per token") != std::string::npos);
  }
  const std::vector<std::string> labels = {"a", "a"};
  const ZeroShotText premises[] = {{"a", labels}, {"", labels}, {"a"}};
  const auto scores = session.zero_shot_classification(token_model()).run(premises);
  CHECK(scores[0].error.find("row per token") != std::string::npos);
  CHECK(scores[1].error.find("empty") != std::string::npos);
  CHECK(scores[2].error.find("no labels") != std::string::npos);
  CHECK_THROWS_AS(
      session.zero_shot_classification(token_model(), {.hypothesis_template = "It is."}), Error);
  CHECK_THROWS_AS(session.text_classification(token_model(), {.top_k = -1}), Error);
  CHECK_THROWS_AS(session.cross_encoder(token_model(), {.model = {.max_length = 2}}), Error);
}

TEST_CASE("pipelines of a session share one loaded model") {
  Session::Impl session{SessionOptions{}};
  const auto first = TextModel::classifier(session, token_model(), {});
  CHECK(TextModel::classifier(session, token_model(), {.max_length = 9}) == first);
  CHECK(TextModel::classifier(session, token_model(), {.precision = Precision::kInt8}) != first);
}

}  // namespace
}  // namespace hugot
