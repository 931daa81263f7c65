#include <algorithm>

#include "base/error.h"
#include "onnx/loader.h"
#include "pipelines/image_pipelines.h"
#include "pipelines/scores.h"
#include "pipelines/session.h"

namespace hugot {
namespace {

// Vectors of labels that are remembered.
constexpr size_t kMostKnown = 1 << 14;

std::shared_ptr<const TextModel> text_tower(const Session::Impl& session,
                                            const std::filesystem::path& directory,
                                            const ModelOptions& options) {
  TextModel::Options load;
  load.onnx_filename = options.onnx_filename;
  load.precision = options.precision;
  load.choose_outputs = [](const LoadedModel&) {
    return std::vector{std::string(JointHead::kTexts)};
  };
  return std::make_shared<const TextModel>(session, ModelDirectory::read(directory), load);
}

}  // namespace

// The labels of an image as texts.
struct ZeroShotImageClassification::Impl::Task {
  std::vector<std::string> texts;
};

ZeroShotImageClassification::Impl::Impl(std::shared_ptr<Session::Impl> session,
                                        const std::filesystem::path& directory,
                                        const ZeroShotImageOptions& options)
    : options_(options),
      texts_(session, text_tower(*session, directory, options.model), options.model.max_length,
             /*pairs=*/false),
      images_(session, ImageModel::shared(*session, directory, options.model,
                                          str("vectors\n", JointHead::kImages, "\n0"),
                                          [](const LoadedModel&) -> std::vector<std::string> {
                                            return {JointHead::kImages};
                                          })) {
  fill_template(options_.hypothesis_template, "");
  const ModelDirectory& model = texts_.model().directory();
  head_ = std::make_unique<const JointHead>(
      load_model(model.onnx_file(options.model.onnx_filename), session->ops), session->ops);
  if (model.sigmoid_pairs) {
    padding_ = texts_.model().tokenizer().token_to_id(model.pad_token);
    require(padding_ && texts_.max_length() > 0, ErrorCode::kInvalidData, "model directory ",
            directory.string(),
            ": texts have to be padded, and the directory names no padding "
            "token (special_tokens_map.json) or no length");
  }
}

std::unordered_map<std::string, ZeroShotImageClassification::Impl::Vector>
ZeroShotImageClassification::Impl::text_vectors(
    const std::vector<std::string>& texts, std::unordered_map<std::string, std::string>& errors,
    const std::stop_token& stop) const {
  std::unordered_map<std::string, Vector> vectors;
  std::vector<std::string> missing;
  {
    const std::lock_guard lock(known_mutex_);
    for (const std::string& text : texts) {
      const auto known = known_.find(text);
      if (!vectors.emplace(text, known == known_.end() ? nullptr : known->second).second) continue;
      if (known == known_.end()) missing.push_back(text);
    }
  }
  if (missing.empty()) return vectors;
  std::vector<TextItem> items(missing.size());
  texts_.tokenize(
      missing.size(),
      [&](size_t i) {
        texts_.encode(missing[i], std::nullopt, texts_.encode_options(), items[i]);
        require(!items[i].ids.empty(), ErrorCode::kInvalidData, "the label has no tokens");
        if (padding_) items[i].ids.resize(static_cast<size_t>(texts_.max_length()), *padding_);
      },
      [&](size_t i) -> std::string& { return items[i].error; }, stop);
  std::vector<Vector> made(missing.size());
  texts_.run(
      items, missing.size(),
      [&](size_t i, const float* data, int64_t rows, int64_t width) {
        made[i] = std::make_shared<const std::vector<float>>(data, data + rows * width);
      },
      stop);
  const std::lock_guard lock(known_mutex_);
  for (size_t i = 0; i < missing.size(); ++i) {
    if (!items[i].error.empty()) {
      errors[missing[i]] = items[i].error;
      continue;
    }
    vectors[missing[i]] = made[i];
    if (known_.size() >= kMostKnown) known_.clear();
    known_[missing[i]] = made[i];
  }
  return vectors;
}

std::vector<Outcome<std::vector<ScoredLabel>>> ZeroShotImageClassification::Impl::run(
    std::span<const ZeroShotImage> images, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<ScoredLabel>>> out(images.size());
  std::vector<std::string> errors(images.size());
  std::vector<Task> tasks(images.size());
  std::vector<std::string> texts;
  for (size_t i = 0; i < images.size(); ++i) {
    try {
      const auto labels = labels_of(images[i]);
      require(!labels.empty(), ErrorCode::kInvalidArgument, "no labels are given");
      for (const std::string& label : labels) {
        tasks[i].texts.push_back(fill_template(images[i].hypothesis_template.empty()
                                                   ? options_.hypothesis_template
                                                   : images[i].hypothesis_template,
                                               label));
        texts.push_back(tasks[i].texts.back());
      }
    } catch (const Error& error) {
      errors[i] = error.what();
    }
  }
  std::unordered_map<std::string, std::string> text_errors;
  const auto vectors = text_vectors(texts, text_errors, stop);
  if (!text_errors.empty()) {
    for (size_t i = 0; i < images.size(); ++i) {
      for (const std::string& text : tasks[i].texts) {
        const auto bad = text_errors.find(text);
        if (bad != text_errors.end() && errors[i].empty()) errors[i] = bad->second;
      }
    }
  }
  std::vector<const ImageInput*> inputs;
  for (const ZeroShotImage& image : images) inputs.push_back(&image.image);
  images_.run(
      inputs, errors,
      [&](size_t i, std::span<const ImageRows> outputs, const ImageSize&) {
        out[i].value = rank(labels_of(images[i]), tasks[i], outputs[0].all(), vectors, stop);
      },
      stop);
  for (size_t i = 0; i < images.size(); ++i) {
    if (!errors[i].empty()) out[i] = {{}, std::move(errors[i])};
  }
  return out;
}

std::vector<ScoredLabel> ZeroShotImageClassification::Impl::rank(
    std::span<const std::string> labels, const Task& task, std::span<const float> image,
    const std::unordered_map<std::string, Vector>& vectors, const std::stop_token& stop) const {
  std::vector<float> joined;
  for (const std::string& text : task.texts) {
    const Vector& vector = vectors.at(text);
    joined.insert(joined.end(), vector->begin(), vector->end());
  }
  const auto logits = head_->run(image, joined, {.pool = nullptr, .stop = stop});
  const auto scores = apply_function(
      texts_.model().directory().sigmoid_pairs ? ScoreFunction::kSigmoid : ScoreFunction::kSoftmax,
      logits);
  std::vector<ScoredLabel> out;
  for (size_t k = 0; k < labels.size(); ++k) out.push_back({k, labels[k], scores[k]});
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  return out;
}

}  // namespace hugot
