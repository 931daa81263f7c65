// The activation functions that recurrent layers name.
#ifndef HUGOT_KERNELS_RECURRENT_ACTIVATION_H_
#define HUGOT_KERNELS_RECURRENT_ACTIVATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace hugot::recurrent {

struct Activation {
  enum class Kind {
    kAffine,
    kElu,
    kHardSigmoid,
    kLeakyRelu,
    kRelu,
    kScaledTanh,
    kSigmoid,
    kSoftplus,
    kSoftsign,
    kTanh,
    kThresholdedRelu,
  };
  Kind kind = Kind::kTanh;
  float alpha = 0, beta = 0;
};

// Attributes activations, activation_alpha and activation_beta, for `count` functions; `fallback`
// are the names of the first direction when there are none. A function that has no alpha or beta
// takes none of the lists; what is missing at their ends has the value that the ONNX operator of
// that name has. Throws kInvalidArgument for unknown names and wrong counts.
std::vector<Activation> activations_of(const Node& node, size_t count,
                                       const std::vector<std::string>& fallback);

// x[i] = f(x[i]), x[i] cut to [-clip, clip] before unless clip is 0.
void apply(const Activation& f, float clip, float* x, int64_t n);
void apply(const Activation& f, float clip, double* x, int64_t n);

// y[i] = the derivative of that in x[i]; where there is a kink, that of one side.
void slopes(const Activation& f, float clip, const float* x, float* y, int64_t n);
void slopes(const Activation& f, float clip, const double* x, double* y, int64_t n);

}  // namespace hugot::recurrent

#endif  // HUGOT_KERNELS_RECURRENT_ACTIVATION_H_
