// Search for literal patterns, as the components with a {"String": ...} pattern do it.
#ifndef HUGOT_TOKENIZER_LITERAL_PATTERN_H_
#define HUGOT_TOKENIZER_LITERAL_PATTERN_H_

#include <string_view>
#include <vector>

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

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_LITERAL_PATTERN_H_
