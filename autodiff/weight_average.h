// The exponential moving average of weights under training.
#ifndef HUGOT_AUTODIFF_WEIGHT_AVERAGE_H_
#define HUGOT_AUTODIFF_WEIGHT_AVERAGE_H_

#include <vector>

#include "autodiff/train_graph.h"
#include "base/tensor.h"
#include "base/thread_pool.h"

namespace hugot {

// Polyak, Juditsky 1992; with factors that fall exponentially as torch.optim.swa_utils has them:
// average = decay * average + (1 - decay) * weights after every step, from the weights before the
// first one.
class WeightAverage {
 public:
  // Keeps the parameters, which must outlive it. `decay` 0: the average is the weights themselves,
  // and takes no memory. Throws kInvalidArgument unless 0 <= decay < 1.
  WeightAverage(double decay, std::vector<Parameter*> parameters);

  bool active() const { return decay_ > 0; }
  // Takes in what a step has made of the weights.
  void update(ThreadPool* pool);
  // Weights and average change places.
  void swap();
  // By parameter; empty unless active().
  std::vector<Tensor>& values() { return values_; }

 private:
  double decay_;
  std::vector<Parameter*> parameters_;
  std::vector<Tensor> values_;
};

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_WEIGHT_AVERAGE_H_
