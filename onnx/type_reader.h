// TypeProto to facts.
#ifndef HUGOT_ONNX_TYPE_READER_H_
#define HUGOT_ONNX_TYPE_READER_H_

#include <string_view>

#include "graph/fact.h"
#include "onnx/loader.h"
#include "onnx/proto.h"

namespace hugot {

// What a type says. A dimension without number is its symbol, or a symbol made of `value_name`.
// Throws kInvalidData and kUnsupported.
Fact read_fact(const onnx_proto::TypeProto& type, std::string_view value_name);

// The port of a declared input or output. Throws kInvalidData naming it.
ModelPort read_port(const onnx_proto::ValueInfoProto& info);

}  // namespace hugot

#endif  // HUGOT_ONNX_TYPE_READER_H_
