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

#include <filesystem>
#include <memory>

#include "hugot/classification.hpp"
#include "hugot/common.hpp"
#include "hugot/embedding.hpp"
#include "hugot/fill_mask.hpp"
#include "hugot/image.hpp"
#include "hugot/question_answering.hpp"
#include "hugot/tabular.hpp"
#include "hugot/tokenizer.hpp"

namespace hugot {

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
  // $HOME/hugot/models or $HOME/hugot ('/' in the name is '_' there); "default" is the small model
  // for texts that comes with hugot, unless one of that name is there.
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

  QuestionAnswering question_answering(const std::filesystem::path& model,
                                       const QuestionAnsweringOptions& options = {});
  FillMask fill_mask(const std::filesystem::path& model, const FillMaskOptions& options = {});
  Tabular tabular(const std::filesystem::path& model, const TabularOptions& options = {});

  // Pipelines of images.
  ImageClassification image_classification(const std::filesystem::path& model,
                                           const ImageClassificationOptions& options = {});
  ObjectDetection object_detection(const std::filesystem::path& model,
                                   const ObjectDetectionOptions& options = {});
  ZeroShotImageClassification zero_shot_image_classification(
      const std::filesystem::path& model, const ZeroShotImageOptions& options = {});
  ImageFeatureExtraction image_feature_extraction(
      const std::filesystem::path& model, const ImageFeatureExtractionOptions& options = {});

  int threads() const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_HUGOT_HPP_
