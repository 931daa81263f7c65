// A model under training that runs without padding.
#ifndef HUGOT_AUTODIFF_RAGGED_MODEL_H_
#define HUGOT_AUTODIFF_RAGGED_MODEL_H_

#include <memory>

#include "autodiff/train_graph.h"

namespace hugot {

// What TrainableModel::create() promises, for graphs that qualify for ragged mode. The function of
// one text is differentiated; all texts of a batch then run through both halves packed, and the
// gradients of parameters are sums over the rows of all texts. Operators are split over threads.
//
// Batches whose activations would take more than TrainableModelOptions::activation_bytes are cut
// into parts of whole texts, which depend on the texts alone; all but one part are computed once
// more for backward().
//
// Throws what create() throws; kUnsupported for graphs that do not qualify, too.
std::unique_ptr<TrainableModel> make_ragged_model(Graph graph, const OpRegistry& ops,
                                                  const TrainableModelOptions& options);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_RAGGED_MODEL_H_
