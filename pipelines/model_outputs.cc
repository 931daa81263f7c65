#include "pipelines/model_outputs.h"

#include <algorithm>

namespace hugot {

std::vector<ModelOutput> model_outputs(const LoadedModel& model,
                                       std::span<const std::string> used) {
  std::vector<ModelOutput> outputs;
  for (const ModelPort& port : model.outputs) {
    ModelOutput& output = outputs.emplace_back();
    output.name = port.name;
    output.type = port.type;
    output.used = std::find(used.begin(), used.end(), port.name) != used.end();
    if (!port.fact.shape) continue;
    output.dims.emplace();
    for (const Dim& dim : *port.fact.shape) output.dims->push_back(dim.number().value_or(-1));
  }
  return outputs;
}

}  // namespace hugot
