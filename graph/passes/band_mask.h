// Masks that depend on the distance between query and key only.
#ifndef HUGOT_GRAPH_PASSES_BAND_MASK_H_
#define HUGOT_GRAPH_PASSES_BAND_MASK_H_

#include <optional>

#include "graph/graph.h"

namespace hugot {

// The keys j that query i sees: low <= j - i <= high; no limit where there is none.
struct Band {
  std::optional<int64_t> low, high;
};

// The band of a boolean mask [.., queries, keys] that is true for visible keys; nothing when it is
// no band, or is not known to be one. Masks are followed through ranges, sums, comparisons and
// logic: causal masks, local windows, and conditions that always hold.
std::optional<Band> band_of_condition(const Graph& graph, ValueId mask);

// The same for a mask that is added to the scores: 0 for visible keys, and for the others a number
// so low that they get no weight.
std::optional<Band> band_of_bias(const Graph& graph, ValueId bias);

// True for numbers that hide a key when added to its score, or put in its place.
bool hides(double number);

}  // namespace hugot

#endif  // HUGOT_GRAPH_PASSES_BAND_MASK_H_
