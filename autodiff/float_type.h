// The floating-point type in which a graph computes.
#ifndef HUGOT_AUTODIFF_FLOAT_TYPE_H_
#define HUGOT_AUTODIFF_FLOAT_TYPE_H_

#include "base/tensor.h"
#include "graph/graph.h"

namespace hugot {

// Elements of any floating type in another one; a copy in every case. Throws kUnsupported for other
// types.
Tensor convert_float(const Tensor& tensor, DType dtype);

// Changes every floating-point value, constant and cast of the graph and of its subgraphs to
// `dtype` (float32 or float64), and forgets what was inferred. Casts between floating types do
// nothing afterwards. Constants that are half precision keep their values exactly.
void convert_floats(Graph& graph, DType dtype);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_FLOAT_TYPE_H_
