// tokenClassification.
#include <map>

#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

void append_hf(JsonList& json, const Entity& entity) {
  json.open('{').key(entity.index ? "entity" : "entity_group").text(entity.label);
  json.key("score").number(entity.score);
  if (entity.index) json.key("index").count(*entity.index);
  json.key("word").text(entity.word);
  json.key("start").count(entity.start);
  json.key("end").count(entity.end);
  json.close('}');
}

void append_hugot(JsonList& json, const Entity& entity) {
  json.open('{').key("Entity").text(entity.label);
  json.key("Score").number(entity.score);
  json.key("Scores");
  if (entity.index) {
    json.open('[');
    for (const double score : entity.scores) json.next().number(score);
    json.close(']');
  } else {
    json.raw("null");
  }
  json.key("Index").count(entity.index.value_or(0));
  json.key("Word").text(entity.word);
  json.key("TokenID");
  if (entity.index) {
    json.raw('[' + std::to_string(entity.token_id) + ']');
  } else {
    json.raw("null");
  }
  json.key("Start").count(entity.start);
  json.key("End").count(entity.end);
  json.key("IsSubword").raw(entity.is_subword ? "true" : "false");
  json.close('}');
}

class Entities : public RowPipeline {
 public:
  explicit Entities(TokenClassification pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<std::string> texts;
    std::vector<std::vector<std::string>> words;
    std::vector<Row*> with_text;
    std::vector<Row*> with_words;
    parse_rows(rows, [&](Row& row) {
      if (row.json->has("words") && !row.json->has("input")) {
        words.push_back(row.json->texts("words"));
        with_words.push_back(&row);
      } else {
        texts.push_back(row.json->text("input"));
        with_text.push_back(&row);
      }
    });
    const auto append = [&](std::string& out, const std::vector<Entity>& entities, size_t) {
      JsonList json(out, style);
      const bool go = style == JsonStyle::kGo;
      if (go && entities.empty()) return json.raw("null");
      json.open('[');
      for (const Entity& entity : entities) {
        json.next();
        (go ? append_hugot : append_hf)(json, entity);
      }
      json.close(']');
    };
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    if (!texts.empty()) store_outcomes(with_text, pipeline_.run(views, stop), append);
    if (!words.empty()) store_outcomes(with_words, pipeline_.run_words(words, stop), append);
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  TokenClassification pipeline_;
};

}  // namespace

std::unique_ptr<RowPipeline> load_entities(const RunOptions& options, Session& session) {
  static const std::map<std::string_view, Aggregation> kAggregations = {
      {"none", Aggregation::kNone},
      {"simple", Aggregation::kSimple},
      {"first", Aggregation::kFirst},
      {"average", Aggregation::kAverage},
      {"max", Aggregation::kMax}};
  TokenClassificationOptions pipeline;
  pipeline.aggregation = kAggregations.at(options.aggregation);
  pipeline.ignore_labels = split_list(options.ignore_labels);
  pipeline.stride = options.stride;
  pipeline.byte_offsets = offsets_in_bytes(options);
  pipeline.model = model_options(options);
  return std::make_unique<Entities>(session.token_classification(model_of(options), pipeline));
}

}  // namespace hugot::tools
