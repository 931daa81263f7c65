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
#include "tokenizer/pattern.h"

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

// Joins consecutive parts, which cover a text, into the pieces that `behavior` keeps.
std::vector<Span> join_parts(const std::vector<PatternPart>& parts, SplitBehavior behavior);

// BertPreTokenizer: drops white space, isolates punctuation.
class BertPreTokenizer final : public PreTokenizer {
 public:
  void pre_tokenize(PreTokenizedText& text) const override;
};

// Split: cuts at the matches of a pattern, or with `invert` at what lies between them.
class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void pre_tokenize(PreTokenizedText& text) const override;

  // The scanner that finds the same pieces; for a pattern that has one and covers all text.
  std::optional<WordScanner> scanner() const;

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// ByteLevel: words of GPT-2's pattern, each byte as a character of the byte-level alphabet.
class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  struct Options {
    bool add_prefix_space = true;  // in front of every piece without one
    bool use_regex = true;         // cut into words
  };

  explicit ByteLevelPreTokenizer(const Options& options) : options_(options) {}
  const Options& options() const { return options_; }
  void pre_tokenize(PreTokenizedText& text) const override;

 private:
  Options options_;
};

// Where a pre-tokenizer or its decoder deals with a space in front of a text.
enum class PrependScheme { kAlways, kFirst, kNever };

// Metaspace: spaces become a visible character, which begins words.
class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  struct Options {
    char32_t replacement = 0x2581;
    PrependScheme scheme = PrependScheme::kAlways;
    bool split = true;
  };

  explicit MetaspacePreTokenizer(const Options& options) : options_(options) {}
  const Options& options() const { return options_; }
  void pre_tokenize(PreTokenizedText& text) const override;
  bool needs_origins() const override { return options_.scheme == PrependScheme::kFirst; }

 private:
  Options options_;
};

// Whitespace: keeps runs of \w and runs of [^\w\s].
PreTokenizerPtr make_whitespace_pre_tokenizer();
PreTokenizerPtr make_whitespace_split_pre_tokenizer();
PreTokenizerPtr make_punctuation_pre_tokenizer(SplitBehavior behavior);
PreTokenizerPtr make_digits_pre_tokenizer(bool individual_digits);
// CharDelimiterSplit.
PreTokenizerPtr make_delimiter_pre_tokenizer(char32_t delimiter);
// UnicodeScripts: cuts where the script changes; what precedes the first script is lost.
PreTokenizerPtr make_unicode_scripts_pre_tokenizer();
// FixedLength: pieces of `length` > 0 characters.
PreTokenizerPtr make_fixed_length_pre_tokenizer(size_t length);

// Sequence: one after the other.
class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<PreTokenizerPtr> parts) : parts_(std::move(parts)) {}
  const std::vector<PreTokenizerPtr>& parts() const { return parts_; }
  void pre_tokenize(PreTokenizedText& text) const override;
  bool needs_origins() const override;

 private:
  std::vector<PreTokenizerPtr> parts_;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_PRE_TOKENIZER_H_
