// Kernels of the sequence room: sequences and optionals.
#ifndef HUGOT_KERNELS_SEQUENCE_SEQUENCE_H_
#define HUGOT_KERNELS_SEQUENCE_SEQUENCE_H_

#include "graph/op.h"

namespace hugot::sequence {

void empty(KernelContext& ctx);
void construct(KernelContext& ctx);
void insert(KernelContext& ctx);
void erase(KernelContext& ctx);
void at(KernelContext& ctx);
void length(KernelContext& ctx);
void concat(KernelContext& ctx);
void split(KernelContext& ctx);
void make_optional(KernelContext& ctx);
void get_element(KernelContext& ctx);
void has_element(KernelContext& ctx);

}  // namespace hugot::sequence

#endif  // HUGOT_KERNELS_SEQUENCE_SEQUENCE_H_
