// The best spans of tokens by the scores of their first and last token.
#ifndef HUGOT_PIPELINES_ANSWER_SPANS_H_
#define HUGOT_PIPELINES_ANSWER_SPANS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hugot {

struct AnswerSpan {
  size_t first = 0;  // tokens
  size_t last = 0;   // included
  double score = 0;
};

// Scores of the tokens of a window: softmax over those that may be part of an answer. All others,
// and token 0, whose share is taken out, get 0.
struct AnswerScores {
  std::vector<double> starts;
  std::vector<double> ends;
  double impossible = 0;  // of the empty answer, which token 0 stands for
};

// `logits`: a row {start, end} per token; `allowed`: per token. Throws kInvalidData when one is
// infinite or not a number.
AnswerScores answer_scores(std::span<const float> logits, std::span<const uint8_t> allowed);

// The `top_k` spans of at most `max_length` tokens with the greatest products of scores, the best
// first, without those of them that begin or end with a token that is not allowed. As
// QuestionAnsweringPipeline of transformers 4.44.2 has it, so that there may be fewer than `top_k`;
// where it fills the list with spans of score 0 the same ones come, in the order in which numpy
// 1.26 leaves equal numbers (up to 64 of them are sorted in its way).
std::vector<AnswerSpan> best_spans(const AnswerScores& scores, std::span<const uint8_t> allowed,
                                   size_t top_k, size_t max_length);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_ANSWER_SPANS_H_
