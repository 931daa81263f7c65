#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"
#include "tokenizer/component_json.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/tokenizer_parts.h"

namespace hugot {
namespace {

using namespace json_fields;

// Deeper nesting than any component needs.
constexpr int kMaxDepth = 64;

// Refuses what is nested too deeply while the parser reads it.
bool check_depth(int depth, Json::parse_event_t, Json&) {
  require(depth <= kMaxDepth, ErrorCode::kInvalidData, "nested too deeply");
  return true;
}

Side get_side(const Json& json, const Side* fallback) {
  if (fallback != nullptr && !find(json, "direction")) return *fallback;
  const std::string name = get_string(json, "direction");
  require(name == "Left" || name == "Right", ErrorCode::kInvalidData, "unknown direction '", name,
          "'");
  return name == "Left" ? Side::kLeft : Side::kRight;
}

Truncation parse_truncation(const Json& json) {
  Truncation out;
  out.max_length = get_size(json, "max_length");
  out.stride = get_size(json, "stride");
  const Side right = Side::kRight;
  out.side = get_side(json, &right);
  const std::string strategy = get_string(json, "strategy");
  if (strategy == "OnlyFirst") {
    out.strategy = Truncation::Strategy::kOnlyFirst;
  } else if (strategy == "OnlySecond") {
    out.strategy = Truncation::Strategy::kOnlySecond;
  } else {
    require(strategy == "LongestFirst", ErrorCode::kInvalidData, "unknown strategy '", strategy,
            "'");
  }
  return out;
}

Padding parse_padding(const Json& json) {
  Padding out;
  const Json& strategy = get(json, "strategy");
  if (strategy.is_object()) {
    out.length = get_size(strategy, "Fixed");
  } else {
    require(strategy == "BatchLongest", ErrorCode::kInvalidData, "unknown strategy");
  }
  out.side = get_side(json, nullptr);
  out.pad_id = get_id(json, "pad_id");
  out.pad_type_id = get_id(json, "pad_type_id");
  out.pad_token = get_string(json, "pad_token");
  if (find(json, "pad_to_multiple_of")) {
    out.pad_to_multiple_of = get_size(json, "pad_to_multiple_of");
  }
  return out;
}

// The reference needs every field; files of other writers leave out some.
AddedToken parse_added_token(const Json& json) {
  AddedToken out;
  out.content = get_string(json, "content");
  out.single_word = get_bool_or(json, "single_word", false);
  out.lstrip = get_bool_or(json, "lstrip", false);
  out.rstrip = get_bool_or(json, "rstrip", false);
  out.special = get_bool_or(json, "special", false);
  out.normalized = get_bool_or(json, "normalized", !out.special);
  return out;
}

}  // namespace

TokenizerParts make_tokenizer_parts(const Json& json, ModelData data) {
  TokenizerParts parts;
  // Runs `use` on a part of the document that may be absent; errors name it.
  const auto part = [&](const char* key, auto&& use) {
    if (const Json* value = find(json, key)) {
      with_context([&] { return std::string(key); }, [&] { use(*value); });
    }
  };
  require(json.is_object(), ErrorCode::kInvalidData, "not a JSON object");
  require(!json.contains("version") || json["version"] == "1.0", ErrorCode::kUnsupported,
          "the version of the format is not 1.0");
  part("model", [&](const Json& j) { parts.model = parse_model(j, std::move(data)); });
  require(parts.model != nullptr, ErrorCode::kInvalidData, "there is no model");
  part("normalizer", [&](const Json& j) { parts.normalizer = parse_normalizer(j); });
  part("pre_tokenizer", [&](const Json& j) { parts.pre_tokenizer = parse_pre_tokenizer(j); });
  part("post_processor", [&](const Json& j) { parts.post_processor = parse_post_processor(j); });
  part("decoder", [&](const Json& j) { parts.decoder = parse_decoder(j); });
  part("truncation", [&](const Json& j) { parts.truncation = parse_truncation(j); });
  part("padding", [&](const Json& j) { parts.padding = parse_padding(j); });
  if (find(json, "added_tokens")) {
    for (const Json& token : get_array(json, "added_tokens")) {
      with_context([&] { return str("added_tokens[", parts.added_tokens.size(), "]"); },
                   [&] { parts.added_tokens.push_back(parse_added_token(token)); });
    }
  }
  return parts;
}

TokenizerParts parse_tokenizer_json(std::string_view json) {
  try {
    std::string rest;
    ModelData data = cut_model_data(json, rest);
    const Json document = Json::parse(rest, check_depth);
    return make_tokenizer_parts(document, std::move(data));
  } catch (const Json::exception& error) {
    fail(ErrorCode::kInvalidData, "malformed JSON: ", error.what());
  }
}

}  // namespace hugot
