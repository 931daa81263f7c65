// Signals in time and frequency: DFT, STFT, windows, and bands of the mel scale.
#ifndef HUGOT_KERNELS_SIGNAL_SIGNAL_H_
#define HUGOT_KERNELS_SIGNAL_SIGNAL_H_

#include <cstdint>
#include <string_view>

#include "graph/op.h"

namespace hugot::signal {

// The axis of a DFT on a tensor of this rank: `given`, counted from the front. Throws
// kInvalidArgument when there is none, and for the last, which holds real and imaginary parts.
int checked_axis(int64_t given, int rank);

// The one integer in an operand, called `what` in errors. Throws kInvalidArgument for others.
int64_t single_integer(const Tensor& tensor, std::string_view what);

// The type that attribute output_datatype names. Throws kInvalidArgument for what is no number.
DType output_dtype(const Node& node);

void dft(KernelContext& ctx);
void stft(KernelContext& ctx);

enum class Window { kHann, kHamming, kBlackman };
template <Window window>
void make_window(KernelContext& ctx);
extern template void make_window<Window::kHann>(KernelContext&);
extern template void make_window<Window::kHamming>(KernelContext&);
extern template void make_window<Window::kBlackman>(KernelContext&);

void mel_weights(KernelContext& ctx);

namespace rule {
GradientRule Dft, Stft;
}  // namespace rule

}  // namespace hugot::signal

#endif  // HUGOT_KERNELS_SIGNAL_SIGNAL_H_
