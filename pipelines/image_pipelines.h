// Images to labels, boxes and vectors.
#ifndef HUGOT_PIPELINES_IMAGE_PIPELINES_H_
#define HUGOT_PIPELINES_IMAGE_PIPELINES_H_

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "hugot/hugot.hpp"
#include "models/joint_head.h"
#include "pipelines/image_model.h"
#include "pipelines/text_model.h"

namespace hugot {

class HUGOT_LOCAL ImageClassification::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const ImageClassificationOptions& options);
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const ImageInput> images,
                                                     const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().declared(); }

 private:
  std::vector<ScoredLabel> rank(std::span<const float> scores) const;

  ImageRunner runner_;
  std::optional<ScoreFunction> function_;
  size_t top_k_;
};

class HUGOT_LOCAL ObjectDetection::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const ObjectDetectionOptions& options);
  std::vector<Outcome<std::vector<Detection>>> run(std::span<const ImageInput> images,
                                                   const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().declared(); }

 private:
  std::vector<Detection> detect(const ImageRows& logits, const ImageRows& boxes,
                                const ImageSize& size) const;
  Detection detection(size_t label, double score, const float* box, const ImageSize& size) const;
  void detect_best(const ImageRows& logits, const ImageRows& boxes, const ImageSize& size,
                   std::vector<Detection>& out) const;
  void detect_each(const ImageRows& logits, const ImageRows& boxes, const ImageSize& size,
                   std::vector<Detection>& out) const;

  ImageRunner runner_;
  double threshold_;
  size_t top_k_;
};

class HUGOT_LOCAL ImageFeatureExtraction::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const ImageFeatureExtractionOptions& options);
  EmbeddingResult run(std::span<const ImageInput> images, const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().declared(); }

 private:
  std::vector<float> vector_of(const ImageRows& rows) const;

  ImageFeatureExtractionOptions options_;
  ImageRunner runner_;
  bool per_patch_ = false;
};

class HUGOT_LOCAL ZeroShotImageClassification::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const ZeroShotImageOptions& options);
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const ZeroShotImage> images,
                                                     const std::stop_token& stop) const;
  PipelineStatistics statistics() const { return images_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return images_.model().declared(); }

 private:
  using Vector = std::shared_ptr<const std::vector<float>>;
  struct Task;

  // The vectors of texts, from earlier calls where they are known. What is wrong with a text is in
  // `errors`.
  std::unordered_map<std::string, Vector> text_vectors(
      const std::vector<std::string>& texts, std::unordered_map<std::string, std::string>& errors,
      const std::stop_token& stop) const;
  std::vector<ScoredLabel> rank(std::span<const std::string> labels, const Task& task,
                                std::span<const float> image,
                                const std::unordered_map<std::string, Vector>& vectors,
                                const std::stop_token& stop) const;
  std::span<const std::string> labels_of(const ZeroShotImage& image) const {
    return image.labels.empty() ? std::span<const std::string>(options_.labels) : image.labels;
  }

  ZeroShotImageOptions options_;
  TextRunner texts_;
  ImageRunner images_;
  std::unique_ptr<const JointHead> head_;
  std::optional<int32_t> padding_;  // id to fill texts up with
  mutable std::mutex known_mutex_;
  mutable std::unordered_map<std::string, Vector> known_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_IMAGE_PIPELINES_H_
