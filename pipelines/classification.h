// Texts and pairs to the scores of classes; what the pipelines on top have in common.
#ifndef HUGOT_PIPELINES_CLASSIFICATION_H_
#define HUGOT_PIPELINES_CLASSIFICATION_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hugot/hugot.hpp"
#include "pipelines/text_model.h"

namespace hugot {

// Scores of pairs, as the model gives them, all in one batch. `texts` is what statistics count.
std::vector<Outcome<std::vector<float>>> class_scores(const TextRunner& runner,
                                                      std::span<const TextPair> pairs, size_t texts,
                                                      const EncodeOptions& options,
                                                      const std::stop_token& stop);

// The function of transformers for a model with `labels` classes.
ScoreFunction default_function(const ModelDirectory& directory, size_t labels);

class HUGOT_LOCAL TextClassification::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const TextClassificationOptions& options);
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const TextPair> texts,
                                                     const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().outputs(); }

 private:
  TextRunner runner_;
  std::optional<ScoreFunction> function_;
  size_t top_k_;
};

class HUGOT_LOCAL ZeroShotClassification::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const ZeroShotOptions& options);
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const ZeroShotText> texts,
                                                     const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::string& warning() const { return warning_; }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().outputs(); }

 private:
  // Scores of the labels from those of their pairs.
  std::vector<ScoredLabel> rank(std::span<const std::string> labels,
                                std::span<const Outcome<std::vector<float>>> pairs) const;

  TextRunner runner_;
  ZeroShotOptions options_;
  size_t entailment_ = 0;
  std::string warning_;
};

class HUGOT_LOCAL CrossEncoder::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const CrossEncoderOptions& options);
  std::vector<Outcome<std::vector<double>>> score(std::span<const TextPair> pairs,
                                                  const std::stop_token& stop) const;
  std::vector<Outcome<std::vector<RankedDocument>>> rank(std::span<const RankTask> tasks,
                                                         const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().outputs(); }

 private:
  // `texts` is what statistics count.
  std::vector<Outcome<std::vector<double>>> scores_of(std::span<const TextPair> pairs, size_t texts,
                                                      const std::stop_token& stop) const;

  TextRunner runner_;
  CrossEncoderOptions options_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_CLASSIFICATION_H_
