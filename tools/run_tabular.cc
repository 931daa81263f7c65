// tabular.
#include <algorithm>
#include <limits>

#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

using Json = nlohmann::json;

TabularValue value_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return std::numeric_limits<double>::quiet_NaN();
    case Json::value_t::boolean:
      return static_cast<int64_t>(value.get<bool>());
    case Json::value_t::number_integer:
      return value.get<int64_t>();
    case Json::value_t::number_unsigned:
      if (value.get<uint64_t>() <= INT64_MAX) return value.get<int64_t>();
      return value.get<double>();
    case Json::value_t::number_float:
      return value.get<double>();
    case Json::value_t::string:
      return value.get<std::string>();
    default:
      fail(ErrorCode::kInvalidData, "a column has to be a number, a string or null, it is of type ",
           value.type_name());
  }
}

TabularRow row_of(const Json& input) {
  TabularRow row;
  if (input.is_object()) {
    for (const auto& [name, value] : input.items()) {
      const Json list = value.is_array() ? value : Json::array({value});
      for (const Json& item : list) {
        row.names.push_back(name);
        row.values.push_back(value_of(item));
      }
    }
    require(!row.values.empty(), ErrorCode::kInvalidData, "\"input\" is empty");
  } else if (input.is_array()) {
    for (const Json& item : input) row.values.push_back(value_of(item));
  } else {
    row.values.push_back(value_of(input));
  }
  return row;
}

class Table : public RowPipeline {
 public:
  explicit Table(Tabular pipeline) : pipeline_(std::move(pipeline)) {
    const auto inputs = pipeline_.inputs();
    has_text_ = std::any_of(inputs.begin(), inputs.end(), [](const TabularInput& input) {
      return input.type == TabularInput::Type::kText;
    });
  }

  void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const override {
    std::vector<TabularRow> table;
    const auto good = parse_rows(rows, [&](Row& row) {
      const Json& input = row.json->at("input");
      if (!input.is_string() || has_text_) return table.push_back(row_of(input));
      // Hugot takes a list as text.
      const Json list = Json::parse(input.get_ref<const std::string&>(), nullptr, false);
      require(list.is_array(), ErrorCode::kInvalidData,
              "\"input\" has to be a list of numbers or an object of columns");
      table.push_back(row_of(list));
    });
    const bool go = style == JsonStyle::kGo;
    store_outcomes(good, pipeline_.run(table, stop),
                   [&](std::string& out, const TabularResult& result, size_t) {
                     JsonList json(out, style);
                     if (result.labels.empty()) return append_values(json, result.values);
                     (go ? append_hugot : append_hf)(json, result);
                   });
  }
  PipelineStatistics statistics() const override { return pipeline_.statistics(); }

 private:
  static void append_values(JsonList& json, const std::vector<double>& values) {
    if (values.size() == 1) return json.number(values[0]);
    json.open('[');
    for (const double value : values) json.next().number(value);
    json.close(']');
  }
  static void append_hf(JsonList& json, const TabularResult& result) {
    auto labels = result.labels;
    std::stable_sort(labels.begin(), labels.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    append_labels(json, labels, "label", "score");
  }
  static void append_hugot(JsonList& json, const TabularResult& result) {
    json.open('{').key("PredictedClass").text(result.predicted);
    json.key("Probabilities");
    append_labels(json, result.labels, "Label", "Score");
    json.close('}');
  }
  static void append_labels(JsonList& json, const std::vector<ScoredLabel>& labels,
                            std::string_view label_key, std::string_view score_key) {
    json.open('[');
    for (const ScoredLabel& label : labels) {
      json.next().open('{');
      json.key(label_key).text(label.label);
      json.key(score_key).number(label.score);
      json.close('}');
    }
    json.close(']');
  }

  Tabular pipeline_;
  bool has_text_ = false;
};

}  // namespace

std::unique_ptr<RowPipeline> load_tabular(const RunOptions& options, Session& session) {
  TabularOptions pipeline;
  pipeline.function = function_from_name(options.function);
  pipeline.onnx_filename = options.onnx_filename;
  require(options.precision == "model" || options.precision == "fp32", ErrorCode::kUnsupported,
          "--precision ", options.precision, ": tables are computed in the types of the graph");
  require(options.max_length == 0, ErrorCode::kInvalidArgument,
          "--max-length: rows of tables have no length");
  return std::make_unique<Table>(session.tabular(model_of(options), pipeline));
}

}  // namespace hugot::tools
