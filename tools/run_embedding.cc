// featureExtraction.
#include <algorithm>
#include <cmath>

#include "models/pooling.h"
#include "tools/command.h"
#include "tools/run_pipeline.h"

namespace hugot::tools {
void store_vectors(const EmbeddingResult& result, const std::vector<Row*>& rows, JsonStyle style) {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!result.errors.empty() && !result.errors[i].empty()) {
      rows[i]->error = result.errors[i];
      continue;
    }
    const auto vector = result[i];
    if (std::all_of(vector.begin(), vector.end(), [](float x) { return std::isfinite(x); })) {
      append_floats(rows[i]->output, vector, style);
    } else {
      rows[i]->error = "the model's output has infinite or undefined numbers, which JSON lacks";
    }
  }
}

namespace {

class Embedding : public RowPipeline {
 public:
  explicit Embedding(FeatureExtraction pipeline) : pipeline_(std::move(pipeline)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<Row*> with_text;
    std::vector<Row*> with_ids;
    std::vector<std::string> texts;
    std::vector<std::vector<int32_t>> ids;
    parse_rows(rows, [&](Row& row) {
      if (row.json->has("ids") && !row.json->has("input")) {
        ids.push_back(row.json->ids("ids"));
        with_ids.push_back(&row);
      } else {
        texts.push_back(row.json->text("input"));
        with_text.push_back(&row);
      }
    });
    if (!texts.empty()) {
      store_vectors(pipeline_.run(std::span<const std::string>(texts), stop), with_text, style);
    }
    if (!ids.empty()) store_vectors(pipeline_.run_ids(ids, stop), with_ids, style);
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  FeatureExtraction pipeline_;
};

}  // namespace

std::unique_ptr<RowPipeline> load_embedding(const RunOptions& options, Session& session) {
  if (embeds_images(options)) return load_image_embedding(options, session);
  FeatureExtractionOptions pipeline;
  pipeline.normalize = options.normalize;
  if (!options.pooling.empty()) pipeline.pooling = pooling_from_name(options.pooling);
  pipeline.truncate_dim = options.truncate_dim;
  pipeline.prompt_name = options.prompt_name;
  pipeline.max_length = options.max_length;
  pipeline.output_name = options.output_name;
  pipeline.onnx_filename = options.onnx_filename;
  pipeline.precision = precision_from_name(options.precision);
  return std::make_unique<Embedding>(session.feature_extraction(model_of(options), pipeline));
}

}  // namespace hugot::tools
