// The result of encoding a text, and the operations that shorten, join and pad such results.
// Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_ENCODING_H_
#define HUGOT_TOKENIZER_ENCODING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/normalized_string.h"

namespace hugot {

struct Encoding {
  // One entry per token in each of these; offsets, word_ids and tokens are empty when they were not
  // asked for.
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<uint8_t> attention_mask;
  std::vector<uint8_t> special_tokens_mask;
  std::vector<Span> offsets;      // in the sequence that the token came from
  std::vector<int32_t> word_ids;  // -1: none
  std::vector<std::string> tokens;

  // Tokens of sequence 0 and 1, without special tokens; empty when nothing told sequences apart.
  struct SequenceRange {
    int32_t sequence = 0;
    Span range;
  };
  std::vector<SequenceRange> sequence_ranges;
  // What truncation cut off, in windows of the same length.
  std::vector<Encoding> overflowing;

  size_t size() const { return ids.size(); }
  // The sequence of each token, -1 for special tokens and padding.
  std::vector<int32_t> sequence_ids() const;
};

enum class Side { kLeft, kRight };

struct Truncation {
  enum class Strategy { kLongestFirst, kOnlyFirst, kOnlySecond };

  // Special tokens included. Nothing is cut when they alone are more, as in the reference.
  size_t max_length = 512;
  Strategy strategy = Strategy::kLongestFirst;
  Side side = Side::kRight;  // the end that is cut
  size_t stride = 0;         // tokens that consecutive windows share
};

struct Padding {
  std::optional<size_t> length;  // none: the longest of the batch
  Side side = Side::kRight;
  int32_t pad_id = 0;
  int32_t pad_type_id = 0;
  std::string pad_token = "[PAD]";
  size_t pad_to_multiple_of = 0;  // 0: any length
};

// Appends `other`. Every pair of overflowing windows of both is joined too.
void append_encoding(Encoding& encoding, Encoding other);

// Makes all tokens of `encoding` the range of `sequence`; ranges of other sequences stay.
void set_sequence(Encoding& encoding, int32_t sequence);

// Throws kInvalidArgument unless windows of `max_length` tokens can share `stride`.
void check_stride(size_t max_length, size_t stride);

// Cuts `encoding` to `max_length` tokens; the rest goes to overflowing when `keep_overflow`.
// When there is something to cut, check_stride() applies.
void truncate_encoding(Encoding& encoding, size_t max_length, size_t stride, Side side,
                       bool keep_overflow);

// Lengths to which truncation cuts a first and a second sequence (nullopt: there is none), special
// tokens not counted. Throws kInvalidArgument when the strategy cannot reach max_length.
std::pair<size_t, size_t> truncated_lengths(const Truncation& truncation, size_t first,
                                            std::optional<size_t> second);

// Pads a batch, and all overflowing windows, to one length. Longer ones stay as they are.
void pad_encodings(std::span<Encoding> batch, const Padding& padding);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_ENCODING_H_
