// Model directories with random weights, to be trained from nothing.
#ifndef HUGOT_MODELS_NEW_MODEL_H_
#define HUGOT_MODELS_NEW_MODEL_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "graph/op.h"
#include "hugot/hugot.hpp"

namespace hugot {

// The shape of a new sentence-embedding model.
struct NewModelOptions {
  std::string architecture = "bert";
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t intermediate = 0;
  int64_t max_length = 512;  // tokens of a text, special ones included; rows of the position table
  Pooling pooling = Pooling::kMean;  // kMean or kCls
  int64_t dim = 0;         // of a Dense layer behind the pooling, without activation; 0: none
  bool normalize = false;  // vectors of length 1
  uint64_t seed = 0;
  std::filesystem::path tokenizer;  // a directory, or a tokenizer.json
  bool force = false;               // replaces the output when it is there
};

// Writes a model directory as sentence-transformers has them: onnx/model.onnx, the same weights as
// model.safetensors, the tokenizer, configuration and modules. Matrices are drawn from a normal
// distribution with deviation 0.02 that is cut at two deviations, as those of BERT were (Devlin et
// al. 2018, initializer_range); scales are 1 and biases 0. Equal options give equal bytes.
// `output` is there as a whole or not at all.
//
// Throws kInvalidArgument for shapes that make no model, an unknown architecture or an `output`
// that exists and is not empty, unless `force`; kInvalidData for a tokenizer whose ids have gaps;
// what Tokenizer::from_file throws; kIo.
void new_model(const NewModelOptions& options, const std::filesystem::path& output,
               const OpRegistry& ops);

}  // namespace hugot

#endif  // HUGOT_MODELS_NEW_MODEL_H_
