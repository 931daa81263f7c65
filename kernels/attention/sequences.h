// What the kernels over packed sequences have in common: finding the rows of each.
#ifndef HUGOT_KERNELS_ATTENTION_SEQUENCES_H_
#define HUGOT_KERNELS_ATTENTION_SEQUENCES_H_

#include "graph/op.h"
#include "kernels/cpu/attention.h"

namespace hugot::attention {

// Q, K or V: rows of one sequence after the other.
struct Rows {
  const float* data = nullptr;
  int64_t length = 0;
};

// Input i of sequence `index`: a batch row, or a segment of the joined token axis; its one query
// when the node has attribute query_row and i is 0.
Rows rows_of(const KernelContext& ctx, int i, int64_t index);

// Points `args` at the bias (input 3) of one sequence, if there is one. `spread` keeps memory alive
// that it points to.
void set_bias(const KernelContext& ctx, int64_t index, cpu::AttentionArgs& args, Tensor& spread);

// Everything but the sequences, from the attributes of hugot.Attention and inputs 0 to 2.
cpu::AttentionArgs common_args(const KernelContext& ctx);

// Sets Q, K, V and their lengths for one sequence, and where its first query stands.
void place(const KernelContext& ctx, int64_t index, cpu::AttentionArgs& args);

}  // namespace hugot::attention

#endif  // HUGOT_KERNELS_ATTENTION_SEQUENCES_H_
