#include "tokenizer/pattern.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot {
namespace {

std::vector<Span> find_literal(std::string_view text, std::string_view pattern) {
  std::vector<Span> out;
  const auto add = [&](size_t begin, size_t end) {
    out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
  };
  if (text.empty()) return out;
  if (pattern.empty()) {
    for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) add(pos, pos);
    add(text.size(), text.size());
    return out;
  }
  for (size_t pos = 0; (pos = text.find(pattern, pos)) != std::string_view::npos;) {
    add(pos, pos + pattern.size());
    pos += pattern.size();
  }
  return out;
}

}  // namespace

Pattern Pattern::literal(std::string text) {
  Pattern out;
  out.literal_ = std::move(text);
  return out;
}

Pattern Pattern::regex(std::string_view expression) {
  Pattern out;
  out.scanner_ = find_word_scanner(expression);
  if (!out.scanner_) out.regex_.emplace(expression);
  return out;
}

std::vector<Span> Pattern::find_all(std::string_view text) const {
  if (scanner_) {
    std::vector<Span> out;
    scan_words(*scanner_, text, [&](size_t begin, size_t end) {
      out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    });
    return out;
  }
  return regex_ ? regex_->find_all(text) : find_literal(text, literal_);
}

bool Pattern::may_match_nothing() const {
  if (scanner_) return false;
  return regex_ ? regex_->may_match_nothing() : literal_.empty();
}

std::vector<PatternPart> Pattern::parts(std::string_view text) const {
  std::vector<PatternPart> out;
  uint32_t last = 0;
  for (const Span& match : find_all(text)) {
    if (last < match.begin) out.push_back({{last, match.begin}, false});
    out.push_back({match, true});
    last = match.end;
  }
  if (last < text.size()) out.push_back({{last, static_cast<uint32_t>(text.size())}, false});
  return out;
}

void check_replaced(std::string_view text, const std::vector<Span>& matches,
                    std::string_view content) {
  constexpr size_t kMaxReplaced = size_t{1} << 25;
  size_t size = text.size() + matches.size() * content.size();
  for (const Span& match : matches) size -= match.end - match.begin;
  require(size <= std::max(text.size(), kMaxReplaced), ErrorCode::kUnsupported,
          "a replacement makes a text longer than ", kMaxReplaced, " bytes");
}

}  // namespace hugot
