// The rules are those of QuestionAnsweringPipeline of transformers 4.44.2.
#include "pipelines/question_answering.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot {
namespace {

constexpr size_t kMaxWindow = 384;
constexpr size_t kMaxStride = 128;
// So that what is kept of a long context has a bound.
constexpr int kMaxTopK = 10000;

std::vector<std::string> span_outputs(const LoadedModel& model) {
  const auto has = [&](std::string_view name) {
    return std::any_of(model.outputs.begin(), model.outputs.end(),
                       [&](const ModelPort& port) { return port.name == name; });
  };
  if (has("start_logits") && has("end_logits")) return {"start_logits", "end_logits"};
  // One output with both, or the two under other names.
  require(!model.outputs.empty(), ErrorCode::kInvalidData, "the graph has no outputs");
  if (model.outputs.size() == 1) return {model.outputs[0].name};
  return {model.outputs[0].name, model.outputs[1].name};
}

}  // namespace

QuestionAnswering::Impl::Impl(std::shared_ptr<Session::Impl> session,
                              const std::filesystem::path& directory,
                              const QuestionAnsweringOptions& options)
    : runner_(session,
              TextModel::shared(*session, directory, options.model, "answers", span_outputs),
              options.model.max_length, /*pairs=*/true),
      options_(options),
      encode_options_(runner_.encode_options()),
      context_first_(runner_.model().directory().pad_left),
      cls_id_(
          runner_.model().special_token(runner_.model().directory().cls_token, {"[CLS]", "<s>"})) {
  require(options.top_k >= 1 && options.top_k <= kMaxTopK, ErrorCode::kInvalidArgument, "top_k ",
          options.top_k, ": 1 to ", kMaxTopK, " answers are possible");
  require(options.max_answer_length >= 1, ErrorCode::kInvalidArgument, "max_answer_length ",
          options.max_answer_length, ": a positive number of tokens is expected");
  size_t length = static_cast<size_t>(runner_.max_length());
  if (options.model.max_length == 0)
    length = std::min(length == 0 ? kMaxWindow : length, kMaxWindow);
  const size_t added = runner_.model().tokenizer().added_tokens(/*pair=*/true);
  const size_t room = length > added ? length - added : 0;
  const int default_stride = static_cast<int>(std::min(length / 2, kMaxStride));
  const int stride = options.doc_stride.value_or(default_stride);
  require(stride >= 0 && static_cast<size_t>(stride) < room, ErrorCode::kInvalidArgument,
          "doc_stride ", stride, ": windows of ", length, " tokens can share 0 to ",
          room == 0 ? 0 : room - 1);
  encode_options_.offsets = true;
  encode_options_.unit = OffsetUnit::kCodePoints;
  encode_options_.overflowing = true;
  encode_options_.truncation.emplace();
  encode_options_.truncation->max_length = length;
  encode_options_.truncation->stride = static_cast<size_t>(stride);
  encode_options_.truncation->strategy =
      context_first_ ? Truncation::Strategy::kOnlyFirst : Truncation::Strategy::kOnlySecond;
  if (runner_.model().directory().truncate_left) encode_options_.truncation->side = Side::kLeft;
}

std::vector<QuestionAnswering::Impl::Window> QuestionAnswering::Impl::windows_of(
    const Question& question) const {
  require_utf8(question.question);
  require_utf8(question.context);
  require(!question.question.empty(), ErrorCode::kInvalidData, "the question is empty");
  require(!question.context.empty(), ErrorCode::kInvalidData, "the context is empty");
  const auto [first, second] = context_first_ ? std::pair(question.context, question.question)
                                              : std::pair(question.question, question.context);
  Encoding encoding =
      with_context([] { return "the question leaves no room for the context"; },
                   [&, first = first, second = second] {
                     return runner_.model().tokenizer().encode(first, second, encode_options_);
                   });
  std::vector<Encoding> rest = std::move(encoding.overflowing);
  std::vector<Window> windows(1 + rest.size());
  windows[0].encoding = std::move(encoding);
  for (size_t i = 0; i < rest.size(); ++i) windows[i + 1].encoding = std::move(rest[i]);
  const int32_t context = context_first_ ? 0 : 1;
  for (Window& window : windows) {
    window.sequences = window.encoding.sequence_ids();
    window.allowed.resize(window.sequences.size());
    for (size_t i = 0; i < window.allowed.size(); ++i) {
      // The first token of many models stands for "no answer".
      window.allowed[i] = window.sequences[i] == context || window.encoding.ids[i] == cls_id_;
    }
  }
  return windows;
}

std::vector<Outcome<std::vector<Answer>>> QuestionAnswering::Impl::run(
    std::span<const Question> questions, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<Answer>>> out(questions.size());
  std::vector<std::vector<Window>> windows(questions.size());
  runner_.tokenize(
      questions.size(), [&](size_t i) { windows[i] = windows_of(questions[i]); },
      [&](size_t i) -> std::string& { return out[i].error; }, stop);

  std::vector<TextItem> items;
  std::vector<std::pair<size_t, size_t>> places;  // question and window of an item
  for (size_t i = 0; i < questions.size(); ++i) {
    for (size_t k = 0; k < windows[i].size(); ++k) {
      TextItem& item = items.emplace_back();
      item.ids = windows[i][k].encoding.ids;
      if (runner_.model().has_type_ids()) item.type_ids = windows[i][k].encoding.type_ids;
      places.emplace_back(i, k);
    }
  }
  const auto sink = [&](size_t i, const float* data, int64_t rows, int64_t width) {
    Window& window = windows[places[i].first][places[i].second];
    require(static_cast<size_t>(rows) == window.allowed.size() && width == 2,
            ErrorCode::kUnsupported,
            "the model does not give two numbers per token: it is no model that answers questions");
    const auto scores = answer_scores({data, 2 * window.allowed.size()}, window.allowed);
    window.impossible = scores.impossible;
    window.spans = best_spans(scores, window.allowed, static_cast<size_t>(options_.top_k),
                              static_cast<size_t>(options_.max_answer_length));
  };
  runner_.run(items, questions.size(), sink, stop);

  for (size_t i = 0; i < items.size(); ++i) {
    std::string& error = out[places[i].first].error;
    if (!items[i].error.empty() && error.empty()) error = items[i].error;
  }
  for (size_t i = 0; i < questions.size(); ++i) {
    if (out[i].error.empty()) out[i].value = answers(questions[i].context, windows[i]);
  }
  return out;
}

std::pair<size_t, size_t> QuestionAnswering::Impl::place(const Window& window,
                                                         const AnswerSpan& span) const {
  const auto& [encoding, sequences, allowed, spans, impossible] = window;
  const auto tokens = std::pair<size_t, size_t>(encoding.offsets[span.first].begin,
                                                encoding.offsets[span.last].end);
  const int32_t first = encoding.word_ids[span.first], last = encoding.word_ids[span.last];
  if (!options_.align_to_words || first < 0 || last < 0) return tokens;
  // Words of the context by their tokens in this window.
  std::optional<size_t> begin, end;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i] != (context_first_ ? 0 : 1)) continue;
    if (encoding.word_ids[i] == first && !begin) begin = encoding.offsets[i].begin;
    if (encoding.word_ids[i] == last) end = encoding.offsets[i].end;
  }
  return begin && end ? std::pair(*begin, *end) : tokens;
}

std::vector<Answer> QuestionAnswering::Impl::answers(std::string_view context,
                                                     std::span<const Window> windows) const {
  struct Candidate {
    const Window* window;
    AnswerSpan span;
  };
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.span.score > b.span.score;
  };
  const auto top_k = static_cast<size_t>(options_.top_k);
  std::vector<Candidate> candidates;
  double impossible = 1000000;
  for (const Window& window : windows) {
    for (const AnswerSpan& span : window.spans) candidates.push_back({&window, span});
    impossible = std::min(impossible, window.impossible);
  }
  if (options_.impossible_answer) candidates.push_back({nullptr, {0, 0, impossible}});
  std::stable_sort(candidates.begin(), candidates.end(), better);
  if (candidates.size() > top_k) candidates.resize(top_k);

  const std::vector<size_t> bytes = code_point_starts(context);
  std::vector<Answer> out;
  for (const auto& [window, span] : candidates) {
    Answer& answer = out.emplace_back();
    answer.score = span.score;
    if (window == nullptr) continue;
    std::tie(answer.start, answer.end) = place(*window, span);
    const size_t begin = bytes[std::min(answer.start, bytes.size() - 1)];
    const size_t end = bytes[std::min(answer.end, bytes.size() - 1)];
    if (begin < end) answer.text = context.substr(begin, end - begin);
    if (options_.byte_offsets) {
      answer.start = begin;
      answer.end = end;
    }
  }
  return out;
}

}  // namespace hugot
