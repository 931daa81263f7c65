// Adafactor: second moments of matrices kept as sums of rows and columns.
#ifndef HUGOT_AUTODIFF_ADAFACTOR_H_
#define HUGOT_AUTODIFF_ADAFACTOR_H_

#include <cstdint>
#include <optional>

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace hugot {

struct Parameter;

// Shazeer, Stern 2018, "Adafactor: Adaptive learning rates with sublinear memory cost"; names and
// defaults are those of transformers.Adafactor.
struct AdafactorOptions {
  double eps_square = 1e-30;         // added to squares of gradients
  double eps_scale = 1e-3;           // the least size of a tensor that scale_parameter sees
  double clip_threshold = 1;         // of the root mean square of a tensor's update
  double decay_rate = -0.8;          // beta2 of step t is 1 - t^decay_rate
  std::optional<double> beta1 = {};  // of a first moment; none
  bool scale_parameter = true;       // the rate times the root mean square of the tensor
  bool relative_step = true;         // the rate is 1 / sqrt(t), 0.01 at most
  bool warmup_init = false;          // and 1e-6 t at most
};

// The rate of step t (from 1) with relative_step.
double adafactor_rate(const AdafactorOptions& options, int64_t t);

// State tensor i of a parameter: 0: means of the rows, or of all elements of a vector; 1: of the
// columns, nothing of a vector; 2: the first moment, where there is beta1.
int adafactor_states(const AdafactorOptions& options);
Shape adafactor_state_shape(const Shape& parameter, int i);

struct AdafactorStep {
  double lr = 0;
  double gradient_scale = 1;
  double weight_decay = 0;  // times the rate is taken off the weights
  int64_t t = 1;
};

// One step for one parameter; `state` has its adafactor_states() tensors. Sums are made in double
// precision and in one order.
void adafactor_step(const AdafactorOptions& options, const AdafactorStep& step,
                    Parameter& parameter, Tensor* state, ThreadPool* pool);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_ADAFACTOR_H_
