// A model's graph made ready to run, in the way that it qualifies for.
#ifndef HUGOT_MODELS_COMPILED_MODEL_H_
#define HUGOT_MODELS_COMPILED_MODEL_H_

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/ragged.h"
#include "graph/passes/passes.h"
#include "hugot/hugot.hpp"
#include "onnx/loader.h"

namespace hugot {

struct CompileOptions {
  Precision precision = Precision::kModel;  // of linear layers; see EncoderOptions
  // Where packed weights are remembered (models/packed_cache.h). Empty: nowhere.
  std::filesystem::path cache_directory = {};
  // What else than model, output and precision decides which weights are packed, and how.
  std::string how_packed = {};
};

// One of the two plans.
struct CompiledModel {
  std::shared_ptr<const RaggedPlan> ragged;
  std::shared_ptr<const Plan> exact;
  std::string why_not_ragged;  // for the exact one
  Precision precision = Precision::kFloat32;
};

// Optimizes and compiles the outputs of these numbers of a model, whose graph is used up. REQUIRES:
// its graph has gone through keep_outputs() for them, and `inputs` describes what is left. A
// graph that does not qualify for ragged mode is loaded again and compiled for exact mode, in
// float32; when `options` ask for less that is kUnsupported. Throws what the loader and the passes
// throw. `context` gets the log of the passes.
CompiledModel compile_model(LoadedModel& model, std::span<const int> outputs,
                            const std::vector<RaggedInput>& inputs, PassContext& context,
                            const CompileOptions& options);

}  // namespace hugot

#endif  // HUGOT_MODELS_COMPILED_MODEL_H_
