// Every code point of Unicode through every normalizer and character class, against the tables that
// were recorded with the reference.
#include <doctest/doctest.h>

#include <charconv>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/code_point_set.h"
#include "base/utf8.h"
#include "tokenizer/component_json.h"
#include "tokenizer/golden_records.h"
#include "tokenizer/regex.h"

namespace hugot {
namespace {

using namespace golden;

const std::filesystem::path kGolden = "../shared/data/tokenizer-golden";

std::string to_utf8(char32_t c) {
  std::string out;
  append_utf8(out, c);
  return out;
}

char32_t from_hex(std::string_view digits) {
  uint32_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

// Calls use(c) for the code points of "41-5A 61 ..", with `separator` between the ends of a range.
template <class Use>
void each_code_point(std::string_view range, std::string_view separator, Use&& use) {
  const size_t at = range.find(separator);
  const char32_t first = from_hex(range.substr(0, at));
  const char32_t last = at == range.npos ? first : from_hex(range.substr(at + separator.size()));
  for (char32_t c = first; c <= last; ++c) {
    if (!is_surrogate(c)) use(c);
  }
}

// What a line of a mapping table says that `c` becomes.
std::string result_of(std::string_view value, char32_t c) {
  if (value == "-") return "";
  if (value.starts_with("@+") || value.starts_with("@-")) {
    return to_utf8(
        static_cast<char32_t>(static_cast<int32_t>(c) + std::stoi(std::string(value.substr(1)))));
  }
  std::istringstream parts{std::string(value)};
  std::string out;
  for (std::string part; parts >> part;) out += to_utf8(part == "@" ? c : from_hex(part));
  return out;
}

Json description(const std::string& table) {
  static const std::map<std::string, std::string> kTypes = {{"nfc", "NFC"},
                                                            {"nfd", "NFD"},
                                                            {"nfkc", "NFKC"},
                                                            {"nfkd", "NFKD"},
                                                            {"lowercase", "Lowercase"},
                                                            {"strip_accents", "StripAccents"},
                                                            {"nmt", "Nmt"}};
  if (const auto found = kTypes.find(table); found != kTypes.end()) {
    return {{"type", found->second}};
  }
  if (table == "strip") return {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
  const bool whole = table == "bert_uncased" || table == "bert_cased";
  REQUIRE(table.starts_with("bert_"));
  return {{"type", "BertNormalizer"},
          {"clean_text", whole || table == "bert_clean"},
          {"handle_chinese_chars", whole || table == "bert_chinese"},
          {"strip_accents", whole ? Json() : Json(table == "bert_strip")},
          {"lowercase", table == "bert_uncased" || table == "bert_lower"}};
}

NormalizerPtr normalizer_of(const std::string& table) {
  const std::string precompiled = "precompiled_";
  if (!table.starts_with(precompiled)) return parse_normalizer(description(table));
  const std::string name = table.substr(precompiled.size());
  return make_precompiled_normalizer(
      Charsmap(read_text(kGolden / "charsmaps" / (name + ".bin.xz"))));
}

int wrong_mappings(const std::string& table, const std::map<char32_t, std::string>& changed) {
  const NormalizerPtr normalizer = normalizer_of(table);
  int wrong = 0;
  for (char32_t c = 0; c <= 0x10FFFF; c += kStride) {
    if (is_surrogate(c)) continue;
    NormalizedString string(to_utf8(c), 0, false);
    normalizer->normalize(string);
    const auto found = changed.find(c);
    wrong += string.text() != (found == changed.end() ? to_utf8(c) : found->second);
  }
  return wrong;
}

// Code points for which it is wrong whether an expression matches them alone.
int wrong_matches(const std::string& expression, const std::vector<bool>& expected) {
  const Regex regex(expression);
  int wrong = 0;
  for (char32_t c = 0; c <= 0x10FFFF; c += kStride) {
    if (!is_surrogate(c)) wrong += regex.find_all(to_utf8(c)).empty() == expected[c];
  }
  return wrong;
}

}  // namespace

TEST_CASE("golden code points") {
  if (!std::filesystem::exists(kGolden)) {
    MESSAGE("skipped: there is no ", kGolden.string());
    return;
  }
  std::istringstream lines(read_text(kGolden / "chars.txt.xz"));
  std::string table;
  std::map<char32_t, std::string> changed;
  int tables = 0;
  int classes = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("N ")) {
      table = line.substr(2);
      changed.clear();
    } else if (line.starts_with("H ")) {
      CHECK_MESSAGE(wrong_mappings(table, changed) == 0, table);
      ++tables;
      table.clear();
    } else if (line.starts_with("C onig ") ||
               line.starts_with("C grapheme_joins_after_a(Precompiled) ")) {
      std::istringstream parts(line);
      std::string skipped;
      std::string expression;
      std::string count;
      parts >> skipped >> expression;
      const bool grapheme = expression != "onig";
      if (!grapheme) parts >> expression;
      parts >> count;
      std::vector<bool> expected(0x110000);
      for (std::string range; parts >> range;) {
        each_code_point(range, "-", [&](char32_t c) { expected[c] = true; });
      }
      if (!grapheme) {
        CHECK_MESSAGE(wrong_matches(expression, expected) == 0, expression);
      } else {
        int wrong = 0;
        for (char32_t c = 0; c <= 0x10FFFF; c += kStride) {
          if (is_surrogate(c)) continue;
          const std::string text = "a" + to_utf8(c);
          wrong += (grapheme_end(text, 0, true) == text.size()) != expected[c];
        }
        CHECK(wrong == 0);
      }
      ++classes;
    } else if (!table.empty()) {
      const size_t equals = line.find('=');
      const std::string_view value = std::string_view(line).substr(equals + 1);
      each_code_point(std::string_view(line).substr(0, equals), "..",
                      [&](char32_t c) { changed[c] = result_of(value, c); });
    }
  }
  CHECK(tables == 16);
  CHECK(classes > 60);
}

}  // namespace hugot
