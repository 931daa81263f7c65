// The parts of regular expressions that stand for sets of characters.
#ifndef HUGOT_TOKENIZER_REGEX_CLASS_H_
#define HUGOT_TOKENIZER_REGEX_CLASS_H_

#include <optional>

#include "base/code_point_set.h"
#include "tokenizer/regex_scanner.h"

namespace hugot {

// A bracketed class whose opening bracket was read: ranges, POSIX and nested classes, && .
CodePointSet parse_regex_class(RegexScanner& in, bool ignore_case);

// \s, \p{..} and the like; nothing, with nothing read, for another escape.
std::optional<CodePointSet> parse_class_escape(RegexScanner& in, bool in_class);

// Marks what parse_escaped_character gives for a byte that is no character, like that of \xFF: no
// text has it, but it may be the end of a range.
inline constexpr char32_t kLoneByte = 0x80000000;

// The character of an escape like \n or \x{4E00}. \xHH above 7F is a byte of a character in UTF-8.
char32_t parse_escaped_character(RegexScanner& in, bool in_class);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_REGEX_CLASS_H_
