// Texts to vectors: tokenizer, encoder, pooling.
#ifndef HUGOT_PIPELINES_FEATURE_EXTRACTION_H_
#define HUGOT_PIPELINES_FEATURE_EXTRACTION_H_

#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "base/thread_pool.h"
#include "graph/op.h"
#include "hugot/hugot.hpp"
#include "models/encoder.h"
#include "models/model_directory.h"
#include "models/pooling.h"
#include "tokenizer/tokenizer.h"

namespace hugot {

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

  size_t dim() const { return dim_; }
  int max_length() const { return static_cast<int>(max_length_); }
  PipelineStatistics statistics() const;

  // What run() gives the model for a text. Throws kInvalidData for a text that gets an error there.
  std::vector<int32_t> token_ids(std::string_view text) const;
  const Encoder& encoder() const { return *encoder_; }

 private:
  // A text on its way through the model; error is empty when nothing is wrong.
  struct Item {
    std::vector<int32_t> ids;
    std::vector<int32_t> type_ids;
    int64_t prompt_tokens = 0;
    std::string error;
  };

  void tokenize(std::string_view text, Item& item) const;
  // Runs the model on items without error and stores their vectors.
  EmbeddingResult embed(std::vector<Item>& items, std::stop_token stop) const;
  void encode(std::span<Item* const> items, std::span<const size_t> rows, EmbeddingResult& result,
              std::stop_token stop) const;
  void check_ids(Item& item) const;
  void find_dim(int truncate_dim);

  std::shared_ptr<Session::Impl> session_;
  ModelDirectory directory_;
  Tokenizer tokenizer_;
  EncodeOptions encode_options_;
  std::string prompt_;
  int64_t prompt_tokens_ = 0;
  int64_t max_length_ = 0;
  bool has_type_ids_ = false;  // the tokenizer's template gives types other than 0
  std::shared_ptr<const Encoder> encoder_;
  std::unique_ptr<const SentenceHead> head_;
  size_t dim_ = 0;

  mutable std::mutex statistics_mutex_;
  mutable PipelineStatistics statistics_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_FEATURE_EXTRACTION_H_
