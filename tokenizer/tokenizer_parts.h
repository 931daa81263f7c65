// What a tokenizer.json describes, as components.
#ifndef HUGOT_TOKENIZER_TOKENIZER_PARTS_H_
#define HUGOT_TOKENIZER_TOKENIZER_PARTS_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/decoder.h"
#include "tokenizer/encoding.h"
#include "tokenizer/model.h"
#include "tokenizer/model_data.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"

namespace hugot {

struct TokenizerParts {
  NormalizerPtr normalizer;         // may be null
  PreTokenizerPtr pre_tokenizer;    // may be null
  ModelPtr model;                   // never null
  PostProcessorPtr post_processor;  // may be null
  DecoderPtr decoder;               // may be null
  std::vector<AddedToken> added_tokens;
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
};

// Throws kInvalidData for malformed contents, kUnsupported for an unknown component.
TokenizerParts parse_tokenizer_json(std::string_view json);
// The same for a document from which `data` was taken out before.
TokenizerParts make_tokenizer_parts(const nlohmann::json& document, ModelData data);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_TOKENIZER_PARTS_H_
