// Dropout in graphs that were exported without it.
#ifndef HUGOT_AUTODIFF_DROPOUT_H_
#define HUGOT_AUTODIFF_DROPOUT_H_

#include <string>

#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// How many places of each kind drop something.
struct DropoutSites {
  int embeddings = 0;   // what the first layer reads
  int attention = 0;    // probabilities of attention
  int projections = 0;  // what is added to a residual

  int count() const { return embeddings + attention + projections; }
  std::string to_string() const;
};

// Writes hugot.Dropout and hugot.DropoutAttention with probability `ratio` where encoders have
// dropout in training:
//   - a matrix product (with bias) y that depends on x and is added to it, x + y, drops of y: the
//     projections at the end of attention and of the feed-forward part;
//   - the x of the first such sum is what the embeddings give, behind their normalization where it
//     follows them: it is dropped of for all its readers;
//   - the probabilities of hugot.Attention, and of Softmax over scores [B, heads, S, S].
// `graph` has been inferred; hugot.Linear may hold bias and residual. `ids` [B, S] are the tokens,
// and `keys` int64 [B, S] what decides about each (kernels/dropout_mask.h).
//
// Throws kUnsupported when the graph has no such place.
DropoutSites insert_dropout(Graph& graph, const OpRegistry& ops, double ratio, ValueId ids,
                            ValueId keys);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_DROPOUT_H_
