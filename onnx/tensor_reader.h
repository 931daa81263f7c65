// TensorProto to Tensor.
#ifndef HUGOT_ONNX_TENSOR_READER_H_
#define HUGOT_ONNX_TENSOR_READER_H_

#include <cstddef>
#include <memory>
#include <span>

#include "base/file.h"
#include "base/tensor.h"
#include "onnx/external_data.h"
#include "onnx/proto.h"
#include "onnx/wire.h"

namespace hugot {

// The bytes of a model and what keeps them alive; `file` when they are a mapped file.
struct ModelBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
  std::shared_ptr<const MappedFile> file;
};

// Reads the tensors of a message that went through split_raw_data(). Data that lie aligned for
// their type in a file become read-only views on it; others are copied, and the pages they came
// from are dropped, so that no weight is in memory twice. Errors (kInvalidData, kUnsupported) do
// not name the tensor.
class TensorReader {
 public:
  TensorReader(ModelBytes source, const WireIndex& index, ExternalFiles& external)
      : source_(std::move(source)), index_(index), external_(external) {}

  Tensor read(const onnx_proto::TensorProto& proto) const;
  // The dense form, of at most 256 MiB and at least one value in about a thousand.
  Tensor read(const onnx_proto::SparseTensorProto& proto) const;

 private:
  Tensor read_external(const onnx_proto::TensorProto& proto, DType dtype, const Shape& shape) const;

  ModelBytes source_;
  const WireIndex& index_;
  ExternalFiles& external_;
};

// Checked DType of a data_type number. Throws kInvalidData.
DType dtype_from_proto(int32_t data_type);

}  // namespace hugot

#endif  // HUGOT_ONNX_TENSOR_READER_H_
