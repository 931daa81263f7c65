// ONNX files to graphs.
#ifndef HUGOT_ONNX_LOADER_H_
#define HUGOT_ONNX_LOADER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// An input or output as the file declares it.
struct ModelPort {
  std::string name;
  std::string type;  // "tensor(float32)", "seq(tensor(int64))", ..; empty when the file has none
  Fact fact;         // element type and shape of tensors; a promise of the file, not a proof
};

// What a model file says, with a graph that can be changed freely.
struct LoadedModel {
  Graph graph;
  // In the order of graph.inputs and graph.outputs.
  std::vector<ModelPort> inputs;
  std::vector<ModelPort> outputs;

  std::string graph_name;
  int64_t ir_version = 0;
  int64_t model_version = 0;
  std::string producer_name;
  std::string producer_version;
  std::string domain;
  std::string doc_string;
  std::map<std::string, std::string> metadata;

  // The bytes the model was read from (a map of the file), the file's path (empty for a model from
  // memory), and LoadOptions::external_data_directory: for write_updated_model().
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
  std::filesystem::path path;
  std::filesystem::path external_data_directory;
  // The model's file and those of its external data, without those that are read in memory.
  std::vector<std::shared_ptr<const MappedFile>> files;

  // Tells the kernel that the files' pages are not needed for now, e.g. once weights are packed.
  // What is touched again is read again. Nothing happens for a model from memory.
  void drop_pages() const;
};

struct LoadOptions {
  // Where external data may lie. Empty: in the model file's own directory (external_data.h), and
  // nowhere for a model from memory.
  std::filesystem::path external_data_directory;
  // Nodes of older versions are rewritten to this version of ai.onnx where that is exact
  // (upgrade.h). 0: the model's own version, which functions may differ from.
  int opset = 0;
};

// Reads a model. Initializers are read-only views on the mapped file (or on its external data
// files) where they lie aligned for their element type, else copies; a file must not be truncated
// or overwritten in place while the model or one of its tensors lives. Nodes are in topological
// order whatever the order in the file. An initializer that is also an input counts as initializer
// only. Sparse tensors become dense. Calls of the model's functions are replaced by the nodes of
// the function. Node::op is what `ops` has for the node's version; null for operators it does not
// have.
//
// Inputs have the declared element type and shape; a dimension without number is its symbol, or a
// symbol of its own. Other values have facts only when they are constant; those behind a node
// without `op` have the element type that value_info declares.
//
// Throws kNotFound and kIo for files, kInvalidData for what is malformed, kUnsupported for what
// this version cannot represent; the message names file, graph, and node or tensor.
LoadedModel load_model(const std::filesystem::path& path, const OpRegistry& ops,
                       const LoadOptions& options = {});

// The same from memory. `owner` keeps `bytes` alive; null when the caller does for as long as the
// model or one of its tensors lives.
LoadedModel load_model(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                       const OpRegistry& ops, const LoadOptions& options = {});

}  // namespace hugot

#endif  // HUGOT_ONNX_LOADER_H_
