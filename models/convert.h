// From the files of transformers (config.json, model.safetensors) to a model directory with a
// graph.
#ifndef HUGOT_MODELS_CONVERT_H_
#define HUGOT_MODELS_CONVERT_H_

#include <filesystem>

#include "graph/op.h"

namespace hugot {

// Writes `output`/onnx/model.onnx for the model in `source`, with copies of its configuration,
// tokenizer, modules and licence. Builds in a folder beside `output` and renames it at the end, so
// that `output` is there as a whole or not at all. Throws kInvalidArgument when `output` exists and
// is not empty, unless `force`; kUnsupported for other families than BERT; kInvalidData and kIo
// naming the file.
void convert_model(const std::filesystem::path& source, const std::filesystem::path& output,
                   bool force, const OpRegistry& ops);

}  // namespace hugot

#endif  // HUGOT_MODELS_CONVERT_H_
