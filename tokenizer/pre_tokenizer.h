// Pre-tokenizers: the stage that cuts normalized text into words for the model.
// All of them are immutable and thread-safe. Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_PRE_TOKENIZER_H_
#define HUGOT_TOKENIZER_PRE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/normalized_string.h"

namespace hugot {

// A part of PreTokenizedText::text, never empty.
struct Split {
  Span range;
  // Where the text of the split began in the input when it was cut; 0 when not tracked.
  uint32_t origin = 0;
  // The added token that the split is, or -1. Pre-tokenizers and the model leave those alone.
  int32_t added_token = -1;
};

// The text of one input, cut into splits. Cutting only replaces ranges; a pre-tokenizer that also
// rewrites text rebuilds `text` and `sources`.
struct PreTokenizedText {
  std::string text;
  std::vector<Span> sources;  // one per byte of text, as NormalizedString::sources()
  std::vector<Split> splits;

  std::string_view text_of(const Split& split) const {
    return std::string_view(text).substr(split.range.begin, split.range.end - split.range.begin);
  }
  // A split for a part of the text.
  Split make_split(uint32_t begin, uint32_t end) const {
    return {{begin, end}, sources.empty() ? 0 : sources[begin].begin, -1};
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void pre_tokenize(PreTokenizedText& text) const = 0;
  // Whether the cuts depend on Split::origin; then sources are tracked even for bare ids.
  virtual bool needs_origins() const { return false; }
};

using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;

// Cuts every split that is not an added token: cut(text, emit) calls emit(begin, end) for the parts
// to keep, with positions in the split's text.
template <class Cut>
void cut_splits(PreTokenizedText& text, Cut&& cut) {
  std::vector<Split> out;
  out.reserve(text.splits.size() * 2);
  for (const Split& split : text.splits) {
    if (split.added_token >= 0) {
      out.push_back(split);
      continue;
    }
    cut(text.text_of(split), [&](size_t begin, size_t end) {
      if (begin == end) return;
      out.push_back(text.make_split(split.range.begin + static_cast<uint32_t>(begin),
                                    split.range.begin + static_cast<uint32_t>(end)));
    });
  }
  text.splits = std::move(out);
}

// What becomes of the matches of a pattern.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// A part of a text that does or does not match a pattern.
struct PatternPart {
  Span range;
  bool is_match = false;
};

// Joins consecutive parts, which cover a text, into the pieces that `behavior` keeps.
std::vector<Span> join_parts(const std::vector<PatternPart>& parts, SplitBehavior behavior);

// BertPreTokenizer: drops white space, isolates punctuation.
class BertPreTokenizer final : public PreTokenizer {
 public:
  void pre_tokenize(PreTokenizedText& text) const override;
};

// Whitespace: keeps runs of \w and runs of [^\w\s].
PreTokenizerPtr make_whitespace_pre_tokenizer();
PreTokenizerPtr make_whitespace_split_pre_tokenizer();
PreTokenizerPtr make_punctuation_pre_tokenizer(SplitBehavior behavior);
PreTokenizerPtr make_digits_pre_tokenizer(bool individual_digits);
// CharDelimiterSplit.
PreTokenizerPtr make_delimiter_pre_tokenizer(char32_t delimiter);
// Split with a literal pattern.
PreTokenizerPtr make_split_pre_tokenizer(std::string pattern, SplitBehavior behavior, bool invert);
// FixedLength: pieces of `length` > 0 characters.
PreTokenizerPtr make_fixed_length_pre_tokenizer(size_t length);
PreTokenizerPtr make_sequence_pre_tokenizer(std::vector<PreTokenizerPtr> parts);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_PRE_TOKENIZER_H_
