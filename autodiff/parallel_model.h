// Data-parallel training: each process takes some of the texts of a batch.
#ifndef HUGOT_AUTODIFF_PARALLEL_MODEL_H_
#define HUGOT_AUTODIFF_PARALLEL_MODEL_H_

#include <memory>
#include <vector>

#include "autodiff/train_graph.h"
#include "base/communicator.h"

namespace hugot {

// The same function as `model`, computed by all ranks together: they make the same calls with the
// same rows. forward() gives every rank the vectors of all rows: bitwise those that one process
// computes, where texts are not padded. backward() goes through a rank's own rows; the one that is
// TrainRun::last ends with gradients that are sums over all ranks, the same bytes everywhere. Sums
// begin to travel while other gradients are computed. Where all ranks start from equal parameters
// and do the same with the gradients, their parameters stay equal.
//
// The parameters are those of `model`. `ranks` must outlive the result.
std::unique_ptr<TrainableModel> make_parallel_model(std::unique_ptr<TrainableModel> model,
                                                    Communicator& ranks);

// Throws kInternal naming a rank whose parameters have other values than those of rank 0.
void check_equal_parameters(std::span<Parameter* const> parameters, Communicator& ranks);

// Cuts rows into one part for each rank, with about as many tokens: part i is rows [i, i + 1) of
// the result. Parts may be empty.
std::vector<size_t> share_rows(std::span<const TrainRow> rows, int ranks);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_PARALLEL_MODEL_H_
