/* Questions about texts to answers, and texts with gaps to the tokens that fit. */
#ifndef HUGOT_C_ANSWERS_H_
#define HUGOT_C_ANSWERS_H_

#include "hugot/c_common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hugot_question_answering hugot_question_answering;
typedef struct hugot_fill_mask hugot_fill_mask;

/* -- question answering */

typedef struct hugot_question_answering_options {
  size_t struct_size;    /* sizeof(hugot_question_answering_options) */
  int top_k;             /* so many answers at most (1) */
  int max_answer_length; /* tokens of an answer at most (15) */
  int doc_stride;        /* tokens that windows of a long context share; 0: half a window, at most
                          * 128 */
  int impossible_answer; /* not 0: "the context does not say" may be an answer */
  int any_tokens;        /* not 0: answers may begin and end within words */
  int byte_offsets;      /* not 0: offsets in bytes and not in code points */
  int max_length;        /* tokens of a window; 0: what the model directory says, at most 384 */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_question_answering_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_question_answering_options_init(hugot_question_answering_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_question_answering_create(
    hugot_session* session, const char* model, const hugot_question_answering_options* options,
    hugot_question_answering** pipeline);
HUGOT_API void hugot_question_answering_free(hugot_question_answering* pipeline);
HUGOT_API hugot_status hugot_question_answering_statistics(const hugot_question_answering* pipeline,
                                                           hugot_statistics* statistics);
HUGOT_API hugot_status hugot_question_answering_outputs(const hugot_question_answering* pipeline,
                                                        hugot_outputs** outputs);

typedef struct hugot_answers hugot_answers;

/* Question i is about context i. `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_question_answering_run(
    const hugot_question_answering* pipeline, const char* const* questions, const size_t* lengths,
    const char* const* contexts, const size_t* context_lengths, size_t count,
    const hugot_cancellation* cancellation, hugot_answers** answers);

HUGOT_API size_t hugot_answers_rows(const hugot_answers* answers);
/* What was wrong with question `row`; NULL when nothing was. */
HUGOT_API const char* hugot_answers_error(const hugot_answers* answers, size_t row);
/* Answers to a question, the best first. */
HUGOT_API size_t hugot_answers_count(const hugot_answers* answers, size_t row);
HUGOT_API const char* hugot_answers_text(const hugot_answers* answers, size_t row, size_t index);
HUGOT_API double hugot_answers_score(const hugot_answers* answers, size_t row, size_t index);
/* Where the answer lies in the context. */
HUGOT_API size_t hugot_answers_start(const hugot_answers* answers, size_t row, size_t index);
HUGOT_API size_t hugot_answers_end(const hugot_answers* answers, size_t row, size_t index);
HUGOT_API void hugot_answers_free(hugot_answers* answers);

/* -- fill mask */

typedef struct hugot_fill_mask_options {
  size_t struct_size;         /* sizeof(hugot_fill_mask_options) */
  int top_k;                  /* so many tokens per mask (5) */
  const char* const* targets; /* only these tokens, texts that end with a zero byte; NULL: all */
  size_t target_count;
  int max_length;            /* tokens a text is cut to; 0: what the model directory says */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_fill_mask_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_fill_mask_options_init(hugot_fill_mask_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_fill_mask_create(hugot_session* session, const char* model,
                                              const hugot_fill_mask_options* options,
                                              hugot_fill_mask** pipeline);
HUGOT_API void hugot_fill_mask_free(hugot_fill_mask* pipeline);
HUGOT_API hugot_status hugot_fill_mask_statistics(const hugot_fill_mask* pipeline,
                                                  hugot_statistics* statistics);
HUGOT_API hugot_status hugot_fill_mask_outputs(const hugot_fill_mask* pipeline,
                                               hugot_outputs** outputs);

typedef struct hugot_fillings hugot_fillings;

/* `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_fill_mask_run(const hugot_fill_mask* pipeline,
                                           const char* const* texts, const size_t* lengths,
                                           size_t count, const hugot_cancellation* cancellation,
                                           hugot_fillings** fillings);

HUGOT_API size_t hugot_fillings_rows(const hugot_fillings* fillings);
/* What was wrong with text `row`; NULL when nothing was. */
HUGOT_API const char* hugot_fillings_error(const hugot_fillings* fillings, size_t row);
/* Masks of a text. */
HUGOT_API size_t hugot_fillings_masks(const hugot_fillings* fillings, size_t row);
/* Tokens for a mask, the best first. */
HUGOT_API size_t hugot_fillings_count(const hugot_fillings* fillings, size_t row, size_t mask);
HUGOT_API const char* hugot_fillings_token(const hugot_fillings* fillings, size_t row, size_t mask,
                                           size_t index);
/* -1 for an index out of range. */
HUGOT_API int32_t hugot_fillings_id(const hugot_fillings* fillings, size_t row, size_t mask,
                                    size_t index);
HUGOT_API double hugot_fillings_score(const hugot_fillings* fillings, size_t row, size_t mask,
                                      size_t index);
/* The text with this token in the place of the mask. */
HUGOT_API const char* hugot_fillings_sequence(const hugot_fillings* fillings, size_t row,
                                              size_t mask, size_t index);
HUGOT_API void hugot_fillings_free(hugot_fillings* fillings);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_ANSWERS_H_ */
