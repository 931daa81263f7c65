// Optimizers, learning rates and clipping.
//
// Formulas: torch.optim (SGD, Adam, AdamW), Chen et al. 2023 (Lion), adafactor.h; schedules:
// transformers' get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup.
#ifndef HUGOT_AUTODIFF_OPTIMIZER_H_
#define HUGOT_AUTODIFF_OPTIMIZER_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "autodiff/adafactor.h"
#include "autodiff/train_graph.h"
#include "base/tensor.h"
#include "base/thread_pool.h"

namespace hugot {

enum class OptimizerType { kSgd, kAdam, kAdamW, kLion, kAdafactor };
enum class Schedule { kConstant, kLinear, kCosine, kInverseSqrt };

struct OptimizerOptions {
  OptimizerType type = OptimizerType::kAdamW;
  double lr = 2e-5;
  double momentum = 0;   // sgd
  double dampening = 0;  // sgd
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  AdafactorOptions adafactor = {};
  // Added to the gradient by sgd and adam, taken off the weights by the others.
  double weight_decay = 0;
  bool decay_vectors = false;  // tensors of rank 0 and 1 (biases, scales), too
  Schedule schedule = Schedule::kConstant;
  int64_t warmup_steps = 0;
  double warmup_ratio = 0;  // of all steps, where warmup_steps is 0
  double clip_norm = 0;     // 0: no clipping
  // Each layer below the last one learns by this factor more slowly; 1: all alike.
  double layer_decay = 1;
};

// "sgd", "adam", "adamw", "lion", "adafactor"; "constant", "linear", "cosine", "inverse_sqrt".
// Throw kInvalidArgument listing them.
OptimizerType optimizer_from_name(std::string_view name);
Schedule schedule_from_name(std::string_view name);
// Throws kInvalidArgument naming the number that makes no sense.
void check_optimizer(const OptimizerOptions& options);

// The rate of step `step` (from 0) of `steps`. With warm-up step 0 has rate 0. Of adafactor with
// relative_step that of the step alone.
double learning_rate(const OptimizerOptions& options, int64_t step, int64_t steps);

// The L2 norm of all gradients together, in double precision, always summed in the same order.
double gradient_norm(std::span<Parameter* const> parameters, ThreadPool* pool);

// The state of an optimizer. Updates do not depend on threads.
class Optimizer {
 public:
  // Keeps the parameters, which must outlive it. `rates`: factors of the learning rate, one per
  // parameter; empty: all 1.
  Optimizer(const OptimizerOptions& options, std::vector<Parameter*> parameters,
            std::vector<double> rates = {});

  // One step with learning rate `lr` and all gradients times `gradient_scale`.
  void step(double lr, double gradient_scale, ThreadPool* pool);

  // Steps that were made.
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  // The state tensors of each parameter: none, the momentum, the two moments, or those of
  // adafactor.
  int states() const { return states_; }
  Tensor& state(size_t parameter, int i) {
    return state_[parameter * static_cast<size_t>(states_) + static_cast<size_t>(i)];
  }

 private:
  template <class T>
  void update(size_t index, double lr, double gradient_scale, ThreadPool* pool);

  OptimizerOptions options_;
  std::vector<Parameter*> parameters_;
  std::vector<double> rates_;
  int states_ = 0;
  std::vector<Tensor> state_;
  int64_t steps_ = 0;
};

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_OPTIMIZER_H_
