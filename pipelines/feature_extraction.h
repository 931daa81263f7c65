// Texts to vectors: tokenizer, encoder, pooling.
#ifndef HUGOT_PIPELINES_FEATURE_EXTRACTION_H_
#define HUGOT_PIPELINES_FEATURE_EXTRACTION_H_

#include <memory>
#include <variant>
#include <vector>

#include "hugot/hugot.hpp"
#include "models/encoder.h"
#include "models/model_directory.h"
#include "models/pooling.h"
#include "pipelines/text_model.h"

namespace hugot {

// The name of the graph output to use: the one that was asked for; where vectors have to be pooled,
// one with a row per token; otherwise one with a row per text. Throws kInvalidArgument naming the
// outputs that there are.
std::string choose_vectors(const LoadedModel& model, const std::string& wanted, bool must_pool);

// REQUIRES: valid UTF-8.
std::string lowercased(std::string_view text);

// Everything that happens behind the transformer, on one text. Immutable.
class SentenceHead {
 public:
  // Pooling by `modules`, or by `pooling` in its place; no pooling at all when the graph's output
  // has a row per text already.
  SentenceHead(std::span<const SentenceModule> modules, const FeatureExtractionOptions& options,
               bool per_token);

  // The rows that such a head reads, should the output have a row per token.
  static EncoderRows rows(std::span<const SentenceModule> modules,
                          const FeatureExtractionOptions& options);

  // The text's vector. `prompt_tokens` of the rows are a prompt.
  std::vector<double> apply(const float* rows, int64_t count, int64_t width,
                            int64_t prompt_tokens) const;
  // Only truncation and normalization, of a single vector.
  void finish(std::vector<double>& vector) const;

 private:
  struct Normalize {};

  std::vector<Pooling> pooling_;
  bool pool_prompt_ = true;
  std::vector<std::variant<Dense, Normalize>> steps_;
  size_t truncate_dim_ = 0;
  bool normalize_ = false;
};

// Implementation of the public class. All functions are thread-safe.
class HUGOT_LOCAL FeatureExtraction::Impl {
 public:
  // `session` is kept alive. Throws what ModelDirectory, Tokenizer and Encoder throw;
  // kInvalidArgument for options that the model cannot meet.
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const FeatureExtractionOptions& options);

  EmbeddingResult run(std::span<const std::string_view> texts, std::stop_token stop) const;
  EmbeddingResult run_ids(std::span<const std::vector<int32_t>> ids, std::stop_token stop) const;
  std::vector<Outcome<TokenVectors>> run_tokens(std::span<const std::string_view> texts,
                                                std::stop_token stop) const;

  size_t dim() const { return dim_; }
  int max_length() const { return static_cast<int>(runner_->max_length()); }
  PipelineStatistics statistics() const { return runner_->statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_->model().outputs(); }

  // What run() gives the model for a text. Throws kInvalidData for a text that gets an error there.
  std::vector<int32_t> token_ids(std::string_view text) const;
  const Encoder& encoder() const { return runner_->model().encoder(); }

 private:
  void tokenize(std::string_view text, TextItem& item) const;
  // Runs the model on items without error and stores their vectors. The first `prompt_tokens` of
  // every text are the prompt.
  EmbeddingResult embed(std::vector<TextItem>& items, int64_t prompt_tokens,
                        std::stop_token stop) const;
  void check_ids(TextItem& item) const;
  void find_dim(int truncate_dim);
  const ModelDirectory& directory() const { return runner_->model().directory(); }

  std::string prompt_;
  int64_t prompt_tokens_ = 0;
  std::unique_ptr<const TextRunner> runner_;
  std::unique_ptr<const SentenceHead> head_;
  bool token_vectors_ = false;
  size_t dim_ = 0;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_FEATURE_EXTRACTION_H_
