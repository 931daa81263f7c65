#include "tokenizer/charsmap.h"

#include <array>

#include "base/error.h"
#include "base/utf8.h"

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
  static constexpr auto kValues = [] {
    std::array<int8_t, 256> values{};
    for (int8_t& value : values) value = -1;
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < kDigits.size(); ++i) {
      values[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
    }
    return values;
  }();
  require(text.size() % 4 == 0, ErrorCode::kInvalidData, "base64 of a length not divisible by 4");
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out(text.size() / 4 * 3, '\0');
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t bits = 0;
    for (size_t j = i; j < i + 4; ++j) {
      const bool filler = j >= text.size() - padding;
      const int value = filler ? 0 : kValues[static_cast<unsigned char>(text[j])];
      require(value >= 0, ErrorCode::kInvalidData, "not base64 at character ", j);
      bits = bits << 6 | static_cast<uint32_t>(value);
    }
    for (size_t j = 0; j < 3; ++j) {
      out[i / 4 * 3 + j] = static_cast<char>(bits >> (16 - 8 * j) & 0xFF);
    }
  }
  out.resize(out.size() - padding);
  return out;
}

}  // namespace hugot
