// Questions about texts to answers.
#ifndef HUGOT_PIPELINES_QUESTION_ANSWERING_H_
#define HUGOT_PIPELINES_QUESTION_ANSWERING_H_

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "hugot/hugot.hpp"
#include "pipelines/answer_spans.h"
#include "pipelines/text_model.h"

namespace hugot {

class HUGOT_LOCAL QuestionAnswering::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const QuestionAnsweringOptions& options);
  std::vector<Outcome<std::vector<Answer>>> run(std::span<const Question> questions,
                                                const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().outputs(); }

 private:
  // A piece of a context with its question, and what the model said about it.
  struct Window {
    Encoding encoding;
    std::vector<int32_t> sequences;  // of the tokens
    std::vector<uint8_t> allowed;    // tokens that may be part of an answer
    std::vector<AnswerSpan> spans;
    double impossible = 0;
  };

  std::vector<Window> windows_of(const Question& question) const;
  std::vector<Answer> answers(std::string_view context, std::span<const Window> windows) const;
  // First and last + 1 code point of a span.
  std::pair<size_t, size_t> place(const Window& window, const AnswerSpan& span) const;

  TextRunner runner_;
  QuestionAnsweringOptions options_;
  EncodeOptions encode_options_;
  bool context_first_;
  std::optional<int32_t> cls_id_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_QUESTION_ANSWERING_H_
