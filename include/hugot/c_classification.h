/* Texts, pairs and tokens to labels. */
#ifndef HUGOT_C_CLASSIFICATION_H_
#define HUGOT_C_CLASSIFICATION_H_

#include "hugot/c_common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What turns a model's scores into those of the result. */
typedef enum hugot_function {
  HUGOT_FUNCTION_MODEL = 0, /* what the model directory says */
  HUGOT_FUNCTION_SOFTMAX = 1,
  HUGOT_FUNCTION_SIGMOID = 2,
  HUGOT_FUNCTION_NONE = 3
} hugot_function;

typedef struct hugot_text_classification hugot_text_classification;
typedef struct hugot_zero_shot_classification hugot_zero_shot_classification;
typedef struct hugot_cross_encoder hugot_cross_encoder;
typedef struct hugot_token_classification hugot_token_classification;

/* -- labels: what text classification and zero-shot classification return, the best label first */

typedef struct hugot_labels hugot_labels;

HUGOT_API size_t hugot_labels_rows(const hugot_labels* labels);
/* What was wrong with text `row`; NULL when nothing was. */
HUGOT_API const char* hugot_labels_error(const hugot_labels* labels, size_t row);
/* Labels of a row. */
HUGOT_API size_t hugot_labels_count(const hugot_labels* labels, size_t row);
HUGOT_API const char* hugot_labels_name(const hugot_labels* labels, size_t row, size_t index);
/* The number of the label in the model, or in the list of the candidates. */
HUGOT_API size_t hugot_labels_id(const hugot_labels* labels, size_t row, size_t index);
HUGOT_API double hugot_labels_score(const hugot_labels* labels, size_t row, size_t index);
HUGOT_API void hugot_labels_free(hugot_labels* labels);

/* -- text classification */

typedef struct hugot_text_classification_options {
  size_t struct_size;        /* sizeof(hugot_text_classification_options) */
  hugot_function function;   /* HUGOT_FUNCTION_MODEL */
  int top_k;                 /* so many labels with the best scores (1); 0: all */
  int max_length;            /* tokens a text is cut to; 0: what the model directory says */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_text_classification_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_text_classification_options_init(hugot_text_classification_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_text_classification_create(
    hugot_session* session, const char* model, const hugot_text_classification_options* options,
    hugot_text_classification** pipeline);
HUGOT_API void hugot_text_classification_free(hugot_text_classification* pipeline);
HUGOT_API hugot_status hugot_text_classification_statistics(
    const hugot_text_classification* pipeline, hugot_statistics* statistics);
HUGOT_API hugot_status hugot_text_classification_outputs(const hugot_text_classification* pipeline,
                                                         hugot_outputs** outputs);
/* `pairs`, with `pair_lengths`, are texts that the model sees together with `texts`; NULL, or NULL
 * for one of them: there is none. `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_text_classification_run(
    const hugot_text_classification* pipeline, const char* const* texts, const size_t* lengths,
    const char* const* pairs, const size_t* pair_lengths, size_t count,
    const hugot_cancellation* cancellation, hugot_labels** labels);

/* -- zero-shot classification: labels that the model has never seen */

typedef struct hugot_zero_shot_classification_options {
  size_t struct_size;              /* sizeof(hugot_zero_shot_classification_options) */
  const char* hypothesis_template; /* {} stands for the label; NULL: "This example is {}." */
  int multi_label;                 /* not 0: each label by itself */
  int max_length;                  /* tokens a pair is cut to; 0: what the model directory says */
  const char* onnx_filename;       /* relative to the model directory; NULL: the usual places */
  hugot_precision precision;       /* HUGOT_PRECISION_MODEL */
} hugot_zero_shot_classification_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_zero_shot_classification_options_init(
    hugot_zero_shot_classification_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status
hugot_zero_shot_classification_create(hugot_session* session, const char* model,
                                      const hugot_zero_shot_classification_options* options,
                                      hugot_zero_shot_classification** pipeline);
HUGOT_API void hugot_zero_shot_classification_free(hugot_zero_shot_classification* pipeline);
HUGOT_API hugot_status hugot_zero_shot_classification_statistics(
    const hugot_zero_shot_classification* pipeline, hugot_statistics* statistics);
HUGOT_API hugot_status hugot_zero_shot_classification_outputs(
    const hugot_zero_shot_classification* pipeline, hugot_outputs** outputs);
/* What is doubtful about the model: no class of it is called entailment, so that the last one is
 * taken for it. NULL: nothing. Valid until the pipeline is freed. */
HUGOT_API const char* hugot_zero_shot_classification_warning(
    const hugot_zero_shot_classification* pipeline);
/* `candidates` end with a zero byte and are those of all texts. */
HUGOT_API hugot_status hugot_zero_shot_classification_run(
    const hugot_zero_shot_classification* pipeline, const char* const* texts, const size_t* lengths,
    size_t count, const char* const* candidates, size_t candidate_count,
    const hugot_cancellation* cancellation, hugot_labels** labels);

/* -- cross-encoder: scores of pairs of texts */

typedef struct hugot_scores hugot_scores;
typedef struct hugot_ranking hugot_ranking;

typedef struct hugot_cross_encoder_options {
  size_t struct_size;        /* sizeof(hugot_cross_encoder_options) */
  hugot_function function;   /* HUGOT_FUNCTION_MODEL */
  int top_k;                 /* of hugot_cross_encoder_rank: so many documents; 0: all */
  int keep_order;            /* not 0: documents are not sorted by their score */
  double score_threshold;    /* documents with less are left out (-INFINITY) */
  int max_length;            /* tokens a text is cut to; 0: what the model directory says */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_cross_encoder_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_cross_encoder_options_init(hugot_cross_encoder_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_cross_encoder_create(hugot_session* session, const char* model,
                                                  const hugot_cross_encoder_options* options,
                                                  hugot_cross_encoder** pipeline);
HUGOT_API void hugot_cross_encoder_free(hugot_cross_encoder* pipeline);
HUGOT_API hugot_status hugot_cross_encoder_statistics(const hugot_cross_encoder* pipeline,
                                                      hugot_statistics* statistics);
HUGOT_API hugot_status hugot_cross_encoder_outputs(const hugot_cross_encoder* pipeline,
                                                   hugot_outputs** outputs);
/* Scores of the pairs of `texts` and `pairs`. */
HUGOT_API hugot_status hugot_cross_encoder_run(const hugot_cross_encoder* pipeline,
                                               const char* const* texts, const size_t* lengths,
                                               const char* const* pairs, const size_t* pair_lengths,
                                               size_t count, const hugot_cancellation* cancellation,
                                               hugot_scores** scores);

HUGOT_API size_t hugot_scores_rows(const hugot_scores* scores);
HUGOT_API const char* hugot_scores_error(const hugot_scores* scores, size_t row);
/* Scores of a row: as many as the model has labels, which is one in most cases. */
HUGOT_API size_t hugot_scores_count(const hugot_scores* scores, size_t row);
HUGOT_API const double* hugot_scores_data(const hugot_scores* scores, size_t row);
HUGOT_API void hugot_scores_free(hugot_scores* scores);

/* The documents by their score with `query`, which ends with a zero byte. A document that cannot be
 * scored is a failure of the call. Needs a model with a single label: HUGOT_INVALID_DATA else. */
HUGOT_API hugot_status hugot_cross_encoder_rank(const hugot_cross_encoder* pipeline,
                                                const char* query, const char* const* documents,
                                                const size_t* lengths, size_t count,
                                                const hugot_cancellation* cancellation,
                                                hugot_ranking** ranking);

HUGOT_API size_t hugot_ranking_count(const hugot_ranking* ranking);
/* The place of a document in the list that was given. */
HUGOT_API size_t hugot_ranking_document(const hugot_ranking* ranking, size_t index);
HUGOT_API double hugot_ranking_score(const hugot_ranking* ranking, size_t index);
HUGOT_API void hugot_ranking_free(hugot_ranking* ranking);

/* -- token classification: entities */

typedef struct hugot_entities hugot_entities;

/* How tokens become entities; see hugot::Aggregation. */
typedef enum hugot_aggregation {
  HUGOT_AGGREGATION_NONE = 0,
  HUGOT_AGGREGATION_SIMPLE = 1,
  HUGOT_AGGREGATION_FIRST = 2,
  HUGOT_AGGREGATION_AVERAGE = 3,
  HUGOT_AGGREGATION_MAX = 4
} hugot_aggregation;

typedef struct hugot_token_classification_options {
  size_t struct_size;               /* sizeof(hugot_token_classification_options) */
  hugot_aggregation aggregation;    /* HUGOT_AGGREGATION_SIMPLE */
  const char* const* ignore_labels; /* kinds that are left out; NULL: "O" */
  size_t ignore_label_count;        /* 0 with a list: nothing is left out */
  int stride;                       /* tokens that windows of long texts share; -1: one window */
  int byte_offsets;                 /* not 0: offsets in bytes instead of code points */
  int max_length;                   /* tokens a text is cut to; 0: what the model directory says */
  const char* onnx_filename;        /* relative to the model directory; NULL: the usual places */
  hugot_precision precision;        /* HUGOT_PRECISION_MODEL */
} hugot_token_classification_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_token_classification_options_init(hugot_token_classification_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_token_classification_create(
    hugot_session* session, const char* model, const hugot_token_classification_options* options,
    hugot_token_classification** pipeline);
HUGOT_API void hugot_token_classification_free(hugot_token_classification* pipeline);
HUGOT_API hugot_status hugot_token_classification_statistics(
    const hugot_token_classification* pipeline, hugot_statistics* statistics);
HUGOT_API hugot_status hugot_token_classification_outputs(
    const hugot_token_classification* pipeline, hugot_outputs** outputs);
HUGOT_API hugot_status hugot_token_classification_run(const hugot_token_classification* pipeline,
                                                      const char* const* texts,
                                                      const size_t* lengths, size_t count,
                                                      const hugot_cancellation* cancellation,
                                                      hugot_entities** entities);

HUGOT_API size_t hugot_entities_rows(const hugot_entities* entities);
HUGOT_API const char* hugot_entities_error(const hugot_entities* entities, size_t row);
/* Entities of a row, in the order of the text. */
HUGOT_API size_t hugot_entities_count(const hugot_entities* entities, size_t row);
HUGOT_API const char* hugot_entities_label(const hugot_entities* entities, size_t row,
                                           size_t index);
HUGOT_API const char* hugot_entities_word(const hugot_entities* entities, size_t row, size_t index);
HUGOT_API double hugot_entities_score(const hugot_entities* entities, size_t row, size_t index);
/* Begin and end in the text. */
HUGOT_API size_t hugot_entities_start(const hugot_entities* entities, size_t row, size_t index);
HUGOT_API size_t hugot_entities_end(const hugot_entities* entities, size_t row, size_t index);
/* Only with HUGOT_AGGREGATION_NONE, else -1: the place of the token, special ones counted, and its
 * id. */
HUGOT_API int64_t hugot_entities_token(const hugot_entities* entities, size_t row, size_t index);
HUGOT_API int32_t hugot_entities_token_id(const hugot_entities* entities, size_t row, size_t index);
HUGOT_API void hugot_entities_free(hugot_entities* entities);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_CLASSIFICATION_H_ */
