// Definitions of operators that are compositions of others.
#ifndef HUGOT_KERNELS_COMPOSITE_H_
#define HUGOT_KERNELS_COMPOSITE_H_

#include "graph/expansion.h"
#include "kernels/define.h"

namespace hugot {

// An operator that is nothing but its expansion. Passes replace it; where they cannot (ranks are
// not known, or there are no passes) its kernel expands and runs it for the operands at hand.
OpDef composite(Arity inputs, InferFunction infer, ExpandFunction expand, Arity outputs = {});

// The same without a gradient: operands or results are quantized.
OpDef composite_of_integers(Arity inputs, InferFunction infer, ExpandFunction expand,
                            Arity outputs = {});

// The gradient of an operator's expansion. Throws kUnsupported where the facts do not tell it.
void differentiate_expansion(GradientContext& g);

}  // namespace hugot

#endif  // HUGOT_KERNELS_COMPOSITE_H_
