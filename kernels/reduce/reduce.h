// Reductions along axes, positions of extremes, running sums and the k largest.
#ifndef HUGOT_KERNELS_REDUCE_REDUCE_H_
#define HUGOT_KERNELS_REDUCE_REDUCE_H_

#include <optional>
#include <span>
#include <vector>

#include "graph/op.h"

namespace hugot::reduce {

// What one operator does with the elements that meet in an output: reduce_cpu.cc.
namespace fn {
struct L1;
struct L2;
struct LogSum;
struct LogSumExp;
struct Max;
struct Mean;
struct Min;
struct Prod;
struct Sum;
struct SumSquare;
}  // namespace fn

// Which axes of a tensor of `rank` a node reduces: flags, one per axis. `axes` are those given by
// attribute or input; none given means all, or none with noop_with_empty_axes. Throws
// kInvalidArgument for axes that are out of range or given twice.
std::vector<bool> reduced_axes(const Node& node, std::span<const int64_t> axes, int rank);

// A reduction of a shape: neighbouring axes of one kind are merged, axes of length 1 left out.
struct Reduction {
  struct Axis {
    int64_t length;
    int64_t step;      // elements of the input
    int64_t out_step;  // elements of the output, 0 along a reduced axis
    bool reduced;
  };
  std::vector<Axis> axes;
  int64_t outputs = 1;
  int64_t count = 1;  // elements that meet in each output
  Shape shape;        // of the output
};

// The reduction of the marked axes to a tensor of shape `result`.
Reduction plan_reduction(const Shape& shape, const std::vector<bool>& reduced, const Shape& result);
// The reduction that the node of `ctx` asks for, of an input of this shape.
Reduction plan_reduction(KernelContext& ctx, const Shape& shape);

template <class R>
void reduce(KernelContext& ctx);

// All axes behind batch and channels, which stay as axes of length 1.
template <class R>
void global_pool(KernelContext& ctx);

// hugot.SumTo(x, shape): the sum over everything that broadcasting `shape` to that of x repeats.
void sum_to(KernelContext& ctx);

template <bool kMax>
void arg_extreme(KernelContext& ctx);

void cum_sum(KernelContext& ctx);
void cum_prod(KernelContext& ctx);

void top_k(KernelContext& ctx);

// Gradient rules: reduce_gradient.cc.
namespace rule {
GradientRule CumProd, CumSum, Extreme, GlobalMax, GlobalMean, L1, L2, LogSum, LogSumExp, Mean, Prod,
    Sum, SumSquare, SumTo, TopK;
}  // namespace rule

}  // namespace hugot::reduce

#endif  // HUGOT_KERNELS_REDUCE_REDUCE_H_
