// questionAnswering and fillMask.
#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

class Answers : public RowPipeline {
 public:
  explicit Answers(QuestionAnswering pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<std::pair<std::string, std::string>> texts;
    const auto good = parse_rows(rows, [&](Row& row) {
      std::string question = row.json->text("question");
      texts.emplace_back(std::move(question), row.json->text("context"));
    });
    std::vector<Question> questions;
    for (const auto& [question, context] : texts) questions.push_back({question, context});
    const bool go = style == JsonStyle::kGo;
    store_outcomes(good, pipeline_.run(questions, stop),
                   [&](std::string& out, const std::vector<Answer>& answers, size_t) {
                     JsonList json(out, style);
                     // The reference takes the list away when there is one answer in it.
                     if (!go && answers.size() == 1) return append(json, answers[0], go);
                     json.open('[');
                     for (const Answer& answer : answers) append(json.next(), answer, go);
                     json.close(']');
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  static void append(JsonList& json, const Answer& answer, bool go) {
    json.open('{');
    if (go) {
      json.key("Answer").text(answer.text);
      json.key("Score").number(answer.score);
      json.key("Start").count(answer.start);
      json.key("End").count(answer.end);
    } else {
      json.key("score").number(answer.score);
      json.key("start").count(answer.start);
      json.key("end").count(answer.end);
      json.key("answer").text(answer.text);
    }
    json.close('}');
  }

  QuestionAnswering pipeline_;
};

class FilledMasks : public RowPipeline {
 public:
  explicit FilledMasks(FillMask pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<std::string> texts;
    const auto good = parse_rows(rows, [&](Row& row) { texts.push_back(row.json->text("input")); });
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const bool go = style == JsonStyle::kGo;
    store_outcomes(
        good, pipeline_.run(views, stop),
        [&](std::string& out, const std::vector<std::vector<FilledToken>>& masks, size_t) {
          JsonList json(out, style);
          if (!go && masks.size() == 1) return append(json, masks[0], go);
          json.open('[');
          for (const auto& mask : masks) append(json.next(), mask, go);
          json.close(']');
        });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  static void append(JsonList& json, const std::vector<FilledToken>& mask, bool go) {
    json.open('[');
    for (const FilledToken& filled : mask) {
      json.next().open('{');
      json.key(go ? "Score" : "score").number(filled.score);
      json.key(go ? "Token" : "token").count(static_cast<size_t>(filled.id));
      json.key(go ? "TokenStr" : "token_str").text(filled.token);
      json.key(go ? "Sequence" : "sequence").text(filled.sequence);
      json.close('}');
    }
    json.close(']');
  }

  FillMask pipeline_;
};

}  // namespace

std::unique_ptr<RowPipeline> load_question_answering(const RunOptions& options, Session& session) {
  QuestionAnsweringOptions pipeline;
  pipeline.top_k = options.top_k.value_or(1);
  pipeline.max_answer_length = options.max_answer_length;
  pipeline.doc_stride = options.doc_stride;
  pipeline.impossible_answer = options.impossible_answer;
  pipeline.align_to_words = !options.no_align_to_words;
  pipeline.byte_offsets = offsets_in_bytes(options);
  pipeline.model = model_options(options);
  return std::make_unique<Answers>(session.question_answering(model_of(options), pipeline));
}

std::unique_ptr<RowPipeline> load_fill_mask(const RunOptions& options, Session& session) {
  FillMaskOptions pipeline;
  pipeline.top_k = options.top_k.value_or(5);
  pipeline.targets = split_list(options.targets);
  require(options.targets.empty() || !pipeline.targets.empty(), ErrorCode::kInvalidArgument,
          "--targets names none");
  pipeline.model = model_options(options);
  return std::make_unique<FilledMasks>(session.fill_mask(model_of(options), pipeline));
}

}  // namespace hugot::tools
