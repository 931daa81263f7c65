/* Rows of tables to labels or numbers. */
#ifndef HUGOT_C_TABULAR_H_
#define HUGOT_C_TABULAR_H_

#include "hugot/c_classification.h"
#include "hugot/c_common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hugot_tabular hugot_tabular;
typedef struct hugot_predictions hugot_predictions;

typedef struct hugot_tabular_options {
  size_t struct_size;        /* sizeof(hugot_tabular_options) */
  hugot_function function;   /* of a classifier's scores; HUGOT_FUNCTION_MODEL: they stay */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
} hugot_tabular_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_tabular_options_init(hugot_tabular_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_tabular_create(hugot_session* session, const char* model,
                                            const hugot_tabular_options* options,
                                            hugot_tabular** pipeline);
HUGOT_API void hugot_tabular_free(hugot_tabular* pipeline);
HUGOT_API hugot_status hugot_tabular_statistics(const hugot_tabular* pipeline,
                                                hugot_statistics* statistics);
HUGOT_API hugot_status hugot_tabular_outputs(const hugot_tabular* pipeline,
                                             hugot_outputs** outputs);

/* Numbers: `count` rows of `columns` values, row after row, for the inputs of the model in their
 * order. NaN is a missing value. `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_tabular_run_numbers(const hugot_tabular* pipeline,
                                                 const double* values, size_t count, size_t columns,
                                                 const hugot_cancellation* cancellation,
                                                 hugot_predictions** predictions);
/* The same with texts; a column of numbers takes texts that are numbers. */
HUGOT_API hugot_status hugot_tabular_run_texts(const hugot_tabular* pipeline,
                                               const char* const* values, size_t count,
                                               size_t columns,
                                               const hugot_cancellation* cancellation,
                                               hugot_predictions** predictions);

HUGOT_API size_t hugot_predictions_rows(const hugot_predictions* predictions);
/* What was wrong with row `row`; NULL when nothing was. */
HUGOT_API const char* hugot_predictions_error(const hugot_predictions* predictions, size_t row);
/* A classifier's choice; "" for a regressor. */
HUGOT_API const char* hugot_predictions_choice(const hugot_predictions* predictions, size_t row);
/* A classifier's labels, in the order of the model. */
HUGOT_API size_t hugot_predictions_labels(const hugot_predictions* predictions, size_t row);
HUGOT_API const char* hugot_predictions_label(const hugot_predictions* predictions, size_t row,
                                              size_t index);
HUGOT_API double hugot_predictions_score(const hugot_predictions* predictions, size_t row,
                                         size_t index);
/* A regressor's numbers, one per target. */
HUGOT_API size_t hugot_predictions_values(const hugot_predictions* predictions, size_t row);
HUGOT_API double hugot_predictions_value(const hugot_predictions* predictions, size_t row,
                                         size_t index);
HUGOT_API void hugot_predictions_free(hugot_predictions* predictions);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_TABULAR_H_ */
