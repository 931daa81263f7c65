// imageClassification, objectDetection, zeroShotImageClassification, and featureExtraction of
// images.
#include <cmath>

#include "kernels/registry.h"
#include "models/image_graph.h"
#include "models/image_processor.h"
#include "models/model_directory.h"
#include "models/pooling.h"
#include "onnx/loader.h"
#include "tools/command.h"
#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

// The rows with a path as "input", and the paths.
std::vector<Row*> parse_images(std::vector<Row>& rows, std::vector<ImageInput>& images) {
  return parse_rows(
      rows, [&](Row& row) { images.emplace_back(std::filesystem::path(row.json->text("input"))); });
}

class LabelImages : public RowPipeline {
 public:
  explicit LabelImages(ImageClassification pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<ImageInput> images;
    const auto good = parse_images(rows, images);
    store_outcomes(good, pipeline_.run(images, stop),
                   [&](std::string& out, const std::vector<ScoredLabel>& labels, size_t) {
                     append_labels(out, labels, style, /*with_ids=*/true);
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  ImageClassification pipeline_;
};

class DetectObjects : public RowPipeline {
 public:
  explicit DetectObjects(ObjectDetection pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<ImageInput> images;
    const auto good = parse_images(rows, images);
    store_outcomes(good, pipeline_.run(images, stop),
                   [&](std::string& out, const std::vector<Detection>& found, size_t) {
                     JsonList json(out, style);
                     json.open('[');
                     for (const Detection& one : found) {
                       json.next();
                       (style == JsonStyle::kGo ? append_hugot : append_hf)(json, one);
                     }
                     json.close(']');
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  // Corners are cut to whole pixels, towards zero.
  static void append_hf(JsonList& json, const Detection& one) {
    json.open('{').key("score").number(one.label.score);
    json.key("label").text(one.label.label);
    json.key("box").open('{');
    for (const auto& [name, value] :
         {std::pair("xmin", one.box.xmin), std::pair("ymin", one.box.ymin),
          std::pair("xmax", one.box.xmax), std::pair("ymax", one.box.ymax)}) {
      json.key(name).raw(std::to_string(std::llround(std::trunc(value))));
    }
    json.close('}').close('}');
  }
  static void append_hugot(JsonList& json, const Detection& one) {
    json.open('{').key("Label").text(one.label.label);
    json.key("Class").count(one.label.id);
    json.key("Box").open('[');
    for (const double value : {one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax}) {
      json.next().number(value);
    }
    json.close(']').key("Score").number(one.label.score);
    json.close('}');
  }

  ObjectDetection pipeline_;
};

class ZeroShotImages : public RowPipeline {
 public:
  explicit ZeroShotImages(ZeroShotImageClassification pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<LabelTask> tasks;
    const auto good = parse_rows(rows, [&](Row& row) { tasks.push_back(label_task(*row.json)); });
    std::vector<ZeroShotImage> images;
    for (const LabelTask& task : tasks) {
      images.push_back({std::filesystem::path(task.input), task.labels, task.hypothesis_template});
    }
    store_outcomes(good, pipeline_.run(images, stop),
                   [&](std::string& out, const std::vector<ScoredLabel>& labels, size_t) {
                     append_labels(out, labels, style);
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  ZeroShotImageClassification pipeline_;
};

class EmbedImages : public RowPipeline {
 public:
  EmbedImages(ImageFeatureExtraction pipeline, std::string quantize)
      : pipeline_(std::move(pipeline)), quantize_(std::move(quantize)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<ImageInput> images;
    const auto good = parse_images(rows, images);
    store_vectors(pipeline_.run(images, stop), good, quantize_, style);
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  ImageFeatureExtraction pipeline_;
  std::string quantize_;
};

}  // namespace

std::unique_ptr<RowPipeline> load_image_classification(const RunOptions& options,
                                                       Session& session) {
  ImageClassificationOptions pipeline;
  pipeline.function = function_from_name(options.function);
  pipeline.top_k = options.top_k.value_or(pipeline.top_k);
  pipeline.model = model_options(options);
  return std::make_unique<LabelImages>(session.image_classification(model_of(options), pipeline));
}

std::unique_ptr<RowPipeline> load_object_detection(const RunOptions& options, Session& session) {
  // Hugot's own limits.
  const bool hugot = options.format == "hugot";
  ObjectDetectionOptions pipeline;
  pipeline.threshold = options.score_threshold.value_or(hugot ? 0.25 : pipeline.threshold);
  pipeline.top_k = options.top_k.value_or(hugot ? 100 : pipeline.top_k);
  pipeline.model = model_options(options);
  return std::make_unique<DetectObjects>(session.object_detection(model_of(options), pipeline));
}

std::unique_ptr<RowPipeline> load_zero_shot_images(const RunOptions& options, Session& session) {
  ZeroShotImageOptions pipeline;
  pipeline.labels = split_list(options.labels);
  if (options.hypothesis_template) pipeline.hypothesis_template = *options.hypothesis_template;
  pipeline.model = model_options(options);
  return std::make_unique<ZeroShotImages>(
      session.zero_shot_image_classification(model_of(options), pipeline));
}

bool embeds_images(const RunOptions& options) {
  if (options.image) return true;
  const std::filesystem::path folder = model_of(options);
  if (!std::filesystem::is_directory(folder) || !ImageProcessor::is_in(folder)) return false;
  const OpRegistry ops = builtin_ops();
  const auto model = load_model(ModelDirectory::read(folder).onnx_file(options.onnx_filename), ops);
  return model.graph.find("input_ids") == kNoValue && image_input(model.graph) != kNoValue;
}

std::unique_ptr<RowPipeline> load_image_embedding(const RunOptions& options, Session& session) {
  ImageFeatureExtractionOptions pipeline;
  pipeline.normalize = options.normalize;
  if (!options.pooling.empty()) pipeline.pooling = pooling_from_name(options.pooling);
  pipeline.truncate_dim = options.truncate_dim;
  pipeline.output_name = options.output_name;
  pipeline.model = model_options(options);
  return std::make_unique<EmbedImages>(
      session.image_feature_extraction(model_of(options), pipeline), options.quantize);
}

}  // namespace hugot::tools
