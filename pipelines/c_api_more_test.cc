// The C interface of tokenizers, answers, tables and images, with arguments that no correct program
// passes.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "hugot/hugot.h"
#include "pipelines/testing.h"

namespace hugot {
namespace {

bool error_has(std::string_view part) {
  return std::string_view(hugot_last_error()).find(part) != std::string_view::npos;
}

struct SessionHandle {
  hugot_session* session = nullptr;
  SessionHandle() { REQUIRE(hugot_session_create(1, &session) == HUGOT_OK); }
  ~SessionHandle() { hugot_session_free(session); }
};

// Of a pipeline's graph; frees them.
size_t count_of(hugot_outputs* outputs) {
  const size_t count = hugot_outputs_count(outputs);
  hugot_outputs_free(outputs);
  return count;
}

const std::string kImageModels = "tests/data/image-models/";

}  // namespace

TEST_CASE("C: tokenizers") {
  hugot_tokenizer* tokenizer = nullptr;
  CHECK(hugot_tokenizer_load("there/is/none.json", &tokenizer) == HUGOT_NOT_FOUND);
  CHECK(hugot_tokenizer_load(nullptr, &tokenizer) == HUGOT_INVALID_ARGUMENT);
  const std::string file = (test::token_model() / "tokenizer.json").string();
  REQUIRE(hugot_tokenizer_load(file.c_str(), &tokenizer) == HUGOT_OK);
  CHECK(hugot_tokenizer_vocabulary_size(tokenizer) > 50);
  CHECK(hugot_tokenizer_id(tokenizer, "[CLS]") >= 0);
  CHECK(hugot_tokenizer_id(tokenizer, "no such token") == -1);
  const char* texts[] = {"hello w\xC3\xB6rld", "a", "\xFF"};
  const char* pairs[] = {nullptr, "b", nullptr};
  hugot_encodings* encodings = nullptr;
  REQUIRE(hugot_tokenizer_encode(tokenizer, texts, nullptr, pairs, nullptr, 3, nullptr,
                                 &encodings) == HUGOT_OK);
  CHECK(hugot_encodings_count(encodings) == 3);
  REQUIRE(hugot_encodings_size(encodings, 0) == 4);
  CHECK(hugot_encodings_ids(encodings, 0)[0] == hugot_tokenizer_id(tokenizer, "[CLS]"));
  CHECK(std::string(hugot_encodings_token(encodings, 0, 1)) == "hello");
  CHECK(hugot_encodings_offsets(encodings, 0)[4] == 6);
  CHECK(hugot_encodings_offsets(encodings, 0)[5] == 11);  // code points
  CHECK(hugot_encodings_word_ids(encodings, 0)[0] == -1);
  CHECK(hugot_encodings_special_tokens_mask(encodings, 0)[3] == 1);
  CHECK(hugot_encodings_type_ids(encodings, 1)[3] == 1);
  CHECK(hugot_encodings_error(encodings, 0) == nullptr);
  CHECK(hugot_encodings_error(encodings, 2) != nullptr);
  CHECK(hugot_encodings_token(encodings, 0, 4) == nullptr);
  CHECK(hugot_encodings_ids(encodings, 3) == nullptr);
  CHECK(hugot_encodings_size(nullptr, 0) == 0);
  hugot_text* text = nullptr;
  REQUIRE(hugot_tokenizer_decode(tokenizer, hugot_encodings_ids(encodings, 0), 4, 1, &text) ==
          HUGOT_OK);
  CHECK(std::string(hugot_text_data(text)) == "hello world");
  CHECK(hugot_text_size(text) == 11);
  hugot_text_free(text);
  hugot_encodings_free(encodings);
  hugot_encode_options options;
  hugot_encode_options_init(&options);
  options.max_length = 3;
  options.byte_offsets = 1;
  REQUIRE(hugot_tokenizer_encode(tokenizer, texts, nullptr, nullptr, nullptr, 1, &options,
                                 &encodings) == HUGOT_OK);
  CHECK(hugot_encodings_size(encodings, 0) == 3);
  hugot_encodings_free(encodings);
  options.struct_size = 1;
  CHECK(hugot_tokenizer_encode(tokenizer, texts, nullptr, nullptr, nullptr, 1, &options,
                               &encodings) == HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("hugot_encode_options_init"));
  CHECK(hugot_tokenizer_decode(tokenizer, nullptr, 2, 0, &text) == HUGOT_INVALID_ARGUMENT);
  hugot_tokenizer_free(tokenizer);
  hugot_tokenizer_free(nullptr);
}

TEST_CASE("C: answers and gaps") {
  const SessionHandle handle;
  const TemporaryDirectory folder;
  const std::filesystem::path model = folder / "answers";
  test::make_answerer(model);
  hugot_question_answering_options options;
  hugot_question_answering_options_init(&options);
  options.top_k = 3;
  hugot_question_answering* pipeline = nullptr;
  REQUIRE(hugot_question_answering_create(handle.session, model.string().c_str(), &options,
                                          &pipeline) == HUGOT_OK);
  const char* questions[] = {"where is it", ""};
  const char* contexts[] = {"the fox is over the lazy dog", "text"};
  hugot_answers* answers = nullptr;
  REQUIRE(hugot_question_answering_run(pipeline, questions, nullptr, contexts, nullptr, 2, nullptr,
                                       &answers) == HUGOT_OK);
  CHECK(hugot_answers_rows(answers) == 2);
  REQUIRE(hugot_answers_count(answers, 0) >= 1);
  const size_t start = hugot_answers_start(answers, 0, 0), end = hugot_answers_end(answers, 0, 0);
  CHECK(std::string(contexts[0]).substr(start, end - start) == hugot_answers_text(answers, 0, 0));
  CHECK(hugot_answers_score(answers, 0, 0) > 0);
  CHECK(hugot_answers_error(answers, 0) == nullptr);
  CHECK(hugot_answers_error(answers, 1) != nullptr);
  CHECK(hugot_answers_text(answers, 0, 99) == nullptr);
  hugot_answers_free(answers);
  hugot_statistics statistics;
  hugot_statistics_init(&statistics);
  REQUIRE(hugot_question_answering_statistics(pipeline, &statistics) == HUGOT_OK);
  CHECK(statistics.texts == 2);
  hugot_outputs* outputs = nullptr;
  REQUIRE(hugot_question_answering_outputs(pipeline, &outputs) == HUGOT_OK);
  CHECK(count_of(outputs) >= 2);
  hugot_question_answering_free(pipeline);
  options.struct_size = 3;
  CHECK(hugot_question_answering_create(handle.session, model.string().c_str(), &options,
                                        &pipeline) == HUGOT_INVALID_ARGUMENT);

  hugot_fill_mask* fill = nullptr;
  hugot_fill_mask_options gaps;
  hugot_fill_mask_options_init(&gaps);
  const char* targets[] = {"a", "c"};
  gaps.targets = targets;
  gaps.target_count = 2;
  REQUIRE(hugot_fill_mask_create(handle.session, test::token_model().string().c_str(), &gaps,
                                 &fill) == HUGOT_OK);
  const char* texts[] = {"hello [MASK] [MASK]", "no gap"};
  hugot_fillings* fillings = nullptr;
  REQUIRE(hugot_fill_mask_run(fill, texts, nullptr, 2, nullptr, &fillings) == HUGOT_OK);
  CHECK(hugot_fillings_rows(fillings) == 2);
  CHECK(hugot_fillings_masks(fillings, 0) == 2);
  REQUIRE(hugot_fillings_count(fillings, 0, 1) == 2);
  CHECK(std::strlen(hugot_fillings_token(fillings, 0, 1, 0)) == 1);
  CHECK(hugot_fillings_id(fillings, 0, 1, 0) >= 0);
  CHECK(hugot_fillings_score(fillings, 0, 1, 0) >= hugot_fillings_score(fillings, 0, 1, 1));
  CHECK(std::string(hugot_fillings_sequence(fillings, 0, 0, 0)).find("hello") != std::string::npos);
  CHECK(hugot_fillings_error(fillings, 1) != nullptr);
  CHECK(hugot_fillings_token(fillings, 0, 2, 0) == nullptr);
  CHECK(hugot_fillings_id(nullptr, 0, 0, 0) == -1);
  hugot_fillings_free(fillings);
  hugot_fill_mask_free(fill);
  gaps.targets = nullptr;  // but two of them
  CHECK(hugot_fill_mask_create(handle.session, test::token_model().string().c_str(), &gaps,
                               &fill) == HUGOT_INVALID_ARGUMENT);
}

TEST_CASE("C: tables") {
  const SessionHandle handle;
  const TemporaryDirectory folder;
  const std::filesystem::path model = folder / "table";
  test::make_table_model(model, {"yes", "no"});
  hugot_tabular* pipeline = nullptr;
  REQUIRE(hugot_tabular_create(handle.session, model.string().c_str(), nullptr, &pipeline) ==
          HUGOT_OK);
  const double values[] = {1, 2, 0.5, 1, 2, 1e300};
  hugot_predictions* predictions = nullptr;
  REQUIRE(hugot_tabular_run_numbers(pipeline, values, 2, 3, nullptr, &predictions) == HUGOT_OK);
  CHECK(hugot_predictions_rows(predictions) == 2);
  CHECK(std::string(hugot_predictions_choice(predictions, 0)) == "no");
  REQUIRE(hugot_predictions_labels(predictions, 0) == 2);
  CHECK(std::string(hugot_predictions_label(predictions, 0, 0)) == "yes");
  const double score = hugot_predictions_score(predictions, 0, 0);
  CHECK(score + hugot_predictions_score(predictions, 0, 1) == doctest::Approx(1));
  CHECK(hugot_predictions_error(predictions, 1) != nullptr);
  CHECK(hugot_predictions_values(predictions, 0) == 0);
  CHECK(hugot_predictions_label(predictions, 0, 2) == nullptr);
  hugot_predictions_free(predictions);
  const char* texts[] = {"1", "2", "0.5", "1", "x", "3"};
  REQUIRE(hugot_tabular_run_texts(pipeline, texts, 2, 3, nullptr, &predictions) == HUGOT_OK);
  CHECK(hugot_predictions_score(predictions, 0, 0) == score);
  CHECK(hugot_predictions_error(predictions, 1) != nullptr);
  hugot_predictions_free(predictions);
  texts[1] = nullptr;
  CHECK(hugot_tabular_run_texts(pipeline, texts, 2, 3, nullptr, &predictions) ==
        HUGOT_INVALID_ARGUMENT);
  hugot_outputs* outputs = nullptr;
  REQUIRE(hugot_tabular_outputs(pipeline, &outputs) == HUGOT_OK);
  CHECK(count_of(outputs) == 2);
  hugot_tabular_free(pipeline);
}

TEST_CASE("C: images") {
  const SessionHandle handle;
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 40 * 20; ++i) pixels.insert(pixels.end(), {255, 0, 0});
  std::string file = "P6 40 20 255\n";
  file.append(pixels.begin(), pixels.end());
  hugot_image images[3] = {};
  images[0].rgb = pixels.data();
  images[0].width = 40;
  images[0].height = 20;
  images[1].bytes = file.data();
  images[1].size = file.size();
  images[2].path = "there/is/none.png";

  hugot_image_classification* classify = nullptr;
  REQUIRE(hugot_image_classification_create(handle.session, (kImageModels + "classifier").c_str(),
                                            nullptr, &classify) == HUGOT_OK);
  hugot_labels* labels = nullptr;
  REQUIRE(hugot_image_classification_run(classify, images, 3, nullptr, &labels) == HUGOT_OK);
  for (size_t i = 0; i < 2; ++i) CHECK(std::string(hugot_labels_name(labels, i, 0)) == "red");
  CHECK(hugot_labels_error(labels, 2) != nullptr);
  hugot_labels_free(labels);
  hugot_outputs* outputs = nullptr;
  REQUIRE(hugot_image_classification_outputs(classify, &outputs) == HUGOT_OK);
  CHECK(count_of(outputs) >= 1);
  images[1].path = "two at a time";
  CHECK(hugot_image_classification_run(classify, images, 3, nullptr, &labels) ==
        HUGOT_INVALID_ARGUMENT);
  CHECK(error_has("image 1"));
  hugot_image_classification_free(classify);

  hugot_object_detection* detect = nullptr;
  REQUIRE(hugot_object_detection_create(handle.session, (kImageModels + "detector").c_str(),
                                        nullptr, &detect) == HUGOT_OK);
  hugot_detections* detections = nullptr;
  REQUIRE(hugot_object_detection_run(detect, images, 1, nullptr, &detections) == HUGOT_OK);
  REQUIRE(hugot_detections_count(detections, 0) == 2);
  CHECK(std::string(hugot_detections_label(detections, 0, 1)) == "red");
  CHECK(hugot_detections_score(detections, 0, 1) > 0.5);
  CHECK(hugot_detections_box(detections, 0, 1)[1] == doctest::Approx(8));
  CHECK(hugot_detections_box(detections, 0, 2) == nullptr);
  CHECK(hugot_detections_error(detections, 0) == nullptr);
  hugot_detections_free(detections);
  hugot_object_detection_free(detect);

  hugot_zero_shot_image* zero_shot = nullptr;
  REQUIRE(hugot_zero_shot_image_create(handle.session, (kImageModels + "clip").c_str(), nullptr,
                                       &zero_shot) == HUGOT_OK);
  const char* candidates[] = {"green", "red"};
  REQUIRE(hugot_zero_shot_image_run(zero_shot, images, 1, candidates, 2, nullptr, &labels) ==
          HUGOT_OK);
  CHECK(std::string(hugot_labels_name(labels, 0, 0)) == "red");
  CHECK(hugot_labels_id(labels, 0, 0) == 1);
  hugot_labels_free(labels);
  hugot_zero_shot_image_free(zero_shot);

  hugot_image_embedding_options options;
  hugot_image_embedding_options_init(&options);
  options.pooling = HUGOT_POOLING_MEAN;
  hugot_image_embedding* embed = nullptr;
  REQUIRE(hugot_image_embedding_create(handle.session, (kImageModels + "vit").c_str(), &options,
                                       &embed) == HUGOT_OK);
  hugot_embeddings* embeddings = nullptr;
  REQUIRE(hugot_image_embedding_run(embed, images, 1, nullptr, &embeddings) == HUGOT_OK);
  CHECK(hugot_embeddings_dim(embeddings) == 3);
  CHECK(hugot_embeddings_data(embeddings)[0] == doctest::Approx(1.5));
  hugot_embeddings_free(embeddings);
  hugot_image_embedding_free(embed);
}

}  // namespace hugot
