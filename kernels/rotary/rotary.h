// Rotary position embeddings: pairs of features turned by angles that depend on the position.
#ifndef HUGOT_KERNELS_ROTARY_ROTARY_H_
#define HUGOT_KERNELS_ROTARY_ROTARY_H_

#include <string_view>

#include "graph/op.h"

namespace hugot::rotary {

// hugot.Rotary(x, cos, sin): y = x * cos + turned(x) * sin on the first R features of the last axis
// of x, the others are copied. R is attribute rotary_dim, 0 or absent: the whole axis.
//   turned(x)  (-x2, x1) for x = (x1, x2) cut in the middle; with attribute interleaved = 1
//              (-x[1], x[0], -x[3], x[2], ..)
//   cos, sin   broadcast to x; their last axis has R entries, or R / 2: one per pair
// x may be laid out with tokens or with heads first; all that matters is that cos and sin broadcast
// to it. Two roundings per product and sum, as separate operators have.
void rotary(KernelContext& ctx);

// ai.onnx RotaryEmbedding: x [batch, heads, tokens, features] or [batch, tokens, heads * features];
// tables [batch, tokens, R / 2], or [positions, R / 2] with positions [batch, tokens].
void rotary_embedding(KernelContext& ctx);

// What the attributes say for a last axis of `features`. Throws kInvalidArgument when it does not
// fit.
struct Rotation {
  int64_t dims;  // R
  bool interleaved;
};
Rotation rotation_of(const Node& node, int64_t features,
                     std::string_view dims_attribute = "rotary_dim");

// Gradient rules: rotary_gradient.cc.
namespace rule {
GradientRule Rotary, RotaryEmbedding;
}  // namespace rule

}  // namespace hugot::rotary

#endif  // HUGOT_KERNELS_ROTARY_ROTARY_H_
