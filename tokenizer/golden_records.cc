#include "tokenizer/golden_records.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <memory>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace hugot::golden {
namespace {

std::vector<uint32_t> flat(const std::vector<Span>& spans) {
  std::vector<uint32_t> out;
  for (const Span& span : spans) out.insert(out.end(), {span.begin, span.end});
  return out;
}

// Numbers as JSON, with null for -1.
Json nullable(const std::vector<int32_t>& values) {
  Json out = Json::array();
  for (const int32_t value : values) out.push_back(value < 0 ? Json() : Json(value));
  return out;
}

Json indices(const std::vector<uint8_t>& mask) {
  Json out = Json::array();
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i]) out.push_back(i);
  }
  return out;
}

// The record of an encoding with offsets in code points, in the layout of the golden files.
Json to_record(const Tokenizer& tokenizer, const Encoding& encoding, bool sequences) {
  Json out;
  out["ids"] = encoding.ids;
  out["off"] = flat(encoding.offsets);
  out["wid"] = nullable(encoding.word_ids);
  const auto any = [](const auto& values) {
    for (const auto value : values) {
      if (value) return true;
    }
    return false;
  };
  if (any(encoding.type_ids)) out["type"] = encoding.type_ids;
  if (any(encoding.special_tokens_mask)) out["stm"] = indices(encoding.special_tokens_mask);
  if (indices(encoding.attention_mask).size() != encoding.size()) {
    out["att"] = encoding.attention_mask;
  }
  bool plain = true;
  for (size_t i = 0; i < encoding.size(); ++i) {
    plain &= tokenizer.id_to_token(encoding.ids[i]) == encoding.tokens[i];
  }
  if (!plain) out["tok"] = encoding.tokens;
  if (sequences) out["sid"] = nullable(encoding.sequence_ids());
  for (const Encoding& window : encoding.overflowing) {
    out["ov"].push_back(to_record(tokenizer, window, window.sequence_ranges.size() > 1));
  }
  return out;
}

// One text or a list of words.
struct Input {
  explicit Input(const Json& json) {
    if (json.is_string()) {
      texts = {json.get<std::string>()};
    } else {
      for (const Json& word : json) texts.push_back(word.get<std::string>());
    }
    views.assign(texts.begin(), texts.end());
  }
  std::vector<std::string> texts;
  std::vector<std::string_view> views;
};

Encoding encode(const Tokenizer& tokenizer, const Input& a, const std::optional<Input>& b,
                bool words, const EncodeOptions& options) {
  if (words) {
    return b ? tokenizer.encode_words(a.views, b->views, options)
             : tokenizer.encode_words(a.views, options);
  }
  return b ? tokenizer.encode(a.views[0], b->views[0], options)
           : tokenizer.encode(a.views[0], options);
}

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  if (path.extension() != ".xz") return read_file(path);
  const std::string command = "xz -dc '" + path.string() + "'";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  REQUIRE(pipe);
  std::string out;
  std::array<char, 65536> chunk;
  for (size_t n; (n = fread(chunk.data(), 1, chunk.size(), pipe.get())) > 0;) {
    out.append(chunk.data(), n);
  }
  return out;
}

void each_line(const std::filesystem::path& path, const std::function<void(const Json&)>& use,
               uint32_t stride) {
  std::istringstream lines(read_text(path));
  uint32_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && number++ % stride == 0) use(Json::parse(line));
  }
}

void Tally::check(const std::string& difference, const std::function<std::string()>& what) {
  ++checked;
  if (difference.empty()) return;
  if (++failed <= 5) MESSAGE(name, ": ", what(), ": ", difference);
}

void Tally::finish() const {
  MESSAGE(name, ": ", checked, " checked, ", failed, " failed, ", unsupported, " unsupported");
  CHECK(failed == 0);
  CHECK(unsupported == 0);
}

bool is_error(const Json& json) { return json.is_object() && json.contains("error"); }

std::string compare_json(const Json& expected, const Json& actual) {
  if (expected == actual) return "";
  for (const auto& [key, value] : expected.items()) {
    if (!actual.contains(key)) return key + " is missing";
    if (actual[key] != value) return key + ": " + actual[key].dump() + " not " + value.dump();
  }
  for (const auto& [key, value] : actual.items()) {
    if (!expected.contains(key)) return key + " is not expected: " + value.dump();
  }
  return "differs";
}

std::string compare_encoding(const Tokenizer& tokenizer, Json expected, const Json& a,
                             const Json& b, bool words, EncodeOptions options,
                             const std::optional<Padding>& padding) {
  const Input first(a);
  const std::optional<Input> second = b.is_null() ? std::nullopt : std::optional<Input>(b);
  options.overflowing = true;
  options.unit = OffsetUnit::kCodePoints;
  Encoding full;
  try {
    full = encode(tokenizer, first, second, words, options);
  } catch (const Error& error) {
    if (is_error(expected)) return "";
    return error.what();
  }
  if (is_error(expected)) return "";  // panics of the reference may become something lenient
  std::vector<Encoding> batch{full};
  if (padding) pad_encodings(batch, *padding);
  const Json bytes = expected.contains("boff") ? expected["boff"] : expected["off"];
  expected.erase("boff");
  const std::string difference =
      compare_json(expected, to_record(tokenizer, batch[0], expected.contains("sid")));
  if (!difference.empty() || padding) return difference;
  options.unit = OffsetUnit::kBytes;
  const Encoding in_bytes = encode(tokenizer, first, second, words, options);
  // The recorded bytes were found through sequence ids, which a template for one text spoils.
  const bool comparable = !words && (!second || full.sequence_ranges.size() == 2);
  if (comparable && Json(flat(in_bytes.offsets)) != bytes) {
    return "boff: " + Json(flat(in_bytes.offsets)).dump() + " not " + bytes.dump();
  }
  options.offsets = options.tokens = options.overflowing = false;
  const Encoding bare = encode(tokenizer, first, second, words, options);
  if (bare.ids != full.ids || bare.type_ids != full.type_ids ||
      bare.special_tokens_mask != full.special_tokens_mask || !bare.tokens.empty()) {
    return "without offsets: " + Json(bare.ids).dump() + " not " + Json(full.ids).dump();
  }
  if (!second && !words) {
    std::vector<int32_t> ids{-7};
    tokenizer.encode_ids(first.views[0], options, ids);
    ids.erase(ids.begin());
    if (ids != full.ids) {
      return "encode_ids: " + Json(ids).dump() + " not " + Json(full.ids).dump();
    }
  }
  return "";
}

std::string compare_text(const Json& expected, const std::string& actual) {
  return is_error(expected) || expected == actual ? "" : actual + " not " + expected.dump();
}

std::string compare_decoded(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                            const Json& record, const std::string& text) {
  for (const auto& [key, skip] : {std::pair("dec", false), std::pair("decs", true)}) {
    if (!record.contains(key)) continue;
    const Json expected = record[key] == true ? Json(text) : record[key];
    const std::string difference = compare_text(expected, tokenizer.decode(ids, skip));
    if (!difference.empty()) return key + (": " + difference);
  }
  return "";
}

std::string compare_batch(const Tokenizer& tokenizer, const Json& expected,
                          const std::vector<std::vector<std::string>>& inputs,
                          const std::optional<Truncation>& truncation, const Padding& padding) {
  if (is_error(expected)) return "";
  EncodeOptions options;
  options.unit = OffsetUnit::kCodePoints;
  options.overflowing = true;
  options.truncation = truncation;
  std::vector<Encoding> batch;
  for (const auto& item : inputs) {
    batch.push_back(item.size() == 1 ? tokenizer.encode(item[0], options)
                                     : tokenizer.encode(item[0], item[1], options));
  }
  pad_encodings(batch, padding);
  for (size_t i = 0; i < batch.size(); ++i) {
    Json record = expected[i];
    record.erase("boff");
    const std::string difference =
        compare_json(record, to_record(tokenizer, batch[i], record.contains("sid")));
    if (!difference.empty()) return difference;
  }
  return "";
}

}  // namespace hugot::golden
