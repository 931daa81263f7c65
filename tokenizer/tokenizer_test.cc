#include "hugot/tokenizer.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/golden_records.h"

namespace hugot {
namespace {

const std::filesystem::path kFixtures = "tests/data/tokenizer";

Tokenizer bert() { return Tokenizer::from_file(kFixtures / "bert.json"); }

// Runs `call`, which must throw, and returns the error.
template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  return Error(ErrorCode::kInternal, "");
}

bool mentions(const Error& error, const std::string& text) {
  return std::string(error.what()).find(text) != std::string::npos;
}

// A tokenizer.json with a small WordLevel model and further members.
std::string with_model(const std::string& members) {
  return R"({"model":{"type":"WordLevel","vocab":{"a":0,"[U]":1},"unk_token":"[U]"})" + members +
         "}";
}

}  // namespace

TEST_CASE("an empty added token is found like in the reference") {
  LiteralSet set;
  set.add("", 0);
  set.add("hello", 1);
  set.finish();
  struct Case {
    const char* text;
    size_t from, begin, end;
    int32_t value;
  };
  // Pieces that tokenizers 0.22.2 cuts such texts into.
  for (const Case& c : {Case{"ab", 0, 0, 0, 0},
                        {"ab", 1, 2, 2, 0},
                        {"hellx", 0, 4, 4, 0},
                        {"hellx", 4, 5, 5, 0},
                        {"heh", 0, 2, 2, 0},
                        {"hehe", 0, 4, 4, 0},
                        {"hehellohe", 0, 2, 7, 1},
                        {"hehellohe", 7, 9, 9, 0}}) {
    CAPTURE(c.text);
    const LiteralSet::Match match = set.find(c.text, c.from, c.from == 0);
    CHECK(match.begin == c.begin);
    CHECK(match.end == c.end);
    CHECK(match.value == c.value);
  }
}

TEST_CASE("recorded results") {
  const auto rows = golden::Json::parse(golden::read_text(kFixtures / "components.json"));
  golden::Tally tally{"fixtures"};
  for (const auto& row : rows) golden::run_component(row, tally);
  tally.finish();
  CHECK(tally.unsupported == 0);
  CHECK(tally.checked > 2000 / golden::kStride);
}

TEST_CASE("a batch gives what its texts give alone") {
  const Tokenizer tokenizer = bert();
  std::vector<TextPair> texts;
  for (int i = 0; i < 40; ++i) {
    texts.push_back({"a b c"});
    texts.push_back({"a", "c"});
  }
  texts[50] = {"\xff"};
  const auto batch = tokenizer.encode_batch(texts, {}, 3);
  REQUIRE(batch.size() == texts.size());
  CHECK(batch[50].error.find("UTF-8") != std::string::npos);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i == 50) continue;
    CHECK(batch[i].error.empty());
    CHECK(batch[i].value.ids == tokenizer.encode(texts[i].text, texts[i].pair).ids);
  }
  CHECK(tokenizer.encode_batch({}).empty());
}

TEST_CASE("lookups") {
  const Tokenizer tokenizer = bert();
  CHECK(tokenizer.token_to_id("[CLS]") == 2);
  CHECK(tokenizer.token_to_id("fox") == 8);
  CHECK(!tokenizer.token_to_id("foxes"));
  CHECK(tokenizer.id_to_token(8) == "fox");
  CHECK(!tokenizer.id_to_token(100000));
  CHECK(!tokenizer.id_to_token(-1));
  CHECK(tokenizer.is_special(2));
  CHECK(!tokenizer.is_special(8));
  CHECK(tokenizer.vocab_size() == tokenizer.vocab_size(false));
  CHECK(tokenizer.added_tokens(false) == 2);
  CHECK(tokenizer.added_tokens(true) == 3);
}

TEST_CASE("truncation and padding of the file are only reported") {
  const Tokenizer tokenizer = bert();
  REQUIRE(tokenizer.file_truncation());
  CHECK(tokenizer.file_truncation()->max_length == 128);
  REQUIRE(tokenizer.file_padding());
  CHECK(tokenizer.file_padding()->length == 128);
  CHECK(tokenizer.encode("the fox").size() == 4);
}

TEST_CASE("ids beyond the limit of truncation do not change those before it") {
  const Tokenizer tokenizer = bert();
  std::string text = "unwanted";
  for (int i = 0; i < 50; ++i) text += " the [MASK] caf\u00e9";
  for (const Side side : {Side::kLeft, Side::kRight}) {
    for (size_t max_length = 2; max_length < 20; ++max_length) {
      EncodeOptions options;
      options.truncation = Truncation{.max_length = max_length, .side = side};
      std::vector<int32_t> ids;
      tokenizer.encode_ids(text, options, ids);
      CHECK(ids.size() == max_length);
      CHECK(ids == tokenizer.encode(text, options).ids);
    }
  }
}

TEST_CASE("canonical order of marks that are kept") {
  // U+1D16D has class 226, U+1D165 class 216; neither is Mn, so both stay and change places.
  const Tokenizer tokenizer = Tokenizer::from_json(
      R"({"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
          "strip_accents":null,"lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},
          "model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"##",
          "max_input_chars_per_word":100,"vocab":{"u":0,"a\ud834\udd65\ud834\udd6d":1}}})");
  std::vector<int32_t> ids;
  tokenizer.encode_ids("a\U0001D16D\U0001D165", {}, ids);
  CHECK(ids == std::vector<int32_t>{1});
  CHECK(tokenizer.encode("a\U0001D16D\U0001D165").ids == ids);
}

TEST_CASE("invalid UTF-8 is refused with its position") {
  const Tokenizer tokenizer = bert();
  for (const char* text : {"ab\xFF", "ab\xC3", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80",
                           "ab\xE2\x28\xA1", "ab\x80"}) {
    const Error error = error_of([&] { tokenizer.encode(text); });
    CHECK(error.code() == ErrorCode::kInvalidData);
    CHECK(mentions(error, "byte 2"));
  }
  CHECK(validate_utf8("ab\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEF\xBF\xBD") == kValidUtf8);
}

TEST_CASE("truncation that cannot be met, and to less than the special tokens") {
  const Tokenizer tokenizer = bert();
  EncodeOptions options;
  // Less than the special tokens: not truncated, as in the reference.
  const auto whole = tokenizer.encode("the fox").ids;
  for (const size_t max_length : {0, 1}) {
    options.truncation = Truncation{.max_length = max_length};
    CHECK(tokenizer.encode("the fox", options).ids == whole);
    std::vector<int32_t> same;
    tokenizer.encode_ids("the fox", options, same);
    CHECK(same == whole);
  }
  options.truncation = Truncation{.max_length = 2};
  CHECK(tokenizer.encode("the fox", options).ids == std::vector<int32_t>{2, 3});
  options.truncation = Truncation{.max_length = 3, .stride = 1};
  CHECK(mentions(error_of([&] { tokenizer.encode("the fox", options); }), "stride"));
  std::vector<int32_t> ids;
  CHECK(mentions(error_of([&] { tokenizer.encode_ids("the fox", options, ids); }), "stride"));
  options.truncation = Truncation{.max_length = 3, .strategy = Truncation::Strategy::kOnlySecond};
  CHECK(error_of([&] { tokenizer.encode("the fox", options); }).code() ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("missing components are named") {
  const std::pair<const char*, const char*> kCases[] = {
      {R"(,"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Foo"}]})",
       "normalizer: normalizers[1]: normalizer Foo is not supported"},
      {R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(x)\\g<1>"},)"
       R"("behavior":"Removed","invert":false})",
       "pre_tokenizer: regular expression: calls of groups are not supported"},
      {R"(,"decoder":{"type":"Foo"})", "decoder Foo"},
      {R"(,"post_processor":{"type":"Foo"})", "post-processor Foo"},
  };
  for (const auto& c : kCases) {
    const Error error = error_of([&] { Tokenizer::from_json(with_model(c.first)); });
    CHECK(error.code() == ErrorCode::kUnsupported);
    CHECK_MESSAGE(mentions(error, c.second), std::string(error.what()));
  }
}

TEST_CASE("malformed files") {
  const std::string kCases[] = {
      "",
      "[",
      "[]",
      "{}",
      R"({"model":null})",
      R"({"model":{"type":"WordLevel"}})",
      R"({"model":{"type":"WordLevel","vocab":{"a":-1},"unk_token":"a"}})",
      R"({"model":{"type":"WordLevel","vocab":{"a":1.5},"unk_token":"a"}})",
      R"({"model":{"type":"WordLevel","vocab":{"a":4294967295},"unk_token":"a"}})",
      R"({"model":{"type":"WordLevel","vocab":{"a":{"b":0}},"unk_token":"a"}})",
      R"({"model":{"type":"WordLevel","vocab":["a"],"unk_token":"a"}})",
      with_model(R"(,"normalizer":[])"),
      with_model(R"(,"normalizer":{"type":"Strip"})"),
      with_model(R"(,"truncation":{"max_length":5})"),
      with_model(R"(,"added_tokens":{})"),
      with_model(R"(,"added_tokens":[{"id":5}])"),
      with_model(R"(,"post_processor":{"single":[{"SpecialToken":{"id":"x","type_id":0}}],)"
                 R"("pair":[],"special_tokens":{}})"),
      with_model(",\"x\":" + std::string(100, '[') + std::string(100, ']'))};
  for (const std::string& json : kCases) {
    const Error error = error_of([&] { Tokenizer::from_json(json); });
    CHECK_MESSAGE(error.code() == ErrorCode::kInvalidData, json, ": ", std::string(error.what()));
  }
}

TEST_CASE("replacements that multiply a text are refused") {
  const auto many = [](const std::string& key, const std::string& list) {
    std::string items;
    for (int i = 0; i < 8; ++i) {
      items += i > 0 ? "," : "";
      items += R"({"type":"Replace","pattern":{"String":"a"},"content":")" +
               std::string(1024, 'a') + "\"}";
    }
    return with_model(",\"" + key + R"(":{"type":"Sequence",")" + list + "\":[" + items + "]}");
  };
  const auto normalizer = Tokenizer::from_json(many("normalizer", "normalizers"));
  CHECK(error_of([&] { normalizer.encode("a"); }).code() == ErrorCode::kUnsupported);
  const auto decoder = Tokenizer::from_json(many("decoder", "decoders"));
  const int32_t ids[] = {0};
  CHECK(error_of([&] { decoder.decode(ids, false); }).code() == ErrorCode::kUnsupported);
}

TEST_CASE("an unknown word without an unknown token is an error only when it comes") {
  const Tokenizer tokenizer =
      Tokenizer::from_json(R"({"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"[U]"}})");
  CHECK(tokenizer.encode("a").ids == std::vector<int32_t>{0});
  CHECK(mentions(error_of([&] { tokenizer.encode("b"); }), "[U]"));
}

TEST_CASE("ids of a vocabulary with holes and repetitions") {
  const Tokenizer tokenizer = Tokenizer::from_json(
      R"({"added_tokens":[{"id":77,"content":"new"}],"model":{"type":"WordLevel",
          "vocab":{"a":7,"b":3,"a":9,"c":2000000000},"unk_token":"b"}})");
  CHECK(tokenizer.vocab_size(false) == 3);
  CHECK(tokenizer.vocab_size() == 4);
  CHECK(tokenizer.token_to_id("a") == 9);
  CHECK(tokenizer.id_to_token(2000000000) == "c");
  CHECK(!tokenizer.id_to_token(7));
  // The reference numbers added tokens by the size of the vocabulary, and they hide its tokens.
  CHECK(tokenizer.token_to_id("new") == 3);
  CHECK(tokenizer.id_to_token(3) == "new");
}

TEST_CASE("a stream holds back characters that are not complete") {
  const Tokenizer tokenizer = Tokenizer::from_json(
      R"({"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true},
          "added_tokens":[{"id":3,"content":"<s>","special":true}],
          "model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0,"\u00c3":1,"\u00a9":2}}})");
  DecodeStream stream(tokenizer, true);
  CHECK(stream.step(0) == "a");
  CHECK(!stream.step(3));
  CHECK(!stream.step(1));
  CHECK(stream.step(2) == "\u00e9");
  CHECK(!stream.step(1));
  CHECK(stream.step(0) == "\uFFFDa");
}

TEST_CASE("malformed vocabulary files") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "hugot-vocabulary-test";
  std::filesystem::create_directories(folder);
  const std::pair<const char*, std::string> kCases[] = {
      {"a.model", ""},
      {"a.model", "\x0A\xFF"},
      {"a.model", std::string("\x0A\x05\x0A\x03", 4)},
      {"a.model", "YQ== 0\nYg== x\n"},
      {"a.model", "Y 0\n"},
      {"vocab.txt", "a\nb\n"},
      {"vocab.txt", "a\xFF\n"},
      {"vocab.json", "[]"},
      {"vocab.json", "{\"a\":"},
  };
  std::ofstream(folder / "merges.txt") << "#version: 0.2\n";
  for (const auto& [name, contents] : kCases) {
    const std::filesystem::path file = folder / name;
    std::ofstream(file, std::ios::binary) << contents;
    const Error error = error_of([&] { Tokenizer::from_file(file); });
    CHECK_MESSAGE(error.code() == ErrorCode::kInvalidData, std::string(error.what()));
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("what is cut out of a file does not change what is malformed") {
  const std::string kCases[] = {
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[["a","b"],"a b"]}})",
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b c"]}})",
      R"({"model":{"type":"BPE","vocab":{"a":00},"merges":[]}})",
      R"({"model":{"type":"BPE","vocab":{"a":0}"merges":[]}})",
      R"({"model":{"type":"BPE","vocab":{"\ud800":0},"merges":[]}})",
      R"({"model":{"type":"Unigram","vocab":[["a",-1.0],["b",01]]}})",
      R"({"model":{"type":"Unigram","vocab":[["a",-1.0,3]]}})",
      R"({"model":{"type":"Unigram","unk_id":1,"vocab":[["a",-1]]}})",
      "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"\xFF\":0},\"unk_token\":\"a\"}}",
  };
  for (const std::string& json : kCases) {
    const Error error = error_of([&] { Tokenizer::from_json(json); });
    CHECK_MESSAGE(error.code() == ErrorCode::kInvalidData, json, ": ", std::string(error.what()));
  }
  // A member that comes twice counts once, and the last one does.
  const Tokenizer twice = Tokenizer::from_json(
      R"({"model":{"type":"WordLevel","vocab":{"x":0},"vocab":{"a\u00e9\n":5},"unk_token":"a"}})");
  CHECK(twice.token_to_id("a\u00e9\n") == 5);
  CHECK(!twice.token_to_id("x"));
}

TEST_CASE("canonical composition and decomposition") {
  char32_t hangul[3];
  const auto parts = unicode::decompose(0xAC01, false, hangul);
  CHECK(std::vector<char32_t>(parts.begin(), parts.end()) ==
        std::vector<char32_t>{0x1100, 0x1161, 0x11A8});
  CHECK(unicode::compose(0xAC00, 0x11A8) == char32_t{0xAC01});
  CHECK(unicode::compose('e', 0x301) == char32_t{0xE9});
  CHECK(!unicode::compose('e', 'e'));
  CHECK(unicode::decompose('e', true, hangul).empty());
  // Assigned after Unicode 9.
  CHECK(unicode::decompose(0x32FF, true, hangul).empty());
}

}  // namespace hugot
