// Softmax, LogSoftmax and Hardmax.
#ifndef HUGOT_KERNELS_SOFTMAX_SOFTMAX_H_
#define HUGOT_KERNELS_SOFTMAX_SOFTMAX_H_

#include "graph/op.h"

namespace hugot::softmax {

enum class Kind { kSoftmax, kLogSoftmax, kHardmax };

// From this version on the operators work along one axis; before, they see the input as a matrix
// [axes before `axis`, axes from `axis` on] and work along its rows.
inline constexpr int kOneAxis = 13;

// The node's axis as it stands in the file.
inline int64_t axis_of(const Node& node) {
  return node.get<int64_t>("axis", node.op->since_version < kOneAxis ? 1 : -1);
}

template <Kind kKind>
void kernel(KernelContext& ctx);

// Gradient rules: softmax_gradient.cc.
namespace rule {
GradientRule Hardmax, LogSoftmax, Softmax;
}  // namespace rule

}  // namespace hugot::softmax

#endif  // HUGOT_KERNELS_SOFTMAX_SOFTMAX_H_
