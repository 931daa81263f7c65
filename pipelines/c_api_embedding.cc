// The C interface of feature extraction.
#include "pipelines/c_api.h"

struct hugot_feature_extraction {
  hugot::FeatureExtraction pipeline;
};

namespace c_api = hugot::c_api;

namespace {

hugot::FeatureExtractionOptions convert(const hugot_feature_extraction_options* given) {
  hugot::FeatureExtractionOptions options;
  if (given == nullptr) return options;
  const hugot_feature_extraction_options& from = *given;
  c_api::check_size(from, "hugot_feature_extraction_options");
  options.pooling = c_api::pooling_of(from.pooling);
  const hugot::ModelOptions model = c_api::model_options(from);
  options.normalize = from.normalize != 0;
  options.truncate_dim = from.truncate_dim;
  options.max_length = model.max_length;
  options.prompt_name = c_api::text_or_empty(from.prompt_name);
  options.output_name = c_api::text_or_empty(from.output_name);
  options.onnx_filename = model.onnx_filename;
  options.precision = model.precision;
  return options;
}

}  // namespace

void hugot_feature_extraction_options_init(hugot_feature_extraction_options* options) {
  c_api::init(options);
}

hugot_status hugot_feature_extraction_create(hugot_session* session, const char* model,
                                             const hugot_feature_extraction_options* options,
                                             hugot_feature_extraction** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.feature_extraction(name, convert(options));
  });
}

void hugot_feature_extraction_free(hugot_feature_extraction* pipeline) { delete pipeline; }

hugot_status hugot_feature_extraction_statistics(const hugot_feature_extraction* pipeline,
                                                 hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_feature_extraction_outputs(const hugot_feature_extraction* pipeline,
                                              hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

size_t hugot_feature_extraction_dim(const hugot_feature_extraction* pipeline) {
  return pipeline == nullptr ? 0 : pipeline->pipeline.dim();
}

hugot_status hugot_feature_extraction_run(const hugot_feature_extraction* pipeline,
                                          const char* const* texts, const size_t* lengths,
                                          size_t count, const hugot_cancellation* cancellation,
                                          hugot_embeddings** embeddings) {
  return c_api::run(pipeline, embeddings, [&](const hugot::FeatureExtraction& loaded) {
    const auto views = c_api::texts_of(texts, lengths, count);
    return loaded.run(std::span<const std::string_view>(views), c_api::token_of(cancellation));
  });
}

size_t hugot_embeddings_rows(const hugot_embeddings* embeddings) {
  return embeddings == nullptr ? 0 : embeddings->result.rows;
}

size_t hugot_embeddings_dim(const hugot_embeddings* embeddings) {
  return embeddings == nullptr ? 0 : embeddings->result.dim;
}

const float* hugot_embeddings_data(const hugot_embeddings* embeddings) {
  return embeddings == nullptr ? nullptr : embeddings->result.embeddings.data();
}

const char* hugot_embeddings_error(const hugot_embeddings* embeddings, size_t row) {
  if (embeddings == nullptr || row >= embeddings->result.errors.size()) return nullptr;
  const std::string& text = embeddings->result.errors[row];
  return text.empty() ? nullptr : text.c_str();
}

void hugot_embeddings_free(hugot_embeddings* embeddings) { delete embeddings; }
