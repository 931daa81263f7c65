// What Split, Replace and the like look for: a literal text or a regular expression.
#ifndef HUGOT_TOKENIZER_PATTERN_H_
#define HUGOT_TOKENIZER_PATTERN_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalized_string.h"
#include "tokenizer/regex.h"
#include "tokenizer/word_scanner.h"

namespace hugot {

// A part of a text that does or does not match a pattern.
struct PatternPart {
  Span range;
  bool is_match = false;
};

// Immutable and thread-safe.
class Pattern {
 public:
  static Pattern literal(std::string text);
  // Throws as Regex does.
  static Pattern regex(std::string_view expression);

  // Disjoint matches from the left. An empty literal matches before each character and at the end;
  // nothing matches in an empty text. Throws as Regex::find_all().
  std::vector<Span> find_all(std::string_view text) const;
  // The matches and what lies between them.
  std::vector<PatternPart> parts(std::string_view text) const;

  // False when no match is empty; may be true for some other patterns as well.
  bool may_match_nothing() const;

  // The scanner that stands for the regular expression, if it is one of the known ones.
  std::optional<WordScanner> scanner() const { return scanner_; }

 private:
  Pattern() = default;
  std::string literal_;
  std::optional<Regex> regex_;
  std::optional<WordScanner> scanner_;
};

// A few replacements one after the other can make any text fill the memory. Throws kUnsupported
// when replacing `matches` by `content` makes a text longer, and too long.
void check_replaced(std::string_view text, const std::vector<Span>& matches,
                    std::string_view content);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_PATTERN_H_
