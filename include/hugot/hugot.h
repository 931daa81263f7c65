/* The C interface of hugot: embeddings of texts from transformer models in the ONNX format.
 *
 * Functions return HUGOT_OK or the class of the error; hugot_last_error() has its text. Handles are
 * freed by the function of their type, which accepts NULL. Session, pipeline and cancellation
 * handles may be used from several threads at the same time; freeing one while it is in use is the
 * caller's error. The library never prints, exits or aborts.
 */
#ifndef HUGOT_HUGOT_H_
#define HUGOT_HUGOT_H_

#include <stddef.h>
#include <stdint.h>

#include "hugot/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are those of hugot::ErrorCode. */
typedef enum hugot_status {
  HUGOT_OK = 0,
  HUGOT_INVALID_ARGUMENT = 1, /* the caller passed something that can never work */
  HUGOT_NOT_FOUND = 2,        /* a file, tensor, operator or option does not exist */
  HUGOT_INVALID_DATA = 3,     /* a file or a text is malformed */
  HUGOT_UNSUPPORTED = 4,      /* well formed, but this build or version cannot do it */
  HUGOT_IO = 5,               /* the operating system refused to read or write */
  HUGOT_OUT_OF_MEMORY = 6,
  HUGOT_CANCELLED = 7,
  HUGOT_INTERNAL = 8 /* a broken invariant of the library itself */
} hugot_status;

typedef enum hugot_pooling {
  HUGOT_POOLING_MODEL = 0, /* what the model directory says */
  HUGOT_POOLING_MEAN = 1,
  HUGOT_POOLING_CLS = 2,
  HUGOT_POOLING_MAX = 3,
  HUGOT_POOLING_LAST = 4,
  HUGOT_POOLING_MEAN_SQRT_LEN = 5,
  HUGOT_POOLING_WEIGHTED_MEAN = 6
} hugot_pooling;

/* How linear layers compute; see hugot.hpp. */
typedef enum hugot_precision {
  HUGOT_PRECISION_MODEL = 0,
  HUGOT_PRECISION_FP32 = 1,
  HUGOT_PRECISION_BF16 = 2,
  HUGOT_PRECISION_INT8 = 3
} hugot_precision;

typedef struct hugot_session hugot_session;
typedef struct hugot_feature_extraction hugot_feature_extraction;
typedef struct hugot_embeddings hugot_embeddings;
typedef struct hugot_cancellation hugot_cancellation;

/* "0.1.0" */
HUGOT_API const char* hugot_version(void);

/* Text of the last error in this thread, "" when there was none. Valid until the next call of a
 * hugot function in this thread. */
HUGOT_API const char* hugot_last_error(void);

/* -- sessions: the threads that pipelines share */

/* threads: 0 for the processors that this process may use. */
HUGOT_API hugot_status hugot_session_create(int threads, hugot_session** session);
/* The same with a folder where packed weights are remembered, so that a model loads faster when it
 * is used again; NULL: the default folder (see hugot.hpp). */
HUGOT_API hugot_status hugot_session_create_with_cache(int threads, const char* cache_directory,
                                                       hugot_session** session);
HUGOT_API void hugot_session_free(hugot_session* session);

/* -- feature extraction: texts to vectors */

typedef struct hugot_feature_extraction_options {
  size_t struct_size;        /* sizeof(hugot_feature_extraction_options) */
  int normalize;             /* not 0: vectors of length 1 */
  hugot_pooling pooling;     /* */
  int truncate_dim;          /* only the first elements; 0: all */
  int max_length;            /* tokens a text is cut to; 0: what the model directory says */
  const char* prompt_name;   /* NULL: the model's default */
  const char* output_name;   /* NULL: chosen from the model directory */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* */
} hugot_feature_extraction_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_feature_extraction_options_init(hugot_feature_extraction_options* options);

/* `model` is a directory or a name (see hugot.hpp). `options` may be NULL. The pipeline may outlive
 * the session. */
HUGOT_API hugot_status hugot_feature_extraction_create(
    hugot_session* session, const char* model, const hugot_feature_extraction_options* options,
    hugot_feature_extraction** pipeline);
HUGOT_API void hugot_feature_extraction_free(hugot_feature_extraction* pipeline);

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

/* -- cancellation: a flag that another thread may raise while a call runs */

HUGOT_API hugot_status hugot_cancellation_create(hugot_cancellation** cancellation);
/* Running calls with this handle return HUGOT_CANCELLED soon, later ones at once. */
HUGOT_API void hugot_cancellation_request(hugot_cancellation* cancellation);
HUGOT_API void hugot_cancellation_free(hugot_cancellation* cancellation);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_HUGOT_H_ */
