// textClassification, zeroShotClassification and crossEncoder.
#include <algorithm>

#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

// A text and what it may come with, as a row owns them.
struct OwnedPair {
  std::string text;
  std::optional<std::string> pair;
};

std::vector<TextPair> views(const std::vector<OwnedPair>& pairs) {
  std::vector<TextPair> out;
  for (const OwnedPair& pair : pairs) out.push_back({pair.text, pair.pair});
  return out;
}

class LabelTexts : public RowPipeline {
 public:
  LabelTexts(TextClassification pipeline, bool by_id)
      : pipeline_(std::move(pipeline)), by_id_(by_id) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<OwnedPair> texts;
    const auto good = parse_rows(rows, [&](Row& row) {
      texts.push_back({row.json->text("input"), optional_text(*row.json, "pair")});
    });
    store_outcomes(good, pipeline_.run(views(texts), stop),
                   [&](std::string& out, std::vector<ScoredLabel> labels, size_t) {
                     if (by_id_) {
                       std::sort(labels.begin(), labels.end(),
                                 [](const auto& a, const auto& b) { return a.id < b.id; });
                     }
                     append_labels(out, labels, style);
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  TextClassification pipeline_;
  bool by_id_;  // labels in the order of the model
};

class ZeroShot : public RowPipeline {
 public:
  explicit ZeroShot(ZeroShotClassification pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<LabelTask> tasks;
    const auto good = parse_rows(rows, [&](Row& row) { tasks.push_back(label_task(*row.json)); });
    std::vector<ZeroShotText> texts;
    for (const LabelTask& task : tasks) {
      texts.push_back({task.input, task.labels, task.hypothesis_template});
    }
    store_outcomes(good, pipeline_.run(texts, stop),
                   [&](std::string& out, const std::vector<ScoredLabel>& labels, size_t i) {
                     JsonList json(out, style);
                     append(json, tasks[i].input, labels, style == JsonStyle::kGo);
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }
  std::string warning() const override { return pipeline_.warning(); }

 private:
  static void append(JsonList& json, const std::string& text,
                     const std::vector<ScoredLabel>& labels, bool go) {
    json.open('{').key(go ? "Sequence" : "sequence").text(text);
    if (go) {
      json.key("SortedValues").open('[');
      for (const ScoredLabel& label : labels) {
        json.next().open('{').key("Key").text(label.label);
        json.key("Value").number(label.score);
        json.close('}');
      }
    } else {
      json.key("labels").open('[');
      for (const ScoredLabel& label : labels) json.next().text(label.label);
      json.close(']').key("scores").open('[');
      for (const ScoredLabel& label : labels) json.next().number(label.score);
    }
    json.close(']').close('}');
  }

  ZeroShotClassification pipeline_;
};

class ScorePairs : public RowPipeline {
 public:
  explicit ScorePairs(CrossEncoder pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<OwnedPair> pairs;
    struct Task {
      std::string query;
      std::vector<std::string> documents;
    };
    std::vector<Task> tasks;
    std::vector<Row*> with_pair;
    std::vector<Row*> with_documents;
    parse_rows(rows, [&](Row& row) {
      std::string input = row.json->text("input");
      if (row.json->has("documents")) {
        tasks.push_back({std::move(input), row.json->texts("documents")});
        with_documents.push_back(&row);
      } else {
        require(row.json->has("pair"), ErrorCode::kInvalidData,
                "the row has neither \"pair\" nor \"documents\"");
        pairs.push_back({std::move(input), row.json->text("pair")});
        with_pair.push_back(&row);
      }
    });
    if (!pairs.empty()) {
      store_outcomes(with_pair, pipeline_.score(views(pairs), stop),
                     [&](std::string& out, const std::vector<double>& scores, size_t) {
                       JsonList json(out, style);
                       if (scores.size() == 1) return json.number(scores[0]);
                       json.open('[');
                       for (const double score : scores) json.next().number(score);
                       json.close(']');
                     });
    }
    if (tasks.empty()) return;
    std::vector<RankTask> ranks;
    for (const Task& task : tasks) ranks.push_back({task.query, task.documents});
    store_outcomes(with_documents, pipeline_.rank(ranks, stop),
                   [&](std::string& out, const std::vector<RankedDocument>& ranked, size_t i) {
                     JsonList json(out, style);
                     append(json, ranked, tasks[i].documents, style == JsonStyle::kGo);
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  static void append(JsonList& json, const std::vector<RankedDocument>& ranked,
                     const std::vector<std::string>& documents, bool go) {
    json.open('[');
    for (const RankedDocument& document : ranked) {
      json.next().open('{');
      if (go) {
        json.key("Document").text(documents[document.index]);
        json.key("Score").number(document.score);
        json.key("Index").count(document.index);
      } else {
        json.key("corpus_id").count(document.index);
        json.key("score").number(document.score);
        json.key("text").text(documents[document.index]);
      }
      json.close('}');
    }
    json.close(']');
  }

  CrossEncoder pipeline_;
};

}  // namespace

std::unique_ptr<RowPipeline> load_text_classification(const RunOptions& options, Session& session) {
  TextClassificationOptions pipeline;
  pipeline.function = function_from_name(options.function);
  if (options.multi_label && !pipeline.function) pipeline.function = ScoreFunction::kSigmoid;
  pipeline.top_k = options.top_k.value_or(options.multi_label ? 0 : 1);
  pipeline.model = model_options(options);
  // Hugot keeps the order of the model when all labels are wanted.
  const bool by_id = options.multi_label && !options.top_k && options.format == "hugot";
  return std::make_unique<LabelTexts>(session.text_classification(model_of(options), pipeline),
                                      by_id);
}

std::unique_ptr<RowPipeline> load_zero_shot(const RunOptions& options, Session& session) {
  ZeroShotOptions pipeline;
  pipeline.labels = split_list(options.labels);
  if (options.hypothesis_template) pipeline.hypothesis_template = *options.hypothesis_template;
  pipeline.multi_label = options.multi_label;
  pipeline.model = model_options(options);
  return std::make_unique<ZeroShot>(session.zero_shot_classification(model_of(options), pipeline));
}

std::unique_ptr<RowPipeline> load_cross_encoder(const RunOptions& options, Session& session) {
  CrossEncoderOptions pipeline;
  pipeline.function = function_from_name(options.function);
  pipeline.top_k = options.top_k.value_or(0);
  pipeline.sort = !options.no_sort;
  pipeline.score_threshold = options.score_threshold;
  pipeline.model = model_options(options);
  return std::make_unique<ScorePairs>(session.cross_encoder(model_of(options), pipeline));
}

}  // namespace hugot::tools
