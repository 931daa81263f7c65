// What all pipelines have in common: how a model is loaded, how a result may fail, statistics.
#ifndef HUGOT_COMMON_HPP_
#define HUGOT_COMMON_HPP_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/error.hpp"
#include "hugot/export.h"

namespace hugot {

// "0.1.0"
HUGOT_API std::string_view version() noexcept;

// How linear layers compute. Everything else computes in float32 always.
enum class Precision {
  kModel,  // what the model was converted for (`hugot convert --precision`), else float32
  kFloat32,
  kBFloat16,  // weights stored as bfloat16, computed in float32: half the memory
  kInt8,      // weights in 8 bits with a scale per column, inputs in 8 bits with a scale per token
};

// How a model is loaded by the pipelines below. Pipelines of a session that ask for the same file
// and precision share one loaded model.
struct ModelOptions {
  // Texts and pairs are cut to so many tokens, special ones included; 0: what the model directory
  // says.
  int max_length = 0;
  // As in FeatureExtractionOptions.
  std::string onnx_filename = {};
  Precision precision = Precision::kModel;
};

// What turns a model's scores into those of the result.
enum class ScoreFunction { kSoftmax, kSigmoid, kNone };

// A result for one text, or why there is none.
template <class T>
struct Outcome {
  T value = {};
  std::string error = {};  // empty: fine
};

struct ScoredLabel {
  size_t id = 0;
  std::string label;  // of config.json; LABEL_7 where it has no name
  double score = 0;
};

// One text, or two that the model sees together.
struct TextPair {
  std::string_view text;
  std::optional<std::string_view> pair = {};
};

// An output of the model's graph, as the file declares it.
struct ModelOutput {
  std::string name;
  std::string type;  // "tensor(float32)"; empty: not declared
  // -1 where the number differs from run to run. None: not declared.
  std::optional<std::vector<int64_t>> dims;
  bool used = false;  // by the pipeline
};

// Sums over all calls of run() since the pipeline was made.
struct PipelineStatistics {
  uint64_t texts = 0;
  uint64_t tokens = 0;
  uint64_t failed_texts = 0;
  double tokenize_seconds = 0;
  double model_seconds = 0;
  uint64_t tokenize_calls = 0;  // batches
  uint64_t model_calls = 0;
  // What the model was given: more than texts where a text comes with labels or documents.
  uint64_t sequences = 0;
  uint64_t filtered_results = 0;  // left out for their score
};

}  // namespace hugot

#endif  // HUGOT_COMMON_HPP_
