// Reverse-mode differentiation of a graph, written into the graph.
#ifndef HUGOT_AUTODIFF_BACKWARD_H_
#define HUGOT_AUTODIFF_BACKWARD_H_

#include <span>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// Bodies of control flow have constants of the graphs around them as their own. Nodes whose bodies
// hold the initializer `weight` read it from the graph instead, so that gradients find it there.
void capture_in_bodies(Graph& graph, ValueId weight);

// Appends the nodes that compute d loss / d v for each value v of `wrt`, and returns the values
// that hold them, in the order of `wrt`. A gradient has the shape and element type of v; it is zero
// when the loss does not depend on v. Several gradients may be one value, and one may be a
// constant.
//
// `loss` is a floating-point value whose shape is known to have one element. `wrt` are
// floating-point values: graph inputs, initializers, or results of nodes; a gradient is total, so v
// may lie on the path to another value of `wrt`. Initializers among them stay initializers, and
// what facts say about values that are computed from them is forgotten, because `wrt` is about to
// change; so run passes that fold constants before, not after, or turn `wrt` into inputs.
//
// Facts are inferred. Nodes that no gradient needs may be among those appended:
// Graph::remove_dead() takes them out once graph.outputs is set. Optional outputs that rules read
// are added to nodes.
//
// With `fused`, gradients may be computed by operators that have no gradients themselves, as for
// training (GraphWriter::set_fused).
//
// Throws kInvalidArgument for an unsuitable loss or value, and kUnsupported naming operator,
// version and node when a node between them has no gradient rule; the graph is then to be thrown
// away.
std::vector<ValueId> build_backward(Graph& graph, ValueId loss, std::span<const ValueId> wrt,
                                    const OpRegistry& ops, bool fused = false);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_BACKWARD_H_
