#include "onnx/tensor_reader.h"

#include <algorithm>
#include <complex>
#include <cstring>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace hugot {
namespace {

using onnx_proto::SparseTensorProto;
using onnx_proto::TensorProto;

// Dense forms of sparse tensors: in all, and in relation to what is stored, so that a small file
// cannot ask for much memory.
constexpr size_t kMaxDenseBytes = size_t{256} << 20;
constexpr size_t kMaxDenseRatio = 1024;
constexpr size_t kMinDenseBytes = size_t{1} << 16;
// Copies smaller than this are made at once, and are not worth a system call to drop their source.
constexpr size_t kLarge = size_t{1} << 16;

// Bytes at which a type must lie for access through its C++ type.
size_t alignment_of(DType dtype) {
  if (dtype == DType::kComplex64) return alignof(std::complex<float>);
  if (dtype == DType::kComplex128) return alignof(std::complex<double>);
  return static_cast<size_t>(std::max(dtype_bits(dtype) / 8, 1));
}

bool are_bools(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b <= std::byte{1}; });
}

// A tensor over little-endian data: a view where the type allows it, else a copy, for large ones
// when it is needed.
Tensor from_bytes(DType dtype, const Shape& shape, std::span<const std::byte> data,
                  const std::shared_ptr<const void>& owner, const MappedFile* file) {
  require(dtype != DType::kString, ErrorCode::kInvalidData, "strings cannot be raw or external");
  const size_t wanted = Tensor::byte_size(dtype, shape);
  require(data.size() == wanted, ErrorCode::kInvalidData, data.size(), " bytes of data for ",
          dtype_name(dtype), shape.to_string(), ", which needs ", wanted);
  const bool aligned = reinterpret_cast<uintptr_t>(data.data()) % alignment_of(dtype) == 0;
  if (wanted > 0 && aligned && (dtype != DType::kBool || are_bools(data))) {
    return Tensor(dtype, shape, data.data(), owner);
  }
  const auto copy = [=] {
    Tensor result(dtype, shape);
    if (wanted == 0) return result;
    std::memcpy(result.raw(), data.data(), wanted);
    if (file != nullptr && wanted >= kLarge) file->drop_pages(data.data(), data.size());
    if (dtype == DType::kBool) {
      auto* bools = static_cast<uint8_t*>(result.raw());
      std::transform(bools, bools + wanted, bools,
                     [](uint8_t b) { return static_cast<uint8_t>(b != 0); });
    }
    return result;
  };
  if (wanted < kLarge) return copy();
  return Tensor::deferred(dtype, shape, [copy, owner] { return copy(); });
}

// Converts each entry of a repeated field to Stored, which is an element, a part of one (complex
// numbers), or a byte of several (packed types).
template <class Stored, class Field>
Tensor from_field(DType dtype, const Shape& shape, const Field& field) {
  const size_t wanted = Tensor::byte_size(dtype, shape);
  const auto count = static_cast<size_t>(field.size());
  require(wanted / sizeof(Stored) == count && wanted % sizeof(Stored) == 0, ErrorCode::kInvalidData,
          count, " values of data for ", dtype_name(dtype), shape.to_string());
  Tensor out(dtype, shape);
  auto* to = static_cast<Stored*>(out.raw());
  std::transform(field.begin(), field.end(), to, [&](auto value) {
    return dtype == DType::kBool ? static_cast<Stored>(value != 0) : static_cast<Stored>(value);
  });
  return out;
}

Tensor from_strings(const Shape& shape, const TensorProto& proto) {
  require(static_cast<int64_t>(proto.string_data_size()) == shape.size(), ErrorCode::kInvalidData,
          proto.string_data_size(), " strings for ", shape.to_string(), " elements");
  Tensor out(DType::kString, shape);
  std::copy(proto.string_data().begin(), proto.string_data().end(), out.data<std::string>());
  return out;
}

// Which field holds which type: section "TensorProto" of the specification.
Tensor from_typed_data(DType dtype, const Shape& shape, const TensorProto& proto) {
  switch (dtype) {
    case DType::kString:
      return from_strings(shape, proto);
    case DType::kFloat32:
    case DType::kComplex64:
      return from_field<float>(dtype, shape, proto.float_data());
    case DType::kFloat64:
    case DType::kComplex128:
      return from_field<double>(dtype, shape, proto.double_data());
    case DType::kInt64:
      return from_field<int64_t>(dtype, shape, proto.int64_data());
    case DType::kUInt64:
      return from_field<uint64_t>(dtype, shape, proto.uint64_data());
    case DType::kUInt32:
      return from_field<uint32_t>(dtype, shape, proto.uint64_data());
    case DType::kInt32:
      return from_field<int32_t>(dtype, shape, proto.int32_data());
    default:
      // Narrow integers by value; small floats and packed types by their bits.
      return dtype_bits(dtype) == 16 ? from_field<uint16_t>(dtype, shape, proto.int32_data())
                                     : from_field<uint8_t>(dtype, shape, proto.int32_data());
  }
}

// Row-major positions of a sparse tensor's values.
std::vector<int64_t> sparse_positions(const Tensor& indices, const Shape& shape, int64_t count) {
  require(indices.dtype() == DType::kInt64, ErrorCode::kInvalidData,
          "sparse indices must be int64");
  const auto numbers = indices.values<int64_t>();
  std::vector<int64_t> positions;
  if (indices.rank() == 1) {
    positions.assign(numbers.begin(), numbers.end());
  } else {
    require(indices.rank() == 2 && indices.shape()[1] == shape.rank(), ErrorCode::kInvalidData,
            "sparse indices have the shape ", indices.shape().to_string());
    for (int64_t i = 0; i < indices.shape()[0]; ++i) {
      int64_t position = 0;
      for (int axis = 0; axis < shape.rank(); ++axis) {
        const int64_t at = numbers[static_cast<size_t>(i * shape.rank() + axis)];
        require(at >= 0 && at < shape[axis], ErrorCode::kInvalidData,
                "a sparse index lies outside of the tensor");
        position = position * shape[axis] + at;
      }
      positions.push_back(position);
    }
  }
  require(static_cast<int64_t>(positions.size()) == count, ErrorCode::kInvalidData, count,
          " sparse values, but ", positions.size(), " indices");
  return positions;
}

Shape shape_of(const google::protobuf::RepeatedField<int64_t>& dims) {
  return shape_from_file({dims.data(), static_cast<size_t>(dims.size())});
}

}  // namespace

DType dtype_from_proto(int32_t data_type) {
  require(data_type > 0 && data_type < kDTypeCount, ErrorCode::kInvalidData, "element type ",
          data_type, " does not exist");
  return static_cast<DType>(data_type);
}

Tensor TensorReader::read(const TensorProto& proto) const {
  require(!proto.has_segment(), ErrorCode::kUnsupported,
          "segments of tensors (and sequences of tensors) are not supported");
  const DType dtype = dtype_from_proto(proto.data_type());
  const Shape shape = shape_of(proto.dims());
  if (proto.data_location() == TensorProto::EXTERNAL) return read_external(proto, dtype, shape);
  require(proto.wire_index() < index_.tensors.size(), ErrorCode::kInternal,
          "the tensor did not go through split_raw_data");
  const WireTensor& place = index_.tensors[proto.wire_index()];
  if (!place.has_raw || place.raw_begin == place.raw_end) {
    return from_typed_data(dtype, shape, proto);
  }
  return from_bytes(dtype, shape,
                    source_.bytes.subspan(place.raw_begin, place.raw_end - place.raw_begin),
                    source_.owner, source_.file.get());
}

Tensor TensorReader::read_external(const TensorProto& proto, DType dtype,
                                   const Shape& shape) const {
  const ExternalRange range = external_range(proto);
  const auto file = external_.open(range.location);
  const uint64_t size = file->bytes().size();
  require(range.offset <= size && range.length.value_or(0) <= size - range.offset,
          ErrorCode::kInvalidData, "external data: '", range.location, "' has ", size,
          " bytes, too few for offset ", range.offset, " and length ", range.length.value_or(0));
  const uint64_t rest = size - range.offset;
  const uint64_t length =
      range.length.value_or(std::min<uint64_t>(rest, Tensor::byte_size(dtype, shape)));
  return from_bytes(
      dtype, shape,
      file->bytes().subspan(static_cast<size_t>(range.offset), static_cast<size_t>(length)), file,
      file.get());
}

Tensor TensorReader::read(const SparseTensorProto& proto) const {
  const Tensor values = read(proto.values());
  const Tensor indices = read(proto.indices());
  const Shape shape = shape_of(proto.dims());
  const bool strings = values.dtype() == DType::kString;
  const int bits = dtype_bits(values.dtype());
  require(strings || bits >= 8, ErrorCode::kUnsupported, "sparse tensors of ",
          dtype_name(values.dtype()), " are not supported");
  const size_t limit =
      std::min(kMaxDenseBytes, std::max(kMinDenseBytes, values.bytes() * kMaxDenseRatio));
  require(Tensor::byte_size(values.dtype(), shape) <= limit, ErrorCode::kUnsupported,
          "a sparse tensor of shape ", shape.to_string(), " is too large for ", values.size(),
          " values");
  require(values.rank() == 1, ErrorCode::kInvalidData, "sparse values must be a list");
  Tensor out(values.dtype(), shape);
  const auto width = static_cast<size_t>(bits) / 8;
  if (!strings) std::memset(out.raw(), 0, out.bytes());
  const auto positions = sparse_positions(indices, shape, values.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    require(positions[i] >= 0 && positions[i] < shape.size(), ErrorCode::kInvalidData,
            "a sparse index lies outside of the tensor");
    if (strings) {
      out.data<std::string>()[positions[i]] = values.data<std::string>()[i];
      continue;
    }
    std::memcpy(static_cast<std::byte*>(out.raw()) + static_cast<size_t>(positions[i]) * width,
                static_cast<const std::byte*>(values.raw()) + i * width, width);
  }
  return out;
}

}  // namespace hugot
