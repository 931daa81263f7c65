// The C interface of the classifying pipelines, against the C++ interface and with arguments that
// no correct program passes.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <thread>

#include "hugot/hugot.h"
#include "hugot/hugot.hpp"
#include "pipelines/testing.h"

namespace hugot {
namespace {

using test::token_model;

const std::vector<std::string> kLabels = {"contradiction", "neutral", "entailment"};

// Classifiers with three classes and with one.
const std::filesystem::path& models() {
  static const TemporaryDirectory folder;
  static const std::filesystem::path path = [] {
    test::make_classifier(folder / "three", kLabels);
    test::make_classifier(folder / "one", {"score"});
    return folder.path();
  }();
  return path;
}

std::string three() { return (models() / "three").string(); }
std::string one() { return (models() / "one").string(); }

bool error_has(std::string_view part) {
  return std::string_view(hugot_last_error()).find(part) != std::string_view::npos;
}

// Puts a number into an enumeration that has no such enumerator, as a C program may.
template <class Enum>
void put(Enum& into, int value) {
  static_assert(sizeof(into) == sizeof(value));
  std::memcpy(&into, &value, sizeof(value));
}

class CSession {
 public:
  CSession() { REQUIRE(hugot_session_create(2, &session_) == HUGOT_OK); }
  ~CSession() { hugot_session_free(session_); }
  CSession(const CSession&) = delete;
  CSession& operator=(const CSession&) = delete;
  hugot_session* get() const { return session_; }

 private:
  hugot_session* session_ = nullptr;
};

// What every pipeline does with arguments that cannot be right. `set_enum` gives a bad enumeration
// a value and returns the text that the error has.
template <class Options, class Pipeline, class Init, class Create, class SetEnum>
void check_create(Init init, Create create, const std::string& model, SetEnum set_enum) {
  const CSession session;
  Pipeline* pipeline = nullptr;
  Options options;
  init(nullptr);
  init(&options);
  CHECK(options.struct_size == sizeof(options));
  CHECK(create(nullptr, model.c_str(), &options, &pipeline) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("session is NULL"));
  CHECK(create(session.get(), nullptr, &options, &pipeline) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("model is NULL"));
  CHECK(create(session.get(), model.c_str(), &options, nullptr) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("pipeline is NULL"));
  CHECK(create(session.get(), "no-such-model", &options, &pipeline) == HUGOT_NOT_FOUND);
  CHECK(error_has("no-such-model"));
  for (const size_t size : {size_t{0}, sizeof(options) - 1, sizeof(options) + 1, SIZE_MAX}) {
    options.struct_size = size;
    CHECK(create(session.get(), model.c_str(), &options, &pipeline) == HUGOT_INVALID_ARGUMENT);
    CHECK(error_has("struct_size"));
  }
  for (const int bad : {-1, 4, 5, 1 << 30, INT32_MIN}) {
    init(&options);
    put(options.precision, bad);
    CHECK(create(session.get(), model.c_str(), &options, &pipeline) == HUGOT_INVALID_ARGUMENT);
    CHECK(error_has(str("precision ", bad)));
    init(&options);
    if (bad == 4 && std::is_same_v<Options, hugot_token_classification_options>) continue;
    const std::string name = set_enum(options, bad);
    if (name.empty()) continue;
    CHECK(create(session.get(), model.c_str(), &options, &pipeline) == HUGOT_INVALID_ARGUMENT);
    CHECK(error_has(str(name, " ", bad)));
  }
  init(&options);
  options.max_length = 1000;
  CHECK(create(session.get(), model.c_str(), &options, &pipeline) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("40 positions"));
  CHECK(pipeline == nullptr);
}

constexpr auto kSetFunction = [](auto& options, int value) {
  put(options.function, value);
  return std::string("function");
};

TEST_CASE("C interface: wrong arguments for pipelines") {
  check_create<hugot_text_classification_options, hugot_text_classification>(
      hugot_text_classification_options_init, hugot_text_classification_create, three(),
      kSetFunction);
  check_create<hugot_zero_shot_classification_options, hugot_zero_shot_classification>(
      hugot_zero_shot_classification_options_init, hugot_zero_shot_classification_create, three(),
      [](auto&, int) { return std::string(); });
  check_create<hugot_cross_encoder_options, hugot_cross_encoder>(
      hugot_cross_encoder_options_init, hugot_cross_encoder_create, one(), kSetFunction);
  check_create<hugot_token_classification_options, hugot_token_classification>(
      hugot_token_classification_options_init, hugot_token_classification_create,
      token_model().string(), [](auto& options, int value) {
        put(options.aggregation, value);
        return std::string("aggregation");
      });
}

TEST_CASE("C interface: text classification") {
  const CSession session;
  hugot_text_classification_options options;
  hugot_text_classification_options_init(&options);
  CHECK(options.top_k == 1);
  options.top_k = -1;
  hugot_text_classification* pipeline = nullptr;
  CHECK(hugot_text_classification_create(session.get(), three().c_str(), &options, &pipeline) ==
        HUGOT_INVALID_ARGUMENT);
  options.top_k = 0;
  options.function = HUGOT_FUNCTION_SIGMOID;
  REQUIRE(hugot_text_classification_create(session.get(), three().c_str(), &options, &pipeline) ==
          HUGOT_OK);

  const char* texts[] = {"hello world", "bad \xFF", "hello worldly"};
  const size_t lengths[] = {11, 5, 11};
  const char* pairs[] = {nullptr, "x", "again"};
  hugot_labels* labels = nullptr;
  REQUIRE(hugot_text_classification_run(pipeline, texts, lengths, pairs, nullptr, 3, nullptr,
                                        &labels) == HUGOT_OK);
  Session plain;
  const TextPair wanted_texts[] = {{"hello world", {}}, {"hello world", "again"}};
  const auto wanted = plain
                          .text_classification(models() / "three",
                                               {.function = ScoreFunction::kSigmoid, .top_k = 0})
                          .run(wanted_texts);
  REQUIRE(hugot_labels_rows(labels) == 3);
  CHECK(std::string_view(hugot_labels_error(labels, 1)).find("UTF-8") != std::string_view::npos);
  CHECK(hugot_labels_count(labels, 1) == 0);
  for (const size_t row : {size_t{0}, size_t{2}}) {
    const auto& values = wanted[row / 2].value;
    CHECK(hugot_labels_error(labels, row) == nullptr);
    REQUIRE(hugot_labels_count(labels, row) == 3);
    for (size_t i = 0; i < 3; ++i) {
      CHECK(hugot_labels_name(labels, row, i) == values[i].label);
      CHECK(hugot_labels_id(labels, row, i) == values[i].id);
      CHECK(hugot_labels_score(labels, row, i) == values[i].score);
    }
  }
  CHECK(hugot_labels_name(labels, 0, 3) == nullptr);
  CHECK(hugot_labels_name(labels, 3, 0) == nullptr);
  CHECK(hugot_labels_score(labels, SIZE_MAX, SIZE_MAX) == 0);
  CHECK(hugot_labels_error(labels, 3) == nullptr);
  CHECK(hugot_labels_count(nullptr, 0) + hugot_labels_rows(nullptr) == 0);
  CHECK(hugot_labels_name(nullptr, 0, 0) == nullptr);
  CHECK(hugot_labels_error(nullptr, 0) == nullptr);
  hugot_labels_free(labels);

  CHECK(hugot_text_classification_run(nullptr, texts, nullptr, nullptr, nullptr, 1, nullptr,
                                      &labels) == HUGOT_INVALID_ARGUMENT);
  CHECK(hugot_text_classification_run(pipeline, nullptr, nullptr, nullptr, nullptr, 1, nullptr,
                                      &labels) == HUGOT_INVALID_ARGUMENT);
  CHECK(hugot_text_classification_run(pipeline, pairs, nullptr, nullptr, nullptr, 1, nullptr,
                                      &labels) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("text 0 is NULL"));
  CHECK(hugot_text_classification_run(pipeline, texts, nullptr, nullptr, nullptr, 1, nullptr,
                                      nullptr) == HUGOT_INVALID_ARGUMENT);
  REQUIRE(hugot_text_classification_run(pipeline, nullptr, nullptr, nullptr, nullptr, 0, nullptr,
                                        &labels) == HUGOT_OK);
  CHECK(hugot_labels_rows(labels) == 0);
  hugot_labels_free(labels);

  hugot_cancellation* cancellation = nullptr;
  REQUIRE(hugot_cancellation_create(&cancellation) == HUGOT_OK);
  hugot_cancellation_request(cancellation);
  CHECK(hugot_text_classification_run(pipeline, texts, lengths, nullptr, nullptr, 1, cancellation,
                                      &labels) == HUGOT_CANCELLED);
  hugot_cancellation_free(cancellation);

  hugot_statistics statistics = {};
  CHECK(hugot_text_classification_statistics(pipeline, &statistics) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("hugot_statistics_init"));
  CHECK(hugot_text_classification_statistics(pipeline, nullptr) == HUGOT_INVALID_ARGUMENT);
  CHECK(hugot_text_classification_statistics(nullptr, &statistics) == HUGOT_INVALID_ARGUMENT);
  hugot_statistics_init(nullptr);
  hugot_statistics_init(&statistics);
  REQUIRE(hugot_text_classification_statistics(pipeline, &statistics) == HUGOT_OK);
  CHECK(statistics.texts == 3);
  CHECK(statistics.failed_texts == 1);
  CHECK(statistics.tokens > 6);
  CHECK(statistics.model_calls == 2);
  hugot_text_classification_free(pipeline);
  hugot_text_classification_free(nullptr);
}

TEST_CASE("C interface: outputs of a model") {
  const CSession session;
  hugot_feature_extraction* pipeline = nullptr;
  REQUIRE(hugot_feature_extraction_create(session.get(), token_model().c_str(), nullptr,
                                          &pipeline) == HUGOT_OK);
  hugot_outputs* outputs = nullptr;
  CHECK(hugot_feature_extraction_outputs(nullptr, &outputs) == HUGOT_INVALID_ARGUMENT);
  CHECK(hugot_feature_extraction_outputs(pipeline, nullptr) == HUGOT_INVALID_ARGUMENT);
  REQUIRE(hugot_feature_extraction_outputs(pipeline, &outputs) == HUGOT_OK);
  REQUIRE(hugot_outputs_count(outputs) == 1);
  CHECK(std::string_view(hugot_outputs_name(outputs, 0)) == "last_hidden_state");
  CHECK(std::string_view(hugot_outputs_type(outputs, 0)) == "tensor(float32)");
  REQUIRE(hugot_outputs_rank(outputs, 0) == 3);
  CHECK(hugot_outputs_dim(outputs, 0, 0) == -1);
  CHECK(hugot_outputs_dim(outputs, 0, 2) == 32);
  CHECK(hugot_outputs_dim(outputs, 0, 3) == -1);
  CHECK(hugot_outputs_used(outputs, 0) == 1);
  CHECK(hugot_outputs_name(outputs, 1) == nullptr);
  CHECK(hugot_outputs_type(nullptr, 0) == nullptr);
  CHECK(hugot_outputs_rank(outputs, 1) == -1);
  CHECK(hugot_outputs_used(outputs, 1) == 0);
  hugot_outputs_free(outputs);
  hugot_outputs_free(nullptr);
  hugot_statistics statistics;
  hugot_statistics_init(&statistics);
  CHECK(hugot_feature_extraction_statistics(pipeline, &statistics) == HUGOT_OK);
  CHECK(statistics.texts == 0);
  hugot_feature_extraction_free(pipeline);

  const auto known = Session().text_classification(models() / "three").outputs();
  REQUIRE(known.size() == 1);
  CHECK(known[0].name == "logits");
  CHECK(known[0].dims == std::vector<int64_t>{-1, 3});
  CHECK(known[0].used);
}

TEST_CASE("C interface: zero-shot classification") {
  const CSession session;
  hugot_zero_shot_classification_options options;
  hugot_zero_shot_classification_options_init(&options);
  hugot_zero_shot_classification* pipeline = nullptr;
  options.hypothesis_template = "no place";
  CHECK(hugot_zero_shot_classification_create(session.get(), three().c_str(), &options,
                                              &pipeline) == HUGOT_INVALID_ARGUMENT);
  options.hypothesis_template = "A {}.";
  options.multi_label = 1;
  REQUIRE(hugot_zero_shot_classification_create(session.get(), three().c_str(), &options,
                                                &pipeline) == HUGOT_OK);
  CHECK(hugot_zero_shot_classification_warning(pipeline) == nullptr);
  CHECK(hugot_zero_shot_classification_warning(nullptr) == nullptr);
  const char* texts[] = {"hello", ""};
  const char* candidates[] = {"world", "place", nullptr};
  hugot_labels* labels = nullptr;
  REQUIRE(hugot_zero_shot_classification_run(pipeline, texts, nullptr, 2, candidates, 2, nullptr,
                                             &labels) == HUGOT_OK);
  const std::vector<std::string> names = {"world", "place"};
  const ZeroShotText text{"hello", names, {}};
  const auto wanted =
      Session()
          .zero_shot_classification(models() / "three",
                                    {.hypothesis_template = "A {}.", .multi_label = true})
          .run({&text, 1});
  REQUIRE(hugot_labels_count(labels, 0) == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(hugot_labels_name(labels, 0, i) == wanted[0].value[i].label);
    CHECK(hugot_labels_score(labels, 0, i) == wanted[0].value[i].score);
  }
  CHECK(std::string_view(hugot_labels_error(labels, 1)).find("empty") != std::string_view::npos);
  hugot_labels_free(labels);
  CHECK(hugot_zero_shot_classification_run(pipeline, texts, nullptr, 1, candidates, 3, nullptr,
                                           &labels) == HUGOT_INVALID_ARGUMENT);
  CHECK(hugot_zero_shot_classification_run(pipeline, texts, nullptr, 1, nullptr, 1, nullptr,
                                           &labels) == HUGOT_INVALID_ARGUMENT);
  CHECK(hugot_zero_shot_classification_run(pipeline, texts, nullptr, 1, nullptr, 0, nullptr,
                                           &labels) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("no candidates"));
  hugot_statistics statistics;
  hugot_statistics_init(&statistics);
  REQUIRE(hugot_zero_shot_classification_statistics(pipeline, &statistics) == HUGOT_OK);
  CHECK(statistics.texts == 2);
  CHECK(statistics.sequences == 2);
  hugot_outputs* outputs = nullptr;
  REQUIRE(hugot_zero_shot_classification_outputs(pipeline, &outputs) == HUGOT_OK);
  hugot_outputs_free(outputs);
  hugot_zero_shot_classification_free(pipeline);
  hugot_zero_shot_classification_free(nullptr);
}

TEST_CASE("C interface: a model whose classes say nothing of entailment") {
  const TemporaryDirectory folder;
  test::make_classifier(folder / "odd", {"yes", "no"});
  const CSession session;
  hugot_zero_shot_classification* pipeline = nullptr;
  REQUIRE(hugot_zero_shot_classification_create(session.get(), (folder / "odd").c_str(), nullptr,
                                                &pipeline) == HUGOT_OK);
  const char* warning = hugot_zero_shot_classification_warning(pipeline);
  REQUIRE(warning != nullptr);
  CHECK(std::string_view(warning).find("'no'") != std::string_view::npos);
  hugot_zero_shot_classification_free(pipeline);
}

TEST_CASE("C interface: cross-encoders") {
  const CSession session;
  hugot_cross_encoder_options options;
  hugot_cross_encoder_options_init(&options);
  CHECK(options.score_threshold == -INFINITY);
  hugot_cross_encoder* pipeline = nullptr;
  options.score_threshold = NAN;
  CHECK(hugot_cross_encoder_create(session.get(), one().c_str(), &options, &pipeline) ==
        HUGOT_INVALID_ARGUMENT);
  hugot_cross_encoder_options_init(&options);
  options.function = HUGOT_FUNCTION_NONE;
  REQUIRE(hugot_cross_encoder_create(session.get(), one().c_str(), &options, &pipeline) ==
          HUGOT_OK);
  const char* documents[] = {"one", "another text", "third\xFF"};
  const char* queries[] = {"a query", "a query", "a query"};
  hugot_scores* scores = nullptr;
  REQUIRE(hugot_cross_encoder_run(pipeline, queries, nullptr, documents, nullptr, 3, nullptr,
                                  &scores) == HUGOT_OK);
  REQUIRE(hugot_scores_rows(scores) == 3);
  REQUIRE(hugot_scores_count(scores, 0) == 1);
  CHECK(hugot_scores_error(scores, 0) == nullptr);
  CHECK(hugot_scores_error(scores, 2) != nullptr);
  CHECK(hugot_scores_data(scores, 2) == nullptr);
  CHECK(hugot_scores_data(scores, 9) == nullptr);
  CHECK(hugot_scores_data(nullptr, 0) == nullptr);
  const double first = hugot_scores_data(scores, 0)[0], second = hugot_scores_data(scores, 1)[0];
  hugot_scores_free(scores);
  CHECK(hugot_cross_encoder_run(pipeline, queries, nullptr, nullptr, nullptr, 1, nullptr,
                                &scores) == HUGOT_INVALID_ARGUMENT);
  const char* nothing[] = {nullptr};
  CHECK(hugot_cross_encoder_run(pipeline, queries, nullptr, nothing, nullptr, 1, nullptr,
                                &scores) == HUGOT_INVALID_ARGUMENT);

  hugot_ranking* ranking = nullptr;
  REQUIRE(hugot_cross_encoder_rank(pipeline, "a query", documents, nullptr, 2, nullptr, &ranking) ==
          HUGOT_OK);
  REQUIRE(hugot_ranking_count(ranking) == 2);
  CHECK(hugot_ranking_document(ranking, 0) == (first >= second ? 0 : 1));
  CHECK(hugot_ranking_score(ranking, 0) == std::max(first, second));
  CHECK(hugot_ranking_score(ranking, 1) == std::min(first, second));
  CHECK(hugot_ranking_document(ranking, 2) == 0);
  CHECK(hugot_ranking_count(nullptr) == 0);
  hugot_ranking_free(ranking);
  CHECK(hugot_cross_encoder_rank(pipeline, "a query", documents, nullptr, 3, nullptr, &ranking) ==
        HUGOT_INVALID_DATA);
  CHECK(error_has("document 2"));
  CHECK(hugot_cross_encoder_rank(pipeline, nullptr, documents, nullptr, 1, nullptr, &ranking) ==
        HUGOT_INVALID_ARGUMENT);
  REQUIRE(hugot_cross_encoder_rank(pipeline, "a query", nullptr, nullptr, 0, nullptr, &ranking) ==
          HUGOT_OK);
  hugot_ranking_free(ranking);
  hugot_cross_encoder_free(pipeline);

  options.score_threshold = std::max(first, second);
  options.keep_order = 1;
  REQUIRE(hugot_cross_encoder_create(session.get(), one().c_str(), &options, &pipeline) ==
          HUGOT_OK);
  REQUIRE(hugot_cross_encoder_rank(pipeline, "a query", documents, nullptr, 2, nullptr, &ranking) ==
          HUGOT_OK);
  CHECK(hugot_ranking_count(ranking) == 1);
  hugot_ranking_free(ranking);
  hugot_statistics statistics;
  hugot_statistics_init(&statistics);
  REQUIRE(hugot_cross_encoder_statistics(pipeline, &statistics) == HUGOT_OK);
  CHECK(statistics.filtered_results == 1);
  CHECK(statistics.texts == 1);
  CHECK(statistics.sequences == 2);
  hugot_cross_encoder_free(pipeline);
  hugot_cross_encoder_free(nullptr);
}

TEST_CASE("C interface: token classification") {
  const CSession session;
  hugot_token_classification_options options;
  hugot_token_classification_options_init(&options);
  CHECK(options.aggregation == HUGOT_AGGREGATION_SIMPLE);
  CHECK(options.stride == -1);
  hugot_token_classification* pipeline = nullptr;
  options.stride = -2;
  CHECK(hugot_token_classification_create(session.get(), token_model().c_str(), &options,
                                          &pipeline) == HUGOT_INVALID_ARGUMENT);
  hugot_token_classification_options_init(&options);
  const char* ignored[] = {"LABEL_0", nullptr};
  options.ignore_labels = ignored;
  options.ignore_label_count = 2;
  CHECK(hugot_token_classification_create(session.get(), token_model().c_str(), &options,
                                          &pipeline) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("ignore_labels"));
  options.ignore_label_count = 0;
  options.aggregation = HUGOT_AGGREGATION_NONE;
  options.byte_offsets = 1;
  REQUIRE(hugot_token_classification_create(session.get(), token_model().c_str(), &options,
                                            &pipeline) == HUGOT_OK);
  const char* texts[] = {"caf\xC3\xA9 noir", "\xC0", ""};
  hugot_entities* entities = nullptr;
  REQUIRE(hugot_token_classification_run(pipeline, texts, nullptr, 3, nullptr, &entities) ==
          HUGOT_OK);
  TokenClassificationOptions same;
  same.aggregation = Aggregation::kNone;
  same.ignore_labels = {};
  same.byte_offsets = true;
  const std::string_view views[] = {texts[0]};
  const auto wanted = Session().token_classification(token_model(), same).run(views)[0].value;
  REQUIRE(hugot_entities_rows(entities) == 3);
  REQUIRE(hugot_entities_count(entities, 0) == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    CHECK(hugot_entities_label(entities, 0, i) == wanted[i].label);
    CHECK(hugot_entities_word(entities, 0, i) == wanted[i].word);
    CHECK(hugot_entities_score(entities, 0, i) == wanted[i].score);
    CHECK(hugot_entities_start(entities, 0, i) == wanted[i].start);
    CHECK(hugot_entities_end(entities, 0, i) == wanted[i].end);
    CHECK(hugot_entities_token(entities, 0, i) == static_cast<int64_t>(*wanted[i].index));
    CHECK(hugot_entities_token_id(entities, 0, i) == wanted[i].token_id);
  }
  CHECK(hugot_entities_end(entities, 0, wanted.size() - 1) == 10);
  CHECK(hugot_entities_error(entities, 1) != nullptr);
  CHECK(hugot_entities_error(entities, 2) == nullptr);
  CHECK(hugot_entities_count(entities, 2) == 0);
  CHECK(hugot_entities_label(entities, 2, 0) == nullptr);
  CHECK(hugot_entities_token(entities, 2, 0) == -1);
  CHECK(hugot_entities_word(nullptr, 0, 0) == nullptr);
  hugot_entities_free(entities);
  CHECK(hugot_token_classification_run(pipeline, texts, nullptr, 1, nullptr, nullptr) ==
        HUGOT_INVALID_ARGUMENT);
  hugot_statistics statistics;
  hugot_statistics_init(&statistics);
  REQUIRE(hugot_token_classification_statistics(pipeline, &statistics) == HUGOT_OK);
  CHECK(statistics.failed_texts == 1);
  hugot_token_classification_free(pipeline);
  hugot_token_classification_free(nullptr);
}

// The interesting run of this is the one under the thread sanitizer.
TEST_CASE("pipelines: 64 threads use one pipeline at the same time") {
  Session session({.threads = 2});
  const auto classify = session.text_classification(models() / "three", {.top_k = 0});
  const auto find = session.token_classification(token_model());
  const std::string texts[] = {"hello world", "some more words", "x"};
  const auto scores_of = [&](size_t i) {
    const TextPair text[] = {{texts[i % 3], {}}};
    double sum = 0;
    const auto labels = classify.run(text);
    for (const ScoredLabel& label : labels[0].value) {
      sum += label.score * static_cast<double>(label.id + 1);
    }
    return sum;
  };
  const auto ends_of = [&](size_t i) {
    const std::string_view text[] = {texts[i % 3]};
    size_t sum = 0;
    const auto entities = find.run(text);
    for (const Entity& entity : entities[0].value) sum += entity.end;
    return sum;
  };
  double wanted_scores[3];
  size_t wanted_ends[3];
  for (size_t i = 0; i < 3; ++i) {
    wanted_scores[i] = scores_of(i);
    wanted_ends[i] = ends_of(i);
  }
  constexpr size_t kThreads = 64, kRounds = 3;
  std::vector<int> wrong(kThreads);
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (size_t round = 0; round < kRounds; ++round) {
        const size_t i = thread + round;
        wrong[thread] += scores_of(i) == wanted_scores[i % 3] ? 0 : 1;
        wrong[thread] += ends_of(i) == wanted_ends[i % 3] ? 0 : 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(kThreads));
  CHECK(classify.statistics().texts == 3 + kThreads * kRounds);
}

}  // namespace
}  // namespace hugot
