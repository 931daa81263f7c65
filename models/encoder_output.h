// What encoders of texts and of images have in common.
#ifndef HUGOT_MODELS_ENCODER_OUTPUT_H_
#define HUGOT_MODELS_ENCODER_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "graph/graph.h"
#include "hugot/hugot.hpp"

namespace hugot {

// Which output of a graph has this name; without a name the first. Throws kInvalidArgument naming
// those that there are, kInvalidData for a graph without outputs.
int find_output(const Graph& graph, const std::string& name);

// `count` elements of a tensor of any floating type as float32; `buffer` holds them when a
// conversion is needed. Throws kUnsupported for other types.
const float* as_floats(const Tensor& tensor, int64_t first, int64_t count,
                       std::vector<float>& buffer);

// "model", "fp32", "bf16", "int8". Throws kInvalidArgument for what is no precision.
const char* precision_name(Precision precision);

}  // namespace hugot

#endif  // HUGOT_MODELS_ENCODER_OUTPUT_H_
