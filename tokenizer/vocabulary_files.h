// Tokenizers without a tokenizer.json: what older files hold, and the settings beside them.
#ifndef HUGOT_TOKENIZER_VOCABULARY_FILES_H_
#define HUGOT_TOKENIZER_VOCABULARY_FILES_H_

#include <filesystem>
#include <optional>
#include <string>

#include "tokenizer/tokenizer_parts.h"

namespace hugot {

// Reads, by name and contents,
//   *.txt       a WordPiece vocabulary, one token a line, for a pipeline like that of BERT
//   vocab.json  a byte-level BPE vocabulary with merges.txt beside it, for that of GPT-2, RoBERTa,
//               CLIP or Qwen2, whichever tokenizer_config.json names
//   *.model     a SentencePiece model, for the family that tokenizer_config.json names and else
//               by its own rules, or ranked byte strings in base64 (tiktoken), for the pipeline
//               of Llama 3
// and nothing for other files. The files of tokenizer/token_settings.h beside it may add tokens,
// name special ones and switch lowercasing. Throws kInvalidData, kUnsupported, kNotFound and kIo.
std::optional<TokenizerParts> read_vocabulary_files(const std::filesystem::path& path,
                                                    const std::string& contents);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_VOCABULARY_FILES_H_
