// Questions about texts to the passages that answer them.
#ifndef HUGOT_QUESTION_ANSWERING_HPP_
#define HUGOT_QUESTION_ANSWERING_HPP_

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/common.hpp"

namespace hugot {

struct QuestionAnsweringOptions {
  int top_k = 1;               // so many answers at most
  int max_answer_length = 15;  // tokens of an answer at most
  // Tokens that consecutive windows of a long context share. Default: half a window, at most 128.
  std::optional<int> doc_stride = {};
  // "The context does not say" may be an answer: empty, from 0 to 0.
  bool impossible_answer = false;
  // Answers begin and end with whole words.
  bool align_to_words = true;
  // Offsets in bytes instead of code points.
  bool byte_offsets = false;
  // max_length: tokens of a window, the question and special tokens included; 0: what the model
  // directory says, at most 384.
  ModelOptions model = {};
};

struct Question {
  std::string_view question;
  std::string_view context;
};

struct Answer {
  double score = 0;
  std::string text;  // context[start, end)
  size_t start = 0;  // in the context
  size_t end = 0;
};

// Passages of contexts that answer questions. As all pipelines: a handle that is cheap to copy; all
// functions may be called from several threads at the same time; the result of a question does not
// depend on the others; what is wrong with one is in its Outcome; kCancelled is thrown soon after
// `stop` is requested.
class HUGOT_API QuestionAnswering {
 public:
  class Impl;

  // The best answers, of all windows together. An empty question or context and a question that
  // leaves no room for the context in a window are errors. No two answers have the same tokens, but
  // words of two may be the same.
  std::vector<Outcome<std::vector<Answer>>> run(std::span<const Question> questions,
                                                std::stop_token stop = {}) const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit QuestionAnswering(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_QUESTION_ANSWERING_HPP_
