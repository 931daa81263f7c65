// Texts to entities.
#ifndef HUGOT_PIPELINES_TOKEN_CLASSIFICATION_H_
#define HUGOT_PIPELINES_TOKEN_CLASSIFICATION_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hugot/hugot.hpp"
#include "pipelines/text_model.h"

namespace hugot {

class HUGOT_LOCAL TokenClassification::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const TokenClassificationOptions& options);
  std::vector<Outcome<std::vector<Entity>>> run(std::span<const std::string_view> texts,
                                                const std::stop_token& stop) const;
  std::vector<Outcome<std::vector<Entity>>> run_words(
      std::span<const std::vector<std::string>> texts, const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().outputs(); }

 private:
  // A token, or a word of several. Offsets in code points.
  struct Piece {
    std::vector<double> scores;
    std::string word;
    size_t start = 0, end = 0;
    size_t index = 0;
    int32_t id = 0;
    bool continues = false;  // the word of the token before
    size_t label = 0;
    double score = 0;
  };

  // `encode` gives text i with what was cut off; `given_words`: word ids are those of words that
  // the caller has made.
  std::vector<Outcome<std::vector<Entity>>> run_encoded(
      std::span<const std::string_view> texts, bool given_words,
      const std::function<Encoding(size_t)>& encode, const std::stop_token& stop) const;
  std::vector<Piece> pieces(const Encoding& window, std::string_view text,
                            std::span<const size_t> bytes, const std::vector<double>& scores,
                            bool given_words) const;
  Piece word_of(std::span<const Piece> tokens) const;
  std::vector<Piece> words_of(std::span<const Piece> tokens) const;
  void group(std::span<const Piece> pieces, std::vector<Entity>& out) const;
  bool ignored(const std::string& label) const;

  TextRunner runner_;
  TokenClassificationOptions options_;
  EncodeOptions encode_options_;
  std::optional<int32_t> unk_id_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TOKEN_CLASSIFICATION_H_
