/* Texts to vectors. */
#ifndef HUGOT_C_EMBEDDING_H_
#define HUGOT_C_EMBEDDING_H_

#include "hugot/c_common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hugot_pooling {
  HUGOT_POOLING_MODEL = 0, /* what the model directory says */
  HUGOT_POOLING_MEAN = 1,
  HUGOT_POOLING_CLS = 2,
  HUGOT_POOLING_MAX = 3,
  HUGOT_POOLING_LAST = 4,
  HUGOT_POOLING_MEAN_SQRT_LEN = 5,
  HUGOT_POOLING_WEIGHTED_MEAN = 6
} hugot_pooling;

typedef struct hugot_feature_extraction hugot_feature_extraction;
typedef struct hugot_embeddings hugot_embeddings;

typedef struct hugot_feature_extraction_options {
  size_t struct_size;        /* sizeof(hugot_feature_extraction_options) */
  int normalize;             /* not 0: vectors of length 1 */
  hugot_pooling pooling;     /* HUGOT_POOLING_MODEL */
  int truncate_dim;          /* only the first elements; 0: all */
  int max_length;            /* tokens a text is cut to; 0: what the model directory says */
  const char* prompt_name;   /* NULL: the model's default */
  const char* output_name;   /* NULL: chosen from the model directory */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_feature_extraction_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_feature_extraction_options_init(hugot_feature_extraction_options* options);

/* `model` is a directory or a name (see hugot.hpp). `options` may be NULL. The pipeline may outlive
 * the session. */
HUGOT_API hugot_status hugot_feature_extraction_create(
    hugot_session* session, const char* model, const hugot_feature_extraction_options* options,
    hugot_feature_extraction** pipeline);
HUGOT_API void hugot_feature_extraction_free(hugot_feature_extraction* pipeline);
HUGOT_API hugot_status hugot_feature_extraction_statistics(const hugot_feature_extraction* pipeline,
                                                           hugot_statistics* statistics);
HUGOT_API hugot_status hugot_feature_extraction_outputs(const hugot_feature_extraction* pipeline,
                                                        hugot_outputs** outputs);

/* Length of the vectors. */
HUGOT_API size_t hugot_feature_extraction_dim(const hugot_feature_extraction* pipeline);

/* Embeds `count` UTF-8 texts. `lengths` holds their sizes in bytes; NULL: they end with a zero
 * byte. `cancellation` may be NULL. A text that cannot be embedded is no failure of the call, see
 * hugot_embeddings_error. */
HUGOT_API hugot_status hugot_feature_extraction_run(const hugot_feature_extraction* pipeline,
                                                    const char* const* texts, const size_t* lengths,
                                                    size_t count,
                                                    const hugot_cancellation* cancellation,
                                                    hugot_embeddings** embeddings);

HUGOT_API size_t hugot_embeddings_rows(const hugot_embeddings* embeddings);
HUGOT_API size_t hugot_embeddings_dim(const hugot_embeddings* embeddings);
/* rows x dim numbers, row-major, valid until the handle is freed. */
HUGOT_API const float* hugot_embeddings_data(const hugot_embeddings* embeddings);
/* What was wrong with text `row`; NULL when nothing was. Valid until the handle is freed. */
HUGOT_API const char* hugot_embeddings_error(const hugot_embeddings* embeddings, size_t row);
HUGOT_API void hugot_embeddings_free(hugot_embeddings* embeddings);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_EMBEDDING_H_ */
