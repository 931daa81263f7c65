// The C++ interface.
#include <utility>

#include "hugot/hugot.hpp"
#include "models/encoder_output.h"
#include "models/model_directory.h"
#include "pipelines/classification.h"
#include "pipelines/feature_extraction.h"
#include "pipelines/fill_mask.h"
#include "pipelines/image_pipelines.h"
#include "pipelines/question_answering.h"
#include "pipelines/session.h"
#include "pipelines/tabular.h"
#include "pipelines/token_classification.h"

namespace hugot {

std::string_view version() noexcept { return HUGOT_VERSION; }

std::string Session::Impl::key_of(const ModelDirectory& directory, const ModelOptions& options,
                                  std::string_view kind) {
  const auto file = directory.onnx_file(options.onnx_filename);
  return str(std::filesystem::weakly_canonical(file).string(), '\n',
             precision_name(options.precision), '\n', kind);
}

Session::Session(const SessionOptions& options) {
  require(options.threads >= 0, ErrorCode::kInvalidArgument, "threads ", options.threads,
          ": a positive number, or 0 for all processors, is expected");
  impl_ = std::make_shared<Impl>(options);
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

int Session::threads() const { return impl_->pool.size(); }

FeatureExtraction Session::feature_extraction(const std::filesystem::path& model,
                                              const FeatureExtractionOptions& options) {
  return FeatureExtraction(
      std::make_shared<const FeatureExtraction::Impl>(impl_, find_model(model, {}), options));
}

TextClassification Session::text_classification(const std::filesystem::path& model,
                                                const TextClassificationOptions& options) {
  return TextClassification(
      std::make_shared<const TextClassification::Impl>(impl_, find_model(model, {}), options));
}

ZeroShotClassification Session::zero_shot_classification(const std::filesystem::path& model,
                                                         const ZeroShotOptions& options) {
  return ZeroShotClassification(
      std::make_shared<const ZeroShotClassification::Impl>(impl_, find_model(model, {}), options));
}

CrossEncoder Session::cross_encoder(const std::filesystem::path& model,
                                    const CrossEncoderOptions& options) {
  return CrossEncoder(
      std::make_shared<const CrossEncoder::Impl>(impl_, find_model(model, {}), options));
}

TokenClassification Session::token_classification(const std::filesystem::path& model,
                                                  const TokenClassificationOptions& options) {
  return TokenClassification(
      std::make_shared<const TokenClassification::Impl>(impl_, find_model(model, {}), options));
}

QuestionAnswering Session::question_answering(const std::filesystem::path& model,
                                              const QuestionAnsweringOptions& options) {
  return QuestionAnswering(
      std::make_shared<const QuestionAnswering::Impl>(impl_, find_model(model, {}), options));
}

FillMask Session::fill_mask(const std::filesystem::path& model, const FillMaskOptions& options) {
  return FillMask(std::make_shared<const FillMask::Impl>(impl_, find_model(model, {}), options));
}

Tabular Session::tabular(const std::filesystem::path& model, const TabularOptions& options) {
  return Tabular(std::make_shared<const Tabular::Impl>(impl_, find_model(model, {}), options));
}

ImageClassification Session::image_classification(const std::filesystem::path& model,
                                                  const ImageClassificationOptions& options) {
  return ImageClassification(
      std::make_shared<const ImageClassification::Impl>(impl_, find_model(model, {}), options));
}

ObjectDetection Session::object_detection(const std::filesystem::path& model,
                                          const ObjectDetectionOptions& options) {
  return ObjectDetection(
      std::make_shared<const ObjectDetection::Impl>(impl_, find_model(model, {}), options));
}

ZeroShotImageClassification Session::zero_shot_image_classification(
    const std::filesystem::path& model, const ZeroShotImageOptions& options) {
  return ZeroShotImageClassification(std::make_shared<const ZeroShotImageClassification::Impl>(
      impl_, find_model(model, {}), options));
}

ImageFeatureExtraction Session::image_feature_extraction(
    const std::filesystem::path& model, const ImageFeatureExtractionOptions& options) {
  return ImageFeatureExtraction(
      std::make_shared<const ImageFeatureExtraction::Impl>(impl_, find_model(model, {}), options));
}

FeatureExtraction::FeatureExtraction(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

EmbeddingResult FeatureExtraction::run(std::span<const std::string_view> texts,
                                       std::stop_token stop) const {
  return impl_->run(texts, std::move(stop));
}

EmbeddingResult FeatureExtraction::run(std::span<const std::string> texts,
                                       std::stop_token stop) const {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  return impl_->run(views, std::move(stop));
}

EmbeddingResult FeatureExtraction::run(std::initializer_list<std::string_view> texts,
                                       std::stop_token stop) const {
  return impl_->run(std::span(texts.begin(), texts.size()), std::move(stop));
}

EmbeddingResult FeatureExtraction::run_ids(std::span<const std::vector<int32_t>> ids,
                                           std::stop_token stop) const {
  return impl_->run_ids(ids, std::move(stop));
}

std::vector<Outcome<TokenVectors>> FeatureExtraction::run_tokens(std::span<const std::string> texts,
                                                                 std::stop_token stop) const {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  return impl_->run_tokens(views, std::move(stop));
}

size_t FeatureExtraction::dim() const { return impl_->dim(); }
int FeatureExtraction::max_length() const { return impl_->max_length(); }
PipelineStatistics FeatureExtraction::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> FeatureExtraction::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<ScoredLabel>>> TextClassification::run(
    std::span<const TextPair> texts, std::stop_token stop) const {
  return impl_->run(texts, stop);
}
PipelineStatistics TextClassification::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> TextClassification::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<ScoredLabel>>> ZeroShotClassification::run(
    std::span<const ZeroShotText> texts, std::stop_token stop) const {
  return impl_->run(texts, stop);
}
PipelineStatistics ZeroShotClassification::statistics() const { return impl_->statistics(); }
const std::string& ZeroShotClassification::warning() const { return impl_->warning(); }
std::vector<ModelOutput> ZeroShotClassification::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<double>>> CrossEncoder::score(std::span<const TextPair> pairs,
                                                              std::stop_token stop) const {
  return impl_->score(pairs, stop);
}
std::vector<Outcome<std::vector<RankedDocument>>> CrossEncoder::rank(
    std::span<const RankTask> tasks, std::stop_token stop) const {
  return impl_->rank(tasks, stop);
}
PipelineStatistics CrossEncoder::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> CrossEncoder::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<Entity>>> TokenClassification::run(
    std::span<const std::string_view> texts, std::stop_token stop) const {
  return impl_->run(texts, stop);
}
std::vector<Outcome<std::vector<Entity>>> TokenClassification::run_words(
    std::span<const std::vector<std::string>> texts, std::stop_token stop) const {
  return impl_->run_words(texts, stop);
}
PipelineStatistics TokenClassification::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> TokenClassification::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<Answer>>> QuestionAnswering::run(
    std::span<const Question> questions, std::stop_token stop) const {
  return impl_->run(questions, stop);
}
PipelineStatistics QuestionAnswering::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> QuestionAnswering::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<std::vector<FilledToken>>>> FillMask::run(
    std::span<const std::string_view> texts, std::stop_token stop) const {
  return impl_->run(texts, stop);
}
std::string FillMask::mask_token() const { return impl_->mask_token(); }
PipelineStatistics FillMask::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> FillMask::outputs() const { return impl_->outputs(); }

std::vector<Outcome<TabularResult>> Tabular::run(std::span<const TabularRow> rows,
                                                 std::stop_token stop) const {
  return impl_->run(rows, stop);
}
std::span<const TabularInput> Tabular::inputs() const { return impl_->inputs(); }
PipelineStatistics Tabular::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> Tabular::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<ScoredLabel>>> ImageClassification::run(
    std::span<const ImageInput> images, std::stop_token stop) const {
  return impl_->run(images, stop);
}
PipelineStatistics ImageClassification::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> ImageClassification::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<Detection>>> ObjectDetection::run(
    std::span<const ImageInput> images, std::stop_token stop) const {
  return impl_->run(images, stop);
}
PipelineStatistics ObjectDetection::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> ObjectDetection::outputs() const { return impl_->outputs(); }

std::vector<Outcome<std::vector<ScoredLabel>>> ZeroShotImageClassification::run(
    std::span<const ZeroShotImage> images, std::stop_token stop) const {
  return impl_->run(images, stop);
}
PipelineStatistics ZeroShotImageClassification::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> ZeroShotImageClassification::outputs() const { return impl_->outputs(); }

EmbeddingResult ImageFeatureExtraction::run(std::span<const ImageInput> images,
                                            std::stop_token stop) const {
  return impl_->run(images, stop);
}
PipelineStatistics ImageFeatureExtraction::statistics() const { return impl_->statistics(); }
std::vector<ModelOutput> ImageFeatureExtraction::outputs() const { return impl_->outputs(); }

}  // namespace hugot
