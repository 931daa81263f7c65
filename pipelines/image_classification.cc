// Images to labels and to vectors.
#include <algorithm>

#include "base/error.h"
#include "models/pooling.h"
#include "pipelines/image_pipelines.h"
#include "pipelines/scores.h"

namespace hugot {
namespace {

const ModelPort* port_named(const LoadedModel& model, std::string_view name) {
  const auto it = std::find_if(model.outputs.begin(), model.outputs.end(),
                               [&](const ModelPort& port) { return port.name == name; });
  return it == model.outputs.end() ? nullptr : &*it;
}

std::vector<std::string> choose_vectors(const LoadedModel& model, const std::string& wanted,
                                        bool must_pool) {
  if (!wanted.empty()) return {wanted};
  for (const char* name : {"image_embeds", "pooler_output"}) {
    if (!must_pool && port_named(model, name) != nullptr) return {name};
  }
  for (const int rank : {must_pool ? 3 : 2, 3}) {
    for (const ModelPort& port : model.outputs) {
      if (port.fact.rank() == rank && port.name != "text_embeds") return {port.name};
    }
  }
  fail(ErrorCode::kUnsupported,
       "the model has no output with a vector per image or patch; name one as output_name");
}

}  // namespace

ImageClassification::Impl::Impl(std::shared_ptr<Session::Impl> session,
                                const std::filesystem::path& directory,
                                const ImageClassificationOptions& options)
    : runner_(session, ImageModel::shared(*session, directory, options.model, "logits",
                                          [](const LoadedModel& model) {
                                            return std::vector{choose_logits(model)};
                                          })),
      function_(options.function),
      top_k_(static_cast<size_t>(options.top_k)) {
  require(options.top_k >= 0, ErrorCode::kInvalidArgument, "top_k ", options.top_k,
          ": a positive number, or 0 for all labels, is expected");
}

std::vector<Outcome<std::vector<ScoredLabel>>> ImageClassification::Impl::run(
    std::span<const ImageInput> images, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<ScoredLabel>>> out(images.size());
  std::vector<std::string> errors(images.size());
  runner_.run(
      pointers(images), errors,
      [&](size_t i, std::span<const ImageRows> outputs, const ImageSize&) {
        out[i].value = rank(outputs[0].all());
      },
      stop);
  for (size_t i = 0; i < images.size(); ++i) {
    if (!errors[i].empty()) out[i] = {{}, std::move(errors[i])};
  }
  return out;
}

std::vector<ScoredLabel> ImageClassification::Impl::rank(std::span<const float> logits) const {
  const bool alone = logits.size() == 1 ||
                     runner_.model().directory().problem_type == "multi_label_classification";
  const auto scores = apply_function(
      function_.value_or(alone ? ScoreFunction::kSigmoid : ScoreFunction::kSoftmax), logits);
  std::vector<ScoredLabel> labels;
  for (size_t id = 0; id < scores.size(); ++id) {
    labels.push_back({id, runner_.model().label(id), scores[id]});
  }
  std::stable_sort(labels.begin(), labels.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (top_k_ > 0 && labels.size() > top_k_) labels.resize(top_k_);
  return labels;
}

// ---------------------------------------------------------------------------------------------

ImageFeatureExtraction::Impl::Impl(std::shared_ptr<Session::Impl> session,
                                   const std::filesystem::path& directory,
                                   const ImageFeatureExtractionOptions& options)
    : options_(options),
      runner_(session, ImageModel::shared(
                           *session, directory, options.model,
                           str("vectors\n", options.output_name, '\n', options.pooling.has_value()),
                           [&](const LoadedModel& model) {
                             return choose_vectors(model, options.output_name,
                                                   options.pooling.has_value());
                           })) {
  require(options.truncate_dim >= 0, ErrorCode::kInvalidArgument, "truncate_dim ",
          options.truncate_dim, ": a positive number is expected");
  per_patch_ = runner_.model().outputs()[0].rank() == 3;
  require(per_patch_ || !options.pooling, ErrorCode::kInvalidArgument,
          "the output has one row per image: there is nothing to pool");
}

std::vector<float> ImageFeatureExtraction::Impl::vector_of(const ImageRows& rows) const {
  std::vector<double> vector;
  if (per_patch_) {
    vector.resize(static_cast<size_t>(rows.width));
    const Pooling mode = options_.pooling.value_or(Pooling::kCls);
    pool({&mode, 1}, rows.data, rows.rows, rows.width, 0, vector.data());
  } else {
    vector.assign(rows.all().begin(), rows.all().end());
  }
  const auto length = static_cast<size_t>(options_.truncate_dim);
  require(length <= vector.size(), ErrorCode::kInvalidArgument, "truncate_dim ", length,
          ": the model's vectors have ", vector.size(), " elements only");
  if (length > 0) vector.resize(length);
  if (options_.normalize) normalize_l2(vector);
  return {vector.begin(), vector.end()};
}

EmbeddingResult ImageFeatureExtraction::Impl::run(std::span<const ImageInput> images,
                                                  const std::stop_token& stop) const {
  std::vector<std::vector<float>> vectors(images.size());
  std::vector<std::string> errors(images.size());
  runner_.run(
      pointers(images), errors,
      [&](size_t i, std::span<const ImageRows> outputs, const ImageSize&) {
        vectors[i] = vector_of(outputs[0]);
      },
      stop);
  EmbeddingResult result;
  result.rows = images.size();
  for (size_t i = 0; i < images.size(); ++i) {
    if (errors[i].empty()) result.dim = vectors[i].size();
  }
  result.embeddings.resize(result.rows * result.dim);
  for (size_t i = 0; i < images.size(); ++i) {
    if (errors[i].empty() && vectors[i].size() != result.dim) {
      errors[i] =
          str("a vector of ", vectors[i].size(), " elements where others have ", result.dim);
    }
    if (errors[i].empty()) {
      std::copy(vectors[i].begin(), vectors[i].end(),
                result.embeddings.begin() + static_cast<ptrdiff_t>(i * result.dim));
    } else {
      result.errors.resize(images.size());
      result.errors[i] = std::move(errors[i]);
    }
  }
  return result;
}

}  // namespace hugot
