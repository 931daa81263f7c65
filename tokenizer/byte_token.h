// Tokens that stand for one byte, like <0x0A>.
#ifndef HUGOT_TOKENIZER_BYTE_TOKEN_H_
#define HUGOT_TOKENIZER_BYTE_TOKEN_H_

#include <string>

namespace hugot {

inline std::string byte_token(unsigned char byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_BYTE_TOKEN_H_
