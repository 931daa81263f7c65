// Bare ids for BertNormalizer + BertPreTokenizer + WordPiece in one pass over the text.
#ifndef HUGOT_TOKENIZER_BERT_ID_ENCODER_H_
#define HUGOT_TOKENIZER_BERT_ID_ENCODER_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"

namespace hugot {

// Gives the ids that the three stages give one after the other, without building their texts.
// Immutable and thread-safe.
class BertIdEncoder {
 public:
  // `model` must outlive this object.
  BertIdEncoder(const BertNormalizer::Options& options, const WordPieceModel& model);

  // Appends the ids of `text`, valid UTF-8; may stop as soon as `out` holds `limit` ids. Returns
  // false, with `out` as it was, for the rare text whose marks have to be put in canonical order.
  bool encode(std::string_view text, size_t limit, std::vector<int32_t>& out) const;

 private:
  enum class Action : uint8_t { kWord, kSpace, kPunctuation, kDrop };
  struct AsciiEntry {
    Action action;
    char mapped;
  };
  class Word;

  static Action action_of(char32_t normalized);
  // Feeds one character that is not ASCII; false: canonical order is needed.
  bool add(char32_t c, Word& word) const;
  // Feeds a character that only lowercasing and splitting have yet to see.
  void add_decomposed(char32_t c, Word& word) const;
  static void add_normalized(char32_t c, Word& word);

  BertNormalizer::Options options_;
  const WordPieceModel& model_;
  AsciiEntry ascii_[128];
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_BERT_ID_ENCODER_H_
