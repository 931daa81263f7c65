#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "pipelines/image_pipelines.h"
#include "pipelines/scores.h"

namespace hugot {
namespace {

// Models whose scores are sigmoids give that many pairs of query and class at most.
constexpr size_t kMostPairs = 300;

const ModelPort* port_with(const LoadedModel& model, std::string_view exact,
                           std::initializer_list<std::string_view> parts) {
  for (const ModelPort& port : model.outputs) {
    if (port.name == exact) return &port;
  }
  for (const ModelPort& port : model.outputs) {
    for (const std::string_view part : parts) {
      if (port.name.find(part) != std::string::npos) return &port;
    }
  }
  return nullptr;
}

std::vector<std::string> choose_outputs(const LoadedModel& model) {
  const ModelPort* const logits = port_with(model, "logits", {"logit", "score", "class"});
  const ModelPort* const boxes = port_with(model, "pred_boxes", {"box"});
  require(logits != nullptr && boxes != nullptr && logits != boxes, ErrorCode::kUnsupported,
          "the model has no outputs for scores (logits) and boxes (pred_boxes)");
  return {logits->name, boxes->name};
}

void keep_best(std::vector<Detection>& found, size_t count) {
  std::stable_sort(found.begin(), found.end(), [](const Detection& a, const Detection& b) {
    return a.label.score > b.label.score;
  });
  if (found.size() > count) found.resize(count);
}

}  // namespace

ObjectDetection::Impl::Impl(std::shared_ptr<Session::Impl> session,
                            const std::filesystem::path& directory,
                            const ObjectDetectionOptions& options)
    : runner_(session,
              ImageModel::shared(*session, directory, options.model, "boxes", choose_outputs)),
      threshold_(options.threshold),
      top_k_(static_cast<size_t>(options.top_k)) {
  require(options.top_k >= 0, ErrorCode::kInvalidArgument, "top_k ", options.top_k,
          ": a positive number, or 0 for all boxes, is expected");
}

std::vector<Outcome<std::vector<Detection>>> ObjectDetection::Impl::run(
    std::span<const ImageInput> images, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<Detection>>> out(images.size());
  std::vector<std::string> errors(images.size());
  runner_.run(
      pointers(images), errors,
      [&](size_t i, std::span<const ImageRows> outputs, const ImageSize& size) {
        out[i].value = detect(outputs[0], outputs[1], size);
      },
      stop);
  for (size_t i = 0; i < images.size(); ++i) {
    if (!errors[i].empty()) out[i] = {{}, std::move(errors[i])};
  }
  return out;
}

std::vector<Detection> ObjectDetection::Impl::detect(const ImageRows& logits,
                                                     const ImageRows& boxes,
                                                     const ImageSize& size) const {
  require(boxes.width == 4 && boxes.rows == logits.rows && logits.width > 0,
          ErrorCode::kInvalidData, "the outputs are ", logits.rows, " x ", logits.width,
          " scores and ", boxes.rows, " x ", boxes.width, " numbers of boxes");
  std::vector<Detection> out;
  const auto labels = std::ssize(runner_.model().directory().labels);
  if (labels == 0 || logits.width == labels + 1) {
    detect_best(logits, boxes, size, out);
    if (top_k_ > 0) keep_best(out, top_k_);
  } else {
    detect_each(logits, boxes, size, out);
    keep_best(out, top_k_ > 0 ? top_k_ : out.size());
  }
  return out;
}

Detection ObjectDetection::Impl::detection(size_t label, double score, const float* box,
                                           const ImageSize& size) const {
  // In float32, as the reference computes them: corners are often cut to whole pixels.
  const auto width = static_cast<float>(size.width), height = static_cast<float>(size.height);
  require(std::all_of(box, box + 4, [](float x) { return std::isfinite(x); }),
          ErrorCode::kInvalidData, "the model's output has infinite or undefined numbers");
  return {{label, runner_.model().label(label), score},
          {(box[0] - 0.5f * box[2]) * width, (box[1] - 0.5f * box[3]) * height,
           (box[0] + 0.5f * box[2]) * width, (box[1] + 0.5f * box[3]) * height}};
}

// One class per query, but "nothing", which is the last.
void ObjectDetection::Impl::detect_best(const ImageRows& logits, const ImageRows& boxes,
                                        const ImageSize& size, std::vector<Detection>& out) const {
  const auto classes = static_cast<size_t>(logits.width);
  for (int64_t query = 0; query < logits.rows; ++query) {
    const auto scores =
        apply_function(ScoreFunction::kSoftmax, {logits.data + query * logits.width, classes});
    const auto best = std::max_element(scores.begin(), scores.end() - 1);
    if (best == scores.end() - 1 || *best <= threshold_) continue;
    out.push_back(
        detection(static_cast<size_t>(best - scores.begin()), *best, boxes.data + query * 4, size));
  }
}

// Every class of every query by itself, of all pairs the best ones.
void ObjectDetection::Impl::detect_each(const ImageRows& logits, const ImageRows& boxes,
                                        const ImageSize& size, std::vector<Detection>& out) const {
  const auto scores = apply_function(ScoreFunction::kSigmoid, logits.all());
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  const auto classes = static_cast<size_t>(logits.width);
  order.resize(std::min({order.size(), static_cast<size_t>(logits.rows), kMostPairs}));
  for (const size_t pair : order) {
    if (scores[pair] <= threshold_) break;
    out.push_back(detection(pair % classes, scores[pair], boxes.data + pair / classes * 4, size));
  }
}

}  // namespace hugot
