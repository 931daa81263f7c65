// Parameters of a training as JSON, under the names that docs/training.md lists.
#ifndef HUGOT_PIPELINES_TRAINING_CONFIG_H_
#define HUGOT_PIPELINES_TRAINING_CONFIG_H_

#include <string>
#include <string_view>

#include "autodiff/loss.h"
#include "autodiff/optimizer.h"

namespace hugot {

// A loss and how it is computed.
struct LossConfig {
  LossOptions options;
  // Texts that go through the model at a time (Gao et al. 2021, "Scaling deep contrastive learning
  // batch size under memory limited setup"); 0: all of the batch.
  int64_t mini_batch_size = 0;
};

// Throws kInvalidArgument for text that is no JSON object, keys that the loss does not have and
// values of another type. `name` may be one of sentence-transformers' or of cached_mnrl.
LossConfig parse_loss(const std::string& name, const std::string& params);

// Members that are absent keep those of `defaults`. `lr_given`: the rate of `defaults` is one that
// somebody asked for.
OptimizerOptions parse_optimizer(const std::string& params, const OptimizerOptions& defaults,
                                 bool lr_given = false);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TRAINING_CONFIG_H_
