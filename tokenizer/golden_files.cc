// Vocabularies without a tokenizer.json, against recorded results: those of the SentencePiece
// library 0.2.3, and those of the tokenizer.json of the same model.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "hugot/tokenizer.hpp"
#include "tokenizer/golden_records.h"

namespace hugot {
namespace {

using namespace golden;
namespace fs = std::filesystem;

const fs::path kData = "../shared/data";
const fs::path kGolden = kData / "tokenizer-golden";

std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  each_line(kGolden / "texts.jsonl", [&](const Json& line) { texts.push_back(line["text"]); });
  return texts;
}

// A tokenizer of a file that may be compressed.
Tokenizer load(const fs::path& file, const std::string& name) {
  if (file.extension() != ".xz") return Tokenizer::from_file(file);
  const fs::path folder = fs::temp_directory_path() / ("hugot-test-" + std::to_string(std::rand()));
  fs::create_directories(folder);
  std::ofstream(folder / name, std::ios::binary) << read_text(file);
  Tokenizer tokenizer = Tokenizer::from_file(folder / name);
  fs::remove_all(folder);
  return tokenizer;
}

std::string compare_pieces(const Tokenizer& tokenizer, const Json& record,
                           const std::string& text) {
  const Encoding encoding = tokenizer.encode(text);
  if (Json(encoding.ids) != record["ids"]) return "ids: " + Json(encoding.ids).dump();
  const bool byte_tokens = record["pieces"].dump().find("\"<0x") != std::string::npos;
  std::vector<uint32_t> offsets;
  for (const Span& span : encoding.offsets) offsets.insert(offsets.end(), {span.begin, span.end});
  // The library gives the text of split characters to the last of their bytes alone.
  if (!byte_tokens && Json(offsets) != record["off"]) return "off: " + Json(offsets).dump();
  if (Json(encoding.tokens) != record["pieces"]) return "pieces: " + Json(encoding.tokens).dump();
  const std::string decoded = tokenizer.decode(encoding.ids, false);
  return compare_text(record["dec"] == true ? Json(text) : record["dec"], decoded);
}

}  // namespace

TEST_CASE("golden SentencePiece models") {
  if (!fs::exists(kGolden)) {
    MESSAGE("skipped: there is no ", kGolden.string());
    return;
  }
  const std::vector<std::string> texts = golden_texts();
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(kGolden / "spm")) {
    if (entry.path().string().find(".model") != std::string::npos) files.insert(entry.path());
  }
  CHECK(files.size() == 15);
  for (const fs::path& file : files) {
    const std::string name = file.filename().string().substr(0, file.filename().string().find('.'));
    Tally tally{name};
    const Tokenizer tokenizer = load(file, name + ".model");
    const auto compare = [&](const Json& record) {
      std::string difference;
      if (record["k"] == "encode") {
        difference = compare_pieces(tokenizer, record, texts[record["i"].get<size_t>()]);
      } else if (record["k"] == "decode") {
        difference = compare_text(
            record["dec"], tokenizer.decode(record["ids"].get<std::vector<int32_t>>(), false));
      }
      tally.check(difference, [&] { return record.dump().substr(0, 300); });
    };
    each_line(kGolden / "spm" / (name + ".jsonl.xz"), compare, kStride);
    tally.finish();
  }
}

TEST_CASE("vocabulary files give what tokenizer.json gives") {
  const fs::path folder = kData / "tokenizers";
  if (!fs::exists(folder)) {
    MESSAGE("skipped: there is no ", folder.string());
    return;
  }
  const std::vector<std::string> texts = golden_texts();
  const std::pair<fs::path, fs::path> kPairs[] = {
      {"bert-base-uncased/vocab.txt", folder / "bert-base-uncased/tokenizer.json"},
      {"gpt2/vocab.json", folder / "gpt2/tokenizer.json"},
      {"llama3-tiktoken/tokenizer.model", kGolden / "real/converted/llama3.tokenizer.json.xz"}};
  for (const auto& [file, json] : kPairs) {
    const Tokenizer tokenizer = Tokenizer::from_file(folder / file);
    const Tokenizer expected = load(json, "tokenizer.json");
    EncodeOptions options;
    options.add_special_tokens = file.extension() != ".model";
    options.encode_special_tokens = !options.add_special_tokens;
    int different = 0;
    for (size_t i = 0; i < texts.size(); i += kStride) {
      const std::string& text = texts[i];
      const Encoding a = tokenizer.encode(text, options);
      const Encoding b = expected.encode(text, options);
      different += a.ids != b.ids || a.offsets != b.offsets || a.type_ids != b.type_ids;
      different += tokenizer.decode(a.ids, false) != expected.decode(b.ids, false);
    }
    const std::string name = file.string();
    CHECK_MESSAGE(different == 0, name);
  }
}

// Ids of transformers 4.57.1 for models of which only the vocabulary and the settings are there.
TEST_CASE("SentencePiece models of known families") {
  if (!fs::exists(kGolden)) {
    MESSAGE("skipped: there is no ", kGolden.string());
    return;
  }
  const Json cases = Json::parse(read_text("tests/data/tokenizer/families.json"));
  CHECK(cases.size() == 14);
  for (const Json& test : cases) {
    const fs::path folder =
        fs::temp_directory_path() / ("hugot-test-" + std::to_string(std::rand()));
    fs::create_directories(folder);
    fs::copy_file(kData / test["model"].get<std::string>(), folder / "a.model");
    for (const char* name :
         {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
      if (test.contains(name)) std::ofstream(folder / name) << test[name].dump();
    }
    const Tokenizer tokenizer = Tokenizer::from_file(folder / "a.model");
    fs::remove_all(folder);
    CAPTURE(test["tokenizer_config.json"].dump());
    const std::vector<std::string> texts = test["texts"];
    for (size_t i = 0; i < texts.size(); ++i) {
      CAPTURE(texts[i]);
      CHECK(Json(tokenizer.encode(texts[i]).ids) == test["ids"][i]);
    }
    CHECK(Json(tokenizer.encode(texts[0], "b c").ids) == test["pair"]);
  }
}

}  // namespace hugot
