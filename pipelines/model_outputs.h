// What pipelines tell about the graph of their model.
#ifndef HUGOT_PIPELINES_MODEL_OUTPUTS_H_
#define HUGOT_PIPELINES_MODEL_OUTPUTS_H_

#include <span>
#include <string>
#include <vector>

#include "hugot/common.hpp"
#include "onnx/loader.h"

namespace hugot {

// All outputs of the graph; `used` has the names of those that the pipeline reads.
std::vector<ModelOutput> model_outputs(const LoadedModel& model, std::span<const std::string> used);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_MODEL_OUTPUTS_H_
