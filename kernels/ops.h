// Declares the definition function of every operator in op_list.def: the rooms implement them, the
// registry calls them.
#ifndef HUGOT_KERNELS_OPS_H_
#define HUGOT_KERNELS_OPS_H_

#include "graph/op.h"

namespace hugot::ops {

#define HUGOT_OP(domain, name, room, cpu, cuda, gradient, ...) \
  OpDef domain##_##name(int since_version);
#include "kernels/op_list.def"
#undef HUGOT_OP

}  // namespace hugot::ops

#endif  // HUGOT_KERNELS_OPS_H_
