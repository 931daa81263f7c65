#include "pipelines/tabular.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"
#include "graph/passes/passes.h"
#include "models/encoder_output.h"
#include "models/model_directory.h"
#include "pipelines/model_outputs.h"
#include "pipelines/scores.h"
#include "pipelines/session.h"
#include "pipelines/stopwatch.h"

namespace hugot {
namespace {

// Rows that run at once: what a graph computes on the way can be much larger than its rows.
constexpr size_t kRowsAtOnce = 1024;

std::string name_of(const TabularInput& input) { return "column '" + input.name + "'"; }

bool is_label(DType dtype) {
  return dtype == DType::kInt64 || dtype == DType::kInt32 || dtype == DType::kString ||
         dtype == DType::kBool;
}

// Row `row` of `rows` of an output with numbers.
std::vector<float> row_of(const Tensor& tensor, size_t row, size_t rows) {
  require(tensor.size() % static_cast<int64_t>(rows) == 0, ErrorCode::kUnsupported, "an output is ",
          describe(tensor), " for ", rows, " rows");
  const int64_t width = tensor.size() / static_cast<int64_t>(rows);
  std::vector<float> buffer;
  const int64_t first = static_cast<int64_t>(row) * width;
  if (is_label(tensor.dtype()) && tensor.dtype() != DType::kString) {
    const auto numbers = to_int64s(tensor);
    return {numbers.begin() + first, numbers.begin() + first + width};
  }
  const float* data = as_floats(tensor, first, width, buffer);
  return {data, data + width};
}

int64_t to_integer(const TabularInput& input, const TabularValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return *integer;
  const auto* number = std::get_if<double>(&value);
  constexpr double kExact = 9007199254740992;  // 2^53
  require(number != nullptr && std::abs(*number) <= kExact && std::trunc(*number) == *number,
          ErrorCode::kInvalidData, name_of(input), " has to be an integer");
  return static_cast<int64_t>(*number);
}

double to_number(const TabularInput& input, const TabularValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  const auto* number = std::get_if<double>(&value);
  require(number != nullptr, ErrorCode::kInvalidData, name_of(input), " has to be a number");
  return *number;
}

template <class T>
T narrowed(const TabularInput& input, int64_t value) {
  require(value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max(),
          ErrorCode::kInvalidData, name_of(input), ": ", value, " is out of range");
  return static_cast<T>(value);
}

}  // namespace

Tabular::Impl::Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
                    const TabularOptions& options)
    : session_(std::move(session)), function_(options.function) {
  const ModelDirectory read = ModelDirectory::read(directory);
  config_labels_ = read.labels;
  const auto file = read.onnx_file(options.onnx_filename);
  LoadedModel model = load_model(file, session_->ops);
  with_context([&] { return file.string(); },
               [&] {
                 read_inputs(model.graph);
                 graph_labels_ = graph_labels(model.graph);
                 read_outputs(model);
                 PassContext context{session_->ops, {}, {}};
                 optimize_exact(model.graph, context);
                 plan_ = Plan::compile(std::move(model.graph));
               });
}

void Tabular::Impl::read_inputs(const Graph& graph) {
  require(!graph.inputs.empty(), ErrorCode::kUnsupported, "the graph has no inputs");
  for (const ValueId id : graph.inputs) {
    const Fact& fact = graph.fact(id);
    TabularInput& input = inputs_.emplace_back();
    input.name = graph.value(id).name;
    require(fact.is_tensor() && fact.rank() <= 2 && fact.rank() != 0, ErrorCode::kUnsupported,
            "input '", input.name, "' is ", fact.to_string(),
            ": columns of a table are [rows] or [rows, columns]");
    switch (fact.dtype) {
      case DType::kFloat32:
      case DType::kFloat64:
        break;
      case DType::kInt64:
      case DType::kInt32:
      case DType::kBool:
        input.type = TabularInput::Type::kInteger;
        break;
      case DType::kString:
        input.type = TabularInput::Type::kText;
        break;
      default:
        fail(ErrorCode::kUnsupported, "input '", input.name, "' is ", fact.to_string(),
             ": columns of a table are floats, integers or strings");
    }
    if (fact.rank() != 1) {
      const auto columns = fact.rank() == 2 ? (*fact.shape)[1].number() : std::optional<int64_t>();
      require(!columns || (*columns > 0 && *columns <= INT32_MAX), ErrorCode::kInvalidData,
              "input '", input.name, "' is ", fact.to_string());
      input.columns = static_cast<size_t>(columns.value_or(0));
    }
    const auto rows = fact.rank() > 0 ? (*fact.shape)[0].number() : std::nullopt;
    require(!rows || *rows == 1, ErrorCode::kUnsupported, "input '", input.name, "' is ",
            fact.to_string(), ": the number of rows has to be free, or 1");
    if (rows) row_by_row_ = true;
  }
}

void Tabular::Impl::read_outputs(const LoadedModel& model) {
  std::vector<std::string> all;
  for (const ModelPort& port : model.outputs) all.push_back(port.name);
  outputs_ = model_outputs(model, all);
  for (size_t i = 0; i < model.outputs.size(); ++i) {
    const ModelPort& port = model.outputs[i];
    if (port.fact.is_tensor() && is_label(port.fact.dtype) && choice_ < 0) {
      choice_ = static_cast<int>(i);
    } else {
      scores_.push_back(i);
      score_names_.push_back(port.name);
      if (!port.fact.is_tensor()) classifier_ = true;  // maps from labels to scores
    }
  }
  require(choice_ >= 0 || !scores_.empty(), ErrorCode::kInvalidData, "the graph has no outputs");
  if (choice_ >= 0) classifier_ = true;
  if (classifier_ || scores_.size() != 1) return;
  const Fact& fact = model.outputs[scores_[0]].fact;
  const int64_t columns = fact.rank() == 2 ? (*fact.shape)[1].number().value_or(-1) : -1;
  const auto named = [&](const std::vector<std::string>& labels) {
    return labels.size() > 1 && columns == std::ssize(labels);
  };
  classifier_ = named(config_labels_) || named(graph_labels_);
}

void Tabular::Impl::check(size_t input, const TabularValue& value) const {
  const TabularInput& to = inputs_[input];
  if (to.type == TabularInput::Type::kText) {
    const auto* text = std::get_if<std::string>(&value);
    require(text != nullptr, ErrorCode::kInvalidData, name_of(to), " has to be a text");
    require(validate_utf8(*text) == kValidUtf8, ErrorCode::kInvalidData, name_of(to),
            " is not valid UTF-8");
  } else if (to.type == TabularInput::Type::kInteger) {
    const int64_t number = to_integer(to, value);
    const DType dtype = plan_->graph().fact(plan_->graph().inputs[input]).dtype;
    if (dtype == DType::kInt32) narrowed<int32_t>(to, number);
    if (dtype == DType::kBool) {
      require(number == 0 || number == 1, ErrorCode::kInvalidData, name_of(to),
              " has to be true or false");
    }
  } else {
    const double number = to_number(to, value);
    const bool narrow = plan_->graph().fact(plan_->graph().inputs[input]).dtype == DType::kFloat32;
    require(!narrow || std::isnan(number) || std::isfinite(static_cast<float>(number)),
            ErrorCode::kInvalidData, name_of(to), ": ", number, " is beyond float32");
  }
}

Tabular::Impl::Cells Tabular::Impl::cells_of(const TabularRow& row) const {
  Cells cells(inputs_.size());
  require(row.names.empty() || row.names.size() == row.values.size(), ErrorCode::kInvalidArgument,
          "a row has ", row.values.size(), " values but ", row.names.size(), " names");
  size_t next = 0;  // input, for values without names
  for (size_t i = 0; i < row.values.size(); ++i) {
    size_t input = 0;
    if (row.names.empty()) {
      while (next < inputs_.size() && inputs_[next].columns != 0 &&
             cells[next].size() == inputs_[next].columns) {
        ++next;
      }
      require(next < inputs_.size(), ErrorCode::kInvalidData, "the row has ", row.values.size(),
              " values, the model takes ", i);
      input = next;
    } else {
      const auto it = std::find_if(inputs_.begin(), inputs_.end(), [&](const TabularInput& known) {
        return known.name == row.names[i];
      });
      if (it == inputs_.end()) {
        std::string known;
        for (const TabularInput& some : inputs_) known += (known.empty() ? "" : ", ") + some.name;
        fail(ErrorCode::kInvalidData, "the model has no column '", row.names[i], "'; it has ",
             known);
      }
      input = static_cast<size_t>(it - inputs_.begin());
    }
    check(input, row.values[i]);
    cells[input].push_back(&row.values[i]);
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const size_t wanted = inputs_[i].columns;
    require(!cells[i].empty() && (wanted == 0 || cells[i].size() == wanted),
            ErrorCode::kInvalidData, "the row has ", cells[i].size(), " values for ",
            name_of(inputs_[i]), wanted == 0 ? "" : str(", the model takes ", wanted));
  }
  return cells;
}

Tensor Tabular::Impl::column_tensor(size_t input, std::span<const Cells> rows,
                                    std::span<const size_t> which) const {
  const TabularInput& to = inputs_[input];
  const Fact& fact = plan_->graph().fact(plan_->graph().inputs[input]);
  const auto count = static_cast<int64_t>(which.size());
  const auto columns = static_cast<int64_t>(rows[which[0]][input].size());
  Tensor tensor(fact.dtype, fact.rank() == 1 ? Shape{count} : Shape{count, columns});
  const auto fill = [&]<class T>(T* data, const auto& convert) {
    for (const size_t row : which) {
      for (const TabularValue* value : rows[row][input]) *data++ = convert(*value);
    }
  };
  const auto integer = [&](const TabularValue& value) { return to_integer(to, value); };
  switch (fact.dtype) {
    case DType::kFloat32:
      fill(tensor.data<float>(),
           [&](const TabularValue& value) { return static_cast<float>(to_number(to, value)); });
      break;
    case DType::kFloat64:
      fill(tensor.data<double>(), [&](const TabularValue& value) { return to_number(to, value); });
      break;
    case DType::kInt64:
      fill(tensor.data<int64_t>(), integer);
      break;
    case DType::kInt32:
      fill(tensor.data<int32_t>(),
           [&](const TabularValue& value) { return static_cast<int32_t>(integer(value)); });
      break;
    case DType::kBool:
      fill(tensor.data<bool>(), [&](const TabularValue& value) { return integer(value) != 0; });
      break;
    default:
      fill(tensor.data<std::string>(),
           [](const TabularValue& value) { return std::get<std::string>(value); });
  }
  return tensor;
}

TabularResult Tabular::Impl::classified(std::vector<float> scores, const std::string* choice,
                                        const std::vector<std::string>& keys) const {
  TabularResult result;
  if (scores.empty()) {
    result.predicted = *choice;
    result.labels.push_back({0, *choice, 1.0});
    return result;
  }
  const auto values = apply_function(function_.value_or(ScoreFunction::kNone), scores);
  const size_t count = values.size();
  if (count == 1 && choice != nullptr && keys.empty()) {  // the score of the choice
    result.predicted = *choice;
    result.labels.push_back({0, *choice, values[0]});
    return result;
  }
  // What the model calls its classes.
  std::vector<std::string> own = keys;
  if (own.empty() && graph_labels_.size() == count) own = graph_labels_;
  if (own.empty() && score_names_.size() == count && count > 1) own = score_names_;
  for (size_t i = own.size(); i < count; ++i) own.push_back(std::to_string(i));
  const auto& shown = config_labels_.size() == count ? config_labels_ : own;
  for (size_t i = 0; i < count; ++i) result.labels.push_back({i, shown[i], values[i]});
  if (choice == nullptr) {
    const auto best = std::max_element(values.begin(), values.end()) - values.begin();
    result.predicted = shown[static_cast<size_t>(best)];
  } else {
    const auto it = std::find(own.begin(), own.end(), *choice);
    result.predicted = it == own.end() ? *choice : shown[static_cast<size_t>(it - own.begin())];
  }
  return result;
}

void Tabular::Impl::run_some(std::span<const Cells> rows, std::span<const size_t> which,
                             std::span<Outcome<TabularResult>> out,
                             const std::stop_token& stop) const {
  std::vector<Datum> inputs;
  for (size_t i = 0; i < inputs_.size(); ++i) inputs.emplace_back(column_tensor(i, rows, which));
  std::unique_ptr<Executor> executor = executors_.take();
  if (executor == nullptr) executor = std::make_unique<Executor>(plan_);
  std::vector<Datum> results;
  executor->run(inputs, results, {.pool = &session_->pool, .stop = stop});
  executors_.give(std::move(executor));

  const size_t count = which.size();
  std::vector<std::string> choices;
  if (choice_ >= 0) {
    choices = label_texts(results[static_cast<size_t>(choice_)].tensor());
    require(choices.size() == count, ErrorCode::kUnsupported, "the model gives ", choices.size(),
            " labels for ", count, " rows");
  }
  for (size_t i = 0; i < count; ++i) {
    std::vector<float> scores;
    std::vector<std::string> keys;
    for (const size_t output : scores_) {
      const Datum& datum = results[output];
      if (datum.is_tensor()) {
        const auto some = row_of(datum.tensor(), i, count);
        scores.insert(scores.end(), some.begin(), some.end());
        continue;
      }
      require(datum.kind() == Kind::kSequence && datum.items().size() == count &&
                  datum.items()[i].kind() == Kind::kMap,
              ErrorCode::kUnsupported, "an output is ", describe(datum), " for ", count, " rows");
      const Datum& map = datum.items()[i];
      const auto texts = label_texts(map.keys());
      keys.insert(keys.end(), texts.begin(), texts.end());
      for (const Datum& value : map.items()) scores.push_back(row_of(value.tensor(), 0, 1).at(0));
    }
    TabularResult& result = out[which[i]].value;
    if (classifier_) {
      result = classified(std::move(scores), choices.empty() ? nullptr : &choices[i], keys);
    } else {
      result.values = apply_function(ScoreFunction::kNone, scores);
    }
  }
}

std::vector<Outcome<TabularResult>> Tabular::Impl::run(std::span<const TabularRow> rows,
                                                       const std::stop_token& stop) const {
  const Stopwatch watch;
  std::vector<Outcome<TabularResult>> out(rows.size());
  std::vector<Cells> cells(rows.size());
  const auto guarded = [&](size_t row, const auto& work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      out[row].error = error.what();
    }
  };
  std::vector<size_t> group;
  uint64_t calls = 0;
  const auto run_group = [&] {
    if (group.empty()) return;
    ++calls;
    try {
      run_some(cells, group, out, stop);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) throw;
      // One row can spoil a batch; alone each gets its own error.
      for (const size_t row : group) guarded(row, [&] { run_some(cells, {&row, 1}, out, stop); });
    }
    group.clear();
  };
  const auto same_columns = [&](const Cells& a, const Cells& b) {
    return std::equal(a.begin(), a.end(), b.begin(),
                      [](const auto& x, const auto& y) { return x.size() == y.size(); });
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    guarded(i, [&] { cells[i] = cells_of(rows[i]); });
    if (!out[i].error.empty()) continue;
    const bool full = group.size() == (row_by_row_ ? 1 : kRowsAtOnce);
    if (full || (!group.empty() && !same_columns(cells[group[0]], cells[i]))) run_group();
    group.push_back(i);
  }
  run_group();
  const std::lock_guard lock(statistics_mutex_);
  statistics_.texts += rows.size();
  statistics_.sequences += rows.size();
  statistics_.model_calls += calls;
  for (const auto& outcome : out) statistics_.failed_texts += outcome.error.empty() ? 0 : 1;
  statistics_.model_seconds += watch.seconds();
  return out;
}

PipelineStatistics Tabular::Impl::statistics() const {
  const std::lock_guard lock(statistics_mutex_);
  return statistics_;
}

}  // namespace hugot
