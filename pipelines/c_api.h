// What the files of the C interface share. How a pipeline gets its C functions:
//
//  - include/hugot/c_FAMILY.h: handles, options with struct_size as first member, functions.
//  - struct hugot_PIPELINE { hugot::Pipeline pipeline; }; the same for its result.
//  - convert(options): check_size(), enumerator() for every enumeration, model_options().
//  - create() and run() with the templates below; run() fills its result with the C++ result as it
//    is. statistics(), outputs() and free are one line each.
//  - Accessors of results: cell() gives null for indices out of range.
//  - A case in c_api_test.cc that passes NULL, a wrong struct_size and numbers that are none of the
//    enumeration; the table at the end of docs/user_guide.md.
#ifndef HUGOT_PIPELINES_C_API_H_
#define HUGOT_PIPELINES_C_API_H_

#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hugot/hugot.h"
#include "hugot/hugot.hpp"

struct hugot_session {
  hugot::Session session;
};
struct hugot_cancellation {
  std::stop_source source;
};
struct hugot_outputs {
  std::vector<hugot::ModelOutput> outputs;
};
// Results of several pipelines.
struct hugot_labels {
  std::vector<hugot::Outcome<std::vector<hugot::ScoredLabel>>> rows;
};
struct hugot_embeddings {
  hugot::EmbeddingResult result;
};

namespace hugot::c_api {

// Sets what hugot_last_error() gives in this thread.
void remember(const char* text) noexcept;

// Calls `body` and turns what it throws into a status.
template <class Body>
hugot_status guarded(Body&& body) noexcept {
  try {
    remember("");
    body();
    return HUGOT_OK;
  } catch (const Error& error) {
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

void require_pointer(const void* pointer, const char* name);
std::string text_or_empty(const char* text);
// Texts of the caller. Throws kInvalidArgument for NULL.
std::vector<std::string_view> texts_of(const char* const* texts, const size_t* lengths,
                                       size_t count);
// The same with pairs, all or some of which may be missing.
std::vector<TextPair> pairs_of(const char* const* texts, const size_t* lengths,
                               const char* const* pairs, const size_t* pair_lengths, size_t count);
// Texts that end with a zero byte.
std::vector<std::string> strings_of(const char* const* texts, size_t count, const char* name);
std::stop_token token_of(const hugot_cancellation* cancellation);

// The number in an enumeration that a caller of C filled: it may be none of the enumerators, and
// reading such a value as the enumeration is undefined in C++.
template <class Enum>
int number(const Enum& from) {
  int value = 0;
  static_assert(sizeof(value) == sizeof(from));
  std::memcpy(&value, &from, sizeof(value));
  return value;
}

// The same for an enumeration that goes from 0 to `last`. Throws kInvalidArgument for others.
template <class Enum>
int enumerator(const Enum& from, Enum last, const char* name) {
  const int value = number(from);
  require(value >= 0 && value <= static_cast<int>(last), ErrorCode::kInvalidArgument, name, " ",
          value, " is not a hugot_", name);
  return value;
}

static_assert(static_cast<int>(ScoreFunction::kNone) ==
              HUGOT_FUNCTION_NONE - HUGOT_FUNCTION_SOFTMAX);
inline std::optional<ScoreFunction> function_of(const hugot_function& from) {
  const int function = enumerator(from, HUGOT_FUNCTION_NONE, "function");
  if (function == HUGOT_FUNCTION_MODEL) return std::nullopt;
  return static_cast<ScoreFunction>(function - HUGOT_FUNCTION_SOFTMAX);
}

static_assert(static_cast<int>(Pooling::kWeightedMean) ==
              HUGOT_POOLING_WEIGHTED_MEAN - HUGOT_POOLING_MEAN);
inline std::optional<Pooling> pooling_of(const hugot_pooling& from) {
  const int pooling = enumerator(from, HUGOT_POOLING_WEIGHTED_MEAN, "pooling");
  if (pooling == HUGOT_POOLING_MODEL) return std::nullopt;
  return static_cast<Pooling>(pooling - HUGOT_POOLING_MEAN);
}

// Of options and other structs that the caller allocates; `type` is their name in C.
template <class Struct>
void check_size(const Struct& from, const char* type) {
  require(from.struct_size == sizeof(from), ErrorCode::kInvalidArgument, "struct_size is ",
          from.struct_size, ", expected ", sizeof(from), ": call ", type, "_init first");
}

template <class Options>
ModelOptions model_options(const Options& from) {
  ModelOptions options;
  options.max_length = from.max_length;
  options.onnx_filename = text_or_empty(from.onnx_filename);
  options.precision =
      static_cast<Precision>(enumerator(from.precision, HUGOT_PRECISION_INT8, "precision"));
  return options;
}

// Sets everything to 0 but struct_size; NULL is accepted, and false the result.
template <class Struct>
bool init(Struct* value) {
  if (value == nullptr) return false;
  *value = {};
  value->struct_size = sizeof(*value);
  return true;
}

// `load(session, model)` returns the C++ pipeline.
template <class Handle, class Load>
hugot_status create(hugot_session* session, const char* model, Handle** pipeline, Load&& load) {
  return guarded([&] {
    require_pointer(session, "session");
    require_pointer(model, "model");
    require_pointer(pipeline, "pipeline");
    *pipeline = new Handle{load(session->session, model)};
  });
}

// `work(C++ pipeline)` returns what the result's handle holds.
template <class Handle, class Result, class Work>
hugot_status run(const Handle* pipeline, Result** result, Work&& work) {
  return guarded([&] {
    require_pointer(pipeline, "pipeline");
    require_pointer(result, "the place of the result");
    *result = new Result{work(pipeline->pipeline)};
  });
}

void fill(const PipelineStatistics& from, hugot_statistics* to);

template <class Handle>
hugot_status statistics(const Handle* pipeline, hugot_statistics* statistics) {
  return guarded([&] {
    require_pointer(pipeline, "pipeline");
    fill(pipeline->pipeline.statistics(), statistics);
  });
}

template <class Handle>
hugot_status outputs(const Handle* pipeline, hugot_outputs** outputs) {
  return run(pipeline, outputs, [](const auto& loaded) { return loaded.outputs(); });
}

// Of result handles whose `rows` are Outcomes.
template <class Result>
const char* error_of(const Result* result, size_t row) {
  if (result == nullptr || row >= result->rows.size()) return nullptr;
  const std::string& text = result->rows[row].error;
  return text.empty() ? nullptr : text.c_str();
}
template <class Result>
size_t row_count(const Result* result) {
  return result == nullptr ? 0 : result->rows.size();
}
template <class Result>
size_t cell_count(const Result* result, size_t row) {
  return row < row_count(result) ? result->rows[row].value.size() : 0;
}
template <class Result>
auto cell(const Result* result, size_t row, size_t index) {
  return index < cell_count(result, row) ? &result->rows[row].value[index] : nullptr;
}

}  // namespace hugot::c_api

#endif  // HUGOT_PIPELINES_C_API_H_
