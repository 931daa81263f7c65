// Which words a text has for a model, and how often.
#ifndef HUGOT_TOKENIZER_WORD_COUNTER_H_
#define HUGOT_TOKENIZER_WORD_COUNTER_H_

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/train.h"

namespace hugot {

// Memory grows with the distinct words only.
class WordCounter {
 public:
  // Both may be null.
  WordCounter(NormalizerPtr normalizer, PreTokenizerPtr pre_tokenizer)
      : normalizer_(std::move(normalizer)), pre_tokenizer_(std::move(pre_tokenizer)) {}

  // Throws kInvalidData, with the index of the text, for one that is not UTF-8; none of the texts
  // is counted then.
  void add(std::span<const std::string> texts, ThreadPool* pool);

  // The words in the order of their bytes; nothing is left here.
  std::vector<CountedWord> take();

 private:
  using Counts = std::unordered_map<std::string, uint64_t>;
  void add_words(std::string_view text, Counts& counts) const;

  NormalizerPtr normalizer_;
  PreTokenizerPtr pre_tokenizer_;
  Counts counts_;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_WORD_COUNTER_H_
