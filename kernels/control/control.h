// Kernels of the control room: operators that run graphs.
#ifndef HUGOT_KERNELS_CONTROL_CONTROL_H_
#define HUGOT_KERNELS_CONTROL_CONTROL_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/op.h"

namespace hugot::control {

// How Scan walks along its inputs and outputs.
struct ScanLayout {
  int states = 0;
  int inputs = 0;                                // scanned
  int outputs = 0;                               // stacked
  std::vector<int64_t> input_axes, output_axes;  // one each; may be negative
  std::vector<bool> input_reversed, output_reversed;
};

// The layout of a Scan node with this many own inputs (besides sequence_lens). Throws kInvalidData
// when attributes and numbers do not fit.
ScanLayout scan_layout(const Node& node, int own_inputs);

void if_else(KernelContext& ctx);
void loop(KernelContext& ctx);
void scan(KernelContext& ctx);
// Scan-8: everything has a leading batch axis and texts in it have lengths of their own.
void scan_batch(KernelContext& ctx);
void sequence_map(KernelContext& ctx);

// Gradient rules: control_gradient.cc.
namespace rule {
GradientRule If, Loop, Scan;
}  // namespace rule

}  // namespace hugot::control

#endif  // HUGOT_KERNELS_CONTROL_CONTROL_H_
