#include "tokenizer/normalized_string.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/utf8.h"

namespace hugot {

NormalizedString::NormalizedString(std::string_view original, uint32_t origin, bool tracked)
    : text_(original), origin_(origin), tracked_(tracked) {
  if (!tracked) return;
  sources_.resize(original.size());
  for (size_t pos = 0; pos < original.size();) {
    const size_t length = utf8_length(original[pos]);
    const auto begin = static_cast<uint32_t>(origin + pos);
    for (size_t i = 0; i < length; ++i) {
      sources_[pos + i] = {begin, begin + static_cast<uint32_t>(length)};
    }
    pos += length;
  }
}

void NormalizedString::transform(std::span<const CharChange> chars, size_t dropped) {
  Rewriter out(*this);
  for (; dropped > 0 && !out.done(); --dropped) out.drop();
  for (const CharChange& change : chars) out.apply(change);
  out.finish();
}

void NormalizedString::prepend(std::string_view prefix) {
  if (text_.empty()) return;
  if (prefix.empty() && tracked_) {
    // To the reference the old first character is inserted, and here there is nothing before it.
    std::fill_n(sources_.begin(), utf8_length(text_[0]), Span{origin_, origin_});
  }
  text_.insert(0, prefix);
  if (tracked_) sources_.insert(sources_.begin(), prefix.size(), Span(sources_.front()));
}

void NormalizedString::replace_ranges(std::span<const Span> ranges, std::string_view content) {
  std::string text;
  std::vector<Span> sources;
  size_t last = 0;
  const auto copy_until = [&](size_t end) {
    text.append(text_, last, end - last);
    if (tracked_) sources.insert(sources.end(), sources_.begin() + last, sources_.begin() + end);
  };
  for (const Span& range : ranges) {
    copy_until(range.begin);
    text += content;
    if (tracked_) {
      const Span source = range.end > 0 ? sources_[range.end - 1] : Span{origin_, origin_};
      sources.insert(sources.end(), content.size(), source);
    }
    last = range.end;
  }
  copy_until(text_.size());
  text_ = std::move(text);
  sources_ = std::move(sources);
}

void NormalizedString::strip(bool left, bool right, bool (*removes)(char32_t)) {
  size_t begin = 0;
  size_t end = text_.size();
  while (right && end > 0) {
    const char32_t c = decode_utf8_before(text_, end);
    if (!removes(c)) break;
    end -= utf8_length(c);
  }
  while (left && begin < end) {
    size_t next = begin;
    if (!removes(decode_utf8(text_, next))) break;
    begin = next;
  }
  text_ = text_.substr(begin, end - begin);
  if (tracked_) {
    sources_.erase(sources_.begin() + end, sources_.end());
    sources_.erase(sources_.begin(), sources_.begin() + begin);
  }
}

NormalizedString::Rewriter::Rewriter(NormalizedString& string) : string_(string) {
  text_.reserve(string.text_.size());
  sources_.reserve(string.sources_.size());
}

char32_t NormalizedString::Rewriter::peek() const {
  size_t pos = read_;
  return decode_utf8(string_.text_, pos);
}

void NormalizedString::Rewriter::append(char32_t c, Span source) {
  append_utf8(text_, c);
  if (string_.tracked_) sources_.insert(sources_.end(), utf8_length(c), source);
}

void NormalizedString::Rewriter::keep() { replace(peek()); }

void NormalizedString::Rewriter::drop() { read_ += utf8_length(string_.text_[read_]); }

void NormalizedString::Rewriter::replace(char32_t c) {
  if (done()) return insert(c);
  append(c, string_.tracked_ ? string_.sources_[read_] : Span{});
  drop();
}

void NormalizedString::Rewriter::insert(char32_t c) {
  Span source{string_.origin_, string_.origin_};
  if (string_.tracked_ && read_ > 0) source = string_.sources_[read_ - 1];
  append(c, source);
}

void NormalizedString::Rewriter::apply(const CharChange& change) {
  if (change.change > 0) return insert(change.c);
  replace(change.c);
  for (int32_t swallowed = change.change; swallowed < 0 && !done(); ++swallowed) drop();
}

void NormalizedString::Rewriter::finish() {
  string_.text_ = std::move(text_);
  string_.sources_ = std::move(sources_);
}

}  // namespace hugot
