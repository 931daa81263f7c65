// From the files of transformers (config.json, model.safetensors), or from a model directory with a
// graph, to a model directory with a graph.
#ifndef HUGOT_MODELS_CONVERT_H_
#define HUGOT_MODELS_CONVERT_H_

#include <filesystem>
#include <string>

#include "graph/op.h"
#include "hugot/hugot.hpp"

namespace hugot {

struct ConvertOptions {
  bool force = false;  // replaces the output when it is there
  // Of the weights of linear layers in the file (models/narrow_weights.h), and how the model then
  // computes unless told otherwise. With kInt8 and kBFloat16 the source may be a directory with a
  // graph of any family; the graph is preferred to weights.
  Precision precision = Precision::kFloat32;
  // Tables of embeddings, too (narrow_embeddings()); needs kInt8 or kBFloat16.
  bool embeddings = false;
  std::string onnx_filename = {};  // the source's graph, relative to it; empty: the usual places
};

// Writes `output`/onnx/model.onnx for the model in `source`, with copies of its configuration,
// tokenizer, modules and licence. Builds in a folder beside `output` and renames it at the end, so
// that `output` is there as a whole or not at all. Throws kInvalidArgument when `output` exists and
// is not empty, unless `force`; kUnsupported for weights of other families than BERT; kInvalidData
// and kIo naming the file.
void convert_model(const std::filesystem::path& source, const std::filesystem::path& output,
                   const OpRegistry& ops, const ConvertOptions& options = {});

}  // namespace hugot

#endif  // HUGOT_MODELS_CONVERT_H_
