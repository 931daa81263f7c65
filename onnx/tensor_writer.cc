#include "onnx/tensor_writer.h"

namespace hugot {

using onnx_proto::TensorProto;

TensorProto tensor_header(const std::string& name, const Tensor& tensor) {
  TensorProto proto;
  for (const int64_t dim : tensor.shape()) proto.add_dims(dim);
  proto.set_data_type(static_cast<int32_t>(tensor.dtype()));
  if (!name.empty()) proto.set_name(name);
  if (tensor.dtype() == DType::kString) {
    for (const std::string& text : tensor.values<std::string>()) proto.add_string_data(text);
  }
  return proto;
}

std::span<const std::byte> tensor_bytes(const Tensor& tensor) {
  if (tensor.dtype() == DType::kString) return {};
  return {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
}

TensorProto tensor_proto(const std::string& name, const Tensor& tensor) {
  TensorProto proto = tensor_header(name, tensor);
  if (tensor.dtype() != DType::kString) proto.set_raw_data(tensor.raw(), tensor.bytes());
  return proto;
}

}  // namespace hugot
