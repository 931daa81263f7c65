// A training as one of several ranks.
#ifndef HUGOT_PIPELINES_TRAINER_H_
#define HUGOT_PIPELINES_TRAINER_H_

#include <stop_token>

#include "base/communicator.h"
#include "hugot/training.hpp"

namespace hugot {

// train() with the other ranks, which call it with equal options; TrainingOptions::mpi is not
// looked at. The leading rank has the callbacks called and writes the output.
TrainingResult train_together(const TrainingOptions& options, const TrainingCallbacks& callbacks,
                              std::stop_token stop, Communicator& ranks);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TRAINER_H_
