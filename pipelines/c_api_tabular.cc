// The C interface of tables.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "hugot/c_tabular.h"
#include "pipelines/c_api.h"

struct hugot_tabular {
  hugot::Tabular pipeline;
};
struct hugot_predictions {
  std::vector<hugot::Outcome<hugot::TabularResult>> rows;
};

namespace c_api = hugot::c_api;

namespace {

using hugot::TabularInput;
using hugot::TabularValue;

hugot::TabularOptions convert(const hugot_tabular_options* from) {
  hugot::TabularOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_tabular_options");
  options.function = c_api::function_of(from->function);
  options.onnx_filename = c_api::text_or_empty(from->onnx_filename);
  return options;
}

// The type of each of `columns` values in the order of the inputs; those beyond the last input are
// numbers, and an error of the row.
std::vector<TabularInput::Type> types_of(const hugot::Tabular& pipeline, size_t columns) {
  std::vector<TabularInput::Type> types;
  for (const TabularInput& input : pipeline.inputs()) {
    const size_t left = columns - types.size();
    types.insert(types.end(), input.columns == 0 ? left : std::min(left, input.columns),
                 input.type);
  }
  types.resize(columns, TabularInput::Type::kNumber);
  return types;
}

// A number as what the column takes; one that is no integer stays, for the pipeline to refuse it.
TabularValue value_of(double number, TabularInput::Type type) {
  constexpr double kLimit = 9.2e18;
  if (type == TabularInput::Type::kInteger && number == std::trunc(number) &&
      std::abs(number) < kLimit) {
    return static_cast<int64_t>(number);
  }
  return number;
}

TabularValue value_of(const char* text, TabularInput::Type type) {
  const std::string_view view = text;
  if (type == TabularInput::Type::kText) return std::string(view);
  double number = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
  if (error != std::errc() || end != view.data() + view.size()) return std::string(view);
  return value_of(number, type);
}

template <class Value>
hugot_status run(const hugot_tabular* pipeline, const Value* values, size_t count, size_t columns,
                 const hugot_cancellation* cancellation, hugot_predictions** predictions) {
  return c_api::run(pipeline, predictions, [&](const hugot::Tabular& loaded) {
    if (count > 0 && columns > 0) c_api::require_pointer(values, "values");
    const auto types = types_of(loaded, columns);
    std::vector<hugot::TabularRow> rows(count);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j < columns; ++j) {
        if constexpr (std::is_pointer_v<Value>)
          c_api::require_pointer(values[i * columns + j], "a value");
        rows[i].values.push_back(value_of(values[i * columns + j], types[j]));
      }
    }
    return loaded.run(rows, c_api::token_of(cancellation));
  });
}

const hugot::TabularResult* result(const hugot_predictions* predictions, size_t row) {
  return row < c_api::row_count(predictions) ? &predictions->rows[row].value : nullptr;
}

}  // namespace

void hugot_tabular_options_init(hugot_tabular_options* options) { c_api::init(options); }

hugot_status hugot_tabular_create(hugot_session* session, const char* model,
                                  const hugot_tabular_options* options, hugot_tabular** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.tabular(name, convert(options));
  });
}

void hugot_tabular_free(hugot_tabular* pipeline) { delete pipeline; }

hugot_status hugot_tabular_statistics(const hugot_tabular* pipeline, hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_tabular_outputs(const hugot_tabular* pipeline, hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_tabular_run_numbers(const hugot_tabular* pipeline, const double* values,
                                       size_t count, size_t columns,
                                       const hugot_cancellation* cancellation,
                                       hugot_predictions** predictions) {
  return run(pipeline, values, count, columns, cancellation, predictions);
}

hugot_status hugot_tabular_run_texts(const hugot_tabular* pipeline, const char* const* values,
                                     size_t count, size_t columns,
                                     const hugot_cancellation* cancellation,
                                     hugot_predictions** predictions) {
  return run(pipeline, values, count, columns, cancellation, predictions);
}

size_t hugot_predictions_rows(const hugot_predictions* predictions) {
  return c_api::row_count(predictions);
}
const char* hugot_predictions_error(const hugot_predictions* predictions, size_t row) {
  return c_api::error_of(predictions, row);
}
const char* hugot_predictions_choice(const hugot_predictions* predictions, size_t row) {
  const auto* found = result(predictions, row);
  return found == nullptr ? nullptr : found->predicted.c_str();
}
size_t hugot_predictions_labels(const hugot_predictions* predictions, size_t row) {
  const auto* found = result(predictions, row);
  return found == nullptr ? 0 : found->labels.size();
}
const char* hugot_predictions_label(const hugot_predictions* predictions, size_t row,
                                    size_t index) {
  return index < hugot_predictions_labels(predictions, row)
             ? result(predictions, row)->labels[index].label.c_str()
             : nullptr;
}
double hugot_predictions_score(const hugot_predictions* predictions, size_t row, size_t index) {
  return index < hugot_predictions_labels(predictions, row)
             ? result(predictions, row)->labels[index].score
             : 0;
}
size_t hugot_predictions_values(const hugot_predictions* predictions, size_t row) {
  const auto* found = result(predictions, row);
  return found == nullptr ? 0 : found->values.size();
}
double hugot_predictions_value(const hugot_predictions* predictions, size_t row, size_t index) {
  return index < hugot_predictions_values(predictions, row)
             ? result(predictions, row)->values[index]
             : 0;
}
void hugot_predictions_free(hugot_predictions* predictions) { delete predictions; }
