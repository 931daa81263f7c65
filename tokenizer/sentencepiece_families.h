// SentencePiece models as the tokenizers of known families use them.
#ifndef HUGOT_TOKENIZER_SENTENCEPIECE_FAMILIES_H_
#define HUGOT_TOKENIZER_SENTENCEPIECE_FAMILIES_H_

#include <optional>

#include "tokenizer/sentencepiece_file.h"
#include "tokenizer/token_settings.h"
#include "tokenizer/tokenizer_parts.h"

namespace hugot {

// What transformers (4.57, convert_slow_tokenizer.py) makes of the model for the class that the
// settings name: its own numbering of the pieces, special tokens around a text, and the components
// of tokenizers in place of SentencePiece's own rules. Classes: XLMRoberta, Camembert, MBart,
// MBart50, T5, Albert and Llama. Nothing for others, for which the rules of SentencePiece hold.
// Throws kInvalidData for a model that lacks what its class needs.
std::optional<TokenizerParts> make_sentencepiece_family(const SentencePieceFile& file,
                                                        const TokenSettings& settings);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_SENTENCEPIECE_FAMILIES_H_
