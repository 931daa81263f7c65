// GraphProto to Graph.
#ifndef HUGOT_ONNX_GRAPH_READER_H_
#define HUGOT_ONNX_GRAPH_READER_H_

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "graph/graph.h"
#include "graph/op.h"
#include "onnx/loader.h"
#include "onnx/proto.h"
#include "onnx/tensor_reader.h"

namespace hugot {

// What all graphs of a model share.
struct ModelContext {
  const OpRegistry& ops;
  const TensorReader& tensors;
  std::map<std::string, int, std::less<>> opsets;           // "" for ai.onnx
  std::set<std::pair<std::string, std::string>> functions;  // (domain, name)
};

// "ai.onnx" and "" are the same domain; this is "" for both.
std::string_view normalized_domain(std::string_view domain);

// The port of a declared input or output. Throws kInvalidData naming it.
ModelPort read_port(const onnx_proto::ValueInfoProto& info);

// Throws kInvalidData or kUnsupported naming graph and node or tensor.
Graph read_graph(const onnx_proto::GraphProto& proto, const ModelContext& context);

}  // namespace hugot

#endif  // HUGOT_ONNX_GRAPH_READER_H_
