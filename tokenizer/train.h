// Training of vocabularies: the methods of the trainers of Hugging Face tokenizers 0.22.2, with
// results that depend on the words and the options only.
#ifndef HUGOT_TOKENIZER_TRAIN_H_
#define HUGOT_TOKENIZER_TRAIN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hugot {

class ThreadPool;

// A word of the training text, as the model gets to see it, and how often it comes.
struct CountedWord {
  std::string text;  // valid UTF-8
  uint64_t count = 0;
};

// How a long training tells where it is and learns that it shall end.
struct TrainControl {
  // done of total steps of a stage; may be empty. Called in the thread that trains.
  std::function<void(std::string_view stage, uint64_t done, uint64_t total)> progress;
  std::stop_token stop;        // training throws kCancelled soon after a request
  ThreadPool* pool = nullptr;  // null: the calling thread works alone

  void report(std::string_view stage, uint64_t done, uint64_t total) const {
    if (progress) progress(stage, done, total);
  }
  // Throws kCancelled after a request to stop.
  void check() const;
};

// Byte pair encoding: starting from characters, the most frequent pair of neighbours becomes a new
// token, again and again. Ties: the pair with the lower ids.
struct BpeTrainOptions {
  size_t vocab_size = 30000;                // tokens, the special ones and the alphabet included
  uint64_t min_frequency = 0;               // of a pair that is merged
  std::vector<std::string> special_tokens;  // get the first ids, in this order
  std::optional<size_t> limit_alphabet;     // characters to keep: the most frequent ones
  std::vector<char32_t> initial_alphabet;   // characters to have even if no word has them
  std::string continuing_subword_prefix;    // of tokens inside of a word: "##"
  std::string end_of_word_suffix;           // of tokens at its end: "</w>"
  // A merge whose parts have so many characters together, or more, is not made.
  std::optional<size_t> max_token_length;
};

struct TrainedBpe {
  std::vector<std::string> tokens;                    // by id
  std::vector<std::pair<uint32_t, uint32_t>> merges;  // ids of both parts, in order of their rank
};

// `words` are distinct; their order decides the ids of the characters with a prefix or suffix, and
// nothing else. Without any merge that is possible the vocabulary stays smaller than asked for.
TrainedBpe train_bpe(std::span<const CountedWord> words, const BpeTrainOptions& options,
                     const TrainControl& control = {});

// Unigram language model: starting from all frequent substrings, expectation maximization
// estimates their probabilities, and those whose loss harms the likelihood of the text least are
// dropped, until few enough are left. Method: Kudo 2018 (arXiv 1804.10959), section 3.2.
struct UnigramTrainOptions {
  size_t vocab_size = 8000;                 // tokens, the special ones included
  std::vector<std::string> special_tokens;  // get the first ids, in this order
  std::string unk_token;                    // "": none; comes first unless it is a special token
  std::vector<char32_t> initial_alphabet;   // characters to have even if no word has them
  size_t max_piece_length = 16;             // characters of a token
  double shrinking_factor = 0.75;           // part of the tokens that a round keeps, in (0, 1)
  size_t n_sub_iterations = 2;              // estimations in a round
  size_t seed_size = 1'000'000;             // substrings to start from
};

struct TrainedUnigram {
  std::vector<std::pair<std::string, double>> pieces;  // by id, with their log probability
  std::optional<size_t> unk_id;
};

// Throws kInvalidArgument when vocab_size has no room for all characters of the words, which are
// always tokens.
TrainedUnigram train_unigram(std::span<const CountedWord> words, const UnigramTrainOptions& options,
                             const TrainControl& control = {});

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_TRAIN_H_
