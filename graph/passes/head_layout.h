// How views, transposes and repetitions reorder the parts of [tokens, heads * head_dim].
//
// Exporters split heads with any sequence of reshapes and transposes, and repeat those that several
// query heads share by Expand. Here such a chain is just a reordering of atoms, tokens x heads x
// repeats x head_dim; only the order at its end matters.
#ifndef HUGOT_GRAPH_PASSES_HEAD_LAYOUT_H_
#define HUGOT_GRAPH_PASSES_HEAD_LAYOUT_H_

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace hugot {

// True for float32 [1, .., 1, tokens, n, m, ..] with numbers behind the tokens. Their count is S
// where it is the length of a text, a number in a graph of images.
bool tokens_lead(const Fact& fact, const Dim& tokens);

// An operand of attention, [.., heads, tokens, head_dim] or with the last two axes swapped.
struct HeadOperand {
  ValueId source = kNoValue;  // tokens_lead(); each token's row is [heads, head_dim]
  int64_t heads = 0;          // of the source: fewer than the operand's where heads are repeated
  double scale = 1;           // of the operand, as a multiple of the source
};

// Walks from an operand with `heads` heads of `head_dim` features back to the value it was made
// from. Where the source has fewer heads, each has to serve heads / source heads neighbours.
std::optional<HeadOperand> trace_heads(const Graph& graph, ValueId operand, int64_t heads,
                                       int64_t head_dim, const Dim& tokens, bool transposed);

// Follows the only readers of `id`, [.., heads, tokens, head_dim], through views and transposes to
// the first value with tokens_lead() whose rows are [heads, head_dim]; kNoValue when there is none.
ValueId join_heads(const Graph& graph, const std::vector<std::vector<NodeId>>& readers, ValueId id,
                   int64_t heads, int64_t head_dim, const Dim& tokens);

}  // namespace hugot

#endif  // HUGOT_GRAPH_PASSES_HEAD_LAYOUT_H_
