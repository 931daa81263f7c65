#include <algorithm>

#include "base/error.h"
#include "pipelines/classification.h"
#include "pipelines/scores.h"

namespace hugot {
namespace {

bool begins_with_entail(std::string_view label) {
  constexpr std::string_view kPrefix = "entail";
  return label.size() >= kPrefix.size() &&
         std::equal(kPrefix.begin(), kPrefix.end(), label.begin(),
                    [](char want, char have) { return have == want || have == want - 'a' + 'A'; });
}

}  // namespace

ZeroShotClassification::Impl::Impl(std::shared_ptr<Session::Impl> session,
                                   const std::filesystem::path& directory,
                                   const ZeroShotOptions& options)
    : runner_(session, TextModel::classifier(*session, directory, options.model),
              options.model.max_length, /*pairs=*/true),
      options_(options) {
  fill_template(options_.hypothesis_template, "");
  const auto& labels = runner_.model().directory().labels;
  require(labels.size() >= 2, ErrorCode::kInvalidData, "model directory ", directory.string(),
          ": config.json names no two classes (id2label), one of them entailment");
  const auto found = std::find_if(labels.begin(), labels.end(), begins_with_entail);
  if (found != labels.end()) {
    entailment_ = static_cast<size_t>(found - labels.begin());
    return;
  }
  entailment_ = labels.size() - 1;
  warning_ = str("model directory ", directory.string(),
                 ": no class of config.json (id2label) is called entailment; '", labels.back(),
                 "', the last one, is taken for it");
}

std::vector<Outcome<std::vector<ScoredLabel>>> ZeroShotClassification::Impl::run(
    std::span<const ZeroShotText> texts, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<ScoredLabel>>> out(texts.size());
  const auto labels_of = [&](const ZeroShotText& text) {
    return text.labels.empty() ? std::span<const std::string>(options_.labels) : text.labels;
  };
  std::vector<std::string> hypotheses;
  std::vector<std::string_view> premises;
  std::vector<size_t> first(texts.size());  // pair of a text
  for (size_t i = 0; i < texts.size(); ++i) {
    first[i] = hypotheses.size();
    try {
      const auto labels = labels_of(texts[i]);
      require(!labels.empty(), ErrorCode::kInvalidArgument, "no labels are given");
      require(!texts[i].text.empty(), ErrorCode::kInvalidData, "the text is empty");
      for (const std::string& label : labels) {
        hypotheses.push_back(fill_template(texts[i].hypothesis_template.empty()
                                               ? options_.hypothesis_template
                                               : texts[i].hypothesis_template,
                                           label));
        premises.push_back(texts[i].text);
      }
    } catch (const Error& error) {
      out[i].error = error.what();
    }
  }
  std::vector<TextPair> pairs;
  for (size_t k = 0; k < premises.size(); ++k) pairs.push_back({premises[k], hypotheses[k]});
  EncodeOptions encode = runner_.encode_options();
  if (encode.truncation) encode.truncation->strategy = Truncation::Strategy::kOnlyFirst;
  const auto scores = class_scores(runner_, pairs, texts.size(), encode, stop);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!out[i].error.empty()) continue;
    try {
      const auto labels = labels_of(texts[i]);
      out[i].value = rank(labels, std::span(scores).subspan(first[i], labels.size()));
    } catch (const Error& error) {
      out[i].error = error.what();
    }
  }
  runner_.count_results(out);
  return out;
}

std::vector<ScoredLabel> ZeroShotClassification::Impl::rank(
    std::span<const std::string> labels, std::span<const Outcome<std::vector<float>>> pairs) const {
  std::vector<float> entailments;
  std::vector<double> scores;
  for (const auto& pair : pairs) {
    require(pair.error.empty(), ErrorCode::kInvalidData, pair.error);
    require(pair.value.size() > entailment_ && pair.value.size() >= 2, ErrorCode::kInvalidData,
            "the model has ", pair.value.size(), " classes, config.json names more");
    entailments.push_back(pair.value[entailment_]);
    const float contradiction = entailment_ == 0 ? pair.value.back() : pair.value.front();
    scores.push_back(apply_function(ScoreFunction::kSoftmax,
                                    std::vector<float>{contradiction, entailments.back()})[1]);
  }
  if (!options_.multi_label && labels.size() > 1) {
    scores = apply_function(ScoreFunction::kSoftmax, entailments);
  }
  std::vector<ScoredLabel> out;
  for (size_t k = labels.size(); k-- > 0;) out.push_back({k, labels[k], scores[k]});
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  return out;
}

}  // namespace hugot
