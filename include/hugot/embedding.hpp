// Texts to vectors.
#ifndef HUGOT_EMBEDDING_HPP_
#define HUGOT_EMBEDDING_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/common.hpp"

namespace hugot {

// How the vectors of a text's tokens become one vector.
enum class Pooling {
  kMean,          // mean over the tokens
  kCls,           // the first token
  kMax,           // maximum over the tokens, by element
  kLast,          // the last token
  kMeanSqrtLen,   // sum over the tokens, divided by the square root of their number
  kWeightedMean,  // mean with weights 1, 2, 3, .. in the order of the tokens
};

struct FeatureExtractionOptions {
  // Scales every vector to length 1, also where the model does not ask for it.
  bool normalize = false;
  // Instead of what the model directory says.
  std::optional<Pooling> pooling = {};
  // The vectors of all tokens, for run_tokens(), which cannot be used without; run() cannot be used
  // with it. Pooling and what comes behind it in the model directory do not apply.
  bool token_vectors = false;
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

// A vector per token of a text, special ones included.
struct TokenVectors {
  size_t rows = 0;
  size_t dim = 0;
  std::vector<float> values;  // rows x dim, row-major
};

// A vector in 8 bits per element: the element that is farthest from 0 becomes 127 or -127 and all
// others are scaled alike and rounded, so that the cosine between quantized vectors can be taken as
// it is. The scale is the vector's own: no other vector and no calibration changes it.
HUGOT_API std::vector<int8_t> quantize_int8(std::span<const float> vector);
// A vector in one bit per element, 1 where it is greater than 0: eight elements to a byte, the
// first in the most significant bit, zeros behind the last. "ubinary" of sentence_transformers; its
// "binary" is each byte less 128.
HUGOT_API std::vector<uint8_t> quantize_binary(std::span<const float> vector);

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

  // With FeatureExtractionOptions::token_vectors.
  std::vector<Outcome<TokenVectors>> run_tokens(std::span<const std::string> texts,
                                                std::stop_token stop = {}) const;

  // The same for texts that have been turned into token ids already; they are used as they are.
  EmbeddingResult run_ids(std::span<const std::vector<int32_t>> ids,
                          std::stop_token stop = {}) const;

  // Length of the vectors.
  size_t dim() const;
  // Tokens that a text is cut to, special ones included.
  int max_length() const;
  PipelineStatistics statistics() const;
  // All outputs of the model's graph, in its order.
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit FeatureExtraction(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_EMBEDDING_HPP_
