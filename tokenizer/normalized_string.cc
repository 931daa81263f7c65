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

void NormalizedString::assign(std::string text, std::vector<Span> sources) {
  text_ = std::move(text);
  sources_ = std::move(sources);
  sourceless_ = 0;
  while (sourceless_ < sources_.size() &&
         sources_[sourceless_].begin == sources_[sourceless_].end) {
    ++sourceless_;
  }
}

void NormalizedString::prepend(std::string_view prefix) {
  if (text_.empty()) return;
  if (prefix.empty()) {
    // To the reference the old first character is inserted, and here there is nothing before it.
    const size_t first = utf8_length(text_[0]);
    if (tracked_) std::fill_n(sources_.begin(), first, Span{origin_, origin_});
    sourceless_ = std::max(sourceless_, first);
  }
  if (sourceless_ > 0) sourceless_ += prefix.size();
  text_.insert(0, prefix);
  if (tracked_) sources_.insert(sources_.begin(), prefix.size(), Span(sources_.front()));
}

void NormalizedString::replace_ranges(std::span<const Span> ranges, std::string_view content) {
  std::string text;
  std::vector<Span> sources;
  size_t last = 0, sourceless = 0;
  const auto copy_until = [&](size_t end) {
    if (sourceless == text.size()) {
      sourceless += std::min(end, std::max(last, sourceless_)) - last;
    }
    text.append(text_, last, end - last);
    if (tracked_) sources.insert(sources.end(), sources_.begin() + last, sources_.begin() + end);
  };
  for (const Span& range : ranges) {
    copy_until(range.begin);
    if (range.end <= sourceless_ && sourceless == text.size()) sourceless += content.size();
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
  sourceless_ = sourceless;
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
  if (sourceless_ > 0) {
    if (begin == 0 && end == text_.size()) return;
    Rewriter out(*this);
    for (size_t pos = 0; pos < text_.size(); pos += utf8_length(text_[pos])) {
      if (pos < begin || pos >= end) {
        out.drop();
      } else {
        out.keep();
      }
    }
    return out.finish();
  }
  text_ = text_.substr(begin, end - begin);
  if (tracked_) {
    sources_.erase(sources_.begin() + end, sources_.end());
    sources_.erase(sources_.begin(), sources_.begin() + begin);
  }
}

NormalizedString::Rewriter::Rewriter(NormalizedString& string)
    : string_(string), read_behind_(string.sourceless_), fits_(string.sourceless_ > 0) {
  text_.reserve(string.text_.size());
  sources_.reserve(string.sources_.size());
}

char32_t NormalizedString::Rewriter::peek() const {
  size_t pos = read_;
  return decode_utf8(string_.text_, pos);
}

// `source` is the byte whose source the character has; none when negative.
void NormalizedString::Rewriter::append(char32_t c, ptrdiff_t source, ptrdiff_t source_behind) {
  const auto add = [&](ptrdiff_t at, std::vector<Span>& sources, size_t& sourceless) {
    if (at < static_cast<ptrdiff_t>(string_.sourceless_) && sourceless == text_.size()) {
      sourceless += utf8_length(c);
    }
    if (!string_.tracked_) return;
    const Span none{string_.origin_, string_.origin_};
    sources.insert(sources.end(), utf8_length(c),
                   at < 0 ? none : string_.sources_[static_cast<size_t>(at)]);
  };
  add(source, sources_, sourceless_);
  if (fits_) add(source_behind, sources_behind_, sourceless_behind_);
  append_utf8(text_, c);
}

void NormalizedString::Rewriter::keep() { replace(peek()); }

void NormalizedString::Rewriter::drop() {
  read_ += utf8_length(string_.text_[read_]);
  if (fits_ && read_behind_ < string_.text_.size()) {
    read_behind_ += utf8_length(string_.text_[read_behind_]);
  }
}

void NormalizedString::Rewriter::replace(char32_t c) {
  if (done()) return insert(c);
  if (read_behind_ >= string_.text_.size()) fits_ = false;
  append(c, static_cast<ptrdiff_t>(read_), static_cast<ptrdiff_t>(read_behind_));
  drop();
}

void NormalizedString::Rewriter::insert(char32_t c) {
  append(c, static_cast<ptrdiff_t>(read_) - 1, static_cast<ptrdiff_t>(read_behind_) - 1);
}

void NormalizedString::Rewriter::apply(const CharChange& change) {
  if (change.change > 0) return insert(change.c);
  replace(change.c);
  for (int32_t swallowed = change.change; swallowed < 0 && !done(); ++swallowed) drop();
}

void NormalizedString::Rewriter::finish() {
  if (!fits_) {
    string_.text_ = std::move(text_);
    string_.sources_ = std::move(sources_);
    string_.sourceless_ = sourceless_;
    return;
  }
  const size_t kept = string_.sourceless_;
  string_.text_.replace(kept, std::string::npos, text_);
  if (string_.tracked_) {
    string_.sources_.resize(kept);
    string_.sources_.insert(string_.sources_.end(), sources_behind_.begin(), sources_behind_.end());
  }
  string_.sourceless_ = kept + sourceless_behind_;
}

}  // namespace hugot
