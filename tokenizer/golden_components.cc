#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/component_json.h"
#include "tokenizer/golden_records.h"

namespace hugot::golden {
namespace {

// Source ranges in code points or bytes, flattened; one per character.
std::vector<uint32_t> character_sources(const NormalizedString& string, std::string_view input,
                                        bool code_points) {
  std::vector<uint32_t> out;
  for (size_t pos = 0; pos < string.text().size(); pos += utf8_length(string.text()[pos])) {
    const Span source = string.sources()[pos];
    for (const uint32_t byte : {source.begin, source.end}) {
      out.push_back(code_points ? static_cast<uint32_t>(count_utf8(input.substr(0, byte))) : byte);
    }
  }
  return out;
}

std::string check_normalizer(const Normalizer& normalizer, const Json& c) {
  if (is_error(c[1])) return "";
  const std::string input = c[0];
  NormalizedString string(input, 0, true);
  NormalizedString untracked(input, 0, false);
  normalizer.normalize(string);
  normalizer.normalize(untracked);
  const Json& expected = c.size() > 4 ? c[4] : c[1];
  if (untracked.text() != string.text()) return "untracked text differs";
  if (!compare_text(expected, string.text()).empty()) return compare_text(expected, string.text());
  const Json bytes = c.size() > 3 ? c[3] : c[2];
  if (Json(character_sources(string, input, false)) != bytes) return "sources in bytes";
  if (c.size() <= 3 && Json(character_sources(string, input, true)) != c[2]) return "sources";
  return "";
}

std::string check_pre_tokenizer(const PreTokenizer& pre_tokenizer, const Json& c) {
  if (is_error(c[1])) return "";
  PreTokenizedText text;
  NormalizedString input(c[0].get<std::string>(), 0, true);
  text.text = input.text();
  text.sources = input.sources();
  if (!text.text.empty()) {
    text.splits = {text.make_split(0, static_cast<uint32_t>(text.text.size()))};
  }
  pre_tokenizer.pre_tokenize(text);
  std::vector<std::string> pieces;
  std::vector<uint32_t> offsets;
  for (const Split& split : text.splits) {
    pieces.emplace_back(text.text_of(split));
    offsets.insert(offsets.end(),
                   {text.sources[split.range.begin].begin, text.sources[split.range.end - 1].end});
  }
  if (Json(pieces) != c[1]) return Json(pieces).dump() + " not " + c[1].dump();
  const Json& bytes = c.size() > 3 ? c[3] : c[2];
  return Json(offsets) == bytes ? "" : Json(offsets).dump() + " not " + bytes.dump();
}

std::string check_model(const Model& model, const Tokenizer& tokenizer, const Json& c) {
  const std::string word = c[0];
  if (is_error(c[1])) return "";
  std::vector<ModelToken> tokens;
  if (!word.empty()) model.tokenize(word, tokens);
  Json actual = Json::array();
  for (const ModelToken& token : tokens) {
    const Span range = token.range;
    actual.push_back({token.id,
                      token.is_surface
                          ? word.substr(range.begin, range.end - range.begin)
                          : std::string(model.vocabulary().token(token.id).value_or("?")),
                      range.begin, range.end});
  }
  // The reference's models may be asked about an empty word; the pipeline never does that.
  if (!word.empty() && actual != c[1]) return actual.dump() + " not " + c[1].dump();
  return compare_encoding(tokenizer, c[2], c[0], nullptr, false, {});
}

std::string check_tokenizer_case(const Tokenizer& tokenizer, const Json& c, bool plain_special) {
  EncodeOptions options;
  options.add_special_tokens = c.value("add", true);
  options.truncation = tokenizer.file_truncation();
  options.encode_special_tokens = plain_special;
  std::string difference =
      compare_encoding(tokenizer, c["out"], c["a"], c.value("b", Json()), c.value("words", false),
                       options, tokenizer.file_padding());
  if (difference.empty() && !is_error(c["out"])) {
    difference = compare_decoded(tokenizer, c["out"]["ids"].get<std::vector<int32_t>>(), c, "");
  }
  return difference;
}

std::string check_padding_case(const Tokenizer& tokenizer, const Json& c) {
  const Json inputs = c.contains("batch") ? c["batch"] : Json::array({c["single"]});
  const Json outputs = c.contains("batch") ? c["out"] : Json::array({c["out"]});
  std::vector<std::vector<std::string>> texts;
  for (const Json& item : inputs) {
    texts.push_back(item.is_array() ? item.get<std::vector<std::string>>()
                                    : std::vector<std::string>{item.get<std::string>()});
  }
  return compare_batch(tokenizer, outputs, texts, tokenizer.file_truncation(),
                       *tokenizer.file_padding());
}

std::string encode_base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

// The description with {"@charsmap": name} replaced by the contents of that file.
Json with_charsmaps(const Json& json) {
  Json out = json;
  if (json.is_object() && json.contains("@charsmap")) {
    const std::string name = json["@charsmap"];
    return encode_base64(
        read_text("../shared/data/tokenizer-golden/charsmaps/" + name + ".bin.xz"));
  }
  if (json.is_object() || json.is_array()) {
    for (auto& [key, value] : out.items()) {
      if (key != "cases") value = with_charsmaps(value);
    }
  }
  return out;
}

// What the reference panics over when it is used may be refused when it is loaded.
bool has_error_case(const Json& record) {
  if (record["name"] == "fixed-0") return true;  // its only case is an empty text
  for (const Json& c : record["cases"]) {
    if (c.is_object() && c.contains("out") && is_error(c["out"])) return true;
  }
  return false;
}

}  // namespace

void run_component(const Json& description, Tally& tally) {
  const Json record = with_charsmaps(description);
  const std::string kind = record["kind"];
  const std::string name = record["name"];
  uint32_t count = 0;
  const auto check = [&](const Json& c, const std::function<std::string()>& run) {
    if (count++ % kStride != 0) return;
    std::string difference;
    try {
      difference = run();
    } catch (const Error& error) {
      difference = error.what();
    }
    tally.check(difference, [&] { return kind + " " + name + " " + c.dump().substr(0, 200); });
  };
  try {
    if (kind == "normalizer") {
      const NormalizerPtr normalizer = parse_normalizer(record["component"]);
      for (const Json& c : record["cases"])
        check(c, [&] { return check_normalizer(*normalizer, c); });
    } else if (kind == "pre_tokenizer") {
      const PreTokenizerPtr part = parse_pre_tokenizer(record["component"]);
      for (const Json& c : record["cases"]) check(c, [&] { return check_pre_tokenizer(*part, c); });
    } else if (kind == "decoder") {
      DecoderPtr decoder;
      if (!record["component"].is_null()) decoder = parse_decoder(record["component"]);
      for (const Json& c : record["cases"]) {
        check(c, [&] {
          auto tokens = c[0].get<std::vector<std::string>>();
          if (decoder) decoder->decode(tokens);
          std::string text;
          for (const std::string& token : tokens) {
            if (!decoder && &token != tokens.data()) text += ' ';
            text += token;
          }
          return compare_text(c[1], text);
        });
      }
    } else if (kind == "model") {
      if (record.contains("load_error")) return;
      const Json& component = record["component"];
      const ModelPtr model = parse_model(component);
      const Tokenizer tokenizer = Tokenizer::from_json(Json{{"model", component}}.dump());
      for (const Json& c : record["cases"]) {
        check(c, [&] { return check_model(*model, tokenizer, c); });
      }
    } else {
      const Tokenizer tokenizer = Tokenizer::from_json(record["tokenizer"].dump());
      const bool plain_special = record.value("encode_special_tokens", false);
      for (const Json& c : record["cases"]) {
        check(c, [&] {
          return kind == "padding" ? check_padding_case(tokenizer, c)
                                   : check_tokenizer_case(tokenizer, c, plain_special);
        });
      }
      if (record.contains("vocab_size")) {
        CHECK(record["vocab_size"] ==
              Json{tokenizer.vocab_size(false), tokenizer.vocab_size(true)});
      }
      const Json ids = record.value("token_to_id", Json::object());
      for (const auto& [token, id] : ids.items()) {
        const auto found = tokenizer.token_to_id(token);
        CHECK((found ? Json(*found) : Json()) == id);
      }
    }
  } catch (const Error& error) {
    if (record.contains("load_error") || has_error_case(record)) {
      ++tally.checked;
    } else if (error.code() == ErrorCode::kUnsupported) {
      ++tally.unsupported;
    } else {
      FAIL(kind, " ", name, ": ", std::string(error.what()));
    }
  }
}

}  // namespace hugot::golden
