#include "pipelines/classification.h"

#include <algorithm>

#include "base/error.h"
#include "pipelines/scores.h"

namespace hugot {

std::vector<Outcome<std::vector<float>>> class_scores(const TextRunner& runner,
                                                      std::span<const TextPair> pairs, size_t texts,
                                                      const EncodeOptions& options,
                                                      const std::stop_token& stop) {
  std::vector<TextItem> items(pairs.size());
  runner.tokenize(
      pairs.size(),
      [&](size_t i) {
        runner.encode(pairs[i].text, pairs[i].pair, options, items[i]);
        require(!items[i].ids.empty(), ErrorCode::kInvalidData, "the text has no tokens");
      },
      [&](size_t i) -> std::string& { return items[i].error; }, stop);
  std::vector<Outcome<std::vector<float>>> out(pairs.size());
  runner.run(
      items, texts,
      [&](size_t i, const float* data, int64_t rows, int64_t width) {
        const auto scores = class_scores(data, rows, width);
        out[i].value.assign(scores.begin(), scores.end());
      },
      stop);
  for (size_t i = 0; i < items.size(); ++i) out[i].error = std::move(items[i].error);
  return out;
}

ScoreFunction default_function(const ModelDirectory& directory, size_t labels) {
  if (directory.problem_type == "regression") return ScoreFunction::kNone;
  if (directory.problem_type == "multi_label_classification" || labels == 1) {
    return ScoreFunction::kSigmoid;
  }
  return ScoreFunction::kSoftmax;
}

TextClassification::Impl::Impl(std::shared_ptr<Session::Impl> session,
                               const std::filesystem::path& directory,
                               const TextClassificationOptions& options)
    : runner_(session, TextModel::classifier(*session, directory, options.model),
              options.model.max_length, /*pairs=*/false),
      function_(options.function),
      top_k_(static_cast<size_t>(options.top_k)) {
  require(options.top_k >= 0, ErrorCode::kInvalidArgument, "top_k ", options.top_k,
          ": a positive number, or 0 for all labels, is expected");
}

std::vector<Outcome<std::vector<ScoredLabel>>> TextClassification::Impl::run(
    std::span<const TextPair> texts, const std::stop_token& stop) const {
  const auto rows = class_scores(runner_, texts, texts.size(), runner_.encode_options(), stop);
  std::vector<Outcome<std::vector<ScoredLabel>>> out(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    out[i].error = rows[i].error;
    if (!out[i].error.empty()) continue;
    try {
      const auto& row = rows[i].value;
      const auto scores = apply_function(
          function_.value_or(default_function(runner_.model().directory(), row.size())), row);
      auto& labels = out[i].value;
      for (size_t id = 0; id < scores.size(); ++id) {
        labels.push_back({id, runner_.model().label(id), scores[id]});
      }
      std::stable_sort(labels.begin(), labels.end(),
                       [](const auto& a, const auto& b) { return a.score > b.score; });
      if (top_k_ > 0 && labels.size() > top_k_) labels.resize(top_k_);
    } catch (const Error& error) {
      out[i].error = error.what();
    }
  }
  runner_.count_results(out);
  return out;
}

}  // namespace hugot
