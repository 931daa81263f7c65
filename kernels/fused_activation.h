// The activation that FusedGemm and FusedConv apply to their result.
#ifndef HUGOT_KERNELS_FUSED_ACTIVATION_H_
#define HUGOT_KERNELS_FUSED_ACTIVATION_H_

#include <string>
#include <vector>

#include "graph/expansion.h"

namespace hugot {

// f(x) for the operator `name` ("" gives x). `parameters` are its attributes, or for Clip its
// limits, in the order in which those operators are documented; missing ones have their defaults.
// Throws kUnsupported for an operator that is no such activation.
Term fused_activation(Expansion& e, const Term& x, const std::string& name,
                      const std::vector<float>& parameters);

}  // namespace hugot

#endif  // HUGOT_KERNELS_FUSED_ACTIVATION_H_
