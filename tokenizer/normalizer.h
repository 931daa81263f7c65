// Normalizers: the stage that rewrites text before it is split.
// All of them are immutable and thread-safe. Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_NORMALIZER_H_
#define HUGOT_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/charsmap.h"
#include "tokenizer/normalized_string.h"
#include "tokenizer/pattern.h"

namespace hugot {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(NormalizedString& string) const = 0;
  // Whether a text, which is valid UTF-8, surely stays as it is; a quick look.
  virtual bool keeps(std::string_view text) const { return text.empty(); }
  // Whether it may put text in front of the first character that comes from nowhere: its sources
  // are empty. Pre-tokenizers can tell, so that even bare ids need sources then.
  virtual bool inserts_in_front() const { return false; }
};

using NormalizerPtr = std::unique_ptr<const Normalizer>;

// Cleans, spaces out CJK ideographs, strips accents and lowercases, in this order.
class BertNormalizer final : public Normalizer {
 public:
  struct Options {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    std::optional<bool> strip_accents;  // none: as lowercase
    bool lowercase = true;

    bool strips_accents() const { return strip_accents.value_or(lowercase); }
  };

  explicit BertNormalizer(const Options& options) : options_(options) {}
  const Options& options() const { return options_; }
  void normalize(NormalizedString& string) const override;

 private:
  Options options_;
};

// Whether BertNormalizer puts spaces around `c`.
bool is_bert_ideograph(char32_t c);

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };

NormalizerPtr make_unicode_normalizer(NormalizationForm form);
// Lowercase.
NormalizerPtr make_lowercase_normalizer();
// StripAccents: drops marks; does not decompose first.
NormalizerPtr make_strip_accents_normalizer();
// Strip: removes white space at the ends.
NormalizerPtr make_strip_normalizer(bool left, bool right);
// Replace.
NormalizerPtr make_replace_normalizer(Pattern pattern, std::string content);
// Prepend.
NormalizerPtr make_prepend_normalizer(std::string prefix);
// Nmt: drops some controls, maps others and zero-width characters to spaces.
NormalizerPtr make_nmt_normalizer();
// ByteLevel: bytes become characters of the byte-level alphabet.
NormalizerPtr make_byte_level_normalizer();
// Precompiled: SentencePiece's replacements, by grapheme clusters of less than six bytes and else
// by characters.
NormalizerPtr make_precompiled_normalizer(Charsmap charsmap);
NormalizerPtr make_sequence_normalizer(std::vector<NormalizerPtr> parts);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_NORMALIZER_H_
