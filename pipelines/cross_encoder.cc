#include <algorithm>

#include "base/error.h"
#include "pipelines/classification.h"
#include "pipelines/scores.h"

namespace hugot {
namespace {

// `name` is a Python class: "torch.nn.modules.activation.Sigmoid".
ScoreFunction function_from_class(const std::string& name) {
  const std::string last = name.substr(name.rfind('.') + 1);
  if (last == "Sigmoid") return ScoreFunction::kSigmoid;
  if (last == "Softmax") return ScoreFunction::kSoftmax;
  require(last == "Identity", ErrorCode::kUnsupported, "activation ", name,
          " of config.json is not implemented; known are Identity, Sigmoid and Softmax");
  return ScoreFunction::kNone;
}

}  // namespace

CrossEncoder::Impl::Impl(std::shared_ptr<Session::Impl> session,
                         const std::filesystem::path& directory, const CrossEncoderOptions& options)
    : runner_(session, TextModel::classifier(*session, directory, options.model),
              options.model.max_length, /*pairs=*/true),
      options_(options) {
  require(options.top_k >= 0, ErrorCode::kInvalidArgument, "top_k ", options.top_k,
          ": a positive number, or 0 for all documents, is expected");
  const std::string& activation = runner_.model().directory().cross_encoder_activation;
  if (!options_.function && !activation.empty()) {
    options_.function = function_from_class(activation);
  }
}

std::vector<Outcome<std::vector<double>>> CrossEncoder::Impl::score(
    std::span<const TextPair> pairs, const std::stop_token& stop) const {
  auto out = scores_of(pairs, pairs.size(), stop);
  runner_.count_results(out);
  return out;
}

std::vector<Outcome<std::vector<double>>> CrossEncoder::Impl::scores_of(
    std::span<const TextPair> pairs, size_t texts, const std::stop_token& stop) const {
  const auto rows = class_scores(runner_, pairs, texts, runner_.encode_options(), stop);
  std::vector<Outcome<std::vector<double>>> out(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    out[i].error = rows[i].error;
    if (!out[i].error.empty()) continue;
    try {
      const auto& row = rows[i].value;
      out[i].value =
          apply_function(options_.function.value_or(row.size() == 1 ? ScoreFunction::kSigmoid
                                                                    : ScoreFunction::kNone),
                         row);
    } catch (const Error& error) {
      out[i].error = error.what();
    }
  }
  return out;
}

std::vector<Outcome<std::vector<RankedDocument>>> CrossEncoder::Impl::rank(
    std::span<const RankTask> tasks, const std::stop_token& stop) const {
  std::vector<TextPair> pairs;
  for (const RankTask& task : tasks) {
    for (const std::string& document : task.documents) pairs.push_back({task.query, document});
  }
  const auto scores = scores_of(pairs, tasks.size(), stop);
  std::vector<Outcome<std::vector<RankedDocument>>> out(tasks.size());
  size_t next = 0;
  uint64_t filtered = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    auto& [ranked, error] = out[i];
    for (size_t k = 0; k < tasks[i].documents.size(); ++k) {
      const auto& [values, wrong] = scores[next++];
      if (!wrong.empty()) {
        if (error.empty()) error = str("document ", k, ": ", wrong);
      } else if (values.size() != 1) {
        error = str("the model has ", values.size(), " labels; documents are ranked by one");
      } else if (!options_.score_threshold || values[0] >= *options_.score_threshold) {
        ranked.push_back({k, values[0]});
      } else {
        ++filtered;
      }
    }
    if (!error.empty()) ranked.clear();
    if (options_.sort) {
      std::stable_sort(ranked.begin(), ranked.end(),
                       [](const auto& a, const auto& b) { return a.score > b.score; });
    }
    if (const auto most = static_cast<size_t>(options_.top_k); most > 0 && ranked.size() > most) {
      ranked.resize(most);
    }
  }
  runner_.count_results(out, filtered);
  return out;
}

}  // namespace hugot
