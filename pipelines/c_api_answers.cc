// The C interface of question answering and fill mask.
#include "hugot/c_answers.h"
#include "pipelines/c_api.h"

struct hugot_question_answering {
  hugot::QuestionAnswering pipeline;
};
struct hugot_fill_mask {
  hugot::FillMask pipeline;
};
struct hugot_answers {
  std::vector<hugot::Outcome<std::vector<hugot::Answer>>> rows;
};
struct hugot_fillings {
  std::vector<hugot::Outcome<std::vector<std::vector<hugot::FilledToken>>>> rows;
};

namespace c_api = hugot::c_api;

namespace {

hugot::QuestionAnsweringOptions convert(const hugot_question_answering_options* from) {
  hugot::QuestionAnsweringOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_question_answering_options");
  options.top_k = from->top_k;
  options.max_answer_length = from->max_answer_length;
  if (from->doc_stride != 0) options.doc_stride = from->doc_stride;
  options.impossible_answer = from->impossible_answer != 0;
  options.align_to_words = from->any_tokens == 0;
  options.byte_offsets = from->byte_offsets != 0;
  options.model = c_api::model_options(*from);
  return options;
}

hugot::FillMaskOptions convert(const hugot_fill_mask_options* from) {
  hugot::FillMaskOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_fill_mask_options");
  options.top_k = from->top_k;
  options.targets = c_api::strings_of(from->targets, from->target_count, "targets");
  options.model = c_api::model_options(*from);
  return options;
}

const hugot::FilledToken* filled(const hugot_fillings* fillings, size_t row, size_t mask,
                                 size_t index) {
  const auto* tokens = c_api::cell(fillings, row, mask);
  return tokens == nullptr || index >= tokens->size() ? nullptr : &(*tokens)[index];
}

}  // namespace

void hugot_question_answering_options_init(hugot_question_answering_options* options) {
  if (!c_api::init(options)) return;
  options->top_k = 1;
  options->max_answer_length = 15;
}

hugot_status hugot_question_answering_create(hugot_session* session, const char* model,
                                             const hugot_question_answering_options* options,
                                             hugot_question_answering** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.question_answering(name, convert(options));
  });
}

void hugot_question_answering_free(hugot_question_answering* pipeline) { delete pipeline; }

hugot_status hugot_question_answering_statistics(const hugot_question_answering* pipeline,
                                                 hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_question_answering_outputs(const hugot_question_answering* pipeline,
                                              hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_question_answering_run(const hugot_question_answering* pipeline,
                                          const char* const* questions, const size_t* lengths,
                                          const char* const* contexts,
                                          const size_t* context_lengths, size_t count,
                                          const hugot_cancellation* cancellation,
                                          hugot_answers** answers) {
  return c_api::run(pipeline, answers, [&](const hugot::QuestionAnswering& loaded) {
    const auto asked = c_api::texts_of(questions, lengths, count);
    const auto about = c_api::texts_of(contexts, context_lengths, count);
    std::vector<hugot::Question> list;
    for (size_t i = 0; i < count; ++i) list.push_back({asked[i], about[i]});
    return loaded.run(list, c_api::token_of(cancellation));
  });
}

size_t hugot_answers_rows(const hugot_answers* answers) { return c_api::row_count(answers); }
const char* hugot_answers_error(const hugot_answers* answers, size_t row) {
  return c_api::error_of(answers, row);
}
size_t hugot_answers_count(const hugot_answers* answers, size_t row) {
  return c_api::cell_count(answers, row);
}
const char* hugot_answers_text(const hugot_answers* answers, size_t row, size_t index) {
  const auto* found = c_api::cell(answers, row, index);
  return found == nullptr ? nullptr : found->text.c_str();
}
double hugot_answers_score(const hugot_answers* answers, size_t row, size_t index) {
  const auto* found = c_api::cell(answers, row, index);
  return found == nullptr ? 0 : found->score;
}
size_t hugot_answers_start(const hugot_answers* answers, size_t row, size_t index) {
  const auto* found = c_api::cell(answers, row, index);
  return found == nullptr ? 0 : found->start;
}
size_t hugot_answers_end(const hugot_answers* answers, size_t row, size_t index) {
  const auto* found = c_api::cell(answers, row, index);
  return found == nullptr ? 0 : found->end;
}
void hugot_answers_free(hugot_answers* answers) { delete answers; }

void hugot_fill_mask_options_init(hugot_fill_mask_options* options) {
  if (c_api::init(options)) options->top_k = 5;
}

hugot_status hugot_fill_mask_create(hugot_session* session, const char* model,
                                    const hugot_fill_mask_options* options,
                                    hugot_fill_mask** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.fill_mask(name, convert(options));
  });
}

void hugot_fill_mask_free(hugot_fill_mask* pipeline) { delete pipeline; }

hugot_status hugot_fill_mask_statistics(const hugot_fill_mask* pipeline,
                                        hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_fill_mask_outputs(const hugot_fill_mask* pipeline, hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_fill_mask_run(const hugot_fill_mask* pipeline, const char* const* texts,
                                 const size_t* lengths, size_t count,
                                 const hugot_cancellation* cancellation,
                                 hugot_fillings** fillings) {
  return c_api::run(pipeline, fillings, [&](const hugot::FillMask& loaded) {
    return loaded.run(c_api::texts_of(texts, lengths, count), c_api::token_of(cancellation));
  });
}

size_t hugot_fillings_rows(const hugot_fillings* fillings) { return c_api::row_count(fillings); }
const char* hugot_fillings_error(const hugot_fillings* fillings, size_t row) {
  return c_api::error_of(fillings, row);
}
size_t hugot_fillings_masks(const hugot_fillings* fillings, size_t row) {
  return c_api::cell_count(fillings, row);
}
size_t hugot_fillings_count(const hugot_fillings* fillings, size_t row, size_t mask) {
  const auto* tokens = c_api::cell(fillings, row, mask);
  return tokens == nullptr ? 0 : tokens->size();
}
const char* hugot_fillings_token(const hugot_fillings* fillings, size_t row, size_t mask,
                                 size_t index) {
  const auto* found = filled(fillings, row, mask, index);
  return found == nullptr ? nullptr : found->token.c_str();
}
int32_t hugot_fillings_id(const hugot_fillings* fillings, size_t row, size_t mask, size_t index) {
  const auto* found = filled(fillings, row, mask, index);
  return found == nullptr ? -1 : found->id;
}
double hugot_fillings_score(const hugot_fillings* fillings, size_t row, size_t mask, size_t index) {
  const auto* found = filled(fillings, row, mask, index);
  return found == nullptr ? 0 : found->score;
}
const char* hugot_fillings_sequence(const hugot_fillings* fillings, size_t row, size_t mask,
                                    size_t index) {
  const auto* found = filled(fillings, row, mask, index);
  return found == nullptr ? nullptr : found->sequence.c_str();
}
void hugot_fillings_free(hugot_fillings* fillings) { delete fillings; }
