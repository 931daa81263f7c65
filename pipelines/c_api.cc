// The C interface: handles around the C++ interface; no exception leaves.
#include <cstring>
#include <new>

#include "base/error.h"
#include "hugot/hugot.h"
#include "hugot/hugot.hpp"

struct hugot_session {
  hugot::Session session;
};
struct hugot_feature_extraction {
  hugot::FeatureExtraction pipeline;
};
struct hugot_embeddings {
  hugot::EmbeddingResult result;
};
struct hugot_cancellation {
  std::stop_source source;
};

namespace {

using hugot::ErrorCode;
using hugot::require;

// std::string may fail to allocate, so the text of an error has a fixed place.
thread_local char last_error[2048];

void remember(const char* text) noexcept {
  std::strncpy(last_error, text, sizeof(last_error) - 1);
  last_error[sizeof(last_error) - 1] = '\0';
}

// Calls `body` and turns what it throws into a status.
template <class Body>
hugot_status guarded(Body&& body) noexcept {
  try {
    remember("");
    body();
    return HUGOT_OK;
  } catch (const hugot::Error& error) {
    remember(error.what());
    return static_cast<hugot_status>(error.code());
  } catch (const std::bad_alloc&) {
    remember("out of memory");
    return HUGOT_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    remember(error.what());
    return HUGOT_INTERNAL;
  } catch (...) {
    remember("unknown exception");
    return HUGOT_INTERNAL;
  }
}

std::string text_or_empty(const char* text) { return text == nullptr ? std::string() : text; }

// The number in an enumeration that a caller of C filled: it may be none of the enumerators, and
// reading such a value as the enumeration is undefined in C++.
template <class Enum>
int number(const Enum& from) {
  int value = 0;
  static_assert(sizeof(value) == sizeof(from));
  std::memcpy(&value, &from, sizeof(value));
  return value;
}

hugot::FeatureExtractionOptions convert(const hugot_feature_extraction_options& from) {
  require(from.struct_size == sizeof(from), ErrorCode::kInvalidArgument, "struct_size is ",
          from.struct_size, ", expected ", sizeof(from),
          ": call hugot_feature_extraction_options_init first");
  const int pooling = number(from.pooling);
  require(pooling >= HUGOT_POOLING_MODEL && pooling <= HUGOT_POOLING_WEIGHTED_MEAN,
          ErrorCode::kInvalidArgument, "pooling ", pooling, " is not a hugot_pooling");
  const int precision = number(from.precision);
  require(precision >= HUGOT_PRECISION_MODEL && precision <= HUGOT_PRECISION_INT8,
          ErrorCode::kInvalidArgument, "precision ", precision, " is not a hugot_precision");
  hugot::FeatureExtractionOptions options;
  options.normalize = from.normalize != 0;
  if (pooling != HUGOT_POOLING_MODEL) {
    options.pooling = static_cast<hugot::Pooling>(pooling - HUGOT_POOLING_MEAN);
  }
  options.truncate_dim = from.truncate_dim;
  options.max_length = from.max_length;
  options.prompt_name = text_or_empty(from.prompt_name);
  options.output_name = text_or_empty(from.output_name);
  options.onnx_filename = text_or_empty(from.onnx_filename);
  options.precision = static_cast<hugot::Precision>(precision);
  return options;
}

static_assert(static_cast<int>(hugot::Pooling::kWeightedMean) ==
              HUGOT_POOLING_WEIGHTED_MEAN - HUGOT_POOLING_MEAN);
static_assert(static_cast<int>(hugot::Precision::kInt8) == HUGOT_PRECISION_INT8);
static_assert(static_cast<int>(ErrorCode::kInternal) == HUGOT_INTERNAL);

void require_pointer(const void* pointer, const char* name) {
  require(pointer != nullptr, ErrorCode::kInvalidArgument, name, " is NULL");
}

}  // namespace

const char* hugot_version(void) { return hugot::version().data(); }
const char* hugot_last_error(void) { return last_error; }

hugot_status hugot_session_create(int threads, hugot_session** session) {
  return guarded([&] {
    require_pointer(session, "session");
    *session = new hugot_session{hugot::Session({.threads = threads})};
  });
}

hugot_status hugot_session_create_with_cache(int threads, const char* cache_directory,
                                             hugot_session** session) {
  return guarded([&] {
    require_pointer(session, "session");
    const std::filesystem::path directory = cache_directory == nullptr
                                                ? hugot::default_cache_directory()
                                                : std::filesystem::path(cache_directory);
    *session =
        new hugot_session{hugot::Session({.threads = threads, .cache_directory = directory})};
  });
}

void hugot_session_free(hugot_session* session) { delete session; }

void hugot_feature_extraction_options_init(hugot_feature_extraction_options* options) {
  if (options == nullptr) return;
  *options = {};
  options->struct_size = sizeof(*options);
}

hugot_status hugot_feature_extraction_create(hugot_session* session, const char* model,
                                             const hugot_feature_extraction_options* options,
                                             hugot_feature_extraction** pipeline) {
  return guarded([&] {
    require_pointer(session, "session");
    require_pointer(model, "model");
    require_pointer(pipeline, "pipeline");
    *pipeline = new hugot_feature_extraction{session->session.feature_extraction(
        model, options == nullptr ? hugot::FeatureExtractionOptions{} : convert(*options))};
  });
}

void hugot_feature_extraction_free(hugot_feature_extraction* pipeline) { delete pipeline; }

size_t hugot_feature_extraction_dim(const hugot_feature_extraction* pipeline) {
  return pipeline == nullptr ? 0 : pipeline->pipeline.dim();
}

hugot_status hugot_feature_extraction_run(const hugot_feature_extraction* pipeline,
                                          const char* const* texts, const size_t* lengths,
                                          size_t count, const hugot_cancellation* cancellation,
                                          hugot_embeddings** embeddings) {
  return guarded([&] {
    require_pointer(pipeline, "pipeline");
    require_pointer(embeddings, "embeddings");
    if (count > 0) require_pointer(texts, "texts");
    std::vector<std::string_view> views(count);
    for (size_t i = 0; i < count; ++i) {
      require(texts[i] != nullptr, ErrorCode::kInvalidArgument, "text ", i, " is NULL");
      views[i] =
          lengths == nullptr ? std::string_view(texts[i]) : std::string_view(texts[i], lengths[i]);
    }
    std::stop_token stop;
    if (cancellation != nullptr) stop = cancellation->source.get_token();
    auto result = pipeline->pipeline.run(std::span<const std::string_view>(views), stop);
    *embeddings = new hugot_embeddings{std::move(result)};
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

hugot_status hugot_cancellation_create(hugot_cancellation** cancellation) {
  return guarded([&] {
    require_pointer(cancellation, "cancellation");
    *cancellation = new hugot_cancellation;
  });
}

void hugot_cancellation_request(hugot_cancellation* cancellation) {
  if (cancellation != nullptr) cancellation->source.request_stop();
}

void hugot_cancellation_free(hugot_cancellation* cancellation) { delete cancellation; }
