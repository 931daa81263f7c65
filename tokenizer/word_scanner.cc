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

namespace {

enum Class : uint8_t { kOther, kLetter, kNumber, kSpace };

struct Classes {
  std::array<uint8_t, 128> ascii{};
  unicode::CodePointTable<uint8_t> all;

  Classes() {
    for (const auto& [name, value] :
         {std::pair("L", kLetter), std::pair("N", kNumber), std::pair("space", kSpace)}) {
      for (const auto& range : CodePointSet::property(name).ranges()) {
        for (char32_t c = range.first; c <= range.last; ++c) all.at(c) = value;
      }
    }
    for (char32_t c = 0; c < 128; ++c) ascii[c] = all[c];
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

  // The class of the character at `pos`, which moves behind it.
  Class next(size_t& pos) const {
    const auto byte = static_cast<unsigned char>(text_[pos]);
    if (byte < 0x80) {
      ++pos;
      return static_cast<Class>(classes_.ascii[byte]);
    }
    return static_cast<Class>(classes_.all[decode_utf8(text_, pos)]);
  }
  bool is(size_t pos, Class wanted) const { return !done(pos) && next(pos) == wanted; }
  // Behind the run of characters of a class, of up to `most`.
  size_t skip(size_t pos, Class wanted, size_t most = static_cast<size_t>(-1)) const {
    for (; most > 0 && pos < text_.size(); --most) {
      size_t after = pos;
      if (next(after) != wanted) break;
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
  Class kind = text.next(after);
  if (text[pos] == ' ' && !text.done(after)) kind = text.next(after);
  if (kind != kSpace) return text.skip(after, kind);
  return text.skip_space(pos);
}

size_t cl100k_end(const Text& text, size_t pos, size_t digits) {
  const size_t contraction = text.skip_contraction(pos, true);
  if (contraction != pos) return contraction;
  const char first = text[pos];
  size_t after = pos;
  const Class kind = text.next(after);
  if (kind == kLetter) return text.skip(after, kLetter);
  if (kind == kNumber) return text.skip(after, kNumber, digits - 1);
  const auto is_line_end = [&](size_t at) { return text[at] == '\r' || text[at] == '\n'; };
  if (!is_line_end(pos) && text.is(after, kLetter)) return text.skip(after, kLetter);
  if (kind == kOther || (first == ' ' && text.is(after, kOther))) {
    size_t end = text.skip(after, kOther);
    while (is_line_end(end)) ++end;
    return end;
  }
  const size_t end = text.skip(pos, kSpace);
  for (size_t at = end; at > pos; --at) {
    if (is_line_end(at - 1)) return at;
  }
  return text.skip_space(pos);
}

}  // namespace

std::optional<WordScanner> find_word_scanner(std::string_view expression) {
  if (expression == kGpt2Pattern) return WordScanner::kGpt2;
  if (expression == kCl100kPattern) return WordScanner::kCl100k;
  if (expression == kQwen2Pattern) return WordScanner::kQwen2;
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
  }
  return text.size();
}

}  // namespace hugot
