// Recurrent layers: RNN, GRU and LSTM.
#ifndef HUGOT_KERNELS_RECURRENT_RECURRENT_H_
#define HUGOT_KERNELS_RECURRENT_RECURRENT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "graph/op.h"
#include "kernels/recurrent/activation.h"

namespace hugot::recurrent {

enum class Cell { kRnn, kGru, kLstm };

constexpr int gates_of(Cell cell) { return cell == Cell::kRnn ? 1 : cell == Cell::kGru ? 3 : 4; }

// What the attributes say.
struct Layer {
  int64_t directions = 1;
  bool first_reversed = false;       // the only direction is the reverse one
  bool batch_first = false;          // attribute layout
  float clip = 0;                    // of what the gates see; 0: none
  bool input_forget = false;         // LSTM: the forget gate is 1 - the input gate
  bool linear_before_reset = false;  // GRU: the reset gate acts on the product, not on the state
  // Those of one direction after the other: f, g, h of the specification, as many as the cell has.
  std::vector<Activation> activations;
};

// Throws kInvalidArgument for attributes that mean nothing.
Layer layer_of(Cell cell, const Node& node);

// The lengths of a run; G is gates_of(cell).
struct Sizes {
  int64_t steps = 0, batch = 0;
  int64_t inputs = 0, hidden = 0;
};

// Checks every operand against X, W [directions, G hidden, inputs] and R [directions, G hidden,
// hidden]. Throws kInvalidArgument where they do not fit.
Sizes sizes_of(Cell cell, const Layer& layer, const KernelContext& ctx);

template <Cell cell>
void run(KernelContext& ctx);
extern template void run<Cell::kRnn>(KernelContext&);
extern template void run<Cell::kGru>(KernelContext&);
extern template void run<Cell::kLstm>(KernelContext&);

// How many steps each sequence of the batch has: input 4, or all. Throws kInvalidArgument for
// lengths that are none.
std::vector<int64_t> lengths_of(const KernelContext& ctx, const Sizes& sizes);

// The gradients of X, W, R, B, both initial states and the peepholes. Inputs are those of the
// layer, then the gradients of its outputs; those that are omitted are zeros.
template <Cell cell>
void gradient(KernelContext& ctx);
extern template void gradient<Cell::kRnn>(KernelContext&);
extern template void gradient<Cell::kGru>(KernelContext&);
extern template void gradient<Cell::kLstm>(KernelContext&);

std::shared_ptr<const Prepared> prepare(Cell cell, std::span<const Tensor* const> constants,
                                        BlockStore& store);

namespace rule {
GradientRule Gru, Lstm, Rnn;
}  // namespace rule

}  // namespace hugot::recurrent

#endif  // HUGOT_KERNELS_RECURRENT_RECURRENT_H_
