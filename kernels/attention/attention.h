// Attention of ONNX, and the engine's own fused form for encoders.
#ifndef HUGOT_KERNELS_ATTENTION_ATTENTION_H_
#define HUGOT_KERNELS_ATTENTION_ATTENTION_H_

#include "graph/op.h"

namespace hugot::attention {

// hugot.Attention: y = softmax(scale * Q K^T + bias) V with packed heads. Query i sees the keys j
// with i - left_window_size <= j <= i + right_window_size (attributes, absent or -1: no limit);
// causal = 1 means right_window_size = 0.
void fused(KernelContext& ctx);

// hugot.RelativeAttention: hugot.Attention whose bias has terms for what a query and the position
// of a key, and a key and the position of a query, have to say to each other (disentangled
// attention):
//   y = softmax(scale * Q K^T + bias
//               + query_scale * gather(Q A, a) + key_scale * gather(K B, b)^T) V
// Inputs: Q, K, V, bias (may be absent), A [heads, head_dim, positions], a int64 [.., queries,
// keys], B [heads, head_dim, positions], b int64 [.., keys, queries]; A and a or B and b may be
// absent. gather takes elements of the last axis as GatherElements does.
void relative(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_relative(const Node& node,
                                                 std::span<const Tensor* const> constants,
                                                 BlockStore& store);

// ai.onnx Attention 23 to 25, as its function body in the specification computes it.
void onnx(KernelContext& ctx);

// hugot.Attention in float64, for exactness rather than speed. Not for segments.
void fused_f64(KernelContext& ctx);

// hugot.AttentionGradient: dQ, dK, dV and, where wanted, the gradient of the bias before it was
// broadcast, [B, heads, queries, keys], of hugot.Attention, whose attributes it has. Inputs: Q, K,
// V, dY, bias (may be absent), and keys for the gradients of hugot.DropoutAttention. float32 and
// float64.
void fused_gradient(KernelContext& ctx);

// hugot.DropoutAttention: hugot.Attention whose probabilities are subject to dropout. Inputs: Q, K,
// V, bias (may be absent), keys int64 [B, S] of the queries. Of the rows of a query, one for each
// head, those elements are dropped that hugot.Dropout with attributes `ratio` and `site` drops.
// float32 and float64.
void with_dropout(KernelContext& ctx);

// Gradient rules: attention_gradient.cc.
namespace rule {
GradientRule Attention, DropoutAttention, FusedAttention;
}  // namespace rule

}  // namespace hugot::attention

#endif  // HUGOT_KERNELS_ATTENTION_ATTENTION_H_
