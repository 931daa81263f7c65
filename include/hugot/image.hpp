// Images to labels, boxes and vectors.
#ifndef HUGOT_IMAGE_HPP_
#define HUGOT_IMAGE_HPP_

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
#include <variant>
#include <vector>

#include "hugot/common.hpp"
#include "hugot/embedding.hpp"

namespace hugot {

// The bytes of an image file; they have to live until run() returns.
struct EncodedImage {
  std::span<const std::byte> bytes;
};

// height rows of width pixels, each red, green and blue, from the top; they have to live until
// run() returns.
struct RgbPixels {
  const uint8_t* data = nullptr;
  size_t width = 0;
  size_t height = 0;
};

// Of a file, or of its bytes, the picture is turned as its EXIF orientation says, and colours
// become red, green and blue as Pillow's convert("RGB") makes them. Which formats can be read is up
// to the build: an image in another one gets an error that says so.
using ImageInput = std::variant<std::filesystem::path, EncodedImage, RgbPixels>;

struct ImageClassificationOptions {
  // Instead of sigmoid for problem_type multi_label_classification or a single label, and softmax
  // otherwise.
  std::optional<ScoreFunction> function = {};
  // So many labels with the best scores; 0: all.
  int top_k = 5;
  ModelOptions model = {};  // max_length means nothing here
};

// Images to labels. As all pipelines: a handle that is cheap to copy; all functions may be called
// from several threads at the same time; the result of an image does not depend on the others; what
// is wrong with an image is in its Outcome; kCancelled is thrown soon after `stop` is requested.
//
// How images are scaled, cropped and normalized is read from preprocessor_config.json in the model
// directory. This runs on the threads of the session, beside the model.
class HUGOT_API ImageClassification {
 public:
  class Impl;

  // Labels by score, the best first; of equal ones the smaller id.
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const ImageInput> images,
                                                     std::stop_token stop = {}) const;
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::initializer_list<ImageInput> images,
                                                     std::stop_token stop = {}) const {
    return run(std::span(images.begin(), images.size()), std::move(stop));
  }
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit ImageClassification(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct ObjectDetectionOptions {
  double threshold = 0.5;  // boxes have a larger score
  int top_k = 0;           // only so many boxes with the best scores; 0: all
  ModelOptions model = {};
};

// In pixels of the image as it is seen; may reach beyond it.
struct Box {
  double xmin = 0, ymin = 0, xmax = 0, ymax = 0;
};

struct Detection {
  ScoredLabel label;
  Box box;
};

// Images to boxes around what is seen on them, by models of the DETR family: outputs are scores
// ("logits", [batch, queries, classes]) and boxes ("pred_boxes", [batch, queries, 4]: centre, width
// and height as shares of the image). With one class more than config.json has labels, the last one
// means "nothing", and scores are a softmax; else every score is a sigmoid of its own.
class HUGOT_API ObjectDetection {
 public:
  class Impl;

  // In the order of the model's queries, where the last class means "nothing"; by score, the best
  // first, for other models and with `top_k`.
  std::vector<Outcome<std::vector<Detection>>> run(std::span<const ImageInput> images,
                                                   std::stop_token stop = {}) const;
  std::vector<Outcome<std::vector<Detection>>> run(std::initializer_list<ImageInput> images,
                                                   std::stop_token stop = {}) const {
    return run(std::span(images.begin(), images.size()), std::move(stop));
  }
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit ObjectDetection(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct ZeroShotImageOptions {
  std::vector<std::string> labels = {};  // of images that come without
  // "{}" stands for the label.
  std::string hypothesis_template = "This is a photo of {}.";
  ModelOptions model = {};
};

struct ZeroShotImage {
  ImageInput image;
  std::span<const std::string> labels = {};   // empty: those of the options
  std::string_view hypothesis_template = {};  // empty: that of the options
};

// Images to labels that the model has never seen, by a model with a tower for images and one for
// texts (CLIP, SigLIP) in one graph with the outputs image_embeds, text_embeds and
// logits_per_image. The vectors of labels are remembered.
class HUGOT_API ZeroShotImageClassification {
 public:
  class Impl;

  // All labels by score, the best first; of equal ones the earlier. ScoredLabel::id is the place
  // among the labels.
  std::vector<Outcome<std::vector<ScoredLabel>>> run(std::span<const ZeroShotImage> images,
                                                     std::stop_token stop = {}) const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit ZeroShotImageClassification(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct ImageFeatureExtractionOptions {
  // Scales every vector to length 1.
  bool normalize = false;
  // Of an output with a row per patch. Without: the first row, which is that of the class token.
  std::optional<Pooling> pooling = {};
  // Only the first elements of every vector (before `normalize`); 0: all.
  int truncate_dim = 0;
  // The graph output to use; empty: image_embeds, pooler_output, or else the first one that has a
  // vector per image or per patch.
  std::string output_name = {};
  ModelOptions model = {};
};

// Images to vectors: the images' side of CLIP, ViT, DINO.
class HUGOT_API ImageFeatureExtraction {
 public:
  class Impl;

  // As FeatureExtraction::run().
  EmbeddingResult run(std::span<const ImageInput> images, std::stop_token stop = {}) const;
  EmbeddingResult run(std::initializer_list<ImageInput> images, std::stop_token stop = {}) const {
    return run(std::span(images.begin(), images.size()), std::move(stop));
  }
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit ImageFeatureExtraction(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_IMAGE_HPP_
