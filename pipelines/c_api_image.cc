// The C interface of images.
#include "hugot/c_image.h"
#include "pipelines/c_api.h"

struct hugot_image_classification {
  hugot::ImageClassification pipeline;
};
struct hugot_zero_shot_image {
  hugot::ZeroShotImageClassification pipeline;
};
struct hugot_object_detection {
  hugot::ObjectDetection pipeline;
};
struct hugot_image_embedding {
  hugot::ImageFeatureExtraction pipeline;
};
struct hugot_detections {
  std::vector<hugot::Outcome<std::vector<hugot::Detection>>> rows;
};

namespace c_api = hugot::c_api;

namespace {

using hugot::ErrorCode;
using hugot::ImageInput;
using hugot::require;

template <class Options>
hugot::ModelOptions model_of(const Options& from) {
  hugot::ModelOptions options;
  options.onnx_filename = c_api::text_or_empty(from.onnx_filename);
  options.precision = static_cast<hugot::Precision>(
      c_api::enumerator(from.precision, HUGOT_PRECISION_INT8, "precision"));
  return options;
}

hugot::ImageClassificationOptions convert(const hugot_image_classification_options* from) {
  hugot::ImageClassificationOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_image_classification_options");
  options.function = c_api::function_of(from->function);
  options.top_k = from->top_k;
  options.model = model_of(*from);
  return options;
}

hugot::ZeroShotImageOptions convert(const hugot_zero_shot_image_options* from) {
  hugot::ZeroShotImageOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_zero_shot_image_options");
  if (from->hypothesis_template != nullptr) options.hypothesis_template = from->hypothesis_template;
  options.model = model_of(*from);
  return options;
}

hugot::ObjectDetectionOptions convert(const hugot_object_detection_options* from) {
  hugot::ObjectDetectionOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_object_detection_options");
  options.threshold = from->threshold;
  options.top_k = from->top_k;
  options.model = model_of(*from);
  return options;
}

hugot::ImageFeatureExtractionOptions convert(const hugot_image_embedding_options* from) {
  hugot::ImageFeatureExtractionOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_image_embedding_options");
  options.normalize = from->normalize != 0;
  options.pooling = c_api::pooling_of(from->pooling);
  options.truncate_dim = from->truncate_dim;
  options.output_name = c_api::text_or_empty(from->output_name);
  options.model = model_of(*from);
  return options;
}

std::vector<ImageInput> images_of(const hugot_image* images, size_t count) {
  if (count > 0) c_api::require_pointer(images, "images");
  std::vector<ImageInput> list;
  for (size_t i = 0; i < count; ++i) {
    const hugot_image& image = images[i];
    const int given = (image.path != nullptr) + (image.bytes != nullptr) + (image.rgb != nullptr);
    require(given == 1, ErrorCode::kInvalidArgument, "image ", i,
            ": one of path, bytes and rgb has to be given, not ", given);
    if (image.path != nullptr) {
      list.push_back(std::filesystem::path(image.path));
    } else if (image.bytes != nullptr) {
      list.push_back(hugot::EncodedImage{{static_cast<const std::byte*>(image.bytes), image.size}});
    } else {
      list.push_back(hugot::RgbPixels{image.rgb, image.width, image.height});
    }
  }
  return list;
}

}  // namespace

void hugot_image_classification_options_init(hugot_image_classification_options* options) {
  if (c_api::init(options)) options->top_k = 5;
}

hugot_status hugot_image_classification_create(hugot_session* session, const char* model,
                                               const hugot_image_classification_options* options,
                                               hugot_image_classification** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.image_classification(name, convert(options));
  });
}

void hugot_image_classification_free(hugot_image_classification* pipeline) { delete pipeline; }

hugot_status hugot_image_classification_statistics(const hugot_image_classification* pipeline,
                                                   hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_image_classification_outputs(const hugot_image_classification* pipeline,
                                                hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_image_classification_run(const hugot_image_classification* pipeline,
                                            const hugot_image* images, size_t count,
                                            const hugot_cancellation* cancellation,
                                            hugot_labels** labels) {
  return c_api::run(pipeline, labels, [&](const hugot::ImageClassification& loaded) {
    return loaded.run(images_of(images, count), c_api::token_of(cancellation));
  });
}

void hugot_zero_shot_image_options_init(hugot_zero_shot_image_options* options) {
  c_api::init(options);
}

hugot_status hugot_zero_shot_image_create(hugot_session* session, const char* model,
                                          const hugot_zero_shot_image_options* options,
                                          hugot_zero_shot_image** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.zero_shot_image_classification(name, convert(options));
  });
}

void hugot_zero_shot_image_free(hugot_zero_shot_image* pipeline) { delete pipeline; }

hugot_status hugot_zero_shot_image_statistics(const hugot_zero_shot_image* pipeline,
                                              hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_zero_shot_image_outputs(const hugot_zero_shot_image* pipeline,
                                           hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_zero_shot_image_run(const hugot_zero_shot_image* pipeline,
                                       const hugot_image* images, size_t count,
                                       const char* const* candidates, size_t candidate_count,
                                       const hugot_cancellation* cancellation,
                                       hugot_labels** labels) {
  return c_api::run(pipeline, labels, [&](const hugot::ZeroShotImageClassification& loaded) {
    const auto names = c_api::strings_of(candidates, candidate_count, "candidates");
    std::vector<hugot::ZeroShotImage> list;
    for (ImageInput& image : images_of(images, count))
      list.push_back({std::move(image), names, {}});
    return loaded.run(list, c_api::token_of(cancellation));
  });
}

void hugot_object_detection_options_init(hugot_object_detection_options* options) {
  if (c_api::init(options)) options->threshold = 0.5;
}

hugot_status hugot_object_detection_create(hugot_session* session, const char* model,
                                           const hugot_object_detection_options* options,
                                           hugot_object_detection** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.object_detection(name, convert(options));
  });
}

void hugot_object_detection_free(hugot_object_detection* pipeline) { delete pipeline; }

hugot_status hugot_object_detection_statistics(const hugot_object_detection* pipeline,
                                               hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_object_detection_outputs(const hugot_object_detection* pipeline,
                                            hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_object_detection_run(const hugot_object_detection* pipeline,
                                        const hugot_image* images, size_t count,
                                        const hugot_cancellation* cancellation,
                                        hugot_detections** detections) {
  return c_api::run(pipeline, detections, [&](const hugot::ObjectDetection& loaded) {
    return loaded.run(images_of(images, count), c_api::token_of(cancellation));
  });
}

size_t hugot_detections_rows(const hugot_detections* detections) {
  return c_api::row_count(detections);
}
const char* hugot_detections_error(const hugot_detections* detections, size_t row) {
  return c_api::error_of(detections, row);
}
size_t hugot_detections_count(const hugot_detections* detections, size_t row) {
  return c_api::cell_count(detections, row);
}
const char* hugot_detections_label(const hugot_detections* detections, size_t row, size_t index) {
  const auto* found = c_api::cell(detections, row, index);
  return found == nullptr ? nullptr : found->label.label.c_str();
}
double hugot_detections_score(const hugot_detections* detections, size_t row, size_t index) {
  const auto* found = c_api::cell(detections, row, index);
  return found == nullptr ? 0 : found->label.score;
}
const double* hugot_detections_box(const hugot_detections* detections, size_t row, size_t index) {
  static_assert(sizeof(hugot::Box) == 4 * sizeof(double));
  const auto* found = c_api::cell(detections, row, index);
  return found == nullptr ? nullptr : &found->box.xmin;
}
void hugot_detections_free(hugot_detections* detections) { delete detections; }

void hugot_image_embedding_options_init(hugot_image_embedding_options* options) {
  c_api::init(options);
}

hugot_status hugot_image_embedding_create(hugot_session* session, const char* model,
                                          const hugot_image_embedding_options* options,
                                          hugot_image_embedding** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.image_feature_extraction(name, convert(options));
  });
}

void hugot_image_embedding_free(hugot_image_embedding* pipeline) { delete pipeline; }

hugot_status hugot_image_embedding_statistics(const hugot_image_embedding* pipeline,
                                              hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_image_embedding_outputs(const hugot_image_embedding* pipeline,
                                           hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_image_embedding_run(const hugot_image_embedding* pipeline,
                                       const hugot_image* images, size_t count,
                                       const hugot_cancellation* cancellation,
                                       hugot_embeddings** embeddings) {
  return c_api::run(pipeline, embeddings, [&](const hugot::ImageFeatureExtraction& loaded) {
    return loaded.run(images_of(images, count), c_api::token_of(cancellation));
  });
}
