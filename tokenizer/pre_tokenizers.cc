#include <algorithm>
#include <utility>

#include "base/code_point_set.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "tokenizer/pattern.h"
#include "tokenizer/pre_tokenizer.h"

namespace hugot {
namespace {

void add_part(std::vector<PatternPart>& parts, size_t begin, size_t end, bool is_match) {
  if (begin == end && !is_match) return;
  parts.push_back({{static_cast<uint32_t>(begin), static_cast<uint32_t>(end)}, is_match});
}

// Every character for which `matches` holds is a match of its own.
template <class Matches>
std::vector<PatternPart> match_characters(std::string_view text, Matches&& matches) {
  std::vector<PatternPart> parts;
  size_t last = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    if (!matches(decode_utf8(text, pos))) continue;
    add_part(parts, last, begin, false);
    add_part(parts, begin, pos, true);
    last = pos;
  }
  add_part(parts, last, text.size(), false);
  return parts;
}

// Cuts at the single characters that have a property.
template <class Matches>
class CharacterPreTokenizer final : public PreTokenizer {
 public:
  CharacterPreTokenizer(Matches matches, SplitBehavior behavior)
      : matches_(std::move(matches)), behavior_(behavior) {}
  void pre_tokenize(PreTokenizedText& text) const override {
    cut_splits(text, [this](std::string_view piece, auto&& emit) {
      for (const Span& part : join_parts(match_characters(piece, matches_), behavior_)) {
        emit(part.begin, part.end);
      }
    });
  }

 private:
  Matches matches_;
  SplitBehavior behavior_;
};

template <class Matches>
PreTokenizerPtr make_character_pre_tokenizer(Matches matches, SplitBehavior behavior) {
  return std::make_unique<CharacterPreTokenizer<Matches>>(std::move(matches), behavior);
}

auto has_property(unicode::Property property) {
  return [property](char32_t c) { return unicode::has(c, property); };
}

class WhitespacePreTokenizer final : public PreTokenizer {
 public:
  void pre_tokenize(PreTokenizedText& text) const override {
    cut_splits(text, [](std::string_view piece, auto&& emit) {
      size_t begin = 0;
      Class run = kSpace;
      for (size_t pos = 0; pos < piece.size();) {
        const size_t at = pos;
        const Class next = class_of(decode_utf8(piece, pos));
        if (next == run) continue;
        if (run != kSpace) emit(begin, at);
        begin = at;
        run = next;
      }
      if (run != kSpace) emit(begin, piece.size());
    });
  }

 private:
  enum Class { kSpace, kWord, kOther };
  static Class class_of(char32_t c) {
    const uint8_t properties = unicode::properties(c);
    if (properties & unicode::kWord) return kWord;
    return properties & unicode::kWhiteSpace ? kSpace : kOther;
  }
};

class UnicodeScriptsPreTokenizer final : public PreTokenizer {
 public:
  void pre_tokenize(PreTokenizedText& text) const override {
    cut_splits(text, [](std::string_view piece, auto&& emit) {
      // Characters of no script stay with what is in front of them.
      size_t begin = std::string_view::npos;
      uint8_t last = 0;
      for (size_t pos = 0; pos < piece.size();) {
        const size_t at = pos;
        const uint8_t script = legacy_script(decode_utf8(piece, pos));
        if (script == 0 || script == last) continue;
        if (begin != std::string_view::npos) emit(begin, at);
        begin = at;
        last = script;
      }
      if (begin != std::string_view::npos) emit(begin, piece.size());
    });
  }
};

class FixedLengthPreTokenizer final : public PreTokenizer {
 public:
  explicit FixedLengthPreTokenizer(size_t length) : length_(length) {}

  void pre_tokenize(PreTokenizedText& text) const override {
    cut_splits(text, [this](std::string_view piece, auto&& emit) {
      for (size_t pos = 0; pos < piece.size();) {
        const size_t begin = pos;
        for (size_t i = 0; i < length_ && pos < piece.size(); ++i) pos += utf8_length(piece[pos]);
        emit(begin, pos);
      }
    });
  }

 private:
  size_t length_;
};

}  // namespace

std::vector<Span> join_parts(const std::vector<PatternPart>& parts, SplitBehavior behavior) {
  std::vector<Span> out;
  out.reserve(parts.size());
  const auto extend_last = [&](const PatternPart& part) { out.back().end = part.range.end; };
  switch (behavior) {
    case SplitBehavior::kRemoved:
      for (const PatternPart& part : parts) {
        if (!part.is_match) out.push_back(part.range);
      }
      break;
    case SplitBehavior::kIsolated:
      for (const PatternPart& part : parts) out.push_back(part.range);
      break;
    case SplitBehavior::kContiguous:
      for (size_t i = 0; i < parts.size(); ++i) {
        if (i > 0 && parts[i].is_match == parts[i - 1].is_match) {
          extend_last(parts[i]);
        } else {
          out.push_back(parts[i].range);
        }
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (size_t i = 0; i < parts.size(); ++i) {
        if (i > 0 && parts[i].is_match && !parts[i - 1].is_match) {
          extend_last(parts[i]);
        } else {
          out.push_back(parts[i].range);
        }
      }
      break;
    case SplitBehavior::kMergedWithNext:
      for (size_t i = 0; i < parts.size(); ++i) {
        if (i > 0 && parts[i - 1].is_match && !parts[i].is_match) {
          extend_last(parts[i]);
        } else {
          out.push_back(parts[i].range);
        }
      }
      break;
  }
  return out;
}

void SplitPreTokenizer::pre_tokenize(PreTokenizedText& text) const {
  cut_splits(text, [this](std::string_view piece, auto&& emit) {
    std::vector<PatternPart> parts = pattern_.parts(piece);
    for (PatternPart& part : parts) part.is_match ^= invert_;
    for (const Span& part : join_parts(parts, behavior_)) emit(part.begin, part.end);
  });
}

std::optional<WordScanner> SplitPreTokenizer::scanner() const {
  // The matches cover the text, so that there is nothing else to keep or to remove.
  const bool keeps =
      behavior_ == SplitBehavior::kIsolated || (behavior_ == SplitBehavior::kRemoved && invert_);
  return keeps ? pattern_.scanner() : std::nullopt;
}

void SequencePreTokenizer::pre_tokenize(PreTokenizedText& text) const {
  for (const PreTokenizerPtr& part : parts_) part->pre_tokenize(text);
}

bool SequencePreTokenizer::needs_origins() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const PreTokenizerPtr& part) { return part->needs_origins(); });
}

void BertPreTokenizer::pre_tokenize(PreTokenizedText& text) const {
  cut_splits(text, [](std::string_view piece, auto&& emit) {
    size_t word = 0;
    for (size_t pos = 0; pos < piece.size();) {
      const size_t begin = pos;
      const uint8_t properties = unicode::properties(decode_utf8(piece, pos));
      if ((properties & (unicode::kWhiteSpace | unicode::kPunctuation)) == 0) continue;
      emit(word, begin);
      if (properties & unicode::kPunctuation) emit(begin, pos);
      word = pos;
    }
    emit(word, piece.size());
  });
}

PreTokenizerPtr make_whitespace_pre_tokenizer() {
  return std::make_unique<WhitespacePreTokenizer>();
}
PreTokenizerPtr make_whitespace_split_pre_tokenizer() {
  return make_character_pre_tokenizer(has_property(unicode::kWhiteSpace), SplitBehavior::kRemoved);
}
PreTokenizerPtr make_punctuation_pre_tokenizer(SplitBehavior behavior) {
  return make_character_pre_tokenizer(has_property(unicode::kPunctuation), behavior);
}
PreTokenizerPtr make_digits_pre_tokenizer(bool individual_digits) {
  return make_character_pre_tokenizer(
      has_property(unicode::kNumeric),
      individual_digits ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
}
PreTokenizerPtr make_delimiter_pre_tokenizer(char32_t delimiter) {
  return make_character_pre_tokenizer([delimiter](char32_t c) { return c == delimiter; },
                                      SplitBehavior::kRemoved);
}
PreTokenizerPtr make_unicode_scripts_pre_tokenizer() {
  return std::make_unique<UnicodeScriptsPreTokenizer>();
}
PreTokenizerPtr make_fixed_length_pre_tokenizer(size_t length) {
  return std::make_unique<FixedLengthPreTokenizer>(length);
}

}  // namespace hugot
