/* The C interface of training: a model directory and rows of texts in, a model directory out; see
 * training.hpp. */
#ifndef HUGOT_C_TRAINING_H_
#define HUGOT_C_TRAINING_H_

#include "hugot/c_common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hugot_training_options {
  size_t struct_size;           /* sizeof(hugot_training_options) */
  const char* model;            /* directory or name */
  const char* train_file;       /* .jsonl */
  const char* eval_file;        /* NULL: no evaluation */
  const char* output;           /* directory */
  const char* loss;             /* NULL: by the keys of the rows */
  const char* loss_params;      /* a JSON object; NULL: defaults */
  const char* loss_graph;       /* an ONNX file in the place of loss; NULL: none */
  const char* optimizer_params; /* a JSON object; NULL: defaults */
  double lr;                    /* unless optimizer_params have one */
  int epochs;
  int batch_size;
  int accumulation; /* batches per step */
  int max_length;   /* tokens a text is cut to; 0: what the model directory says */
  const char* onnx_filename;
  const char* freeze; /* "embeddings,layers:0-3"; NULL: nothing */
  int lora_rank;      /* 0: train the weights themselves */
  double lora_alpha;
  int head_classes;      /* a new classifier; 0: none */
  const char* head_init; /* .npz; NULL: random */
  int double_precision;  /* not 0: compute in float64 */
  double dropout;        /* probability; 0: none */
  double ema;            /* decay of the average that is written; 0: the weights themselves */
  int untie;             /* not 0: equal matrices of the file are trained apart */
  int no_shuffle;        /* not 0: rows in the order of the file */
  uint64_t seed;
  int resume;     /* not 0: from the last checkpoint in output, if there is one */
  int force;      /* not 0: replace an earlier output */
  int save_steps; /* a checkpoint after so many steps; 0: after every epoch only */
  int patience;   /* epochs without improvement until the training stops; 0: never */
  double tolerance;
  int threads; /* 0: the processors that this process may use */
  int mpi;     /* not 0: together with the other processes of MPI_COMM_WORLD */
} hugot_training_options;

/* Sets struct_size and the defaults. */
HUGOT_API void hugot_training_options_init(hugot_training_options* options);

/* Called after every step (from 1), from the thread that trains. */
typedef void (*hugot_training_step)(void* user, int epoch, int64_t step, int64_t steps,
                                    double loss);

/* Trains and writes the output; see training.hpp. `on_step` and `cancellation` may be NULL. */
HUGOT_API hugot_status hugot_train(const hugot_training_options* options,
                                   hugot_training_step on_step, void* user,
                                   const hugot_cancellation* cancellation);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_TRAINING_H_ */
