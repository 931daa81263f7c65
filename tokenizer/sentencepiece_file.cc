#include "tokenizer/sentencepiece_file.h"

#include <bit>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot {
namespace {

// The wire format of protocol buffers.
class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}

  // Moves on to the next field; false at the end.
  bool next() {
    if (pos_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        number_ = varint();
        break;
      case 1:
        data_ = take(8);
        break;
      case 2:
        data_ = take(varint());
        break;
      case 5:
        data_ = take(4);
        number_ = 0;
        for (size_t i = 4; i-- > 0;) number_ = number_ << 8 | static_cast<unsigned char>(data_[i]);
        break;
      default:
        fail(ErrorCode::kInvalidData, "not a SentencePiece model: wire type ", tag & 7);
    }
    return true;
  }

  uint32_t field() const { return field_; }
  uint64_t number() const { return number_; }
  float real() const { return std::bit_cast<float>(static_cast<uint32_t>(number_)); }
  std::string_view data() const { return data_; }
  std::string text() const {
    require(validate_utf8(data_) == kValidUtf8, ErrorCode::kInvalidData,
            "not a SentencePiece model: a string is not UTF-8");
    return std::string(data_);
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    fail(ErrorCode::kInvalidData, "not a SentencePiece model: malformed number");
  }
  std::string_view take(uint64_t size) {
    require(size <= bytes_.size() - pos_, ErrorCode::kInvalidData,
            "not a SentencePiece model: it ends early");
    const std::string_view out = bytes_.substr(pos_, size);
    pos_ += size;
    return out;
  }

  std::string_view bytes_;
  size_t pos_ = 0;
  uint32_t field_ = 0;
  uint64_t number_ = 0;
  std::string_view data_;
};

SentencePieceFile::Piece parse_piece(std::string_view bytes) {
  SentencePieceFile::Piece out;
  for (Message in(bytes); in.next();) {
    if (in.field() == 1) out.text = in.text();
    if (in.field() == 2) out.score = in.real();
    if (in.field() == 3) {
      require(in.number() >= 1 && in.number() <= 6, ErrorCode::kInvalidData,
              "not a SentencePiece model: unknown type of piece");
      out.type = static_cast<SentencePieceFile::Type>(in.number());
    }
  }
  return out;
}

}  // namespace

SentencePieceFile SentencePieceFile::parse(std::string_view bytes) {
  SentencePieceFile out;
  for (Message in(bytes); in.next();) {
    if (in.field() == 1) out.pieces.push_back(parse_piece(in.data()));
    if (in.field() == 2) {
      for (Message spec(in.data()); spec.next();) {
        if (spec.field() == 3) {
          require(spec.number() >= 1 && spec.number() <= 4, ErrorCode::kUnsupported,
                  "SentencePiece model of an unknown type");
          out.algorithm = static_cast<Algorithm>(spec.number());
        }
        if (spec.field() == 24) out.whitespace_as_suffix = spec.number() != 0;
        if (spec.field() == 35) out.byte_fallback = spec.number() != 0;
        if (spec.field() == 44) out.unk_surface = spec.text();
      }
    }
    if (in.field() == 3) {
      for (Message spec(in.data()); spec.next();) {
        if (spec.field() == 2) out.charsmap = std::string(spec.data());
        if (spec.field() == 3) out.add_dummy_prefix = spec.number() != 0;
        if (spec.field() == 4) out.remove_extra_whitespaces = spec.number() != 0;
        if (spec.field() == 5) out.escape_whitespaces = spec.number() != 0;
      }
    }
  }
  require(!out.pieces.empty(), ErrorCode::kInvalidData, "not a SentencePiece model: no pieces");
  return out;
}

}  // namespace hugot
