// The operations that shorten and join encodings.
// Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_ENCODING_H_
#define HUGOT_TOKENIZER_ENCODING_H_

#include <cstddef>
#include <optional>
#include <utility>

#include "hugot/tokenizer.hpp"

namespace hugot {

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

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_ENCODING_H_
