// The recorded results of tokenizers 0.22.2 in ../shared/data.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/npz.h"
#include "hugot/tokenizer.hpp"
#include "tokenizer/golden_records.h"

namespace hugot {
namespace {

using namespace golden;

const std::filesystem::path kData = "../shared/data";
const std::filesystem::path kGolden = kData / "tokenizer-golden";

Truncation to_truncation(const Json& cfg) {
  Truncation out;
  out.max_length = cfg.at("max_length");
  out.stride = cfg.value("stride", 0);
  const std::string strategy = cfg.value("strategy", "longest_first");
  if (strategy == "only_first") out.strategy = Truncation::Strategy::kOnlyFirst;
  if (strategy == "only_second") out.strategy = Truncation::Strategy::kOnlySecond;
  if (cfg.value("direction", "right") == "left") out.side = Side::kLeft;
  return out;
}

Padding to_padding(const Json& cfg) {
  Padding out;
  if (cfg.contains("length") && !cfg["length"].is_null()) out.length = cfg["length"].get<size_t>();
  if (cfg.value("direction", "right") == "left") out.side = Side::kLeft;
  out.pad_id = cfg.value("pad_id", 0);
  out.pad_type_id = cfg.value("pad_type_id", 0);
  out.pad_token = cfg.value("pad_token", "[PAD]");
  const Json multiple = cfg.value("pad_to_multiple_of", Json());
  if (!multiple.is_null()) out.pad_to_multiple_of = multiple.get<size_t>();
  return out;
}

// Ids outside of the library's range cannot be asked for.
std::vector<int32_t> to_ids(const Json& json) {
  std::vector<int32_t> out;
  for (const Json& id : json) {
    if (id.get<int64_t>() <= INT32_MAX) out.push_back(id.get<int32_t>());
  }
  return out;
}

// Runs the records of one tokenizer of real/ or trained/.
class RecordRunner {
 public:
  RecordRunner(const Tokenizer& tokenizer, const std::vector<std::string>& texts, Tally& tally)
      : tokenizer_(tokenizer), all_texts_(texts), tally_(tally) {
    for (size_t i = 0; i < texts.size(); ++i) index_.push_back(i);
  }

  void run(const Json& record) {
    const std::string kind = record["k"];
    const auto what = [&] { return record.dump().substr(0, 160); };
    if (kind == "texts") {
      index_ = record["i"].get<std::vector<size_t>>();
    } else if (kind == "encode") {
      tally_.check(encode_record(record), what);
    } else if (kind == "pair" || kind == "trunc" || kind == "words") {
      EncodeOptions options;
      options.add_special_tokens = record.value("add", true);
      if (kind == "trunc") options.truncation = to_truncation(record["cfg"]);
      const bool words = kind == "words";
      const Json a = words ? record["a"] : Json(text(record["a"]));
      Json b = record.value("b", Json());
      if (!words && !b.is_null()) b = text(b);
      tally_.check(compare_encoding(tokenizer_, record["out"], a, b, words, options), what);
    } else if (kind == "pad") {
      tally_.check(pad_record(record), what);
    } else if (kind == "decode") {
      tally_.check(decode_record(record), what);
    } else if (kind == "stream") {
      std::vector<int32_t> ids = tokenizer_.encode(text(record["i"])).ids;
      tally_.check(compare_stream(ids, record["skip"], record["out"]), what);
    } else {
      FAIL("unknown record ", kind);
    }
  }

 private:
  const std::string& text(const Json& index) const {
    return all_texts_[index_[index.get<size_t>()]];
  }

  std::string encode_record(const Json& record) const {
    const std::string& a = text(record["i"]);
    Json expected = record;
    for (const char* key : {"k", "i", "ns", "dec", "decs"}) expected.erase(key);
    std::string difference = compare_encoding(tokenizer_, expected, a, nullptr, false, {});
    if (difference.empty() && record.contains("ns")) {
      EncodeOptions options;
      options.add_special_tokens = false;
      difference = compare_encoding(tokenizer_, record["ns"], a, nullptr, false, options);
    }
    if (difference.empty()) {
      difference =
          compare_decoded(tokenizer_, record["ids"].get<std::vector<int32_t>>(), record, a);
    }
    return difference;
  }

  std::string pad_record(const Json& record) const {
    std::vector<std::vector<std::string>> inputs;
    for (const Json& item : record["batch"]) {
      std::vector<std::string>& texts = inputs.emplace_back();
      for (const Json& index : item) texts.push_back(text(index));
    }
    std::optional<Truncation> truncation;
    if (!record["trunc"].is_null()) truncation = to_truncation(record["trunc"]);
    return compare_batch(tokenizer_, record["out"], inputs, truncation, to_padding(record["cfg"]));
  }

  // What each step of a stream of ids gives; from the first error on there is nothing to compare.
  std::string compare_stream(const std::vector<int32_t>& ids, bool skip, const Json& steps) const {
    if (is_error(steps)) return "";
    DecodeStream stream(tokenizer_, skip);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (is_error(steps[i])) return "";
      const auto text = stream.step(ids[i]);
      if ((text ? Json(*text) : Json()) != steps[i]) return str("step ", i);
    }
    return "";
  }

  std::string decode_record(const Json& record) const {
    const std::vector<int32_t> ids = to_ids(record["ids"]);
    for (size_t i = 0; ids.size() == record["ids"].size() && i < ids.size(); ++i) {
      const auto token = tokenizer_.id_to_token(ids[i]);
      if ((token ? Json(*token) : Json()) != record["tok"][i]) return "tok";
    }
    const std::string difference = compare_decoded(tokenizer_, ids, record, "");
    if (!difference.empty() || ids.size() != record["ids"].size()) return difference;
    return compare_stream(ids, true, record["stream"]);
  }

  const Tokenizer& tokenizer_;
  const std::vector<std::string>& all_texts_;
  std::vector<size_t> index_;
  Tally& tally_;
};

// Loads, or counts as unsupported and returns nothing.
std::optional<Tokenizer> load(const std::string& json, Tally& tally) {
  try {
    return Tokenizer::from_json(json);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) FAIL(tally.name, ": ", std::string(error.what()));
    ++tally.unsupported;
    return std::nullopt;
  }
}

std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  each_line(kGolden / "texts.jsonl", [&](const Json& line) { texts.push_back(line["text"]); });
  return texts;
}

// A record of the models' folders: a text, or a pair `a`, `b` that is truncated.
std::string compare_model_record(const Tokenizer& tokenizer, const Json& record,
                                 EncodeOptions options) {
  Encoding encoding;
  try {
    if (record.contains("a")) {
      options.truncation =
          to_truncation({{"max_length", record["max_length"]}, {"strategy", record["truncation"]}});
      // The recording library takes an empty second text for none.
      const std::string b = record["b"];
      encoding = b.empty() ? tokenizer.encode(record["a"].get<std::string>(), options)
                           : tokenizer.encode(record["a"].get<std::string>(), b, options);
    } else {
      encoding = tokenizer.encode(record["text"].get<std::string>(), options);
    }
  } catch (const Error& error) {
    return record.contains("error") ? "" : error.what();
  }
  if (record.contains("error")) return "no error";
  // These were recorded by id.
  for (size_t i = 0; i < encoding.size(); ++i) {
    encoding.tokens[i] = tokenizer.id_to_token(encoding.ids[i]).value_or("");
  }
  std::vector<std::vector<uint32_t>> offsets;
  for (const Span& span : encoding.offsets) offsets.push_back({span.begin, span.end});
  Json actual{{"input_ids", encoding.ids},
              {"token_type_ids", encoding.type_ids},
              {"attention_mask", encoding.attention_mask},
              {"tokens", encoding.tokens},
              {"offsets", offsets},
              {"word_ids", Json::array()}};
  for (const int32_t word : encoding.word_ids) {
    actual["word_ids"].push_back(word < 0 ? Json() : Json(word));
  }
  for (const auto& [key, value] : actual.items()) {
    if (record.contains(key) && record[key] != value) return key + ": " + value.dump();
  }
  return "";
}

bool skip_without(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) return false;
  MESSAGE("skipped: there is no ", path.string());
  return true;
}

}  // namespace

TEST_CASE("golden components") {
  if (skip_without(kGolden)) return;
  std::map<std::string, Tally> tallies;
  each_line(kGolden / "components.jsonl.xz", [&](const Json& record) {
    Tally& tally = tallies[record["kind"]];
    tally.name = record["kind"];
    run_component(record, tally);
  });
  for (const auto& [kind, tally] : tallies) tally.finish();
}

TEST_CASE("golden tokenizers") {
  if (skip_without(kGolden)) return;
  const std::vector<std::string> texts = golden_texts();
  for (const char* folder : {"trained", "real"}) {
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(kGolden / folder)) {
      if (entry.path().string().ends_with(".jsonl.xz")) files.insert(entry.path());
    }
    for (const std::filesystem::path& records : files) {
      const std::string name = records.stem().stem().string();
      Tally tally{name};
      std::string json;
      for (const std::filesystem::path& path :
           {kGolden / folder / (name + ".tokenizer.json"),
            kGolden / folder / (name + ".tokenizer.json.xz"),
            kGolden / folder / "converted" / (name + ".tokenizer.json.xz"),
            kData / "tokenizers" / name / "tokenizer.json"}) {
        if (json.empty() && std::filesystem::exists(path)) json = read_text(path);
      }
      REQUIRE_MESSAGE(!json.empty(), "no tokenizer.json for ", name);
      if (const auto tokenizer = load(json, tally)) {
        RecordRunner runner(*tokenizer, texts, tally);
        each_line(
            records, [&](const Json& record) { runner.run(record); }, kStride);
      }
      tally.finish();
    }
  }
}

TEST_CASE("golden ids of the default model") {
  const std::filesystem::path folder = kData / "minilm";
  if (skip_without(folder)) return;
  const Tokenizer tokenizer = Tokenizer::from_file(folder / "tokenizer.json");
  std::vector<std::string> texts;
  each_line(folder / "texts.jsonl", [&](const Json& line) { texts.push_back(line["input"]); });
  std::vector<int32_t> expected;
  std::vector<int32_t> bounds;
  for (const auto& [name, tensor] : read_npz(folder / "golden.npz")) {
    if (name != "input_ids_256" && name != "cu_seqlens_256") continue;
    const std::span<const int32_t> values = tensor.values<int32_t>();
    (name == "input_ids_256" ? expected : bounds).assign(values.begin(), values.end());
  }
  REQUIRE(bounds.size() == texts.size() + 1);
  EncodeOptions options;
  options.truncation = Truncation{.max_length = 256};
  std::vector<int32_t> ids;
  for (size_t i = 0; i < texts.size(); ++i) {
    CHECK(static_cast<int32_t>(ids.size()) == bounds[i]);
    tokenizer.encode_ids(texts[i], options, ids);
  }
  CHECK(ids == expected);
}

TEST_CASE("golden ids of small models") {
  const std::filesystem::path folder = kData / "zoo";
  if (skip_without(folder)) return;
  Tally tally{"zoo"};
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::filesystem::path file = entry.path() / "tokenizer.json";
    if (!std::filesystem::exists(file)) continue;
    const Json golden = Json::parse(read_text(entry.path() / "golden.json"));
    const auto tokenizer = load(read_text(file), tally);
    if (!tokenizer || !golden.contains("tokens")) continue;
    EncodeOptions options;
    options.unit = OffsetUnit::kCodePoints;
    const std::filesystem::path config = entry.path() / "sentence_bert_config.json";
    if (std::filesystem::exists(config)) {
      options.truncation =
          Truncation{.max_length = Json::parse(read_text(config)).at("max_seq_length")};
    }
    for (const Json& record : golden["tokens"]) {
      tally.check(compare_model_record(*tokenizer, record, options),
                  [&] { return entry.path().filename().string() + " " + record.dump(); });
    }
  }
  tally.finish();
}

}  // namespace hugot
