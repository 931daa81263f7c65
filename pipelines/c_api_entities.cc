// The C interface of token classification.
#include "pipelines/c_api.h"

struct hugot_token_classification {
  hugot::TokenClassification pipeline;
};
struct hugot_entities {
  std::vector<hugot::Outcome<std::vector<hugot::Entity>>> rows;
};

namespace c_api = hugot::c_api;

namespace {

static_assert(static_cast<int>(hugot::Aggregation::kMax) == HUGOT_AGGREGATION_MAX);

hugot::TokenClassificationOptions convert(const hugot_token_classification_options* from) {
  hugot::TokenClassificationOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_token_classification_options");
  options.aggregation = static_cast<hugot::Aggregation>(
      c_api::enumerator(from->aggregation, HUGOT_AGGREGATION_MAX, "aggregation"));
  if (from->ignore_labels != nullptr) {
    options.ignore_labels =
        c_api::strings_of(from->ignore_labels, from->ignore_label_count, "ignore_labels");
  }
  hugot::require(from->stride >= -1, hugot::ErrorCode::kInvalidArgument, "stride ", from->stride,
                 ": a number of tokens, or -1 for no windows, is expected");
  if (from->stride >= 0) options.stride = from->stride;
  options.byte_offsets = from->byte_offsets != 0;
  options.model = c_api::model_options(*from);
  return options;
}

}  // namespace

void hugot_token_classification_options_init(hugot_token_classification_options* options) {
  if (!c_api::init(options)) return;
  options->aggregation = HUGOT_AGGREGATION_SIMPLE;
  options->stride = -1;
}

hugot_status hugot_token_classification_create(hugot_session* session, const char* model,
                                               const hugot_token_classification_options* options,
                                               hugot_token_classification** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.token_classification(name, convert(options));
  });
}

void hugot_token_classification_free(hugot_token_classification* pipeline) { delete pipeline; }

hugot_status hugot_token_classification_statistics(const hugot_token_classification* pipeline,
                                                   hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_token_classification_outputs(const hugot_token_classification* pipeline,
                                                hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_token_classification_run(const hugot_token_classification* pipeline,
                                            const char* const* texts, const size_t* lengths,
                                            size_t count, const hugot_cancellation* cancellation,
                                            hugot_entities** entities) {
  return c_api::run(pipeline, entities, [&](const hugot::TokenClassification& loaded) {
    return loaded.run(c_api::texts_of(texts, lengths, count), c_api::token_of(cancellation));
  });
}

size_t hugot_entities_rows(const hugot_entities* entities) { return c_api::row_count(entities); }
const char* hugot_entities_error(const hugot_entities* entities, size_t row) {
  return c_api::error_of(entities, row);
}
size_t hugot_entities_count(const hugot_entities* entities, size_t row) {
  return c_api::cell_count(entities, row);
}
const char* hugot_entities_label(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr ? nullptr : found->label.c_str();
}
const char* hugot_entities_word(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr ? nullptr : found->word.c_str();
}
double hugot_entities_score(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr ? 0 : found->score;
}
size_t hugot_entities_start(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr ? 0 : found->start;
}
size_t hugot_entities_end(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr ? 0 : found->end;
}
int64_t hugot_entities_token(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr || !found->index ? -1 : static_cast<int64_t>(*found->index);
}
int32_t hugot_entities_token_id(const hugot_entities* entities, size_t row, size_t index) {
  const auto* found = c_api::cell(entities, row, index);
  return found == nullptr ? -1 : found->token_id;
}
void hugot_entities_free(hugot_entities* entities) { delete entities; }
