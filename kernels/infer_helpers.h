// Pieces of type and shape inference that rooms share.
#ifndef HUGOT_KERNELS_INFER_HELPERS_H_
#define HUGOT_KERNELS_INFER_HELPERS_H_

#include <optional>
#include <span>

#include "graph/op.h"

namespace hugot {

// The dtype of input i; throws kInvalidArgument when inputs i and j are both known and differ.
DType input_dtype(const InferContext& ctx, int i);
void require_same_dtype(const InferContext& ctx, int i, int j);

// Numpy's broadcast of the shapes of all inputs that are present; empty when a rank is unknown.
std::optional<Dims> broadcast_inputs(const InferContext& ctx);

// Output 0 has the dtype and shape of input 0.
void infer_same_as_input(InferContext& ctx);

// For operators that compute every element alone: when every element of each input is known to be
// one number, runs the node on scalars and says so of output 0. Call it after dtype and shape.
void propagate_uniform(InferContext& ctx);
// The same with the scalars given (null: absent), for operators with inputs that are no elements.
void propagate_uniform(InferContext& ctx, std::span<const Tensor* const> scalars);

// Computes one symbolic element of the output from those of the inputs under broadcasting; empty
// when it cannot be said.
using SymbolicRule = std::optional<Dim> (*)(std::span<const Dim> elements);

// Sets output(0).symbolic when the elements of all inputs are known or symbolic, there are not too
// many, and the rule has an answer for all of them. Call it after dtype and shape.
void propagate_symbolic(InferContext& ctx, SymbolicRule rule);

// Output `index` is what input `i` is: dtype, shape, and everything known about the elements.
void pass_fact(InferContext& ctx, int i, int index = 0);

// A dimension of output `output` about which nothing is known: a symbol of its own.
Dim unknown_dim(const InferContext& ctx, int output, int axis);
// `rank` of them.
Dims unknown_dims(const InferContext& ctx, int output, int rank);

// The shape that input i, a list of dimensions, holds: its elements, as far as they are known, or
// unknown dimensions of output 0 when only their number is. Throws kInvalidArgument for negative
// numbers.
std::optional<Dims> shape_given_by(const InferContext& ctx, int i);

// True when no dimension of `fact` behind `axis` depends on the text.
bool fixed_behind(const Fact& fact, int axis);

// Axis normalised against a shape whose rank is known.
int infer_axis(const Dims& shape, int64_t axis);

}  // namespace hugot

#endif  // HUGOT_KERNELS_INFER_HELPERS_H_
