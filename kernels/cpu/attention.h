// Attention of one sequence: out = softmax(scale q k^T + bias) v, head by head.
//
// The fields of AttentionArgs (vector_kernels.h); strides count floats:
//   q    query_length x heads x head_dim:   q + i * q_stride + h * q_head_stride
//   k    key_length x kv_heads x head_dim:  k + j * k_stride + g * k_head_stride
//   v    key_length x kv_heads x value_dim; heads is a multiple of kv_heads, head h reads
//        g = h / (heads / kv_heads)
//   out  query_length x heads x value_dim; may not overlap the inputs
//   bias added to the scaled scores: bias + h * bias_head_stride + i * bias_stride + j; a stride of
//        0 broadcasts; null for none
//   softcap  scores become softcap * tanh(scores / softcap) before the bias; 0 for none
//   window_left, window_right, query_offset: query i sees the keys j with
//        i + query_offset - window_left <= j <= i + query_offset + window_right; -1: no limit on
//        that side. Causal attention is window_right = 0.
//   sinks  a score for each head that takes part in the softmax without key or value: it adds
//        exp(sinks[h]) to the sum that the probabilities are divided by; null for none
// A query that sees no key, or only keys with bias -inf, gives zeros (as ONNX Attention).
//
// The result depends on the values of this sequence alone: not on strides, alignment, the heads
// computed with it, or threads.
#ifndef HUGOT_KERNELS_CPU_ATTENTION_H_
#define HUGOT_KERNELS_CPU_ATTENTION_H_

#include <cstdint>

#include "kernels/cpu/vector_kernels.h"

namespace hugot::cpu {

// Floats of scratch that one call of attention() needs (each thread its own).
int64_t attention_scratch(const AttentionArgs& args);

// Computes heads [head_begin, head_end); calls for disjoint ranges may run at the same time. Heads
// of one group (same kv head) in one call share the preparation of their keys and values.
void attention(const AttentionArgs& args, int64_t head_begin, int64_t head_end, float* scratch);

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_ATTENTION_H_
