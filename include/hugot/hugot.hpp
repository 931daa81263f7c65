// The C++ interface of hugot: pipelines of texts over transformer models in the ONNX format.
//
//   hugot::Session session;
//   auto embed = session.feature_extraction("models/all-MiniLM-L6-v2", {.normalize = true});
//   auto result = embed.run({"hello", "world"});   // result.embeddings: rows x dim
//
// Functions throw hugot::Error; a text that cannot be embedded is no exception but an entry of
// EmbeddingResult::errors. The library never prints, exits or aborts.
#ifndef HUGOT_HUGOT_HPP_
#define HUGOT_HUGOT_HPP_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hugot/error.hpp"
#include "hugot/export.h"

namespace hugot {

// "0.1.0"
HUGOT_API std::string_view version() noexcept;

// How the vectors of a text's tokens become one vector.
enum class Pooling {
  kMean,          // mean over the tokens
  kCls,           // the first token
  kMax,           // maximum over the tokens, by element
  kLast,          // the last token
  kMeanSqrtLen,   // sum over the tokens, divided by the square root of their number
  kWeightedMean,  // mean with weights 1, 2, 3, .. in the order of the tokens
};

// How linear layers compute. Everything else computes in float32 always.
enum class Precision {
  kModel,  // what the model was converted for (`hugot convert --precision`), else float32
  kFloat32,
  kBFloat16,  // weights stored as bfloat16, computed in float32: half the memory
  kInt8,      // weights in 8 bits with a scale per column, inputs in 8 bits with a scale per token
};

struct FeatureExtractionOptions {
  // Scales every vector to length 1, also where the model does not ask for it.
  bool normalize = false;
  // Instead of what the model directory says.
  std::optional<Pooling> pooling = {};
  // Only the first elements of every vector (before `normalize`); 0: all.
  int truncate_dim = 0;
  // A prompt of config_sentence_transformers.json, put before every text. Empty: the model's
  // default prompt, if it has one.
  std::string prompt_name = {};
  // Texts are cut to so many tokens, special ones included; 0: what the model directory says.
  int max_length = 0;
  // The graph output to use; empty: chosen from the model directory.
  std::string output_name = {};
  // The .onnx file relative to the model directory; empty: onnx/model.onnx, model.onnx, or the only
  // one there is.
  std::string onnx_filename = {};
  // Less than float32 needs a graph that runs without padding, as `hugot inspect` tells.
  Precision precision = Precision::kModel;
};

struct EmbeddingResult {
  size_t rows = 0;
  size_t dim = 0;
  std::vector<float> embeddings;    // rows x dim, row-major; rows of texts with an error are 0
  std::vector<std::string> errors;  // empty when all went well, otherwise one per row ("": fine)

  // Vector of text `i`.
  std::span<const float> operator[](size_t i) const { return {embeddings.data() + i * dim, dim}; }
};

// Sums over all calls of run() since the pipeline was made.
struct PipelineStatistics {
  uint64_t texts = 0;
  uint64_t tokens = 0;
  uint64_t failed_texts = 0;
  double tokenize_seconds = 0;
  double model_seconds = 0;
};

// Texts to vectors. A handle that is cheap to copy; all functions may be called from several
// threads at the same time.
class HUGOT_API FeatureExtraction {
 public:
  class Impl;

  // Vectors of all texts, in order. The vector of a text does not depend on the other texts, bit by
  // bit. Texts that are not valid UTF-8 get an error. A text without any token (an empty text for a
  // tokenizer without special tokens) has the zero vector. Throws kCancelled soon after `stop` is
  // requested.
  EmbeddingResult run(std::span<const std::string_view> texts, std::stop_token stop = {}) const;
  EmbeddingResult run(std::span<const std::string> texts, std::stop_token stop = {}) const;
  EmbeddingResult run(std::initializer_list<std::string_view> texts,
                      std::stop_token stop = {}) const;

  // The same for texts that have been turned into token ids already; they are used as they are.
  EmbeddingResult run_ids(std::span<const std::vector<int32_t>> ids,
                          std::stop_token stop = {}) const;

  // Length of the vectors.
  size_t dim() const;
  // Tokens that a text is cut to, special ones included.
  int max_length() const;
  PipelineStatistics statistics() const;

 private:
  friend class Session;
  explicit FeatureExtraction(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

// How a model is loaded by the pipelines below. Pipelines of a session that ask for the same file
// and precision share one loaded model.
struct ModelOptions {
  // Texts and pairs are cut to so many tokens, special ones included; 0: what the model directory
  // says.
  int max_length = 0;
  // As in FeatureExtractionOptions.
  std::string onnx_filename = {};
  Precision precision = Precision::kModel;
};

// What turns a model's scores into those of the result.
enum class ScoreFunction { kSoftmax, kSigmoid, kNone };

// A result for one text, or why there is none.
template <class T>
struct Outcome {
  T value = {};
  std::string error = {};  // empty: fine
};

// One text, or two that the model sees together.
struct TextPair {
  std::string_view text;
  std::optional<std::string_view> pair = {};
};

struct ScoredLabel {
  size_t id = 0;
  std::string label;  // of config.json; LABEL_7 where it has no name
  double score = 0;
};

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
  PipelineStatistics statistics() const;

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
  PipelineStatistics statistics() const;

 private:
  friend class Session;
  explicit TokenClassification(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct SessionOptions {
  int threads = 0;  // 0: the processors that this process may use
  // Where packed weights are remembered, so that a model loads in a fraction of the time when it is
  // used again; made when it is missing. A file in it takes about as much space as the model it
  // belongs to and goes away when it has not been used for 30 days. Empty: nowhere.
  std::filesystem::path cache_directory = {};
};

// $HUGOT_CACHE, $XDG_CACHE_HOME/hugot or $HOME/.cache/hugot: the first that is set. Empty when none
// is, or when HUGOT_CACHE is set to nothing.
HUGOT_API std::filesystem::path default_cache_directory();

// The threads that pipelines share. Pipelines keep what they need alive, so they may outlive the
// session. All functions may be called from several threads at the same time.
class HUGOT_API Session {
 public:
  class Impl;

  explicit Session(const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Loads an embedding model. `model` is a directory, or a name to be found below
  // $HOME/hugot/models or $HOME/hugot ('/' in the name is '_' there).
  FeatureExtraction feature_extraction(const std::filesystem::path& model,
                                       const FeatureExtractionOptions& options = {});

  // The same for the other pipelines.
  TextClassification text_classification(const std::filesystem::path& model,
                                         const TextClassificationOptions& options = {});
  ZeroShotClassification zero_shot_classification(const std::filesystem::path& model,
                                                  const ZeroShotOptions& options = {});
  CrossEncoder cross_encoder(const std::filesystem::path& model,
                             const CrossEncoderOptions& options = {});
  TokenClassification token_classification(const std::filesystem::path& model,
                                           const TokenClassificationOptions& options = {});

  int threads() const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_HUGOT_HPP_
