// The state of a training in a file.
#ifndef HUGOT_PIPELINES_TRAINING_CHECKPOINT_H_
#define HUGOT_PIPELINES_TRAINING_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "autodiff/optimizer.h"
#include "autodiff/train_graph.h"
#include "autodiff/weight_average.h"
#include "base/communicator.h"
#include "hugot/training.hpp"

namespace hugot {

// Where a training is, besides its tensors.
struct TrainingState {
  int64_t step = 0;            // steps of the optimizer that are done
  uint64_t metrics_bytes = 0;  // of metrics.jsonl that belong to them
  double last_loss = 0;
  std::vector<TrainingEvaluation> evaluations;
  std::optional<double> best;  // the best value of the primary metric, larger is better
  int64_t best_step = 0;
  int unimproved = 0;               // evaluations since the last one that counts as an improvement
  std::optional<double> reference;  // the value that an improvement is measured from
  bool stopped_early = false;
  std::string settings;  // what a resumed training has to have in common, as JSON
};

// What changes in a training besides its parameters.
struct TrainingProcess {
  Optimizer& optimizer;
  WeightAverage& average;
};

// Writes parameters, process and state atomically. Without `process` the parameters alone.
void write_checkpoint(const std::filesystem::path& path, std::span<Parameter* const> parameters,
                      const TrainingProcess* process, const TrainingState& state);

// Reads what write_checkpoint() has written into parameters and process: the leading rank
// does, and all get it. `settings` are those of this run. Throws kInvalidArgument naming what
// differs, kInvalidData for a file that does not belong to these parameters.
TrainingState read_checkpoint(const std::filesystem::path& path,
                              std::span<Parameter* const> parameters,
                              const TrainingProcess* process, const std::string& settings,
                              Communicator& ranks);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TRAINING_CHECKPOINT_H_
