// Pre-tokenizers that change the text: ByteLevel and Metaspace.
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/pre_tokenizer.h"

namespace hugot {
namespace {

// Builds the new text, its sources and its splits.
class TextBuilder {
 public:
  explicit TextBuilder(PreTokenizedText& text) : text_(text), tracked_(!text.sources.empty()) {
    out_.text.reserve(text.text.size() + text.text.size() / 4);
    if (tracked_) out_.sources.reserve(out_.text.capacity());
  }

  bool tracked() const { return tracked_; }
  uint32_t size() const { return static_cast<uint32_t>(out_.text.size()); }
  // The source of a byte of the old text.
  Span source(size_t at) const { return tracked_ ? text_.sources[at] : Span(); }

  void add(std::string_view bytes, Span source) {
    out_.text += bytes;
    if (tracked_) out_.sources.insert(out_.sources.end(), bytes.size(), source);
  }
  void add(char32_t c, Span source) {
    char bytes[4];
    add({bytes, encode_utf8(c, bytes)}, source);
  }

  // Makes what was added since `begin` a split.
  void finish_split(uint32_t begin, uint32_t origin, int32_t added_token = -1) {
    require(out_.text.size() < 0x7FFFFFFF, ErrorCode::kUnsupported,
            "the normalized text is too long");
    if (begin < size()) out_.splits.push_back({{begin, size()}, origin, added_token});
  }
  void keep(const Split& split) {
    const uint32_t begin = size();
    out_.text += text_.text_of(split);
    if (tracked_) {
      out_.sources.insert(out_.sources.end(), text_.sources.begin() + split.range.begin,
                          text_.sources.begin() + split.range.end);
    }
    finish_split(begin, split.origin, split.added_token);
  }
  void finish() { text_ = std::move(out_); }

 private:
  PreTokenizedText& text_;
  bool tracked_;
  PreTokenizedText out_;
};

}  // namespace

void ByteLevelPreTokenizer::pre_tokenize(PreTokenizedText& text) const {
  TextBuilder out(text);
  std::string spaced;
  for (const Split& split : text.splits) {
    if (split.added_token >= 0) {
      out.keep(split);
      continue;
    }
    std::string_view piece = text.text_of(split);
    const bool prefixed = options_.add_prefix_space && !piece.starts_with(' ');
    if (prefixed) {
      spaced.assign(1, ' ');
      spaced += piece;
      piece = spaced;
    }
    // The space in front shares the source of what follows.
    const auto source = [&](size_t at) {
      return out.source(split.range.begin + (prefixed && at > 0 ? at - 1 : at));
    };
    const auto add = [&](size_t begin, size_t end, uint32_t origin) {
      const uint32_t first = out.size();
      for (size_t at = begin; at < end; ++at) {
        out.add(byte_level_char(static_cast<unsigned char>(piece[at])), source(at));
      }
      // Where a word comes from nowhere, the reference replaces nothing: the old text stays behind
      // the new one.
      if (out.tracked() && source(begin).begin == source(end - 1).end) {
        out.add(piece.substr(begin, end - begin), source(begin));
      }
      out.finish_split(first, origin);
    };
    if (options_.use_regex) {
      scan_words(WordScanner::kGpt2, piece,
                 [&](size_t begin, size_t end) { add(begin, end, source(begin).begin); });
    } else {
      add(0, piece.size(), split.origin);
    }
  }
  out.finish();
}

void MetaspacePreTokenizer::pre_tokenize(PreTokenizedText& text) const {
  std::string replacement;
  append_utf8(replacement, options_.replacement);
  TextBuilder out(text);
  for (const Split& split : text.splits) {
    if (split.added_token >= 0) {
      out.keep(split);
      continue;
    }
    const std::string_view piece = text.text_of(split);
    const bool prepends = (options_.scheme == PrependScheme::kAlways ||
                           (options_.scheme == PrependScheme::kFirst && split.origin == 0)) &&
                          !piece.starts_with(' ') && !piece.starts_with(replacement);
    uint32_t begin = out.size();
    uint32_t origin = split.origin;
    if (options_.split) origin = out.source(split.range.begin).begin;
    if (prepends) out.add(replacement, out.source(split.range.begin));
    for (size_t pos = 0; pos < piece.size();) {
      const size_t length = utf8_length(piece[pos]);
      const Span source = out.source(split.range.begin + pos);
      const std::string_view c = piece.substr(pos, length);
      const bool replaces = c == " " || c == replacement;
      if (replaces && options_.split && out.size() > begin) {
        out.finish_split(begin, origin);
        begin = out.size();
        origin = source.begin;
      }
      out.add(replaces ? std::string_view(replacement) : c, source);
      pos += length;
    }
    out.finish_split(begin, origin);
  }
  out.finish();
}

}  // namespace hugot
