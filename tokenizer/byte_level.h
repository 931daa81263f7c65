// The alphabet of byte-level models: a printable character for each byte.
#ifndef HUGOT_TOKENIZER_BYTE_LEVEL_H_
#define HUGOT_TOKENIZER_BYTE_LEVEL_H_

#include <string>
#include <string_view>

namespace hugot {

// Printable bytes stand for themselves; the others, in order, for U+0100 and following.
char32_t byte_level_char(unsigned char byte);
// The byte of a character, or -1.
int byte_level_byte(char32_t c);
// Appends the bytes for which the characters of `token` stand; false, with `out` as it was, when
// one stands for none.
bool append_byte_level_bytes(std::string_view token, std::string& out);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_BYTE_LEVEL_H_
