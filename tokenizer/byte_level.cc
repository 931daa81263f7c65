#include "tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace hugot {
namespace {

struct Alphabet {
  std::array<char32_t, 256> chars{};
  std::array<int16_t, 512> bytes{};

  constexpr Alphabet() {
    for (int16_t& byte : bytes) byte = -1;
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
      chars[static_cast<size_t>(byte)] = c;
      bytes[c] = static_cast<int16_t>(byte);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

char32_t byte_level_char(unsigned char byte) { return kAlphabet.chars[byte]; }

int byte_level_byte(char32_t c) { return c < 512 ? kAlphabet.bytes[c] : -1; }

bool append_byte_level_bytes(std::string_view token, std::string& out) {
  const size_t size = out.size();
  for (size_t pos = 0; pos < token.size();) {
    const int byte = byte_level_byte(decode_utf8(token, pos));
    if (byte < 0) {
      out.resize(size);
      return false;
    }
    out += static_cast<char>(byte);
  }
  return true;
}

}  // namespace hugot
