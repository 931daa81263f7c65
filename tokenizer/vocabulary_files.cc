#include "tokenizer/vocabulary_files.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/json_fields.h"
#include "tokenizer/sentencepiece_families.h"
#include "tokenizer/sentencepiece_file.h"
#include "tokenizer/token_settings.h"
#include "tokenizer/word_scanner.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using json_fields::Json;

// Calls use(line) for all lines, without their ends.
template <class Use>
void each_line(std::string_view text, Use&& use) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    use(line);
  }
}

Json id_pair(const Vocabulary& vocabulary, const std::string& token) {
  const int32_t id = vocabulary.find(token);
  require(id >= 0, ErrorCode::kInvalidData, "the vocabulary lacks ", token);
  return {token, static_cast<uint32_t>(id)};
}

TokenizerParts read_word_piece(const std::string& contents, const TokenSettings& settings) {
  VocabularyBuilder builder;
  int32_t next_id = 0;
  each_line(contents, [&](std::string_view line) {
    while (!line.empty()) {
      const char32_t c = decode_utf8_before(line, line.size());
      if (!unicode::has(c, unicode::kWhiteSpace)) break;
      line.remove_suffix(utf8_length(c));
    }
    builder.add(line, next_id++);
  });
  const Vocabulary vocabulary{VocabularyBuilder(builder)};
  Json usual = Json::array();
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    usual.push_back(special_token(token));
  }
  const Json& config = settings.config();
  using json_fields::get_bool_or;
  const Json* accents = json_fields::find(config, "strip_accents");
  const Json document{
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", true},
        {"handle_chinese_chars", get_bool_or(config, "tokenize_chinese_chars", true)},
        {"strip_accents", accents != nullptr ? *accents : Json()},
        {"lowercase", get_bool_or(config, "do_lower_case", true)}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"sep", id_pair(vocabulary, settings.role("sep_token", "[SEP]"))},
        {"cls", id_pair(vocabulary, settings.role("cls_token", "[CLS]"))}}},
      {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
      {"added_tokens", settings.added_tokens(vocabulary, usual)},
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", settings.role("unk_token", "[UNK]")},
        {"continuing_subword_prefix", "##"},
        {"max_input_chars_per_word", 100u}}}};
  ModelData data;
  data.vocabulary = std::move(builder);
  return make_tokenizer_parts(document, std::move(data));
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", false},
          {"use_regex", use_regex}};
}

Json split_pattern(std::string_view pattern, const char* behavior, bool invert) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", behavior},
          {"invert", invert}};
}

TokenizerParts read_byte_level(const fs::path& path, const std::string& contents,
                               const TokenSettings& settings) {
  ModelData data;
  std::string rest;
  data = cut_model_data("{\"model\":{\"vocab\":" + contents + "}}", rest);
  require(data.vocabulary.has_value() && !data.scores, ErrorCode::kInvalidData,
          "not an object of tokens and ids");
  data.merges.emplace();
  each_line(read_file(path.parent_path() / "merges.txt"), [&](std::string_view line) {
    if (!line.starts_with("#version")) add_merge_line(line, *data.merges);
  });
  const Vocabulary vocabulary{VocabularyBuilder(*data.vocabulary)};
  const Json& config = settings.config();
  const std::string name = settings.tokenizer_class();
  Json document{{"pre_tokenizer", byte_level(true)},
                {"decoder", byte_level(true)},
                {"model", {{"type", "BPE"}, {"merges", Json::array()}}}};
  Json usual = Json::array({special_token("<|endoftext|>")});
  if (name == "Roberta" || name == "RobertaTokenizer" || name == "BartTokenizer" ||
      name == "LongformerTokenizer") {
    document["pre_tokenizer"]["add_prefix_space"] =
        json_fields::get_bool_or(config, "add_prefix_space", false);
    document["post_processor"] = {
        {"sep", id_pair(vocabulary, settings.role("sep_token", "</s>"))},
        {"cls", id_pair(vocabulary, settings.role("cls_token", "<s>"))},
        {"trim_offsets", true},
        {"add_prefix_space", json_fields::get_bool_or(config, "add_prefix_space", false)}};
    usual = Json::array({special_token("<s>"), special_token("<pad>"), special_token("</s>"),
                         special_token("<unk>"), special_token("<mask>", true)});
  } else if (name == "Qwen2Tokenizer") {
    document["normalizer"] = {{"type", "NFC"}};
    document["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers", {split_pattern(kQwen2Pattern, "Isolated", false), byte_level(false)}}};
  } else if (name == "CLIPTokenizer") {
    document["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers",
         {Json{{"type", "NFC"}},
          Json{{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
          Json{{"type", "Lowercase"}}}}};
    document["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {split_pattern(R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)", "Removed",
                        true),
          byte_level(false)}}};
    document["post_processor"] = {
        {"sep", id_pair(vocabulary, settings.role("eos_token", "<|endoftext|>"))},
        {"cls", id_pair(vocabulary, settings.role("bos_token", "<|startoftext|>"))},
        {"trim_offsets", false},
        {"add_prefix_space", false}};
    document["model"]["end_of_word_suffix"] = "</w>";
    document["model"]["unk_token"] = settings.role("unk_token", "<|endoftext|>");
    usual = Json::array({special_token("<|startoftext|>"), special_token("<|endoftext|>")});
  }
  document["added_tokens"] = settings.added_tokens(vocabulary, usual);
  return make_tokenizer_parts(document, std::move(data));
}

// Lines of a byte string in base64, a space and its rank.
TokenizerParts read_tiktoken(const std::string& contents, const TokenSettings& settings) {
  ModelData data;
  VocabularyBuilder& builder = data.vocabulary.emplace();
  std::vector<std::pair<int32_t, std::string>> tokens;
  each_line(contents, [&](std::string_view line) {
    if (line.empty()) return;
    const size_t space = line.find(' ');
    int32_t rank = -1;
    if (space != line.npos) {
      const std::string_view number = line.substr(space + 1);
      const auto result = std::from_chars(number.data(), number.data() + number.size(), rank);
      if (result.ptr != number.data() + number.size()) rank = -1;
    }
    require(rank >= 0, ErrorCode::kInvalidData, "line ", tokens.size() + 1,
            ": a token in base64 and its rank are expected");
    std::string token;
    for (const char byte : decode_base64(line.substr(0, space))) {
      append_utf8(token, byte_level_char(static_cast<unsigned char>(byte)));
    }
    builder.add(token, rank);
    tokens.emplace_back(rank, std::move(token));
  });
  std::sort(tokens.begin(), tokens.end());
  const Vocabulary vocabulary{VocabularyBuilder(builder)};
  data.merges.emplace();
  std::vector<std::pair<std::pair<int32_t, int32_t>, size_t>> halves;
  for (const auto& [rank, token] : tokens) {
    halves.clear();
    const std::string_view text = token;
    for (size_t at = utf8_length(text[0]); at < text.size(); at += utf8_length(text[at])) {
      const int32_t left = vocabulary.find(text.substr(0, at));
      const int32_t right = left < 0 ? -1 : vocabulary.find(text.substr(at));
      if (right >= 0) halves.push_back({{left, right}, at});
    }
    std::sort(halves.begin(), halves.end());
    for (const auto& half : halves) {
      data.merges->add(text.substr(0, half.second), text.substr(half.second));
    }
  }
  const Json document{
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers", {split_pattern(kCl100kPattern, "Isolated", false), byte_level(false)}}}},
      {"decoder", byte_level(true)},
      {"added_tokens", settings.added_tokens(vocabulary, Json::array())},
      {"model", {{"type", "BPE"}, {"merges", Json::array()}, {"ignore_merges", true}}}};
  return make_tokenizer_parts(document, std::move(data));
}

bool looks_like_tiktoken(std::string_view contents) {
  const std::string_view line = contents.substr(0, std::min(contents.find('\n'), contents.size()));
  return !line.empty() &&
         std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c < 0x7F; }) &&
         line.find(' ') != line.npos;
}

TokenizerParts read_sentencepiece(const std::string& contents, const TokenSettings& settings) {
  const SentencePieceFile file = SentencePieceFile::parse(contents);
  if (auto family = make_sentencepiece_family(file, settings)) return std::move(*family);
  TokenizerParts parts;
  parts.normalizer = make_sentencepiece_normalizer(file);
  parts.model = make_sentencepiece_model(file);
  parts.decoder = make_sentencepiece_decoder(file);
  return parts;
}

}  // namespace

std::optional<TokenizerParts> read_vocabulary_files(const fs::path& path,
                                                    const std::string& contents) {
  const std::string extension = path.extension().string();
  const bool model = extension == ".model";
  if (!model && extension != ".txt" && path.filename() != "vocab.json") return std::nullopt;
  const TokenSettings settings = TokenSettings::read(path.parent_path());
  if (model) {
    return looks_like_tiktoken(contents) ? read_tiktoken(contents, settings)
                                         : read_sentencepiece(contents, settings);
  }
  require(validate_utf8(contents) == kValidUtf8, ErrorCode::kInvalidData, "not UTF-8");
  return extension == ".txt" ? read_word_piece(contents, settings)
                             : read_byte_level(path, contents, settings);
}

}  // namespace hugot
