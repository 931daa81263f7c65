// Conversion of tensors between element types.
#ifndef HUGOT_KERNELS_CAST_CAST_H_
#define HUGOT_KERNELS_CAST_CAST_H_

#include "graph/op.h"

namespace hugot::cast {

// The type that the node converts to: attribute `to`, a name in version 1 and a number since then.
// Throws kInvalidData for what is no type.
DType target_of(const Node& node);

void cast(KernelContext& ctx);
void cast_like(KernelContext& ctx);

}  // namespace hugot::cast

#endif  // HUGOT_KERNELS_CAST_CAST_H_
