#include "tokenizer/bert_id_encoder.h"

#include <string>

#include "base/unicode.h"
#include "base/utf8.h"

namespace hugot {

// The word that is being collected: normalized bytes and their hash.
class BertIdEncoder::Word {
 public:
  Word(const WordPieceModel& model, std::vector<int32_t>& out) : model_(model), out_(out) {}

  void add_ascii(char byte) {
    if (size_ == bytes_.size()) bytes_.resize(2 * size_);
    bytes_[size_++] = byte;
    ++characters_;
    hash_.add(byte);
  }

  void add(char32_t c) {
    if (size_ + 4 > bytes_.size()) bytes_.resize(2 * bytes_.size());
    const size_t length = encode_utf8(c, bytes_.data() + size_);
    for (size_t i = 0; i < length; ++i) hash_.add(bytes_[size_ + i]);
    size_ += length;
    ++characters_;
  }

  // Ends the word.
  void finish() {
    if (size_ == 0) return;
    model_.tokenize_ids({bytes_.data(), size_}, characters_, hash_, out_);
    size_ = 0;
    characters_ = 0;
    hash_ = Vocabulary::Hash();
  }

 private:
  const WordPieceModel& model_;
  std::vector<int32_t>& out_;
  std::string bytes_ = std::string(128, '\0');
  size_t size_ = 0;
  size_t characters_ = 0;
  Vocabulary::Hash hash_;
};

BertIdEncoder::BertIdEncoder(const BertNormalizer::Options& options, const WordPieceModel& model)
    : options_(options), model_(model) {
  for (char32_t c = 0; c < 128; ++c) {
    const bool drops = options.clean_text && unicode::has(c, unicode::kBertRemoved);
    const char32_t mapped = options.lowercase ? unicode::lowercase(c).first : c;
    ascii_[c] = {drops ? Action::kDrop : action_of(mapped), static_cast<char>(mapped)};
  }
}

BertIdEncoder::Action BertIdEncoder::action_of(char32_t normalized) {
  const uint8_t properties = unicode::properties(normalized);
  if (properties & unicode::kWhiteSpace) return Action::kSpace;
  return properties & unicode::kPunctuation ? Action::kPunctuation : Action::kWord;
}

bool BertIdEncoder::encode(std::string_view text, size_t limit, std::vector<int32_t>& out) const {
  const size_t size_before = out.size();
  Word word(model_, out);
  for (size_t pos = 0; pos < text.size();) {
    const auto byte = static_cast<unsigned char>(text[pos]);
    if (byte >= 0x80) {
      if (!add(decode_utf8(text, pos), word)) {
        out.resize(size_before);
        return false;
      }
      continue;
    }
    ++pos;
    const AsciiEntry entry = ascii_[byte];
    switch (entry.action) {
      case Action::kWord:
        word.add_ascii(entry.mapped);
        break;
      case Action::kSpace:
        word.finish();
        if (out.size() >= limit) return true;
        break;
      case Action::kPunctuation:
        word.finish();
        word.add_ascii(entry.mapped);
        word.finish();
        break;
      case Action::kDrop:
        break;
    }
  }
  word.finish();
  return true;
}

bool BertIdEncoder::add(char32_t c, Word& word) const {
  if (options_.clean_text && unicode::has(c, unicode::kBertRemoved)) return true;
  const bool apart = options_.handle_chinese_chars && is_bert_ideograph(c);
  if (apart) word.finish();
  if (!options_.strips_accents()) {
    add_decomposed(c, word);
  } else {
    char32_t hangul[3];
    std::span<const char32_t> parts = unicode::decompose(c, false, hangul);
    if (parts.empty()) parts = {&c, 1};
    for (const char32_t part : parts) {
      if (unicode::has(part, unicode::kBertMark)) continue;
      if (unicode::combining_class(part) != 0) return false;
      add_decomposed(part, word);
    }
  }
  if (apart) word.finish();
  return true;
}

void BertIdEncoder::add_decomposed(char32_t c, Word& word) const {
  if (!options_.lowercase) return add_normalized(c, word);
  const unicode::Lowercase lower = unicode::lowercase(c);
  add_normalized(lower.first, word);
  if (lower.second != 0) add_normalized(lower.second, word);
}

void BertIdEncoder::add_normalized(char32_t c, Word& word) {
  const Action action = action_of(c);
  if (action != Action::kWord) word.finish();
  if (action != Action::kSpace) word.add(c);
  if (action != Action::kWord) word.finish();
}

}  // namespace hugot
