// The protobuf wire format of ONNX files, read without copying the weights.
// Format: protobuf.dev, "Encoding".
#ifndef HUGOT_ONNX_WIRE_H_
#define HUGOT_ONNX_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hugot {

// Messages that can hold tensors, themselves or in a part.
enum class MessageKind : uint8_t {
  kOpaque,  // no tensors inside
  kModel,
  kGraph,
  kNode,
  kAttribute,
  kTensor,
  kSparseTensor,
  kFunction,
  kTrainingInfo,
  kSequence,
  kMap,
  kOptional,
};

// Where a message lies in the file.
struct WireMessage {
  size_t length_begin = 0;  // of the varint with its length; unused for the whole file
  size_t begin = 0;
  size_t end = 0;
  int parent = -1;  // in WireIndex::messages; the parent stands before its parts
};

struct WireTensor {
  int message = 0;       // in WireIndex::messages
  bool has_raw = false;  // raw_data is there, maybe empty
  size_t raw_begin = 0;  // its bytes in the file
  size_t raw_end = 0;
};

struct WireIndex {
  std::vector<WireMessage> messages;
  std::vector<WireTensor> tensors;
};

// Walks the message `bytes` of type `kind` and returns a copy of it in which every TensorProto has
// a wire_index in the place of its raw_data. `index` gets what these numbers mean. Throws
// kInvalidData for bytes that are not a protobuf message (or are nested more than 100 deep), and
// kUnsupported when more than 2 GiB remain, which protobuf cannot parse.
std::string split_raw_data(std::span<const std::byte> bytes, MessageKind kind, WireIndex& index);

// Appends a number in protobuf's variable-length form.
void append_varint(std::string& out, uint64_t value);

// Appends the tag and the length of a length-delimited field.
void append_field_header(std::string& out, uint32_t field, uint64_t length);

}  // namespace hugot

#endif  // HUGOT_ONNX_WIRE_H_
