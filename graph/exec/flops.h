// How much arithmetic a plan does.
#ifndef HUGOT_GRAPH_EXEC_FLOPS_H_
#define HUGOT_GRAPH_EXEC_FLOPS_H_

#include "graph/exec/ragged.h"

namespace hugot {

// Floating-point operations (multiplications and additions) of the matrix products that a text of
// `length` tokens needs: 2 M N K of MatMul, Gemm and hugot.Linear, and both products of attention,
// counting the pairs of query and key that its window leaves. Products that do not depend on the
// text, Einsum and convolutions are not counted.
double matrix_flops(const RaggedPlan& plan, int64_t length);

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_FLOPS_H_
