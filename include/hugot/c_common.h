/* What all parts of the C interface share: errors, sessions, cancellation, statistics. */
#ifndef HUGOT_C_COMMON_H_
#define HUGOT_C_COMMON_H_

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

/* How linear layers compute; see hugot.hpp. */
typedef enum hugot_precision {
  HUGOT_PRECISION_MODEL = 0,
  HUGOT_PRECISION_FP32 = 1,
  HUGOT_PRECISION_BF16 = 2,
  HUGOT_PRECISION_INT8 = 3
} hugot_precision;

typedef struct hugot_session hugot_session;
typedef struct hugot_cancellation hugot_cancellation;
typedef struct hugot_outputs hugot_outputs;

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

/* -- cancellation: a flag that another thread may raise while a call runs */

HUGOT_API hugot_status hugot_cancellation_create(hugot_cancellation** cancellation);
/* Running calls with this handle return HUGOT_CANCELLED soon, later ones at once. */
HUGOT_API void hugot_cancellation_request(hugot_cancellation* cancellation);
HUGOT_API void hugot_cancellation_free(hugot_cancellation* cancellation);

/* -- statistics: sums over all runs of a pipeline */

typedef struct hugot_statistics {
  size_t struct_size; /* sizeof(hugot_statistics) */
  uint64_t texts;
  uint64_t tokens;
  uint64_t failed_texts;
  double tokenize_seconds;
  double model_seconds;
  uint64_t tokenize_calls;   /* batches */
  uint64_t model_calls;      /* batches */
  uint64_t sequences;        /* what the model was given: texts with labels or documents are more */
  uint64_t filtered_results; /* left out for their score */
} hugot_statistics;

/* Sets struct_size, and everything else to 0. */
HUGOT_API void hugot_statistics_init(hugot_statistics* statistics);

/* -- outputs of a pipeline's graph, as its file declares them */

HUGOT_API size_t hugot_outputs_count(const hugot_outputs* outputs);
/* Texts are valid until the handle is freed. NULL for an index beyond the last one. */
HUGOT_API const char* hugot_outputs_name(const hugot_outputs* outputs, size_t index);
/* "tensor(float32)"; "" when the file does not declare it. */
HUGOT_API const char* hugot_outputs_type(const hugot_outputs* outputs, size_t index);
/* Number of dimensions; -1 when the file does not declare them. */
HUGOT_API int hugot_outputs_rank(const hugot_outputs* outputs, size_t index);
/* A dimension; -1 when the number differs from run to run. */
HUGOT_API int64_t hugot_outputs_dim(const hugot_outputs* outputs, size_t index, size_t axis);
/* 1 when the pipeline uses the output, else 0. */
HUGOT_API int hugot_outputs_used(const hugot_outputs* outputs, size_t index);
HUGOT_API void hugot_outputs_free(hugot_outputs* outputs);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_COMMON_H_ */
