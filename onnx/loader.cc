#include "onnx/loader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "onnx/external_data.h"
#include "onnx/graph_reader.h"
#include "onnx/proto.h"
#include "onnx/tensor_reader.h"
#include "onnx/type_reader.h"
#include "onnx/upgrade.h"
#include "onnx/wire.h"

namespace hugot {
namespace {

using onnx_proto::ModelProto;

void read_description(const ModelProto& proto, LoadedModel& model) {
  model.graph_name = proto.graph().name();
  model.ir_version = proto.ir_version();
  model.model_version = proto.model_version();
  model.producer_name = proto.producer_name();
  model.producer_version = proto.producer_version();
  model.domain = proto.domain();
  model.doc_string = proto.doc_string();
  for (const auto& entry : proto.metadata_props()) model.metadata[entry.key()] = entry.value();
}

LoadedModel load(const ModelBytes& source, const std::filesystem::path& path, const OpRegistry& ops,
                 const LoadOptions& options) {
  ExternalFiles external(path, options.external_data_directory);
  WireIndex index;
  ModelProto proto;
  {
    const std::string stripped = split_raw_data(source.bytes, MessageKind::kModel, index);
    require(proto.ParseFromString(stripped), ErrorCode::kInvalidData, "not an ONNX model");
  }
  require(proto.has_graph(), ErrorCode::kInvalidData, "not an ONNX model: there is no graph");

  LoadedModel model;
  read_description(proto, model);
  const TensorReader tensors(source, index, external);
  const ModelFunctions functions = read_functions(proto);
  size_t inlined_nodes = 0;
  model.graph = read_graph(
      proto.graph(), {ops, tensors, functions, &inlined_nodes, read_opsets(proto.opset_import())});
  const auto main_opset = model.graph.opsets.find("");
  const int own = main_opset == model.graph.opsets.end() ? 0 : main_opset->second;
  if (const int target = std::max(options.opset, own); inlined_nodes > 0 || target > own) {
    upgrade_opset(model.graph, ops, target);
  }

  for (const auto& input : proto.graph().input()) {
    const Value& value = model.graph.value(model.graph.find(input.name()));
    if (!value.initializer) model.inputs.push_back(read_port(input));
  }
  for (const auto& output : proto.graph().output()) model.outputs.push_back(read_port(output));
  model.bytes = source.bytes;
  model.owner = source.owner;
  model.path = path;
  model.external_data_directory = options.external_data_directory;
  model.files = external.opened();
  if (source.file != nullptr) model.files.insert(model.files.begin(), source.file);
  return model;
}

}  // namespace

void LoadedModel::drop_pages() const {
  for (const auto& file : files) file->drop_pages(file->bytes().data(), file->bytes().size());
}

LoadedModel load_model(const std::filesystem::path& path, const OpRegistry& ops,
                       const LoadOptions& options) {
  const auto file = MappedFile::open(path);
  return with_context([&] { return path.string(); },
                      [&] {
                        return load({file->bytes(), file, file}, path, ops, options);
                      });
}

LoadedModel load_model(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                       const OpRegistry& ops, const LoadOptions& options) {
  return with_context([] { return "model in memory"; },
                      [&] {
                        return load({bytes, std::move(owner), nullptr}, {}, ops, options);
                      });
}

}  // namespace hugot
