// Tensor to TensorProto.
#ifndef HUGOT_ONNX_TENSOR_WRITER_H_
#define HUGOT_ONNX_TENSOR_WRITER_H_

#include <cstddef>
#include <span>
#include <string>

#include "base/tensor.h"
#include "onnx/proto.h"

namespace hugot {

// Name, type and shape; strings too, whose elements can only be fields. Other data are left out.
onnx_proto::TensorProto tensor_header(const std::string& name, const Tensor& tensor);

// The elements as raw_data or an external file hold them; empty for strings.
std::span<const std::byte> tensor_bytes(const Tensor& tensor);

// The whole message, with a copy of the data.
onnx_proto::TensorProto tensor_proto(const std::string& name, const Tensor& tensor);

}  // namespace hugot

#endif  // HUGOT_ONNX_TENSOR_WRITER_H_
