// Graphs and trained weights to ONNX files.
#ifndef HUGOT_ONNX_EXPORTER_H_
#define HUGOT_ONNX_EXPORTER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "graph/graph.h"
#include "onnx/loader.h"

namespace hugot {

// Writes the file `model` was loaded from to `path`, with new data for the weights in `changed`:
// names of initializers of the main graph, or of outputs of its Constant nodes. Everything else,
// unknown fields included, keeps its bytes; without changes the copy is identical. A weight whose
// data are not raw bytes in the file (float_data and the like) becomes raw_data.
//
// External data files are written beside `path` under their locations; those without changes that
// are there already are left alone. Each file is written atomically and streamed; data files come
// first. `path` may be the file that was loaded: the model keeps reading the old one.
//
// Throws kInvalidArgument for a name that the file does not have, another element type or shape, or
// two different values for weights that share their bytes; kIo as write_file_atomically does.
void write_updated_model(const LoadedModel& model,
                         const std::map<std::string, Tensor, std::less<>>& changed,
                         const std::filesystem::path& path);

struct ExportOptions {
  std::string graph_name = "main";
  std::string producer_version;
  std::string doc_string;
  std::map<std::string, std::string> metadata;
  // Weights beyond this size in all go to PATH.data ("model.onnx.data"), because a protobuf message
  // ends at 2 GiB. Those of less than 1 KiB stay in the model file.
  int64_t max_inline_bytes = 1'900'000'000;
};

// Writes a graph as a model of its own: inputs and outputs with their facts, the nodes, and the
// constants they read as raw_data. The IR version is the lowest that the content allows, 8 at
// least and 10 at most unless an element type needs more. Weights are written from where they lie,
// without a copy in memory; the file is written atomically.
//
// Throws kInvalidArgument when an input or output has no element type, when there is no version of
// a domain in which all of its nodes mean the same (upgrade_opset() helps), or when a tensor is
// read that nothing produces; kUnsupported when more than 2 GiB remain besides weights; kIo.
void write_model(const Graph& graph, const std::filesystem::path& path,
                 const ExportOptions& options = {});

}  // namespace hugot

#endif  // HUGOT_ONNX_EXPORTER_H_
