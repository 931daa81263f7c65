// Sets of code points: what the character classes of regular expressions are made of.
#ifndef HUGOT_BASE_CODE_POINT_SET_H_
#define HUGOT_BASE_CODE_POINT_SET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace hugot {

// Built from ranges; not thread-safe while it grows.
class CodePointSet {
 public:
  struct Range {
    char32_t first, last;
  };

  CodePointSet() = default;
  CodePointSet(std::initializer_list<Range> ranges);

  void add(char32_t first, char32_t last);
  void add(const CodePointSet& other);
  void invert();
  void intersect(const CodePointSet& other);
  // Adds whatever differs from a member by simple case folding only.
  void close_under_case();

  bool empty() const { return ranges().empty(); }
  bool contains(char32_t c) const;
  bool intersects(const CodePointSet& other) const;
  // Sorted, disjoint, not adjacent.
  const std::vector<Range>& ranges() const&;
  std::vector<Range> ranges() && { return static_cast<const CodePointSet&>(*this).ranges(); }

  // All code points but surrogates, which no text has.
  static CodePointSet any();
  // A general category, script or binary property of Unicode 16 by any of its names, or a POSIX
  // class; case, spaces, '-' and '_' do not matter. Throws kInvalidData for an unknown name.
  static CodePointSet property(std::string_view name);
  // \w of Oniguruma.
  static CodePointSet word();

 private:
  mutable std::vector<Range> ranges_;
  mutable bool sorted_ = true;
};

// An immutable CodePointSet with constant-time lookup; thread-safe.
class CodePointMatcher {
 public:
  explicit CodePointMatcher(const CodePointSet& set);
  bool contains(char32_t c) const { return bits_[page_of_[c >> 8]][c >> 6 & 3] >> (c & 63) & 1; }

 private:
  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<std::array<uint64_t, 4>> bits_;
};

// Simple case folding: characters that differ only by case have one result.
char32_t simple_fold(char32_t c);
// All characters with the simple fold of `c`, itself included.
std::vector<char32_t> fold_class(char32_t c);

// A character whose full case folding is two or three characters.
struct LongFold {
  char32_t code_point;
  std::array<char32_t, 3> folded;  // 0: none
};
const std::vector<LongFold>& long_folds();

// Where the extended grapheme cluster (Unicode, annex 29) that starts at text[pos] ends. Without
// `indic` by the rules before Unicode 15.1, which did not keep Indic conjuncts together (GB9c).
// REQUIRES: pos < text.size(), valid UTF-8.
size_t grapheme_end(std::string_view text, size_t pos, bool indic);

// The script of `c` in Unicode 9 as UnicodeScripts tells them apart; 0: none in particular.
uint8_t legacy_script(char32_t c);

}  // namespace hugot

#endif  // HUGOT_BASE_CODE_POINT_SET_H_
