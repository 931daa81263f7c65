#include "onnx/node_metadata.h"

#include "base/error.h"
#include "onnx/proto.h"
#include "onnx/wire.h"

namespace hugot {

std::map<std::string, std::string, std::less<>> node_metadata(const LoadedModel& model,
                                                              std::string_view key) {
  WireIndex index;
  const std::string stripped = split_raw_data(model.bytes, MessageKind::kModel, index);
  onnx_proto::ModelProto proto;
  require(proto.ParseFromString(stripped), ErrorCode::kInvalidData, "not an ONNX model");
  std::map<std::string, std::string, std::less<>> result;
  for (const auto& node : proto.graph().node()) {
    if (node.output_size() == 0) continue;
    for (const auto& entry : node.metadata_props()) {
      if (entry.key() == key) result.emplace(node.output(0), entry.value());
    }
  }
  return result;
}

}  // namespace hugot
