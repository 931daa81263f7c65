// SentencePiece models (.model): the file, and the components that do what the library does.
#ifndef HUGOT_TOKENIZER_SENTENCEPIECE_FILE_H_
#define HUGOT_TOKENIZER_SENTENCEPIECE_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/decoder.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"

namespace hugot {

// What is used of a ModelProto. Defaults are those of the format.
struct SentencePieceFile {
  enum class Type { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  enum class Algorithm { kUnigram = 1, kBpe, kWord, kChar };

  std::vector<Piece> pieces;
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unk_surface = " \u2047 ";
  std::string charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  // Throws kInvalidData for what is no such file.
  static SentencePieceFile parse(std::string_view bytes);
};

NormalizerPtr make_sentencepiece_normalizer(const SentencePieceFile& file);
ModelPtr make_sentencepiece_model(const SentencePieceFile& file);
DecoderPtr make_sentencepiece_decoder(const SentencePieceFile& file);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_SENTENCEPIECE_FILE_H_
