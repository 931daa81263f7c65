// The substrings that training of a Unigram vocabulary starts from.
#ifndef HUGOT_TOKENIZER_UNIGRAM_SEEDS_H_
#define HUGOT_TOKENIZER_UNIGRAM_SEEDS_H_

#include <span>
#include <string>
#include <vector>

#include "tokenizer/train.h"

namespace hugot {

struct UnigramSeed {
  std::string text;
  double weight;
};

// All characters, then up to seed_size in all of the substrings of up to max_piece_length
// characters that come twice or more and cannot be made longer without losing an occurrence;
// those with the most characters times occurrences first. As in the reference, words count once
// however frequent they are, except for single characters.
std::vector<UnigramSeed> unigram_seeds(std::span<const CountedWord> words,
                                       const UnigramTrainOptions& options,
                                       const TrainControl& control);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_UNIGRAM_SEEDS_H_
