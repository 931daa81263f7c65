#include "onnx/wire.h"

#include "base/bytes.h"
#include "base/error.h"

namespace hugot {
namespace {

constexpr int kMaxDepth = 100;  // protobuf's own limit
constexpr size_t kMaxMessage = size_t{1} << 31;
// A length whose value comes later is written as a varint of this many bytes.
constexpr size_t kLengthBytes = 5;

constexpr uint32_t kRawData = 9;
constexpr uint32_t kWireIndex = 536870911;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

MessageKind child_kind(MessageKind kind, uint32_t field) {
  struct Entry {
    MessageKind parent;
    uint32_t field;
    MessageKind child;
  };
  static constexpr Entry kEntries[] = {
      {MessageKind::kModel, 7, MessageKind::kGraph},
      {MessageKind::kModel, 20, MessageKind::kTrainingInfo},
      {MessageKind::kModel, 25, MessageKind::kFunction},
      {MessageKind::kGraph, 1, MessageKind::kNode},
      {MessageKind::kGraph, 5, MessageKind::kTensor},
      {MessageKind::kGraph, 15, MessageKind::kSparseTensor},
      {MessageKind::kNode, 5, MessageKind::kAttribute},
      {MessageKind::kAttribute, 5, MessageKind::kTensor},
      {MessageKind::kAttribute, 6, MessageKind::kGraph},
      {MessageKind::kAttribute, 10, MessageKind::kTensor},
      {MessageKind::kAttribute, 11, MessageKind::kGraph},
      {MessageKind::kAttribute, 22, MessageKind::kSparseTensor},
      {MessageKind::kAttribute, 23, MessageKind::kSparseTensor},
      {MessageKind::kSparseTensor, 1, MessageKind::kTensor},
      {MessageKind::kSparseTensor, 2, MessageKind::kTensor},
      {MessageKind::kFunction, 7, MessageKind::kNode},
      {MessageKind::kFunction, 11, MessageKind::kAttribute},
      {MessageKind::kTrainingInfo, 1, MessageKind::kGraph},
      {MessageKind::kTrainingInfo, 2, MessageKind::kGraph},
      {MessageKind::kSequence, 3, MessageKind::kTensor},
      {MessageKind::kSequence, 4, MessageKind::kSparseTensor},
      {MessageKind::kSequence, 5, MessageKind::kSequence},
      {MessageKind::kSequence, 6, MessageKind::kMap},
      {MessageKind::kSequence, 7, MessageKind::kOptional},
      {MessageKind::kMap, 5, MessageKind::kSequence},
      {MessageKind::kOptional, 3, MessageKind::kTensor},
      {MessageKind::kOptional, 4, MessageKind::kSparseTensor},
      {MessageKind::kOptional, 5, MessageKind::kSequence},
      {MessageKind::kOptional, 6, MessageKind::kMap},
      {MessageKind::kOptional, 7, MessageKind::kOptional},
  };
  for (const Entry& entry : kEntries) {
    if (entry.parent == kind && entry.field == field) return entry.child;
  }
  return MessageKind::kOpaque;
}

class Splitter {
 public:
  Splitter(std::span<const std::byte> bytes, WireIndex& index) : bytes_(bytes), index_(index) {}

  std::string run(MessageKind kind) {
    message(kind, {0, 0, bytes_.size(), -1}, 0);
    return std::move(out_);
  }

 private:
  void message(MessageKind kind, const WireMessage& place, int depth) {
    require(depth < kMaxDepth, ErrorCode::kInvalidData, "messages are nested too deeply");
    const auto self = static_cast<int>(index_.messages.size());
    index_.messages.push_back(place);
    const size_t tensor = index_.tensors.size();
    if (kind == MessageKind::kTensor) index_.tensors.push_back({.message = self});
    at_ = place.begin;
    while (at_ < place.end) field(kind, self, tensor, depth);
    if (kind == MessageKind::kTensor) {
      append_varint(out_, uint64_t{kWireIndex} << 3 | kVarint);
      append_varint(out_, tensor);
    }
  }

  void field(MessageKind kind, int self, size_t tensor, int depth) {
    const size_t end = index_.messages[static_cast<size_t>(self)].end;
    const size_t begin = at_;
    const uint64_t tag = varint(end);
    const auto number = static_cast<uint32_t>(tag >> 3);
    require(tag <= UINT32_MAX && number != 0, ErrorCode::kInvalidData, "bad field at offset ",
            begin);
    const auto type = static_cast<uint32_t>(tag & 7);
    const size_t length_begin = at_;
    skip(type, end);
    if (kind == MessageKind::kTensor && number == kWireIndex) return;
    const MessageKind child =
        type == kLengthDelimited ? child_kind(kind, number) : MessageKind::kOpaque;
    if (kind == MessageKind::kTensor && number == kRawData && type == kLengthDelimited) {
      WireTensor& entry = index_.tensors[tensor];
      entry.has_raw = true;
      entry.raw_begin = body_;
      entry.raw_end = at_;
    } else if (child == MessageKind::kOpaque) {
      append(begin, at_);
    } else {
      nested(child, {length_begin, body_, at_, self}, begin, depth);
    }
  }

  void nested(MessageKind kind, const WireMessage& place, size_t tag_begin, int depth) {
    append(tag_begin, place.length_begin);
    const size_t length_at = out_.size();
    out_.append(kLengthBytes, '\0');
    message(kind, place, depth + 1);
    uint64_t length = out_.size() - length_at - kLengthBytes;
    for (size_t i = 0; i < kLengthBytes; ++i, length >>= 7) {
      const uint64_t more = i + 1 < kLengthBytes ? 0x80 : 0;
      out_[length_at + i] = static_cast<char>((length & 0x7f) | more);
    }
    at_ = place.end;
  }

  // Moves to the end of a field's value; body_ is where the bytes behind a length begin.
  void skip(uint32_t type, size_t end) {
    uint64_t length = 0;
    switch (type) {
      case kVarint:
        varint(end);
        return;
      case kFixed64:
        length = 8;
        break;
      case kFixed32:
        length = 4;
        break;
      case kLengthDelimited:
        length = varint(end);
        break;
      default:
        fail(ErrorCode::kInvalidData, "bad wire type ", type, " at offset ", at_);
    }
    body_ = at_;
    require(length <= end - at_, ErrorCode::kInvalidData, "truncated: a field of ", length,
            " bytes at offset ", at_, ", ", end - at_, " left");
    at_ += static_cast<size_t>(length);
  }

  uint64_t varint(size_t end) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      require(at_ < end, ErrorCode::kInvalidData, "truncated at offset ", at_);
      const auto byte = static_cast<uint64_t>(bytes_[at_++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail(ErrorCode::kInvalidData, "a number is too long at offset ", at_);
  }

  void append(size_t begin, size_t end) {
    require(out_.size() + (end - begin) < kMaxMessage, ErrorCode::kUnsupported,
            "more than 2 GiB besides raw tensor data");
    out_.append(reinterpret_cast<const char*>(bytes_.data()) + begin, end - begin);
  }

  std::span<const std::byte> bytes_;
  WireIndex& index_;
  std::string out_;
  size_t at_ = 0;
  size_t body_ = 0;
};

}  // namespace

std::string split_raw_data(std::span<const std::byte> bytes, MessageKind kind, WireIndex& index) {
  return Splitter(bytes, index).run(kind);
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_field_header(std::string& out, uint32_t field, uint64_t length) {
  append_varint(out, uint64_t{field} << 3 | kLengthDelimited);
  append_varint(out, length);
}

}  // namespace hugot
