// Old versions of operators to newer ones.
#ifndef HUGOT_ONNX_UPGRADE_H_
#define HUGOT_ONNX_UPGRADE_H_

#include <cstddef>

#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// Rewrites nodes of ai.onnx that were written for an older version to `opset`, in subgraphs too:
// attributes that have become inputs (axes, shapes, limits), defaults that have changed. Nodes
// whose result would not be the same in every case stay as they are: those from before version 7, a
// Softmax over several axes, and others that depend on types that are not known. Returns the number
// of nodes that stay behind.
//
// The differences are those of the specification's change log, ONNX 1.22.
size_t upgrade_opset(Graph& graph, const OpRegistry& ops, int opset);

}  // namespace hugot

#endif  // HUGOT_ONNX_UPGRADE_H_
