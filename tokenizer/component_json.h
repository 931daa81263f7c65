// Components from their JSON descriptions. How a description finds its component follows the
// reference: by a known "type", else (old files) by the first component whose fields are there.
// All functions throw kInvalidData for missing or malformed fields and kUnsupported, naming it, for
// a component that this version lacks.
#ifndef HUGOT_TOKENIZER_COMPONENT_JSON_H_
#define HUGOT_TOKENIZER_COMPONENT_JSON_H_

#include <nlohmann/json_fwd.hpp>

#include "tokenizer/decoder.h"
#include "tokenizer/model.h"
#include "tokenizer/model_data.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"

namespace hugot {

NormalizerPtr parse_normalizer(const nlohmann::json& json);
PreTokenizerPtr parse_pre_tokenizer(const nlohmann::json& json);
PostProcessorPtr parse_post_processor(const nlohmann::json& json);
DecoderPtr parse_decoder(const nlohmann::json& json);
// `data` holds what was taken out of `json` before.
ModelPtr parse_model(const nlohmann::json& json, ModelData data = {});

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_COMPONENT_JSON_H_
