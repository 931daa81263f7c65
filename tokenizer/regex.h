// Regular expressions as the reference has them: Oniguruma's syntax and Unicode 16 classes, matched
// from the left with the first alternative that leads to a match.
#ifndef HUGOT_TOKENIZER_REGEX_H_
#define HUGOT_TOKENIZER_REGEX_H_

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/normalized_string.h"

namespace hugot {

// Immutable and thread-safe.
class Regex {
 public:
  // Throws kInvalidData for a malformed pattern and kUnsupported for syntax that this version lacks
  // or a pattern that is too large.
  explicit Regex(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // Disjoint matches from the left; an empty one right behind another match does not count.
  // Throws kUnsupported when the search takes more steps than a multiple of the text's length:
  // there are patterns whose matching takes time exponential in it.
  std::vector<Span> find_all(std::string_view text) const;

  // False when no match is empty; may be true for some other expressions as well.
  bool may_match_nothing() const;

 private:
  struct Program;
  class Compiler;
  class Matcher;
  std::unique_ptr<const Program> program_;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_REGEX_H_
