// Reads the text of a regular expression.
#ifndef HUGOT_TOKENIZER_REGEX_SCANNER_H_
#define HUGOT_TOKENIZER_REGEX_SCANNER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot {

class RegexScanner {
 public:
  // `pattern` is valid UTF-8 and outlives the scanner.
  explicit RegexScanner(std::string_view pattern) : pattern_(pattern) {}

  bool done() const { return pos_ == pattern_.size(); }
  size_t position() const { return pos_; }
  void seek(size_t position) { pos_ = position; }

  // These throw at the end of the pattern.
  char32_t peek() const {
    size_t pos = pos_;
    if (done()) fail("the pattern ends early");
    return decode_utf8(pattern_, pos);
  }
  char32_t next() {
    if (done()) fail("the pattern ends early");
    return decode_utf8(pattern_, pos_);
  }

  bool skip(char c) { return skip(std::string_view(&c, 1)); }
  bool skip(std::string_view text) {
    if (!pattern_.substr(pos_).starts_with(text)) return false;
    pos_ += text.size();
    return true;
  }
  bool looking_at(std::string_view text) const { return pattern_.substr(pos_).starts_with(text); }
  // Whether `text` comes at all.
  bool ahead(std::string_view text) const { return pattern_.find(text, pos_) != pattern_.npos; }
  // The byte `distance` before the position.
  char before(size_t distance = 1) const {
    return pos_ < distance ? '\0' : pattern_[pos_ - distance];
  }

  // The text up to `end`, which is read, too.
  std::string until(char end) {
    const size_t found = pattern_.find(end, pos_);
    if (found == pattern_.npos) fail("the pattern ends early");
    const std::string out(pattern_.substr(pos_, found - pos_));
    pos_ = found + 1;
    return out;
  }

  // {n,m}, {n,}, {,m} or {n}, with n > m if they come so; false, with nothing read, for other text.
  bool interval(uint32_t& min, uint32_t& max) {
    const size_t begin = pos_;
    if (!skip('{')) return false;
    min = 0;
    const bool has_min = number(min);
    max = min;
    bool valid = has_min;
    if (skip(',')) {
      const bool has_max = number(max);
      if (!has_max) max = 0xFFFFFFFF;
      valid = has_min || has_max;
    }
    if (!valid || !skip('}')) {
      pos_ = begin;
      return false;
    }
    if (min > kMaxRepeat || (max != 0xFFFFFFFF && max > kMaxRepeat)) fail("too big a repetition");
    return true;
  }

  [[noreturn]] void fail(const char* what) const {
    hugot::fail(ErrorCode::kInvalidData, "regular expression: ", what, " at byte ", pos_);
  }
  [[noreturn]] void fail_unsupported(const char* what) const {
    hugot::fail(ErrorCode::kUnsupported, "regular expression: ", what, " are not supported (byte ",
                pos_, ")");
  }

  // Counts levels of nesting while it lives.
  class Nesting {
   public:
    explicit Nesting(RegexScanner& scanner) : scanner_(scanner) {
      if (++scanner_.depth_ > kMaxDepth) scanner_.fail("too deep nesting");
    }
    ~Nesting() { --scanner_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    RegexScanner& scanner_;
  };

 private:
  static constexpr int kMaxDepth = 200;
  static constexpr uint32_t kMaxRepeat = 100000;

  bool number(uint32_t& value) {
    uint32_t out = 0;
    const size_t begin = pos_;
    while (!done() && pattern_[pos_] >= '0' && pattern_[pos_] <= '9') {
      if (out <= kMaxRepeat) out = out * 10 + static_cast<uint32_t>(pattern_[pos_] - '0');
      ++pos_;
    }
    if (pos_ == begin) return false;
    value = out;
    return true;
  }

  std::string_view pattern_;
  size_t pos_ = 0;
  int depth_ = 0;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_REGEX_SCANNER_H_
