// From texts to the files of a new tokenizer.
#ifndef HUGOT_TOKENIZER_TOKENIZER_TRAINER_H_
#define HUGOT_TOKENIZER_TOKENIZER_TRAINER_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "tokenizer/train.h"

namespace hugot {

enum class TrainedModel { kWordPiece, kBpe, kUnigram };

// What stands around the model.
enum class TrainPipeline {
  kBert,       // BertNormalizer, words without blanks, punctuation apart
  kByteLevel,  // words of GPT-2's pattern with the blank before, in bytes
  kMetaspace,  // Nmt and NFKC, words begin with U+2581 in place of the blank before
};

struct TokenizerTrainOptions {
  // What is usual for a model: BERT's WordPiece, GPT-2's byte-level BPE, XLM-RoBERTa's Unigram, as
  // in the reference's own implementations of them.
  static TokenizerTrainOptions usual(TrainedModel model);
  // The same in front of another pipeline.
  static TokenizerTrainOptions usual(TrainedModel model, TrainPipeline pipeline);

  TrainedModel model = TrainedModel::kWordPiece;
  TrainPipeline pipeline = TrainPipeline::kBert;
  bool lowercase = true;          // of kBert; strips accents as well
  bool add_prefix_space = false;  // of kByteLevel
  size_t model_max_length = 512;  // for tokenizer_config.json

  // Shared by all models. Special tokens with a name that is known, such as [CLS] or </s>, get its
  // role; where there is one for the begin and one for the end, encoding adds them.
  size_t vocab_size = 0;
  std::vector<std::string> special_tokens;
  std::string unk_token;  // "": none; becomes a special token if it is not one
  std::vector<char32_t> initial_alphabet;

  BpeTrainOptions bpe;          // of WordPiece and BPE; the shared fields do not count
  UnigramTrainOptions unigram;  // of Unigram; likewise
};

struct TrainedTokenizer {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  std::string special_tokens_map_json;
  size_t vocab_size = 0;
};

// Not thread-safe. Memory grows with the distinct words of the texts.
class TokenizerTrainer {
 public:
  // Throws kInvalidArgument for options that contradict each other.
  explicit TokenizerTrainer(TokenizerTrainOptions options);
  ~TokenizerTrainer();

  // Counts the words of texts; throws kInvalidData, with its index, for one that is not UTF-8.
  void add(std::span<const std::string> texts, ThreadPool* pool = nullptr);
  // The result depends on the texts and options only, not on their order or the threads. Throws
  // kInvalidArgument when there was no word or vocab_size is too small, kCancelled when told to
  // stop. Nothing can be added or trained afterwards.
  TrainedTokenizer train(const TrainControl& control = {});

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_TOKENIZER_TRAINER_H_
