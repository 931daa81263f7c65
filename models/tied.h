// Weights that a file holds more than once.
#ifndef HUGOT_MODELS_TIED_H_
#define HUGOT_MODELS_TIED_H_

#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// Initializer `copy` holds what `original` does, or its transpose.
struct TiedWeight {
  std::string copy, original;
  bool transposed = false;
};

// Finds initializers that are copies of an earlier one, as exporters make of a weight that layers
// share, and lets their readers read that one, so that it gets all gradients. Copies are matrices
// or tensors of higher rank of one element type whose elements are the same and not all equal:
// scales and biases of different layers begin equal. A transposed copy is a matrix. What copies is
// left in the graph without readers.
std::vector<TiedWeight> tie_equal_weights(Graph& graph, const OpRegistry& ops);

// What the copy holds when the original holds `weight`.
Tensor tied_copy(const TiedWeight& tied, const Tensor& weight);

}  // namespace hugot

#endif  // HUGOT_MODELS_TIED_H_
