// Question answering, fill mask, tables; words, tokens and bits of the older pipelines.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/testing.h"
#include "hugot/hugot.hpp"
#include "pipelines/answer_spans.h"
#include "pipelines/testing.h"

namespace hugot {
namespace {

using Places = std::vector<std::pair<size_t, size_t>>;

Places places(const std::vector<AnswerSpan>& spans) {
  Places out;
  for (const AnswerSpan& span : spans) out.emplace_back(span.first, span.last);
  return out;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

const std::filesystem::path& answerer() {
  static const TemporaryDirectory folder;
  static const std::filesystem::path path = [] {
    test::make_answerer(folder.path() / "answers");
    return folder.path() / "answers";
  }();
  return path;
}

// Recorded from decode_spans of transformers 4.44.2 with numpy 1.26.4.
TEST_CASE("spans of tokens: as the reference lists them, also those of score 0") {
  const AnswerScores scores{{0, 0, 0, .5, .25, .125, .125, 0}, {0, 0, 0, .25, .5, .0625, .1875, 0}};
  const std::vector<uint8_t> allowed = {1, 0, 0, 1, 1, 1, 1, 0};
  const std::vector<std::pair<size_t, Places>> cases = {
      {1, {{3, 4}}},
      {2, {{3, 4}, {3, 3}}},
      {12, {{3, 4}, {4, 4}, {3, 3}, {6, 6}, {5, 6}, {4, 5}, {5, 5}, {5, 4}, {5, 3}, {4, 6}}},
      {40,
       {{3, 4},
        {3, 3},
        {4, 4},
        {6, 6},
        {5, 6},
        {4, 5},
        {5, 5},
        {6, 3},
        {6, 4},
        {6, 5},
        {6, 0},
        {5, 3},
        {5, 4},
        {4, 6},
        {5, 0},
        {4, 3},
        {0, 0},
        {0, 6}}}};
  for (const auto& entry : cases) {
    CAPTURE(entry.first);
    CHECK(places(best_spans(scores, allowed, entry.first, 2)) == entry.second);
  }
  CHECK(best_spans(scores, allowed, 1, 2)[0].score == 0.25);
  // A longest answer beyond any number of tokens.
  CHECK(best_spans(scores, allowed, 3, std::numeric_limits<size_t>::max()).size() == 3);
  CHECK(best_spans({}, {}, 5, 1).empty());
}

TEST_CASE("spans of tokens: all scores equal, any number of answers") {
  const std::vector<uint8_t> allowed(20, 1);
  const AnswerScores scores{std::vector<double>(20, 0.05), std::vector<double>(20, 0.05)};
  for (const size_t top_k : {1, 2, 5, 19, 64, 100, 399, 400, 1000}) {
    CAPTURE(top_k);
    CHECK(best_spans(scores, allowed, top_k, 3).size() == std::min<size_t>(top_k, 400));
  }
}

TEST_CASE("scores of answers: masked before the softmax, token 0 taken out") {
  const std::vector<float> logits = {1, 1, 9, 9, 2, 0, 2, 1};
  const auto scores = answer_scores(logits, std::vector<uint8_t>{1, 0, 1, 1});
  const double sum = std::exp(1) + 2 * std::exp(2);
  CHECK(scores.starts[0] == 0);
  CHECK(scores.starts[1] == 0);
  CHECK(scores.starts[2] == doctest::Approx(std::exp(2) / sum));
  CHECK(scores.impossible ==
        doctest::Approx(std::exp(1) / sum * std::exp(1) / (2 * std::exp(1) + 1)));
  const float bad[] = {std::nanf(""), 0};
  CHECK_THROWS_AS(answer_scores(bad, std::vector<uint8_t>{1}), Error);
}

TEST_CASE("question answering: answers are passages of the context, in both units") {
  Session session;
  const Question questions[] = {{"where is it", "the caf\xC3\xA9 is over the lazy dog"},
                                {"", "text"},
                                {"text", ""},
                                {"is it", "\xFF"}};
  QuestionAnsweringOptions options;
  options.top_k = 50;
  for (const bool bytes : {false, true}) {
    options.byte_offsets = bytes;
    const auto out = session.question_answering(answerer(), options).run(questions);
    REQUIRE(out[0].error.empty());
    REQUIRE(!out[0].value.empty());
    for (size_t i = 0; i < out[0].value.size(); ++i) {
      const Answer& answer = out[0].value[i];
      if (i > 0) CHECK(answer.score <= out[0].value[i - 1].score);
      if (bytes && answer.start < answer.end) {
        CHECK(answer.text == questions[0].context.substr(answer.start, answer.end - answer.start));
      }
    }
    CHECK(contains(out[1].error, "question is empty"));
    CHECK(contains(out[2].error, "context is empty"));
    CHECK(contains(out[3].error, "UTF-8"));
  }
}

TEST_CASE("question answering: windows of a long context are one batch and merged") {
  Session session;
  std::string context;
  for (int i = 0; i < 60; ++i) context += "the quick brown fox ";
  QuestionAnsweringOptions options;
  options.top_k = 3;
  options.doc_stride = 4;
  const auto pipeline = session.question_answering(answerer(), options);
  const Question question{"who is it", context};
  const auto alone = pipeline.run({&question, 1});
  REQUIRE(alone[0].error.empty());
  CHECK(alone[0].value.size() == 3);
  const Question both[] = {{"what", "hello world"}, question};
  const auto together = pipeline.run(both);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(together[1].value[i].score == alone[0].value[i].score);
    CHECK(together[1].value[i].start == alone[0].value[i].start);
  }
  const std::string much(200, '?');
  const Question long_question{much, "text"};
  CHECK(contains(pipeline.run({&long_question, 1})[0].error, "leaves no room"));
  CHECK(pipeline.statistics().texts == 4);

  options.impossible_answer = true;
  options.top_k = 10000;
  const auto all = session.question_answering(answerer(), options).run(both);
  const auto empty = std::find_if(all[0].value.begin(), all[0].value.end(),
                                  [](const Answer& a) { return a.text.empty() && a.score > 0; });
  CHECK(empty != all[0].value.end());
}

TEST_CASE("question answering: options and models that cannot work") {
  Session session;
  const auto with = [&](QuestionAnsweringOptions options) {
    return message_of([&] { session.question_answering(answerer(), options); });
  };
  CHECK(contains(with({.top_k = 0}), "top_k"));
  CHECK(contains(with({.max_answer_length = 0}), "max_answer_length"));
  CHECK(contains(with({.doc_stride = 37}), "doc_stride 37"));
  CHECK(contains(with({.doc_stride = -1}), "doc_stride"));
  CHECK(with({.doc_stride = 36}) == "no error");
  const Question question{"is it", "the text"};
  const auto out = session.question_answering(test::token_model()).run({&question, 1});
  CHECK(contains(out[0].error, "two numbers per token"));
}

// The vector of a token counts as the scores of the first 32 tokens of the vocabulary.
TEST_CASE("fill mask") {
  Session session;
  const std::string_view texts[] = {"hello [MASK]", "the [MASK] fox is [MASK].", "no gap", "\xFF"};
  const auto fill = session.fill_mask(test::token_model(), {.top_k = 4});
  CHECK(fill.mask_token() == "[MASK]");
  const auto out = fill.run(texts);
  REQUIRE(out[0].value.size() == 1);
  REQUIRE(out[0].value[0].size() == 4);
  for (size_t i = 1; i < 4; ++i) CHECK(out[0].value[0][i].score <= out[0].value[0][i - 1].score);
  CHECK(out[0].value[0][0].sequence.find("[SEP]") == std::string::npos);
  REQUIRE(out[1].value.size() == 2);
  CHECK(contains(out[1].value[1][0].sequence, "[SEP]"));
  CHECK(contains(out[1].value[1][0].sequence, "[MASK]"));
  CHECK(contains(out[2].error, "no mask token"));
  CHECK(contains(out[3].error, "UTF-8"));

  FillMaskOptions options;
  options.targets = {"a", "c", "a", ""};
  const auto some = session.fill_mask(test::token_model(), options).run({texts, 1});
  CHECK(some[0].value[0].size() == 2);
  for (const auto& filled : some[0].value[0]) {
    CHECK((filled.token == "a" || filled.token == "c"));
  }
  options.targets = {""};
  CHECK(contains(message_of([&] { session.fill_mask(test::token_model(), options); }), "targets"));
  options.targets = {"world"};  // a token that the model has no score for
  CHECK(contains(session.fill_mask(test::token_model(), options).run({texts, 1})[0].error,
                 "no model that fills masks"));
  CHECK(
      contains(message_of([&] { session.fill_mask(test::token_model(), {.top_k = 0}); }), "top_k"));
  const std::string behind = std::string(200, '!') + "[MASK]";
  const std::string_view cut[] = {behind};
  CHECK(contains(fill.run(cut)[0].error, "behind the"));
}

TEST_CASE("tables: rows of every kind, those that do not fit") {
  const TemporaryDirectory folder;
  test::make_table_model(folder.path() / "table", {"yes", "no"});
  Session session;
  const auto table = session.tabular(folder.path() / "table");
  REQUIRE(table.inputs().size() == 1);
  CHECK(table.inputs()[0].columns == 3);
  const std::vector<TabularRow> rows = {{{1.0, int64_t{2}, 0.5}},
                                        {{1.0, 2.0, 0.5}, {"X", "X", "X"}},
                                        {{1.0, 2.0}},
                                        {{1.0, 2.0, 3.0, 4.0}},
                                        {{1.0, 2.0, std::string("3")}},
                                        {{1.0}, {"Y"}},
                                        {{1.0, 2.0, 1e300}},
                                        {},
                                        {{-1.0, -2.0, std::nan("")}}};
  const auto out = table.run(rows);
  for (const size_t i : {0, 1}) {
    REQUIRE(out[i].error.empty());
    REQUIRE(out[i].value.labels.size() == 2);
    CHECK(out[i].value.labels[0].label == "yes");
    CHECK(out[i].value.labels[0].score + out[i].value.labels[1].score == doctest::Approx(1));
    CHECK(out[i].value.predicted == "no");
  }
  CHECK(contains(out[2].error, "2 values"));
  CHECK(contains(out[3].error, "takes 3"));
  CHECK(contains(out[4].error, "has to be a number"));
  CHECK(contains(out[5].error, "no column 'Y'; it has X"));
  CHECK(contains(out[6].error, "beyond float32"));
  CHECK(!out[7].error.empty());
  CHECK(!out[8].error.empty());  // the scores are no numbers
  CHECK(table.statistics().failed_texts == 7);

  // Names of config.json win.
  std::ofstream(folder.path() / "table/config.json") << R"({"id2label": {"0": "ja", "1": "nein"}})";
  const auto named = session.tabular(folder.path() / "table").run({rows.data(), 1});
  CHECK(named[0].value.predicted == "nein");
  CHECK(named[0].value.labels[0].label == "ja");
}

TEST_CASE("token classification: words of the caller") {
  Session session;
  TokenClassificationOptions options;
  options.aggregation = Aggregation::kFirst;
  options.ignore_labels = {};
  const auto find = session.token_classification(test::token_model(), options);
  const std::vector<std::vector<std::string>> texts = {
      {"hello!", "caf\xC3\xA9"}, {}, {"\xFF"}, {"", "fox"}};
  const auto out = find.run_words(texts);
  REQUIRE(out[0].error.empty());
  size_t end = 0;
  for (const Entity& entity : out[0].value) {
    // "!" belongs to the word that it came with: no entity begins there.
    CHECK((entity.start == 0 || entity.start == 7));
    end = entity.end;
  }
  CHECK(end == 11);
  CHECK(out[1].error.empty());
  CHECK(out[1].value.empty());
  CHECK(contains(out[2].error, "UTF-8"));
  REQUIRE(!out[3].value.empty());
  CHECK(out[3].value[0].start == 1);
}

TEST_CASE("feature extraction: a vector per token") {
  Session session;
  FeatureExtractionOptions options;
  options.token_vectors = true;
  options.truncate_dim = 7;
  options.normalize = true;
  const auto extract = session.feature_extraction(test::token_model(), options);
  CHECK(extract.dim() == 7);
  const std::vector<std::string> texts = {"hello world", "", "\xFF"};
  const auto out = extract.run_tokens(texts);
  CHECK(out[0].value.rows == 4);  // [CLS] hello world [SEP]
  CHECK(out[1].value.rows == 2);
  CHECK(contains(out[2].error, "UTF-8"));
  REQUIRE(out[0].value.values.size() == 28);
  double square = 0;
  for (size_t i = 0; i < 7; ++i) square += std::pow(double{out[0].value.values[7 + i]}, 2);
  CHECK(square == doctest::Approx(1));
  CHECK(contains(message_of([&] { extract.run({"x"}); }), "run_tokens"));
  CHECK(contains(
      message_of([&] { session.feature_extraction(test::token_model()).run_tokens(texts); }),
      "token_vectors"));
  options.pooling = Pooling::kMean;
  CHECK(contains(message_of([&] { session.feature_extraction(test::token_model(), options); }),
                 "not pooled"));
}

TEST_CASE("quantized vectors") {
  CHECK(quantize_int8(std::vector<float>{0.5f, -1, 0.004f, 0}) ==
        std::vector<int8_t>{64, -127, 1, 0});
  CHECK(quantize_int8(std::vector<float>{0, 0}) == std::vector<int8_t>{0, 0});
  CHECK(quantize_int8({}).empty());
  CHECK_THROWS_AS(quantize_int8(std::vector<float>{INFINITY}), Error);
  // numpy.packbits([1,0,0,1,0,0,0,1, 1])
  CHECK(quantize_binary(std::vector<float>{1, -1, 0, 2, -2, 0, -0.0f, 1e-30f, 3}) ==
        std::vector<uint8_t>{0x91, 0x80});
}

}  // namespace
}  // namespace hugot
