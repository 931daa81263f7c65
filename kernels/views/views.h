// Kernels of the views room, and the rules that view operators share.
#ifndef HUGOT_KERNELS_VIEWS_VIEWS_H_
#define HUGOT_KERNELS_VIEWS_VIEWS_H_

#include <cstdint>
#include <span>
#include <utility>

#include "graph/op.h"

namespace hugot::views {

// Batching of operators that give the same memory another shape: elements of a token stay together
// and tokens stay in order when both sides have a leading token axis.
Batching batch_view(const BatchQuery& query);

// Tensor behind a Constant node's attributes.
Tensor constant_value(const Node& node);

// The one element that ConstantOfShape repeats; a scalar.
Tensor fill_value(const Node& node);

// True for Dropout nodes before version 7 that do not say that they are used for inference. Later
// ones have an input for that, or never train.
bool dropout_trains_by_attribute(const Node& node);

// The axes [first, second) of a tensor of this rank that Shape tells about.
std::pair<int, int> shape_range(const Node& node, int rank);

// The shape that Reshape gives to `in` for the elements of its shape input. Throws
// kInvalidArgument when the sizes do not fit.
Shape reshape_target(const Shape& in, std::span<const int64_t> target, bool allow_zero);

// Range(start, limit, delta) with delta != 0: the number of elements.
int64_t range_length(int64_t start, int64_t limit, int64_t delta);

void reshape(KernelContext& ctx);
void flatten(KernelContext& ctx);
void squeeze(KernelContext& ctx);
void unsqueeze(KernelContext& ctx);
void identity(KernelContext& ctx);
void view(KernelContext& ctx);
void dropout(KernelContext& ctx);
void shape(KernelContext& ctx);
void size(KernelContext& ctx);
void constant(KernelContext& ctx);
void constant_of_shape(KernelContext& ctx);
void range(KernelContext& ctx);
void expand(KernelContext& ctx);
void eye_like(KernelContext& ctx);

// Gradient rules: views_gradient.cc.
namespace rule {
GradientRule Dropout, Expand, EyeLike, Range, View;
}  // namespace rule

}  // namespace hugot::views

#endif  // HUGOT_KERNELS_VIEWS_VIEWS_H_
