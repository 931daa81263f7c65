// Search for literal patterns, as the components with a {"String": ...} pattern do it.
#ifndef HUGOT_TOKENIZER_LITERAL_PATTERN_H_
#define HUGOT_TOKENIZER_LITERAL_PATTERN_H_

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tokenizer/normalized_string.h"
#include "tokenizer/utf8.h"

namespace hugot {

// Disjoint matches from the left. An empty pattern matches before each character and at the end,
// but nothing matches in an empty text.
inline std::vector<Span> find_literal(std::string_view text, std::string_view pattern) {
  std::vector<Span> out;
  const auto add = [&](size_t begin, size_t end) {
    out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
  };
  if (text.empty()) return out;
  if (pattern.empty()) {
    for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) add(pos, pos);
    add(text.size(), text.size());
    return out;
  }
  for (size_t pos = 0; (pos = text.find(pattern, pos)) != std::string_view::npos;) {
    add(pos, pos + pattern.size());
    pos += pattern.size();
  }
  return out;
}

// A few replacements one after the other can make any text fill the memory. Throws kUnsupported
// when this one makes a text longer, and too long.
inline void check_replaced(std::string_view text, std::string_view pattern, size_t matches,
                           std::string_view content) {
  constexpr size_t kMaxReplaced = size_t{1} << 25;
  const size_t size = text.size() - matches * pattern.size() + matches * content.size();
  require(size <= std::max(text.size(), kMaxReplaced), ErrorCode::kUnsupported,
          "a replacement makes a text longer than ", kMaxReplaced, " bytes");
}

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_LITERAL_PATTERN_H_
