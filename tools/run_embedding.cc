// featureExtraction.
#include <algorithm>
#include <cmath>

#include "models/pooling.h"
#include "tools/command.h"
#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

// Numbers of `quantize`: "" for floats, or "int8", "binary", "ubinary".
void append_vector(std::string& out, std::span<const float> vector, const std::string& quantize,
                   JsonStyle style) {
  if (quantize.empty()) return append_floats(out, vector, style);
  const auto append = [&](const auto& numbers, int less) {
    out += '[';
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (i > 0) out += ',';
      out += std::to_string(int{numbers[i]} - less);
    }
    out += ']';
  };
  if (quantize == "int8") {
    append(quantize_int8(vector), 0);
  } else {
    append(quantize_binary(vector), quantize == "binary" ? 128 : 0);
  }
}

constexpr const char* kNotFinite =
    "the model's output has infinite or undefined numbers, which JSON lacks";

bool all_finite(std::span<const float> numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); });
}

}  // namespace

void store_vectors(const EmbeddingResult& result, const std::vector<Row*>& rows,
                   const std::string& quantize, JsonStyle style) {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!result.errors.empty() && !result.errors[i].empty()) {
      rows[i]->error = result.errors[i];
      continue;
    }
    const auto vector = result[i];
    if (all_finite(vector)) {
      append_vector(rows[i]->output, vector, quantize, style);
    } else {
      rows[i]->error = kNotFinite;
    }
  }
}

namespace {

class Embedding : public RowPipeline {
 public:
  Embedding(FeatureExtraction pipeline, std::string quantize)
      : pipeline_(std::move(pipeline)), quantize_(std::move(quantize)) {}

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
      store_vectors(pipeline_.run(std::span<const std::string>(texts), stop), with_text, quantize_,
                    style);
    }
    if (!ids.empty()) store_vectors(pipeline_.run_ids(ids, stop), with_ids, quantize_, style);
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  FeatureExtraction pipeline_;
  std::string quantize_;
};

// A vector per token.
class TokenEmbedding : public RowPipeline {
 public:
  TokenEmbedding(FeatureExtraction pipeline, std::string quantize)
      : pipeline_(std::move(pipeline)), quantize_(std::move(quantize)) {}

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<std::string> texts;
    const auto good = parse_rows(rows, [&](Row& row) { texts.push_back(row.json->text("input")); });
    const auto outcomes = pipeline_.run_tokens(texts, stop);
    for (size_t i = 0; i < good.size(); ++i) {
      const auto& [vectors, error] = outcomes[i];
      good[i]->error = error.empty() && !all_finite(vectors.values) ? kNotFinite : error;
      if (!good[i]->error.empty()) continue;
      std::string& out = good[i]->output;
      out += '[';
      for (size_t row = 0; row < vectors.rows; ++row) {
        if (row > 0) out += ',';
        append_vector(out, std::span(vectors.values).subspan(row * vectors.dim, vectors.dim),
                      quantize_, style);
      }
      out += ']';
    }
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  FeatureExtraction pipeline_;
  std::string quantize_;
};

}  // namespace

std::unique_ptr<RowPipeline> load_embedding(const RunOptions& options, Session& session) {
  if (embeds_images(options)) return load_image_embedding(options, session);
  FeatureExtractionOptions pipeline;
  pipeline.normalize = options.normalize;
  pipeline.token_vectors = options.pooling == "none";
  if (!options.pooling.empty() && !pipeline.token_vectors) {
    pipeline.pooling = pooling_from_name(options.pooling);
  }
  pipeline.truncate_dim = options.truncate_dim;
  pipeline.prompt_name = options.prompt_name;
  pipeline.max_length = options.max_length;
  pipeline.output_name = options.output_name;
  pipeline.onnx_filename = options.onnx_filename;
  pipeline.precision = precision_from_name(options.precision);
  auto made = session.feature_extraction(model_of(options), pipeline);
  if (pipeline.token_vectors) {
    return std::make_unique<TokenEmbedding>(std::move(made), options.quantize);
  }
  return std::make_unique<Embedding>(std::move(made), options.quantize);
}

}  // namespace hugot::tools
