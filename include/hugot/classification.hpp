// Texts, pairs and tokens to labels.
#ifndef HUGOT_CLASSIFICATION_HPP_
#define HUGOT_CLASSIFICATION_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hugot/common.hpp"

namespace hugot {

struct TextClassificationOptions {
  // Instead of what config.json says: none for problem_type regression, sigmoid for
  // multi_label_classification or a single label, softmax otherwise.
  std::optional<ScoreFunction> function = {};
  // So many labels with the best scores; 0: all.
  int top_k = 1;
  ModelOptions model = {};
};

// Texts to labels. As all pipelines: a handle that is cheap to copy; all functions may be called
// from several threads at the same time; the result of a text does not depend on the others; what
// is wrong with a text is in its Outcome; kCancelled is thrown soon after `stop` is requested.
class HUGOT_API TextClassification {
 public:
  class Impl;

  // Labels by score, the best first; of equal ones the smaller id. Long pairs lose tokens of the
  // longer text first.
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const TextPair> texts,
                                                     std::stop_token stop = {}) const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit TextClassification(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct ZeroShotOptions {
  std::vector<std::string> labels = {};  // of texts that come without
  // "{}" stands for the label.
  std::string hypothesis_template = "This example is {}.";
  // Each label by itself, so that scores do not add up to 1; always so for a single label.
  bool multi_label = false;
  ModelOptions model = {};
};

struct ZeroShotText {
  std::string_view text;
  std::span<const std::string> labels = {};   // empty: those of the options
  std::string_view hypothesis_template = {};  // empty: that of the options
};

// Texts to labels that the model has never seen, by a model of natural language inference: the text
// is the premise, the template with the label the hypothesis.
class HUGOT_API ZeroShotClassification {
 public:
  class Impl;

  // All labels by score, the best first; of equal ones the later. ScoredLabel::id is the place
  // among the labels. Of long pairs the text is cut only. Labels that occur twice stay twice.
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const ZeroShotText> texts,
                                                     std::stop_token stop = {}) const;
  // What is doubtful about the model: no class of it is called entailment, so that the last one is
  // taken for it, as transformers does. Empty: nothing.
  const std::string& warning() const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit ZeroShotClassification(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct CrossEncoderOptions {
  // Instead of what config.json says: sigmoid for a single label, none otherwise, unless it names
  // an activation.
  std::optional<ScoreFunction> function = {};
  // Of rank():
  int top_k = 0;     // only the first so many documents; 0: all
  bool sort = true;  // by score, the best first; of equal ones the earlier
  std::optional<double> score_threshold = {};  // documents with less are left out
  ModelOptions model = {};
};

struct RankTask {
  std::string_view query;
  std::span<const std::string> documents;
};

struct RankedDocument {
  size_t index = 0;  // in RankTask::documents
  double score = 0;
};

// Scores of pairs of texts.
class HUGOT_API CrossEncoder {
 public:
  class Impl;

  // A score per label of the model, which is one in most cases.
  std::vector<Outcome<std::vector<double>>> score(std::span<const TextPair> pairs,
                                                  std::stop_token stop = {}) const;
  // The documents of every task by their score with the query. Needs a model with a single label:
  // kUnsupported in the Outcome otherwise.
  std::vector<Outcome<std::vector<RankedDocument>>> rank(std::span<const RankTask> tasks,
                                                         std::stop_token stop = {}) const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit CrossEncoder(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

// How tokens become entities; words are what the tokenizer and the blanks of the text make of it.
enum class Aggregation {
  kNone,     // every token by itself
  kSimple,   // neighbouring tokens of the same kind together
  kFirst,    // words of the kind of their first token; then as kSimple
  kAverage,  // words of the kind with the best average over their tokens; then as kSimple
  kMax,      // words of the kind of their token with the best score; then as kSimple
};

struct TokenClassificationOptions {
  Aggregation aggregation = Aggregation::kSimple;
  // Entities of these kinds are left out, after the aggregation.
  std::vector<std::string> ignore_labels = {"O"};
  // Long texts are cut into windows that share so many tokens. Without, the rest of a long text is
  // lost. Not with kNone.
  std::optional<int> stride = {};
  // Offsets in bytes instead of code points.
  bool byte_offsets = false;
  ModelOptions model = {};
};

struct Entity {
  std::string label;  // without "B-" or "I-", unless aggregation is kNone
  double score = 0;
  std::string word;
  size_t start = 0;  // in the text
  size_t end = 0;
  // Only with kNone: the place of the token, special ones counted; its id; the scores of every
  // label; whether it goes on with the word of the token before.
  std::optional<size_t> index = {};
  int32_t token_id = -1;
  std::vector<double> scores = {};
  bool is_subword = false;
};

// Texts to entities.
class HUGOT_API TokenClassification {
 public:
  class Impl;

  std::vector<Outcome<std::vector<Entity>>> run(std::span<const std::string_view> texts,
                                                std::stop_token stop = {}) const;
  // The same of texts that are cut into words already. Tokens belong to the words that they come
  // from, whatever they look like; offsets are those in the words with blanks between them.
  std::vector<Outcome<std::vector<Entity>>> run_words(
      std::span<const std::vector<std::string>> texts, std::stop_token stop = {}) const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit TokenClassification(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_CLASSIFICATION_HPP_
