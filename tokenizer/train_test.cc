#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/thread_pool.h"
#include "hugot/tokenizer.hpp"
#include "tokenizer/golden_records.h"
#include "tokenizer/tokenizer_trainer.h"

namespace hugot {
namespace {

using golden::Json;

// The trained model of tokenizers 0.22.2 on the same texts (tests/tokenizer_train.py).
Json fixture() { return Json::parse(golden::read_text("tests/data/tokenizer/train.json")); }

TokenizerTrainOptions options_of(const Json& test) {
  const std::string name = test["name"];
  auto out = TokenizerTrainOptions::usual(name == "wordpiece"    ? TrainedModel::kWordPiece
                                          : name == "byte-level" ? TrainedModel::kBpe
                                                                 : TrainedModel::kUnigram);
  out.vocab_size = test["vocab_size"];
  if (test.contains("min_frequency")) out.bpe.min_frequency = test["min_frequency"];
  if (test.contains("max_token_length")) out.bpe.max_token_length = test["max_token_length"];
  return out;
}

TrainedTokenizer train(const TokenizerTrainOptions& options, const std::vector<std::string>& texts,
                       ThreadPool* pool = nullptr) {
  TokenizerTrainer trainer(options);
  trainer.add(texts, pool);
  TrainControl control;
  control.pool = pool;
  return trainer.train(control);
}

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("no error");
  return ErrorCode::kInternal;
}

std::vector<std::string> tokens_of(const Json& model) {
  std::vector<std::string> out(model["vocab"].size());
  for (const auto& [token, id] : model["vocab"].items()) out[id] = token;
  return out;
}

}  // namespace

TEST_CASE("trained vocabularies are the reference's") {
  const Json data = fixture();
  const std::vector<std::string> texts = data["texts"];
  for (const Json& test : data["cases"]) {
    CAPTURE(test["name"].get<std::string>());
    const Json model = Json::parse(train(options_of(test), texts).tokenizer_json)["model"];
    if (test["name"] == "unigram") {
      REQUIRE(model["vocab"].size() == test["pieces"].size());
      std::map<std::string, double> scores;
      for (const Json& piece : model["vocab"]) scores[piece[0]] = piece[1];
      size_t different = 0;
      for (const Json& piece : test["pieces"]) {
        const auto found = scores.find(piece[0]);
        different += found == scores.end() ||
                     std::abs(found->second - piece[1].get<double>()) > 0.01 * -found->second;
      }
      // In the reference the order in which threads add up decides between equals.
      CHECK(different <= test["pieces"].size() / 20);
      continue;
    }
    const std::vector<std::string> tokens = tokens_of(model);
    const std::vector<std::string> wanted = test["tokens"];
    if (test["name"] == "wordpiece") {
      // The reference numbers characters inside of words in random order, which decides ties.
      const std::set<std::string> set(tokens.begin(), tokens.end());
      CHECK(tokens.size() == wanted.size());
      CHECK(std::count_if(wanted.begin(), wanted.end(), [&](const std::string& token) {
              return set.contains(token);
            }) >= static_cast<ptrdiff_t>(wanted.size() - wanted.size() / 50));
    } else {
      CHECK(tokens == wanted);
      CHECK(model["merges"] == test["merges"]);
    }
  }
}

TEST_CASE("training depends on the texts alone") {
  const Json data = fixture();
  const std::vector<std::string> texts = data["texts"];
  const std::vector<std::string> backwards(texts.rbegin(), texts.rend());
  ThreadPool pool(3);
  for (const Json& test : data["cases"]) {
    CAPTURE(test["name"].get<std::string>());
    const TrainedTokenizer first = train(options_of(test), texts);
    CHECK(first.tokenizer_json == train(options_of(test), backwards, &pool).tokenizer_json);
    const Tokenizer tokenizer = Tokenizer::from_json(first.tokenizer_json);
    CHECK(tokenizer.vocab_size() == first.vocab_size);
    CHECK(first.vocab_size <= test["vocab_size"]);
    const bool bytes = test["name"] == "byte-level";
    CHECK(tokenizer.added_tokens(false) == (bytes ? 0 : 2));
    for (const std::string& text : texts) {
      const Encoding encoding = tokenizer.encode(text);
      if (bytes) CHECK(tokenizer.decode(encoding.ids, false) == text);
    }
  }
}

TEST_CASE("byte pair encoding by hand") {
  BpeTrainOptions options;
  options.vocab_size = 100;
  options.min_frequency = 2;
  options.special_tokens = {"<s>", "b"};
  const std::vector<CountedWord> words = {{"ab", 2}, {"abc", 3}, {"x", 9}, {"xy", 1}};
  const TrainedBpe trained = train_bpe(words, options);
  CHECK(trained.tokens == std::vector<std::string>{"<s>", "b", "a", "c", "x", "y", "ab", "abc"});
  CHECK(trained.merges == std::vector<std::pair<uint32_t, uint32_t>>{{2, 1}, {6, 3}});

  // Only the characters that come most, and in front or behind of them what a word asks for.
  options.limit_alphabet = 2;
  options.special_tokens.clear();
  options.continuing_subword_prefix = "#";
  options.end_of_word_suffix = "/";
  CHECK(train_bpe(words, options).tokens == std::vector<std::string>{"a", "x", "x/"});
  options.initial_alphabet = {U'z'};
  CHECK(train_bpe(words, options).tokens == std::vector<std::string>{"x", "z", "x/"});
}

TEST_CASE("unigram by hand") {
  UnigramTrainOptions options;
  options.vocab_size = 6;
  options.unk_token = "?";
  options.initial_alphabet = {U'z'};
  const std::vector<CountedWord> words = {{"abab", 5}, {"ab", 5}, {"abc", 1}};
  const TrainedUnigram trained = train_unigram(words, options);
  REQUIRE(trained.pieces.size() == 6);
  CHECK(trained.unk_id == 0);
  CHECK(trained.pieces[0].first == "?");
  CHECK(trained.pieces[1].first == "ab");
  std::set<std::string> tokens;
  for (const auto& [token, score] : trained.pieces) tokens.insert(token);
  CHECK(tokens == std::set<std::string>{"?", "ab", "a", "b", "c", "z"});

  options.vocab_size = 4;
  CHECK(code_of([&] { train_unigram(words, options); }) == ErrorCode::kInvalidArgument);
  options.vocab_size = 6;
  options.shrinking_factor = 1;
  CHECK(code_of([&] { train_unigram(words, options); }) == ErrorCode::kInvalidArgument);
}

TEST_CASE("what cannot be trained") {
  for (const auto model : {TrainedModel::kWordPiece, TrainedModel::kBpe, TrainedModel::kUnigram}) {
    auto options = TokenizerTrainOptions::usual(model);
    CHECK(code_of([&] { train(options, {}); }) == ErrorCode::kInvalidArgument);
    CHECK(code_of([&] { train(options, {"a", "\xff"}); }) == ErrorCode::kInvalidData);
    TokenizerTrainer trainer(options);
    const std::vector<std::string> texts = {"a text that has some words, and words again"};
    trainer.add(texts);
    std::stop_source source;
    source.request_stop();
    TrainControl control;
    control.stop = source.get_token();
    CHECK(code_of([&] { trainer.train(control); }) == ErrorCode::kCancelled);
    options.special_tokens = {"a", "a"};
    CHECK(code_of([&] { TokenizerTrainer{options}; }) == ErrorCode::kInvalidArgument);
    options.special_tokens = {};
    options.vocab_size = 0;
    CHECK(code_of([&] { TokenizerTrainer{options}; }) == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("words of the same character again and again take no longer than others") {
  std::vector<std::string> texts;
  for (size_t length = 1; length < 40; ++length) texts.push_back(std::string(length * 50, '='));
  auto options = TokenizerTrainOptions::usual(TrainedModel::kUnigram);
  options.vocab_size = 20;
  CHECK(train(options, texts).vocab_size == 20);
  options = TokenizerTrainOptions::usual(TrainedModel::kBpe);
  CHECK(train(options, texts).vocab_size > 257);
}

}  // namespace hugot
