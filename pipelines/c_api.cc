// The C interface: what all pipelines share. No exception leaves.
#include "pipelines/c_api.h"

namespace hugot::c_api {
namespace {

// std::string may fail to allocate, so the text of an error has a fixed place.
thread_local char last_error[2048];

std::string_view text_of(const char* const* texts, const size_t* lengths, size_t i) {
  return lengths == nullptr ? std::string_view(texts[i]) : std::string_view(texts[i], lengths[i]);
}

static_assert(static_cast<int>(Precision::kInt8) == HUGOT_PRECISION_INT8);
static_assert(static_cast<int>(ErrorCode::kInternal) == HUGOT_INTERNAL);

}  // namespace

void remember(const char* text) noexcept {
  std::strncpy(last_error, text, sizeof(last_error) - 1);
  last_error[sizeof(last_error) - 1] = '\0';
}

void require_pointer(const void* pointer, const char* name) {
  require(pointer != nullptr, ErrorCode::kInvalidArgument, name, " is NULL");
}

std::string text_or_empty(const char* text) { return text == nullptr ? std::string() : text; }

std::vector<std::string_view> texts_of(const char* const* texts, const size_t* lengths,
                                       size_t count) {
  std::vector<std::string_view> views;
  if (count > 0) require_pointer(texts, "texts");
  views.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    require(texts[i] != nullptr, ErrorCode::kInvalidArgument, "text ", i, " is NULL");
    views.push_back(text_of(texts, lengths, i));
  }
  return views;
}

std::vector<TextPair> pairs_of(const char* const* texts, const size_t* lengths,
                               const char* const* pairs, const size_t* pair_lengths, size_t count) {
  std::vector<TextPair> out;
  out.reserve(count);
  for (const std::string_view text : texts_of(texts, lengths, count)) out.push_back({text, {}});
  if (pairs == nullptr) return out;
  for (size_t i = 0; i < count; ++i) {
    if (pairs[i] != nullptr) out[i].pair = text_of(pairs, pair_lengths, i);
  }
  return out;
}

std::vector<std::string> strings_of(const char* const* texts, size_t count, const char* name) {
  std::vector<std::string> out;
  if (count > 0) require_pointer(texts, name);
  for (size_t i = 0; i < count; ++i) {
    require(texts[i] != nullptr, ErrorCode::kInvalidArgument, name, ": number ", i, " is NULL");
    out.emplace_back(texts[i]);
  }
  return out;
}

std::stop_token token_of(const hugot_cancellation* cancellation) {
  return cancellation == nullptr ? std::stop_token() : cancellation->source.get_token();
}

void fill(const PipelineStatistics& from, hugot_statistics* to) {
  require_pointer(to, "statistics");
  check_size(*to, "hugot_statistics");
  to->texts = from.texts;
  to->tokens = from.tokens;
  to->failed_texts = from.failed_texts;
  to->tokenize_seconds = from.tokenize_seconds;
  to->model_seconds = from.model_seconds;
  to->tokenize_calls = from.tokenize_calls;
  to->model_calls = from.model_calls;
  to->sequences = from.sequences;
  to->filtered_results = from.filtered_results;
}

}  // namespace hugot::c_api

namespace c_api = hugot::c_api;

const char* hugot_version(void) { return hugot::version().data(); }
const char* hugot_last_error(void) { return c_api::last_error; }

hugot_status hugot_session_create(int threads, hugot_session** session) {
  return c_api::guarded([&] {
    c_api::require_pointer(session, "session");
    *session = new hugot_session{hugot::Session({.threads = threads})};
  });
}

hugot_status hugot_session_create_with_cache(int threads, const char* cache_directory,
                                             hugot_session** session) {
  return c_api::guarded([&] {
    c_api::require_pointer(session, "session");
    const std::filesystem::path directory = cache_directory == nullptr
                                                ? hugot::default_cache_directory()
                                                : std::filesystem::path(cache_directory);
    *session =
        new hugot_session{hugot::Session({.threads = threads, .cache_directory = directory})};
  });
}

void hugot_session_free(hugot_session* session) { delete session; }

hugot_status hugot_cancellation_create(hugot_cancellation** cancellation) {
  return c_api::guarded([&] {
    c_api::require_pointer(cancellation, "cancellation");
    *cancellation = new hugot_cancellation;
  });
}

void hugot_cancellation_request(hugot_cancellation* cancellation) {
  if (cancellation != nullptr) cancellation->source.request_stop();
}

void hugot_cancellation_free(hugot_cancellation* cancellation) { delete cancellation; }

void hugot_statistics_init(hugot_statistics* statistics) { c_api::init(statistics); }

namespace {

const hugot::ModelOutput* output_at(const hugot_outputs* outputs, size_t index) {
  return index < hugot_outputs_count(outputs) ? &outputs->outputs[index] : nullptr;
}

}  // namespace

size_t hugot_outputs_count(const hugot_outputs* outputs) {
  return outputs == nullptr ? 0 : outputs->outputs.size();
}
const char* hugot_outputs_name(const hugot_outputs* outputs, size_t index) {
  const auto* output = output_at(outputs, index);
  return output == nullptr ? nullptr : output->name.c_str();
}
const char* hugot_outputs_type(const hugot_outputs* outputs, size_t index) {
  const auto* output = output_at(outputs, index);
  return output == nullptr ? nullptr : output->type.c_str();
}
int hugot_outputs_rank(const hugot_outputs* outputs, size_t index) {
  const auto* output = output_at(outputs, index);
  return output == nullptr || !output->dims ? -1 : static_cast<int>(output->dims->size());
}
int64_t hugot_outputs_dim(const hugot_outputs* outputs, size_t index, size_t axis) {
  const auto* output = output_at(outputs, index);
  return output == nullptr || !output->dims || axis >= output->dims->size() ? -1
                                                                            : (*output->dims)[axis];
}
int hugot_outputs_used(const hugot_outputs* outputs, size_t index) {
  const auto* output = output_at(outputs, index);
  return output != nullptr && output->used ? 1 : 0;
}
void hugot_outputs_free(hugot_outputs* outputs) { delete outputs; }
