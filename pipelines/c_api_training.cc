// The C interface of training.
#include "hugot/c_training.h"
#include "hugot/training.hpp"
#include "pipelines/c_api.h"

namespace c_api = hugot::c_api;

namespace {

constexpr double kDefaultRate = 2e-5;

hugot::TrainingOptions convert(const hugot_training_options& from) {
  c_api::check_size(from, "hugot_training_options");
  hugot::TrainingOptions options;
  options.model = c_api::text_or_empty(from.model);
  options.train_file = c_api::text_or_empty(from.train_file);
  options.eval_file = c_api::text_or_empty(from.eval_file);
  options.output = c_api::text_or_empty(from.output);
  options.loss = c_api::text_or_empty(from.loss);
  options.loss_params = c_api::text_or_empty(from.loss_params);
  options.loss_graph = c_api::text_or_empty(from.loss_graph);
  options.optimizer_params = c_api::text_or_empty(from.optimizer_params);
  // What the default is has not been asked for.
  if (from.lr != kDefaultRate) options.lr = from.lr;
  options.epochs = from.epochs;
  options.batch_size = from.batch_size;
  options.accumulation = from.accumulation;
  options.max_length = from.max_length;
  options.onnx_filename = c_api::text_or_empty(from.onnx_filename);
  options.freeze = c_api::text_or_empty(from.freeze);
  options.lora_rank = from.lora_rank;
  options.lora_alpha = from.lora_alpha;
  options.head_classes = from.head_classes;
  options.head_init = c_api::text_or_empty(from.head_init);
  options.double_precision = from.double_precision != 0;
  options.dropout = from.dropout;
  options.ema = from.ema;
  options.tie_weights = from.untie == 0;
  options.shuffle = from.no_shuffle == 0;
  options.seed = from.seed;
  options.resume = from.resume != 0;
  options.force = from.force != 0;
  options.save_steps = from.save_steps;
  options.patience = from.patience;
  options.tolerance = from.tolerance;
  options.threads = from.threads;
  options.mpi = from.mpi != 0;
  return options;
}

}  // namespace

void hugot_training_options_init(hugot_training_options* options) {
  if (!c_api::init(options)) return;
  const hugot::TrainingOptions defaults;
  options->lr = kDefaultRate;
  options->epochs = defaults.epochs;
  options->batch_size = defaults.batch_size;
  options->accumulation = defaults.accumulation;
  options->lora_alpha = defaults.lora_alpha;
  options->tolerance = defaults.tolerance;
}

hugot_status hugot_train(const hugot_training_options* options, hugot_training_step on_step,
                         void* user, const hugot_cancellation* cancellation) {
  return c_api::guarded([&] {
    c_api::require_pointer(options, "options");
    hugot::TrainingCallbacks callbacks;
    if (on_step != nullptr) {
      callbacks.step = [&](const hugot::TrainingProgress& now) {
        on_step(user, now.epoch, now.step, now.steps, now.loss);
      };
    }
    hugot::train(convert(*options), callbacks, c_api::token_of(cancellation));
  });
}
