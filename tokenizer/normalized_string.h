// Text under normalization that remembers where each of its bytes came from.
#ifndef HUGOT_TOKENIZER_NORMALIZED_STRING_H_
#define HUGOT_TOKENIZER_NORMALIZED_STRING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hugot/tokenizer.hpp"

namespace hugot {

// A character of a transformed text and what it does to the old one: 0 replaces the next old
// character and takes over its source; -n does so and swallows n more; a positive change inserts,
// with the source of the old byte just before.
struct CharChange {
  char32_t c;
  int32_t change;
};

// Text plus, when tracked, the source of every byte: a range of bytes of the original input. The
// rules by which sources move are those of the reference's NormalizedString, odd cases included;
// without tracking all operations yield the same text at less cost.
class NormalizedString {
 public:
  class Rewriter;

  // `original` is the slice of the input that starts at byte `origin`; valid UTF-8.
  NormalizedString(std::string_view original, uint32_t origin, bool tracked);

  const std::string& text() const { return text_; }
  bool tracked() const { return tracked_; }
  // One range per byte of text(); empty when not tracked. All bytes of a character share one.
  const std::vector<Span>& sources() const { return sources_; }
  // First byte of the original slice in the input.
  uint32_t origin() const { return origin_; }

  // Rewrites the whole text; the first `dropped` old characters vanish.
  void transform(std::span<const CharChange> chars, size_t dropped = 0);

  // Replaces all of it; `sources` is empty when not tracked.
  void assign(std::string text, std::vector<Span> sources);
  // Puts `prefix` in front; its characters and the first old one share that one's source. Nothing
  // happens to an empty text.
  void prepend(std::string_view prefix);
  // Replaces the given ranges of text() (ascending, disjoint, on character borders) by `content`.
  void replace_ranges(std::span<const Span> ranges, std::string_view content);
  // Removes characters at the ends.
  void strip(bool left, bool right, bool (*removes)(char32_t));

 private:
  std::string text_;
  std::vector<Span> sources_;
  size_t sourceless_ = 0;  // bytes at the beginning whose source is empty, as of no character
  uint32_t origin_;
  bool tracked_;
};

// Writes the new text of a transform character by character, in one pass over the old one.
//
// The reference replaces "all of the original" then, to which characters at the beginning that have
// no source do not belong: they stay, and the new text, which was made from them, too, follows with
// the sources of what it replaces. It panics when there is less to replace than there is new text;
// here they are replaced like others.
class NormalizedString::Rewriter {
 public:
  explicit Rewriter(NormalizedString& string);
  // Whether all old characters are consumed.
  bool done() const { return read_ == string_.text_.size(); }
  // The next old character.
  char32_t peek() const;
  // Copies the next old character.
  void keep();
  // Swallows the next old character.
  void drop();
  // Replaces the next old character; behind the last one it inserts.
  void replace(char32_t c);
  // Adds a character with the source of the old byte just before.
  void insert(char32_t c);
  // Does what change.change says; swallowing stops at the end of the text.
  void apply(const CharChange& change);
  // Makes the new text the string's text.
  void finish();

 private:
  void append(char32_t c, ptrdiff_t source, ptrdiff_t source_behind);

  NormalizedString& string_;
  size_t read_ = 0;
  std::string text_;
  std::vector<Span> sources_;
  size_t sourceless_ = 0;
  // The same with what has no source left in place.
  size_t read_behind_ = 0;
  std::vector<Span> sources_behind_;
  size_t sourceless_behind_ = 0;
  bool fits_ = false;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_NORMALIZED_STRING_H_
