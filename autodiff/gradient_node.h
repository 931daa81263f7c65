// The operator Gradient of ai.onnx.preview.training, which asks for derivatives inside of a graph.
#ifndef HUGOT_AUTODIFF_GRADIENT_NODE_H_
#define HUGOT_AUTODIFF_GRADIENT_NODE_H_

#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// Replaces every Gradient node by nodes that compute its outputs: the nodes between the values that
// it names in `xs` and `zs` and the value `y` once more, with the node's inputs in the place of the
// named values, and the gradients of that copy. The gradient of a `y` of several elements is that
// of their sum. Facts are inferred when there is such a node, and nothing happens otherwise.
//
// Names are those of the model's file, so this comes before passes that change the graph. Throws
// kInvalidData for names that the graph does not have, and what propagate_gradients() throws.
void expand_gradient_nodes(Graph& graph, const OpRegistry& ops);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_GRADIENT_NODE_H_
