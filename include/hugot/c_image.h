/* Images to labels, boxes and vectors. */
#ifndef HUGOT_C_IMAGE_H_
#define HUGOT_C_IMAGE_H_

#include "hugot/c_classification.h"
#include "hugot/c_common.h"
#include "hugot/c_embedding.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One of a file, the bytes of one, or pixels; the others are NULL. */
typedef struct hugot_image {
  const char* path;
  const void* bytes;  /* of an image file */
  size_t size;        /* of `bytes` */
  const uint8_t* rgb; /* `height` rows of `width` pixels: red, green, blue */
  size_t width;
  size_t height;
} hugot_image;

typedef struct hugot_image_classification hugot_image_classification;
typedef struct hugot_object_detection hugot_object_detection;
typedef struct hugot_zero_shot_image hugot_zero_shot_image;
typedef struct hugot_image_embedding hugot_image_embedding;

/* -- image classification */

typedef struct hugot_image_classification_options {
  size_t struct_size;        /* sizeof(hugot_image_classification_options) */
  hugot_function function;   /* HUGOT_FUNCTION_MODEL */
  int top_k;                 /* so many labels with the best scores (5); 0: all */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_image_classification_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_image_classification_options_init(hugot_image_classification_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_image_classification_create(
    hugot_session* session, const char* model, const hugot_image_classification_options* options,
    hugot_image_classification** pipeline);
HUGOT_API void hugot_image_classification_free(hugot_image_classification* pipeline);
HUGOT_API hugot_status hugot_image_classification_statistics(
    const hugot_image_classification* pipeline, hugot_statistics* statistics);
HUGOT_API hugot_status hugot_image_classification_outputs(
    const hugot_image_classification* pipeline, hugot_outputs** outputs);
/* `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_image_classification_run(const hugot_image_classification* pipeline,
                                                      const hugot_image* images, size_t count,
                                                      const hugot_cancellation* cancellation,
                                                      hugot_labels** labels);

/* -- zero-shot image classification: labels that the model has never seen */

typedef struct hugot_zero_shot_image_options {
  size_t struct_size;              /* sizeof(hugot_zero_shot_image_options) */
  const char* hypothesis_template; /* {} stands for the label; NULL: "This is a photo of {}." */
  const char* onnx_filename;       /* relative to the model directory; NULL: the usual places */
  hugot_precision precision;       /* HUGOT_PRECISION_MODEL */
} hugot_zero_shot_image_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_zero_shot_image_options_init(hugot_zero_shot_image_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_zero_shot_image_create(hugot_session* session, const char* model,
                                                    const hugot_zero_shot_image_options* options,
                                                    hugot_zero_shot_image** pipeline);
HUGOT_API void hugot_zero_shot_image_free(hugot_zero_shot_image* pipeline);
HUGOT_API hugot_status hugot_zero_shot_image_statistics(const hugot_zero_shot_image* pipeline,
                                                        hugot_statistics* statistics);
HUGOT_API hugot_status hugot_zero_shot_image_outputs(const hugot_zero_shot_image* pipeline,
                                                     hugot_outputs** outputs);
/* The same labels, texts that end with a zero byte, for all images. `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_zero_shot_image_run(const hugot_zero_shot_image* pipeline,
                                                 const hugot_image* images, size_t count,
                                                 const char* const* candidates,
                                                 size_t candidate_count,
                                                 const hugot_cancellation* cancellation,
                                                 hugot_labels** labels);

/* -- object detection */

typedef struct hugot_object_detection_options {
  size_t struct_size;        /* sizeof(hugot_object_detection_options) */
  double threshold;          /* boxes have a larger score (0.5) */
  int top_k;                 /* only so many boxes with the best scores; 0: all */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_object_detection_options;

typedef struct hugot_detections hugot_detections;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_object_detection_options_init(hugot_object_detection_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_object_detection_create(hugot_session* session, const char* model,
                                                     const hugot_object_detection_options* options,
                                                     hugot_object_detection** pipeline);
HUGOT_API void hugot_object_detection_free(hugot_object_detection* pipeline);
HUGOT_API hugot_status hugot_object_detection_statistics(const hugot_object_detection* pipeline,
                                                         hugot_statistics* statistics);
HUGOT_API hugot_status hugot_object_detection_outputs(const hugot_object_detection* pipeline,
                                                      hugot_outputs** outputs);
/* `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_object_detection_run(const hugot_object_detection* pipeline,
                                                  const hugot_image* images, size_t count,
                                                  const hugot_cancellation* cancellation,
                                                  hugot_detections** detections);

HUGOT_API size_t hugot_detections_rows(const hugot_detections* detections);
/* What was wrong with image `row`; NULL when nothing was. */
HUGOT_API const char* hugot_detections_error(const hugot_detections* detections, size_t row);
HUGOT_API size_t hugot_detections_count(const hugot_detections* detections, size_t row);
HUGOT_API const char* hugot_detections_label(const hugot_detections* detections, size_t row,
                                             size_t index);
HUGOT_API double hugot_detections_score(const hugot_detections* detections, size_t row,
                                        size_t index);
/* xmin, ymin, xmax and ymax in pixels; NULL for an index out of range. */
HUGOT_API const double* hugot_detections_box(const hugot_detections* detections, size_t row,
                                             size_t index);
HUGOT_API void hugot_detections_free(hugot_detections* detections);

/* -- vectors of images */

typedef struct hugot_image_embedding_options {
  size_t struct_size;        /* sizeof(hugot_image_embedding_options) */
  int normalize;             /* not 0: vectors of length 1 */
  hugot_pooling pooling;     /* of rows per patch; HUGOT_POOLING_MODEL: the first row */
  int truncate_dim;          /* only the first elements; 0: all */
  const char* output_name;   /* NULL: chosen from the model */
  const char* onnx_filename; /* relative to the model directory; NULL: the usual places */
  hugot_precision precision; /* HUGOT_PRECISION_MODEL */
} hugot_image_embedding_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_image_embedding_options_init(hugot_image_embedding_options* options);
/* `options` may be NULL. The pipeline may outlive the session. */
HUGOT_API hugot_status hugot_image_embedding_create(hugot_session* session, const char* model,
                                                    const hugot_image_embedding_options* options,
                                                    hugot_image_embedding** pipeline);
HUGOT_API void hugot_image_embedding_free(hugot_image_embedding* pipeline);
HUGOT_API hugot_status hugot_image_embedding_statistics(const hugot_image_embedding* pipeline,
                                                        hugot_statistics* statistics);
HUGOT_API hugot_status hugot_image_embedding_outputs(const hugot_image_embedding* pipeline,
                                                     hugot_outputs** outputs);
/* `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_image_embedding_run(const hugot_image_embedding* pipeline,
                                                 const hugot_image* images, size_t count,
                                                 const hugot_cancellation* cancellation,
                                                 hugot_embeddings** embeddings);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_IMAGE_H_ */
