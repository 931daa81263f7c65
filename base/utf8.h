// UTF-8 in memory. Functions without "validate" in their name need valid UTF-8.
#ifndef HUGOT_BASE_UTF8_H_
#define HUGOT_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace hugot {

inline bool is_utf8_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Bytes of the character that starts with `lead`.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// Bytes that `c` takes.
inline size_t utf8_length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

// The character at text[pos]; moves `pos` behind it.
inline char32_t decode_utf8(std::string_view text, size_t& pos) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[pos + i]); };
  const char32_t lead = byte(0);
  char32_t c = lead;
  size_t length = 1;
  if (lead >= 0xF0) {
    c = (lead & 0x07) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
    length = 4;
  } else if (lead >= 0xE0) {
    c = (lead & 0x0F) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    length = 3;
  } else if (lead >= 0x80) {
    c = (lead & 0x1F) << 6 | (byte(1) & 0x3Fu);
    length = 2;
  }
  pos += length;
  return c;
}

// The character that ends before text[end], end > 0.
inline char32_t decode_utf8_before(std::string_view text, size_t end) {
  size_t pos = end - 1;
  while (is_utf8_continuation(text[pos])) --pos;
  return decode_utf8(text, pos);
}

// Writes `c` to `out` (room for 4 bytes) and returns its length.
inline size_t encode_utf8(char32_t c, char* out) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    out[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<char>(0xC0 | c >> 6);
    out[1] = tail(0);
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xE0 | c >> 12);
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | c >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

inline void append_utf8(std::string& out, char32_t c) {
  char bytes[4];
  out.append(bytes, encode_utf8(c, bytes));
}

// Characters in the text.
inline size_t count_utf8(std::string_view text) {
  size_t count = 0;
  for (const char byte : text) count += !is_utf8_continuation(byte);
  return count;
}

// Length of the longest prefix that is ASCII.
inline size_t ascii_prefix(std::string_view text) {
  size_t pos = 0;
  for (; pos + 8 <= text.size(); pos += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + pos, 8);
    if (word & 0x8080808080808080) break;
  }
  while (pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80) ++pos;
  return pos;
}

// Bytes of the character that starts at text[pos], or with its sign reversed those of the longest
// prefix of one (at least one byte) when it is not well-formed (Unicode, table 3-7).
inline int well_formed_length(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) {
    return pos + i < text.size() ? static_cast<unsigned char>(text[pos + i]) : 0u;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return -1;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return -1;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (int i = 2; i < length; ++i) {
    if ((byte(static_cast<size_t>(i)) & 0xC0) != 0x80) return -i;
  }
  return length;
}

inline constexpr size_t kValidUtf8 = static_cast<size_t>(-1);

// Offset of the first byte that is not part of a well-formed character (Unicode, table 3-7), or
// kValidUtf8.
inline size_t validate_utf8(std::string_view text) {
  size_t pos = 0;
  while ((pos += ascii_prefix(text.substr(pos))) < text.size()) {
    const int length = well_formed_length(text, pos);
    if (length < 0) return pos;
    pos += static_cast<size_t>(length);
  }
  return kValidUtf8;
}

// The text with U+FFFD for every longest prefix of a character that is not one.
inline std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const int length = well_formed_length(text, pos);
    const auto size = static_cast<size_t>(length < 0 ? -length : length);
    length < 0 ? out.append("\xEF\xBF\xBD") : out.append(text, pos, size);
    pos += size;
  }
  return out;
}

}  // namespace hugot

#endif  // HUGOT_BASE_UTF8_H_
