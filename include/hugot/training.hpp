// Fine-tuning: a model directory and rows of texts in, a model directory out.
//
//   hugot::TrainingOptions options;
//   options.model = "models/all-MiniLM-L6-v2";
//   options.train_file = "pairs.jsonl";   // {"anchor": "..", "positive": ".."}
//   options.output = "tuned";
//   hugot::train(options);
//
// docs/training.md describes losses, data, and what the output directory holds.
#ifndef HUGOT_TRAINING_HPP_
#define HUGOT_TRAINING_HPP_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/error.hpp"
#include "hugot/export.h"

namespace hugot {

struct TrainingOptions {
  std::filesystem::path model;       // a directory, or a name as Session takes it
  std::filesystem::path train_file;  // .jsonl
  std::filesystem::path eval_file = {};
  // Rows as JSON texts, in the place of the files.
  std::vector<std::string> train_rows = {};
  std::vector<std::string> eval_rows = {};
  std::filesystem::path output;

  // Empty: cosine_similarity for rows with a score, mnrl for anchors, cross_entropy for labelled
  // texts, mse for embeddings.
  std::string loss = {};
  std::string loss_params = {};           // a JSON object
  std::filesystem::path loss_graph = {};  // an ONNX graph in the place of `loss`
  std::string optimizer_params = {};      // a JSON object
  std::optional<double> lr = {};          // unless optimizer_params have one
  int epochs = 1;
  int batch_size = 32;
  int accumulation = 1;  // batches per step of the optimizer
  int max_length = 0;    // tokens a text is cut to; 0: what the model directory says
  std::string onnx_filename = {};

  std::string freeze = {};  // "embeddings,layers:0-3"
  // Train thin matrices of this rank beside those of the layers, and nothing else of the model
  // (LoRA); they are merged into the weights that are written. 0: train the weights themselves.
  int lora_rank = 0;
  double lora_alpha = 16;                // what the thin matrices add counts alpha / rank
  int head_classes = 0;                  // a new classifier on top of the model; 0: none
  std::filesystem::path head_init = {};  // .npz with head.weight and head.bias
  bool double_precision = false;         // compute in float64
  // Probability with which hidden states and probabilities of attention are set to zero in
  // training.
  double dropout = 0;
  // Decay per step of an average of the weights, which is what is evaluated and written; 0: the
  // weights themselves.
  double ema = 0;
  // Matrices that the file holds twice, as they are or transposed, are trained as one.
  bool tie_weights = true;
  bool shuffle = true;
  uint64_t seed = 0;

  bool resume = false;  // from the last checkpoint in `output`, if there is one
  bool force = false;   // replace what is in `output`
  int save_steps = 0;   // a checkpoint after so many steps; 0: after every epoch only
  // Stop when the evaluation has not improved by more than `tolerance` for so many epochs; 0:
  // never.
  int patience = 0;
  double tolerance = 1e-4;
  int threads = 0;  // 0: the processors that this process may use
  // Train together with the other processes of MPI_COMM_WORLD, which call train() with equal
  // options: each takes a part of every batch. MPI is initialized unless the program has done so.
  bool mpi = false;
};

struct TrainingProgress {
  int epoch = 0;      // from 1
  int64_t step = 0;   // of the optimizer, from 1
  int64_t steps = 0;  // in all
  double loss = 0;
  double lr = 0;
  double grad_norm = 0;  // before clipping
};

// Metrics of the rows for evaluation, and "loss". `primary` names the one that decides which
// weights are best.
struct TrainingEvaluation {
  int epoch = 0;
  int64_t step = 0;
  std::map<std::string, double> metrics;
  std::string primary;
};

// Called from the thread that trains; of several processes, in that of rank 0.
struct TrainingCallbacks {
  std::function<void(const TrainingProgress&)> step = {};
  std::function<void(const TrainingEvaluation&)> evaluation = {};
  std::function<void(std::string_view)> message = {};
};

struct TrainingResult {
  int64_t steps = 0;
  int epochs = 0;
  bool stopped_early = false;
  double last_loss = 0;
  std::vector<TrainingEvaluation> evaluations;
  int64_t best_step = 0;  // whose weights were written; the last one without evaluation
};

// Trains and writes `options.output`. Everything is checked before the first step. Throws
// kInvalidArgument for options, kInvalidData naming file and line for rows, and what loading a
// model throws; kInvalidData as well when loss or gradients stop being finite, with step, rows and
// tensor; kCancelled after a checkpoint when `stop` is requested.
//
// With `mpi` the process of rank 0 reads checkpoints and writes everything. What one of them
// throws, or its `stop`, ends all; kUnsupported in a build without MPI.
HUGOT_API TrainingResult train(const TrainingOptions& options,
                               const TrainingCallbacks& callbacks = {}, std::stop_token stop = {});

}  // namespace hugot

#endif  // HUGOT_TRAINING_HPP_
