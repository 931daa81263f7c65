#include "tokenizer/charsmap.h"

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace hugot {
namespace {

uint32_t read_u32(std::string_view bytes, size_t pos) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[pos + i])) << (8 * i);
  }
  return value;
}

// A unit of the double array of darts-clone.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t label(uint32_t unit) { return unit & ((1u << 31) | 0xFF); }
size_t offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & (1u << 9)) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob) : pool_(1, '\0') {
  if (blob.empty()) return;
  require(blob.size() >= 4, ErrorCode::kInvalidData, "precompiled_charsmap is too short");
  const size_t size = read_u32(blob, 0);
  require(size % 4 == 0 && size <= blob.size() - 4, ErrorCode::kInvalidData,
          "precompiled_charsmap: the trie is longer than the data");
  units_.reserve(size / 4);
  for (size_t i = 0; i < size / 4; ++i) units_.push_back(read_u32(blob, 4 + 4 * i));
  pool_ = std::string(blob.substr(4 + size));
  require(validate_utf8(pool_) == kValidUtf8, ErrorCode::kInvalidData,
          "precompiled_charsmap: a target is not UTF-8");
  pool_ += '\0';
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const {
  std::optional<Match> found;
  const auto unit_at = [&](size_t index) { return index < units_.size() ? units_[index] : 0; };
  size_t node = offset(unit_at(0));
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    const uint32_t unit = unit_at(node);
    if (label(unit) != byte) break;
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    const size_t target = unit_at(node) & 0x7FFFFFFF;
    // A position inside of a character would make the text invalid.
    if (target >= pool_.size() || is_utf8_continuation(pool_[target])) continue;
    found = Match{i + 1, std::string_view(pool_.data() + target)};
    if (!longest) break;
  }
  return found;
}

std::string decode_base64(std::string_view text) {
  const auto value_of = [](char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  require(text.size() % 4 == 0, ErrorCode::kInvalidData, "base64 of a length not divisible by 4");
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const int value = i >= text.size() - padding ? 0 : value_of(text[i]);
    require(value >= 0, ErrorCode::kInvalidData, "not base64 at character ", i);
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 != 3) continue;
    for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(bits >> shift & 0xFF);
    bits = 0;
  }
  out.resize(out.size() - padding);
  return out;
}

}  // namespace hugot
