#include "tokenizer/component_json.h"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tokenizer/json_fields.h"

namespace hugot {
namespace {

using namespace json_fields;

[[noreturn]] void fail_unsupported(const char* family, const std::string& name) {
  fail(ErrorCode::kUnsupported, family, " ", name, " is not supported");
}

// For a description that no component of the family fits.
[[noreturn]] void fail_unknown(const char* family, const std::string& type) {
  if (type.empty()) fail(ErrorCode::kInvalidData, family, " without a type that fits no component");
  fail_unsupported(family, type);
}

// The components in an array; errors name the position.
template <class Pointer>
std::vector<Pointer> parse_list(const Json& json, const char* key,
                                Pointer (*parse)(const Json& json)) {
  std::vector<Pointer> out;
  for (const Json& part : get_array(json, key)) {
    out.push_back(
        with_context([&] { return str(key, "[", out.size(), "]"); }, [&] { return parse(part); }));
  }
  return out;
}

Pattern get_pattern(const Json& json) {
  const Json& pattern = get(json, "pattern");
  if (has(pattern, {"Regex"})) return Pattern::regex(get_string(pattern, "Regex"));
  return Pattern::literal(get_string(pattern, "String"));
}

SplitBehavior to_behavior(const std::string& name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  fail(ErrorCode::kInvalidData, "unknown split behavior '", name, "'");
}

NormalizerPtr parse_bert_normalizer(const Json& json) {
  BertNormalizer::Options options;
  options.clean_text = get_bool(json, "clean_text");
  options.handle_chinese_chars = get_bool(json, "handle_chinese_chars");
  if (find(json, "strip_accents")) options.strip_accents = get_bool(json, "strip_accents");
  options.lowercase = get_bool(json, "lowercase");
  return std::make_unique<BertNormalizer>(options);
}

NormalizerPtr parse_strip(const Json& json) {
  return make_strip_normalizer(get_bool(json, "strip_left"), get_bool(json, "strip_right"));
}

NormalizerPtr parse_replace(const Json& json) {
  return make_replace_normalizer(get_pattern(json), get_string(json, "content"));
}

NormalizerPtr parse_precompiled(const Json& json) {
  return make_precompiled_normalizer(
      Charsmap(decode_base64(get_string(json, "precompiled_charsmap"))));
}

NormalizerPtr parse_normalizer_sequence(const Json& json) {
  return make_sequence_normalizer(parse_list(json, "normalizers", parse_normalizer));
}

// The token of ["token", id].
SpecialToken parse_pair(const Json& json, const char* key) {
  const Json& value = get_array(json, key);
  require(value.size() == 2 && value[0].is_string(), ErrorCode::kInvalidData, "field '", key,
          "' must be [token, id]");
  return {value[0].get<std::string>(), to_id(value[1], key)};
}

using SpecialTokens = std::map<std::string, std::vector<SpecialToken>>;

SpecialTokens parse_special_tokens(const Json& json) {
  SpecialTokens out;
  const Json& tokens = get(json, "special_tokens");
  require(tokens.is_object(), ErrorCode::kInvalidData, "field 'special_tokens' must be an object");
  for (const auto& [name, token] : tokens.items()) {
    const Json& ids = get_array(token, "ids");
    const Json& strings = get_array(token, "tokens");
    require(ids.size() == strings.size(), ErrorCode::kInvalidData, "special token ", name,
            " has as many ids as tokens");
    std::vector<SpecialToken>& list = out[name];
    for (size_t i = 0; i < ids.size(); ++i) {
      require(strings[i].is_string(), ErrorCode::kInvalidData, "special token ", name,
              ": tokens must be strings");
      list.push_back({strings[i].get<std::string>(), to_id(ids[i], "ids")});
    }
  }
  return out;
}

std::vector<TemplatePiece> parse_template(const Json& json, const char* key,
                                          const SpecialTokens& special_tokens) {
  std::vector<TemplatePiece> out;
  for (const Json& element : get_array(json, key)) {
    TemplatePiece piece;
    if (const Json* sequence = find(element, "Sequence")) {
      const std::string id = get_string(*sequence, "id");
      require(id == "A" || id == "B", ErrorCode::kInvalidData, "unknown sequence '", id, "' in '",
              key, "'");
      piece.sequence = id == "A" ? 0 : 1;
      piece.type_id = get_id(*sequence, "type_id");
    } else {
      const Json& special = get(element, "SpecialToken");
      const std::string id = get_string(special, "id");
      const auto found = special_tokens.find(id);
      require(found != special_tokens.end(), ErrorCode::kInvalidData, "special token '", id,
              "' of '", key, "' is not defined");
      piece.special = found->second;
      piece.type_id = get_id(special, "type_id");
    }
    out.push_back(std::move(piece));
  }
  return out;
}

// Of Metaspace. Old files say add_prefix_space instead.
PrependScheme parse_prepend_scheme(const Json& json) {
  const bool prefix = get_bool_or(json, "add_prefix_space", true);
  if (!find(json, "prepend_scheme")) return prefix ? PrependScheme::kAlways : PrependScheme::kNever;
  const std::string scheme = get_string(json, "prepend_scheme");
  require(prefix || scheme == "never", ErrorCode::kInvalidData,
          "add_prefix_space contradicts prepend_scheme");
  if (scheme == "always") return PrependScheme::kAlways;
  if (scheme == "first") return PrependScheme::kFirst;
  require(scheme == "never", ErrorCode::kInvalidData, "unknown prepend_scheme '", scheme, "'");
  return PrependScheme::kNever;
}

PreTokenizerPtr parse_metaspace(const Json& json) {
  MetaspacePreTokenizer::Options options;
  options.replacement = get_char(json, "replacement");
  options.scheme = parse_prepend_scheme(json);
  options.split = get_bool_or(json, "split", true);
  return std::make_unique<MetaspacePreTokenizer>(options);
}

PreTokenizerPtr parse_byte_level(const Json& json) {
  ByteLevelPreTokenizer::Options options;
  options.add_prefix_space = get_bool(json, "add_prefix_space");
  get_bool(json, "trim_offsets");  // has to be there
  options.use_regex = get_bool_or(json, "use_regex", true);
  return std::make_unique<ByteLevelPreTokenizer>(options);
}

DecoderPtr parse_word_piece_decoder(const Json& json) {
  return make_word_piece_decoder(get_string(json, "prefix"), get_bool(json, "cleanup"));
}

DecoderPtr parse_ctc(const Json& json) {
  return make_ctc_decoder(get_string(json, "pad_token"), get_string(json, "word_delimiter_token"),
                          get_bool(json, "cleanup"));
}

DecoderPtr parse_strip_decoder(const Json& json) {
  return make_strip_decoder(get_char(json, "content"), get_size(json, "start"),
                            get_size(json, "stop"));
}

DecoderPtr parse_replace_decoder(const Json& json) {
  return make_replace_decoder(get_pattern(json), get_string(json, "content"));
}

ModelPtr parse_bpe(const Json& json, Vocabulary vocabulary, std::optional<MergeList> merges) {
  require(merges.has_value(), ErrorCode::kInvalidData, "field 'merges' is missing");
  BpeModel::Options options;
  if (find(json, "unk_token")) options.unk_token = get_string(json, "unk_token");
  if (find(json, "continuing_subword_prefix")) {
    options.continuing_subword_prefix = get_string(json, "continuing_subword_prefix");
  }
  if (find(json, "end_of_word_suffix")) {
    options.end_of_word_suffix = get_string(json, "end_of_word_suffix");
  }
  options.fuse_unk = get_bool_or(json, "fuse_unk", false);
  options.byte_fallback = get_bool_or(json, "byte_fallback", false);
  options.ignore_merges = get_bool_or(json, "ignore_merges", false);
  if (const Json* dropout = find(json, "dropout")) {
    const bool valid =
        dropout->is_number() && dropout->get<double>() >= 0 && dropout->get<double>() <= 1;
    require(valid, ErrorCode::kInvalidData, "field 'dropout' must be a number from 0 to 1");
    // Random merges are for training; only their limit is of use here.
    options.never_merge = dropout->get<double>() == 1;
  }
  return std::make_unique<BpeModel>(std::move(vocabulary), *merges, std::move(options));
}

}  // namespace

NormalizerPtr parse_normalizer(const Json& json) {
  const std::string type = get_string_or_empty(json, "type");
  if (type == "Bert" || type == "BertNormalizer") return parse_bert_normalizer(json);
  if (type == "Strip") return parse_strip(json);
  if (type == "StripAccents") return make_strip_accents_normalizer();
  if (type == "NFC") return make_unicode_normalizer(NormalizationForm::kNfc);
  if (type == "NFD") return make_unicode_normalizer(NormalizationForm::kNfd);
  if (type == "NFKC") return make_unicode_normalizer(NormalizationForm::kNfkc);
  if (type == "NFKD") return make_unicode_normalizer(NormalizationForm::kNfkd);
  if (type == "Sequence") return parse_normalizer_sequence(json);
  if (type == "Lowercase") return make_lowercase_normalizer();
  if (type == "Nmt") return make_nmt_normalizer();
  if (type == "Replace") return parse_replace(json);
  if (type == "Prepend") return make_prepend_normalizer(get_string(json, "prepend"));
  if (type == "Precompiled") return parse_precompiled(json);
  if (type == "ByteLevel") return make_byte_level_normalizer();

  if (has(json, {"clean_text", "handle_chinese_chars", "lowercase"})) {
    return parse_bert_normalizer(json);
  }
  if (has(json, {"strip_left", "strip_right"})) return parse_strip(json);
  if (has(json, {"normalizers"})) return parse_normalizer_sequence(json);
  if (has(json, {"precompiled_charsmap"})) return parse_precompiled(json);
  if (has(json, {"pattern", "content"})) return parse_replace(json);
  if (has(json, {"prepend"})) return make_prepend_normalizer(get_string(json, "prepend"));
  fail_unknown("normalizer", type);
}

PreTokenizerPtr parse_pre_tokenizer(const Json& json) {
  const std::string type = get_string_or_empty(json, "type");
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Whitespace") return make_whitespace_pre_tokenizer();
  if (type == "WhitespaceSplit") return make_whitespace_split_pre_tokenizer();
  if (type == "Digits") return make_digits_pre_tokenizer(get_bool(json, "individual_digits"));
  if (type == "Delimiter" || type == "CharDelimiterSplit") {
    return make_delimiter_pre_tokenizer(get_char(json, "delimiter"));
  }
  if (type == "Punctuation") {
    const bool isolated = !find(json, "behavior");
    return make_punctuation_pre_tokenizer(isolated ? SplitBehavior::kIsolated
                                                   : to_behavior(get_string(json, "behavior")));
  }
  if (type == "Split") {
    const SplitBehavior behavior = to_behavior(get_string(json, "behavior"));
    const bool invert = get_bool(json, "invert");
    return std::make_unique<SplitPreTokenizer>(get_pattern(json), behavior, invert);
  }
  if (type == "FixedLength") {
    const size_t length = find(json, "length") ? get_size(json, "length") : 5;
    require(length > 0, ErrorCode::kInvalidData, "FixedLength: length must not be 0");
    return make_fixed_length_pre_tokenizer(length);
  }
  if (type == "Sequence") {
    return std::make_unique<SequencePreTokenizer>(
        parse_list(json, "pretokenizers", parse_pre_tokenizer));
  }
  if (type == "ByteLevel") return parse_byte_level(json);
  if (type == "Metaspace") return parse_metaspace(json);
  if (type == "UnicodeScripts") return make_unicode_scripts_pre_tokenizer();
  fail_unknown("pre-tokenizer", type);
}

PostProcessorPtr parse_post_processor(const Json& json) {
  // The reference looks at the fields and hardly at the type.
  const std::string type = get_string_or_empty(json, "type");
  if (has(json, {"sep", "cls", "trim_offsets", "add_prefix_space"})) {
    return make_roberta_processor(parse_pair(json, "sep"), parse_pair(json, "cls"),
                                  get_bool(json, "trim_offsets"),
                                  get_bool(json, "add_prefix_space"));
  }
  if (has(json, {"sep", "cls"})) {
    return make_bert_processor(parse_pair(json, "sep"), parse_pair(json, "cls"));
  }
  if (type == "ByteLevel") {
    return make_byte_level_processor(get_bool(json, "trim_offsets"),
                                     get_bool(json, "add_prefix_space"));
  }
  if (has(json, {"single", "pair", "special_tokens"})) {
    const SpecialTokens special_tokens = parse_special_tokens(json);
    return make_template_processor(parse_template(json, "single", special_tokens),
                                   parse_template(json, "pair", special_tokens));
  }
  if (type == "Sequence") {
    return make_sequence_processor(parse_list(json, "processors", parse_post_processor));
  }
  fail_unknown("post-processor", type);
}

DecoderPtr parse_decoder(const Json& json) {
  const std::string type = get_string_or_empty(json, "type");
  if (type == "BPEDecoder") return make_bpe_decoder(get_string(json, "suffix"));
  if (type == "ByteLevel") {
    get_bool(json, "add_prefix_space");
    get_bool(json, "trim_offsets");
    return make_byte_level_decoder();
  }
  if (type == "WordPiece") return parse_word_piece_decoder(json);
  if (type == "Metaspace") {
    return make_metaspace_decoder(get_char(json, "replacement"),
                                  parse_prepend_scheme(json) != PrependScheme::kNever);
  }
  if (type == "CTC") return parse_ctc(json);
  if (type == "Sequence") {
    return make_sequence_decoder(parse_list(json, "decoders", parse_decoder));
  }
  if (type == "Replace") return parse_replace_decoder(json);
  if (type == "Fuse") return make_fuse_decoder();
  if (type == "Strip") return parse_strip_decoder(json);
  if (type == "ByteFallback") return make_byte_fallback_decoder();

  if (has(json, {"suffix"})) return make_bpe_decoder(get_string(json, "suffix"));
  if (has(json, {"prefix", "cleanup"})) return parse_word_piece_decoder(json);
  if (has(json, {"pad_token", "word_delimiter_token", "cleanup"})) return parse_ctc(json);
  if (has(json, {"pattern", "content"})) return parse_replace_decoder(json);
  if (has(json, {"content", "start", "stop"})) return parse_strip_decoder(json);
  fail_unknown("decoder", type);
}

ModelPtr parse_model(const Json& json, ModelData data) {
  read_model_data(json, data);
  const auto take_vocabulary = [&](Vocabulary::OldIds old_ids = Vocabulary::OldIds::kDrop) {
    const bool list = old_ids == Vocabulary::OldIds::kKeep;
    require(data.vocabulary.has_value() && data.scores.has_value() == list, ErrorCode::kInvalidData,
            "field 'vocab' must be an ", list ? "array" : "object");
    return Vocabulary(std::move(*data.vocabulary), old_ids);
  };
  std::string type = get_string_or_empty(json, "type");
  if (type != "BPE" && type != "WordPiece" && type != "WordLevel" && type != "Unigram") {
    // Files of 2020 and before have no type.
    if (has(json, {"vocab", "merges"})) {
      type = "BPE";
    } else if (has(json, {"vocab", "unk_token", "continuing_subword_prefix",
                          "max_input_chars_per_word"})) {
      type = "WordPiece";
    } else if (has(json, {"vocab", "unk_token"})) {
      type = "WordLevel";
    } else if (data.scores) {
      type = "Unigram";
    } else {
      fail_unknown("model", type);
    }
  }
  if (type == "WordPiece") {
    WordPieceModel::Options options;
    options.unk_token = get_string(json, "unk_token");
    options.continuing_subword_prefix = get_string(json, "continuing_subword_prefix");
    options.max_input_chars_per_word = get_size(json, "max_input_chars_per_word");
    return std::make_unique<WordPieceModel>(take_vocabulary(), std::move(options));
  }
  if (type == "WordLevel") {
    std::string unk_token = get_string(json, "unk_token");
    return make_word_level_model(take_vocabulary(), std::move(unk_token));
  }
  if (type == "Unigram") {
    UnigramOptions options;
    if (find(json, "unk_id")) options.unk_id = get_id(json, "unk_id");
    options.byte_fallback = get_bool_or(json, "byte_fallback", false);
    Vocabulary vocabulary = take_vocabulary(Vocabulary::OldIds::kKeep);
    return make_unigram_model(std::move(vocabulary), std::move(*data.scores), options);
  }
  return parse_bpe(json, take_vocabulary(), std::move(data.merges));
}

}  // namespace hugot
