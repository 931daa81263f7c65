#include "onnx/type_reader.h"

#include <string>

#include "base/error.h"
#include "onnx/tensor_reader.h"

namespace hugot {
namespace {

using onnx_proto::TensorShapeProto;
using onnx_proto::TypeProto;
using onnx_proto::ValueInfoProto;

// Types in types; protobuf's own limit is far higher.
constexpr int kMaxNesting = 8;

std::string type_text(const TypeProto& type) {
  const auto element = [](int32_t number) { return dtype_name(dtype_from_proto(number)); };
  switch (type.value_case()) {
    case TypeProto::kTensorType:
      if (type.tensor_type().elem_type() == 0) return "tensor";
      return str("tensor(", element(type.tensor_type().elem_type()), ")");
    case TypeProto::kSparseTensorType:
      return str("sparse_tensor(", element(type.sparse_tensor_type().elem_type()), ")");
    case TypeProto::kSequenceType:
      return "seq(" + type_text(type.sequence_type().elem_type()) + ")";
    case TypeProto::kOptionalType:
      return "optional(" + type_text(type.optional_type().elem_type()) + ")";
    case TypeProto::kMapType:
      return str("map(", element(type.map_type().key_type()), ",",
                 type_text(type.map_type().value_type()), ")");
    case TypeProto::kOpaqueType:
      return "opaque(" + type.opaque_type().domain() + "," + type.opaque_type().name() + ")";
    case TypeProto::VALUE_NOT_SET:
      break;
  }
  return "";
}

// A dimension without number or name, and the negative numbers that some exporters write for one,
// gets a symbol that no other value has.
Dims read_dims(const TensorShapeProto& shape, std::string_view value_name) {
  require(shape.dim_size() <= Shape::kMaxRank, ErrorCode::kUnsupported, "a tensor of rank ",
          shape.dim_size(), " is beyond the limit of ", Shape::kMaxRank);
  Dims dims;
  for (const TensorShapeProto::Dimension& dim : shape.dim()) {
    if (dim.has_dim_value() && dim.dim_value() >= 0) {
      dims.push_back(dim.dim_value());
    } else if (!dim.dim_param().empty()) {
      dims.push_back(Dim::symbol(dim.dim_param()));
    } else {
      dims.push_back(Dim::symbol(str(value_name, ":", dims.size())));
    }
  }
  return dims;
}

Fact fact_of(const TypeProto& type, std::string_view value_name, int depth) {
  require(depth < kMaxNesting, ErrorCode::kUnsupported, "types are nested more than ", kMaxNesting,
          " deep");
  switch (type.value_case()) {
    case TypeProto::kSequenceType:
      return Fact::sequence_of(fact_of(type.sequence_type().elem_type(), value_name, depth + 1));
    case TypeProto::kOptionalType:
      return Fact::optional_of(fact_of(type.optional_type().elem_type(), value_name, depth + 1));
    case TypeProto::kMapType:
      return Fact::map_of(dtype_from_proto(type.map_type().key_type()),
                          fact_of(type.map_type().value_type(), value_name, depth + 1));
    case TypeProto::kTensorType:
      break;
    default:
      return {};
  }
  Fact fact;
  const TypeProto::Tensor& tensor = type.tensor_type();
  if (tensor.elem_type() != 0) fact.dtype = dtype_from_proto(tensor.elem_type());
  if (tensor.has_shape()) fact.shape = read_dims(tensor.shape(), value_name);
  return fact;
}

}  // namespace

Fact read_fact(const TypeProto& type, std::string_view value_name) {
  return fact_of(type, value_name, 0);
}

ModelPort read_port(const ValueInfoProto& info) {
  return with_context(
      [&] { return str("value '", info.name(), "'"); },
      [&] {
        return ModelPort{info.name(), type_text(info.type()), read_fact(info.type(), info.name())};
      });
}

}  // namespace hugot
