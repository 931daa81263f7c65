// Regular expressions in RE2's syntax.
#ifndef HUGOT_KERNELS_TEXT_REGEX_H_
#define HUGOT_KERNELS_TEXT_REGEX_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/code_point_set.h"

namespace hugot::text {

// The syntax tree.
struct RegexNode {
  enum class Kind { kEmpty, kSet, kAssert, kSequence, kAlternation, kRepeat };
  enum class Assertion : uint8_t {
    kTextBegin,
    kTextEnd,
    kLineBegin,
    kLineEnd,
    kWordBorder,
    kNoWordBorder
  };
  static constexpr int kUnlimited = -1;

  Kind kind = Kind::kEmpty;
  CodePointSet set;                             // of kSet: one character of it
  Assertion assertion = Assertion::kTextBegin;  // of kAssert
  int min = 0, max = 0;                         // of kRepeat
  std::vector<std::unique_ptr<RegexNode>> children;
};

// Syntax: github.com/google/re2/wiki/Syntax, with the default options of RE2: Perl's classes and
// \b; ^ and $ are the ends of the text unless (?m) says lines. Which text a group or a lazy
// operator takes makes no difference to whole or longest matches. Throws kInvalidData, with the
// position, for a malformed pattern and kUnsupported for \C, a byte.
std::unique_ptr<RegexNode> parse_regex(std::string_view pattern);

// A pattern, compiled to a nondeterministic automaton whose states are followed all at once: time
// is at most proportional to pattern size times text size, for every pattern. Immutable and
// thread-safe.
class Regex {
 public:
  // Throws what parse_regex throws, and kUnsupported for a pattern that is too large.
  explicit Regex(std::string_view pattern);

  // Whether the pattern matches the whole text. A text that is not UTF-8 has bytes that nothing
  // matches.
  bool matches(std::string_view text) const;

  // Bytes [begin, end) of a text.
  struct Span {
    size_t begin = 0, end = 0;
  };
  // Of all matches in the text that begin at `from` or behind it, the longest of those that begin
  // first; nothing when there is none. What assertions look at is the whole text. REQUIRES: `text`
  // is valid UTF-8, and `from` is at a character or at its end.
  std::optional<Span> find(std::string_view text, size_t from) const;

  size_t bytes() const;

 private:
  struct State {
    enum class Kind : uint8_t { kSet, kSplit, kAssert, kMatch };
    Kind kind = Kind::kMatch;
    RegexNode::Assertion assertion = RegexNode::Assertion::kTextBegin;
    uint32_t set = 0;
    uint32_t next = 0, other = 0;  // `other`: of kSplit
  };
  class Run;

  // The first state of `node` followed by `next`.
  uint32_t compile(const RegexNode& node, uint32_t next);
  uint32_t repeat(const RegexNode& node, uint32_t next);
  uint32_t add(const State& state);
  uint32_t index_of(const CodePointSet& set);

  std::vector<State> states_;
  std::vector<CodePointMatcher> sets_;
  std::map<std::vector<char32_t>, uint32_t> known_sets_;  // by the ends of their ranges
  uint32_t first_ = 0;
};

}  // namespace hugot::text

#endif  // HUGOT_KERNELS_TEXT_REGEX_H_
