// Decoders: the stage that turns token strings back into text.
// All of them are immutable and thread-safe. Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_DECODER_H_
#define HUGOT_TOKENIZER_DECODER_H_

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/pattern.h"

namespace hugot {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the token strings, whose concatenation is the text.
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

using DecoderPtr = std::unique_ptr<const Decoder>;

// WordPiece: joins tokens that begin with `prefix` to the one before, puts a space before others.
DecoderPtr make_word_piece_decoder(std::string prefix, bool cleanup);
// BPEDecoder: the suffix that ends words becomes a space.
DecoderPtr make_bpe_decoder(std::string suffix);
// Metaspace: `replacement` becomes a space, or nothing in the first token if `strips_first`.
DecoderPtr make_metaspace_decoder(char32_t replacement, bool strips_first);
// ByteFallback: tokens like <0x0A> become bytes; runs that are not UTF-8 become U+FFFD each.
DecoderPtr make_byte_fallback_decoder();
// Fuse: joins all tokens to one.
DecoderPtr make_fuse_decoder();
// Strip: removes up to `start` leading and `stop` trailing characters equal to `content`.
DecoderPtr make_strip_decoder(char32_t content, size_t start, size_t stop);
// Replace.
DecoderPtr make_replace_decoder(Pattern pattern, std::string content);
// ByteLevel: characters of the byte-level alphabet become bytes; malformed UTF-8 becomes U+FFFD.
DecoderPtr make_byte_level_decoder();
// CTC: drops repetitions and padding; with cleanup, delimiters become spaces.
DecoderPtr make_ctc_decoder(std::string pad_token, std::string word_delimiter, bool cleanup);
DecoderPtr make_sequence_decoder(std::vector<DecoderPtr> parts);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_DECODER_H_
