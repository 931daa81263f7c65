#include "tokenizer/word_scanner.h"

#include <array>

#include "base/code_point_set.h"
#include "base/unicode.h"
#include "base/utf8.h"

namespace hugot {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

const std::string_view kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

// What a character is: one of the first four, and the parts of a word of kO200k that it may be in.
enum Class : uint8_t {
  kOther = 1,
  kLetter = 2,
  kNumber = 4,
  kSpace = 8,
  kHead = 16,  // capitals, letters without case, marks
  kTail = 32,  // small letters, letters without case, marks
};

struct Classes {
  std::array<uint8_t, 128> ascii{};
  unicode::CodePointTable<uint8_t> all;  // without kOther

  uint8_t of(char32_t c) const {
    const uint8_t value = all[c];
    return (value & (kLetter | kNumber | kSpace)) == 0 ? value | kOther : value;
  }

  Classes() {
    const auto add = [&](std::string_view name, int value) {
      for (const auto& range : CodePointSet::property(name).ranges()) {
        for (char32_t c = range.first; c <= range.last; ++c) {
          all.at(c) = static_cast<uint8_t>(all[c] | value);
        }
      }
    };
    add("L", kLetter);
    add("N", kNumber);
    add("space", kSpace);
    for (const char* name : {"Lu", "Lt"}) add(name, kHead);
    for (const char* name : {"Lm", "Lo", "M"}) add(name, kHead | kTail);
    add("Ll", kTail);
    for (char32_t c = 0; c < 128; ++c) ascii[c] = of(c);
  }
};

const Classes& classes() {
  static const Classes instance;
  return instance;
}

// A text and what its characters are.
class Text {
 public:
  explicit Text(std::string_view text) : text_(text), classes_(classes()) {}

  bool done(size_t pos) const { return pos == text_.size(); }
  char operator[](size_t pos) const { return pos < text_.size() ? text_[pos] : '\0'; }

  // The classes of the character at `pos`, which moves behind it.
  uint8_t next(size_t& pos) const {
    const auto byte = static_cast<unsigned char>(text_[pos]);
    if (byte < 0x80) {
      ++pos;
      return classes_.ascii[byte];
    }
    return classes_.of(decode_utf8(text_, pos));
  }
  bool is(size_t pos, Class wanted) const { return !done(pos) && (next(pos) & wanted) != 0; }
  // Behind the run of characters of a class, of up to `most`.
  size_t skip(size_t pos, Class wanted, size_t most = static_cast<size_t>(-1)) const {
    for (; most > 0 && pos < text_.size(); --most) {
      size_t after = pos;
      if ((next(after) & wanted) == 0) break;
      pos = after;
    }
    return pos;
  }
  // Behind a contraction like 's, or `pos`.
  size_t skip_contraction(size_t pos, bool ignore_case) const {
    if (text_[pos] != '\'') return pos;
    const auto letter = [&](size_t at) {
      const char c = (*this)[at];
      return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    const char first = letter(pos + 1);
    const char second = letter(pos + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return pos + 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
        (first == 'l' && second == 'l')) {
      return pos + 3;
    }
    // The long s is an s but for case.
    if (ignore_case && text_.substr(pos + 1).starts_with("\u017F")) return pos + 3;
    return pos;
  }
  // Space that ends a text is one match; else its last character is left to what follows.
  size_t skip_space(size_t pos) const {
    const size_t end = skip(pos, kSpace);
    if (done(end)) return end;
    size_t last = end - 1;
    while (is_utf8_continuation(text_[last])) --last;
    return last > pos ? last : end;
  }

 private:
  std::string_view text_;
  const Classes& classes_;
};

size_t gpt2_end(const Text& text, size_t pos) {
  const size_t contraction = text.skip_contraction(pos, false);
  if (contraction != pos) return contraction;
  size_t after = pos;
  int kind = text.next(after);
  if (text[pos] == ' ' && !text.done(after)) kind = text.next(after);
  for (const Class same : {kLetter, kNumber, kOther}) {
    if ((kind & same) != 0) return text.skip(after, same);
  }
  return text.skip_space(pos);
}

bool is_line_end(char c) { return c == '\r' || c == '\n'; }

// What kCl100k and kO200k do with what is no word and no number. `slashes`: they may be among the
// line ends that follow others.
size_t other_end(const Text& text, size_t pos, bool slashes) {
  size_t after = pos;
  const int kind = text.next(after);
  if ((kind & kOther) != 0 || (text[pos] == ' ' && text.is(after, kOther))) {
    size_t end = text.skip(after, kOther);
    while (is_line_end(text[end]) || (slashes && text[end] == '/')) ++end;
    return end;
  }
  const size_t end = text.skip(pos, kSpace);
  for (size_t at = end; at > pos; --at) {
    if (is_line_end(text[at - 1])) return at;
  }
  return text.skip_space(pos);
}

size_t cl100k_end(const Text& text, size_t pos, size_t digits) {
  const size_t contraction = text.skip_contraction(pos, true);
  if (contraction != pos) return contraction;
  size_t after = pos;
  const int kind = text.next(after);
  if ((kind & kLetter) != 0) return text.skip(after, kLetter);
  if ((kind & kNumber) != 0) return text.skip(after, kNumber, digits - 1);
  if (!is_line_end(text[pos]) && text.is(after, kLetter)) return text.skip(after, kLetter);
  return other_end(text, pos, false);
}

// The end of the word that begins at `pos`, of a head and a tail of which one may be empty; `pos`
// when there is none. Without small letters behind the head its last letter without case, or mark,
// is the tail; `need_tail`: there has to be one.
size_t cased_word_end(const Text& text, size_t pos, bool need_tail) {
  size_t end = pos, tail = pos;
  while (!text.done(end)) {
    size_t after = end;
    const int kind = text.next(after);
    if ((kind & kHead) == 0) break;
    end = after;
    if ((kind & kTail) != 0) tail = end;
  }
  const size_t whole = text.skip(end, kTail);
  if (whole == end)
    end = tail != pos || need_tail ? tail : end;
  else
    end = whole;
  if (end == pos || text.done(end)) return end;
  return text.skip_contraction(end, true);
}

size_t o200k_end(const Text& text, size_t pos) {
  size_t after = pos;
  const int kind = text.next(after);
  if ((kind & kNumber) != 0) return text.skip(after, kNumber, 2);
  const bool prefix = (kind & kLetter) == 0 && !is_line_end(text[pos]);
  for (const bool need_tail : {true, false}) {
    if (prefix) {
      const size_t end = text.done(after) ? after : cased_word_end(text, after, need_tail);
      if (end != after) return end;
    }
    const size_t end = cased_word_end(text, pos, need_tail);
    if (end != pos) return end;
  }
  return other_end(text, pos, true);
}

}  // namespace

std::optional<WordScanner> find_word_scanner(std::string_view expression) {
  if (expression == kGpt2Pattern) return WordScanner::kGpt2;
  if (expression == kCl100kPattern) return WordScanner::kCl100k;
  if (expression == kQwen2Pattern) return WordScanner::kQwen2;
  if (expression == kO200kPattern) return WordScanner::kO200k;
  return std::nullopt;
}

size_t word_end(WordScanner scanner, std::string_view text, size_t pos) {
  switch (scanner) {
    case WordScanner::kGpt2:
      return gpt2_end(Text(text), pos);
    case WordScanner::kCl100k:
      return cl100k_end(Text(text), pos, 3);
    case WordScanner::kQwen2:
      return cl100k_end(Text(text), pos, 1);
    case WordScanner::kO200k:
      return o200k_end(Text(text), pos);
  }
  return text.size();
}

}  // namespace hugot
