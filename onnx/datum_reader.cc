#include "onnx/datum_reader.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "onnx/proto.h"
#include "onnx/tensor_reader.h"
#include "onnx/wire.h"

namespace hugot {
namespace {

using onnx_proto::MapProto;
using onnx_proto::OptionalProto;
using onnx_proto::SequenceProto;
using onnx_proto::TensorProto;

// SequenceProto.DataType and OptionalProto.DataType
enum ElementType {
  kNone = 0,
  kTensors = 1,
  kSparse = 2,
  kSequences = 3,
  kMaps = 4,
  kOptionals = 5
};

class DatumReader {
 public:
  explicit DatumReader(const TensorReader& tensors) : tensors_(tensors) {}

  Datum read(const TensorProto& proto) const { return tensors_.read(proto); }
  Datum read(const onnx_proto::SparseTensorProto& proto) const { return tensors_.read(proto); }

  Datum read(const SequenceProto& proto) const {
    switch (proto.elem_type()) {
      case kTensors:
        return sequence(proto.tensor_values());
      case kSparse:
        return sequence(proto.sparse_tensor_values());
      case kSequences:
        return sequence(proto.sequence_values());
      case kMaps:
        return sequence(proto.map_values());
      case kOptionals:
        return sequence(proto.optional_values());
      default:
        fail(ErrorCode::kInvalidData, "a sequence of unknown kind ", proto.elem_type());
    }
  }

  Datum read(const OptionalProto& proto) const {
    // An optional without an element may still name the kind of what is not there.
    switch (proto.elem_type()) {
      case kNone:
        return Datum::empty_optional();
      case kTensors:
        return optional(proto.has_tensor_value(), proto.tensor_value());
      case kSparse:
        return optional(proto.has_sparse_tensor_value(), proto.sparse_tensor_value());
      case kSequences:
        return optional(proto.has_sequence_value(), proto.sequence_value());
      case kMaps:
        return optional(proto.has_map_value(), proto.map_value());
      case kOptionals:
        return optional(proto.has_optional_value(), proto.optional_value());
      default:
        fail(ErrorCode::kInvalidData, "an optional of unknown kind ", proto.elem_type());
    }
  }

  Datum read(const MapProto& proto) const {
    const Datum values = read(proto.values());
    Tensor keys;
    const DType type = dtype_from_proto(proto.key_type());
    if (type == DType::kString) {
      const std::vector<std::string> list(proto.string_keys().begin(), proto.string_keys().end());
      keys = Tensor::from<std::string>({static_cast<int64_t>(list.size())}, std::span(list));
    } else {
      require(type == DType::kInt64, ErrorCode::kUnsupported, "a map with keys of type ",
              dtype_name(type), " is not supported");
      const std::vector<int64_t> list(proto.keys().begin(), proto.keys().end());
      keys = Tensor::from<int64_t>({static_cast<int64_t>(list.size())}, std::span(list));
    }
    return Datum::map(std::move(keys), {values.items().begin(), values.items().end()});
  }

 private:
  template <class List>
  Datum sequence(const List& list) const {
    std::vector<Datum> items;
    for (const auto& item : list) items.push_back(read(item));
    return Datum::sequence(std::move(items));
  }

  template <class Proto>
  Datum optional(bool present, const Proto& proto) const {
    return present ? Datum::optional(read(proto)) : Datum::empty_optional();
  }

  const TensorReader& tensors_;
};

template <class Proto>
Datum read_as(const std::filesystem::path& path, MessageKind kind, const char* type) {
  const auto file = MappedFile::open(path);
  return with_context([&] { return path.string(); },
                      [&] {
                        WireIndex index;
                        const std::string stripped = split_raw_data(file->bytes(), kind, index);
                        Proto proto;
                        require(proto.ParseFromString(stripped), ErrorCode::kInvalidData, "not a ",
                                type);
                        ExternalFiles no_files;
                        const TensorReader tensors({file->bytes(), file, file}, index, no_files);
                        return DatumReader(tensors).read(proto);
                      });
}

}  // namespace

Datum read_datum_pb(const std::filesystem::path& path, Kind kind) {
  switch (kind) {
    case Kind::kSequence:
      return read_as<SequenceProto>(path, MessageKind::kSequence, "SequenceProto");
    case Kind::kMap:
      return read_as<MapProto>(path, MessageKind::kMap, "MapProto");
    case Kind::kOptional:
      return read_as<OptionalProto>(path, MessageKind::kOptional, "OptionalProto");
    case Kind::kTensor:
      break;
  }
  return read_as<TensorProto>(path, MessageKind::kTensor, "TensorProto");
}

}  // namespace hugot
