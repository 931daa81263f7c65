// GraphProto to Graph.
#ifndef HUGOT_ONNX_GRAPH_READER_H_
#define HUGOT_ONNX_GRAPH_READER_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "graph/graph.h"
#include "graph/op.h"
#include "onnx/proto.h"
#include "onnx/tensor_reader.h"

namespace hugot {

using OpsetMap = std::map<std::string, int, std::less<>>;  // "" for ai.onnx

// "ai.onnx" and "" are the same domain; this is "" for both.
std::string_view normalized_domain(std::string_view domain);

// Throws kInvalidData for a version out of range and for a domain with two versions.
OpsetMap read_opsets(
    const google::protobuf::RepeatedPtrField<onnx_proto::OperatorSetIdProto>& imports);

// A function of a model, in the form of a graph.
struct ModelFunction {
  explicit ModelFunction(const onnx_proto::FunctionProto& function);

  const onnx_proto::FunctionProto* proto;
  onnx_proto::GraphProto body;
  OpsetMap opsets;
};

// By domain, name and overload.
using ModelFunctions = std::map<std::tuple<std::string, std::string, std::string>, ModelFunction>;

// What all graphs of a model share.
struct ModelContext {
  const OpRegistry& ops;
  const TensorReader& tensors;
  const ModelFunctions& functions;
  size_t* inlined_nodes;  // made by calls of functions so far
  OpsetMap opsets;
  bool in_function = false;

  // The function that a node calls, or null.
  const ModelFunction* find_function(const onnx_proto::NodeProto& node) const;
  // The same for the nodes of a function.
  ModelContext inside(const ModelFunction& function) const;
};

// Throws kInvalidData for two functions of one name.
ModelFunctions read_functions(const onnx_proto::ModelProto& proto);

// Throws kInvalidData or kUnsupported naming graph and node or tensor.
Graph read_graph(const onnx_proto::GraphProto& proto, const ModelContext& context);

}  // namespace hugot

#endif  // HUGOT_ONNX_GRAPH_READER_H_
