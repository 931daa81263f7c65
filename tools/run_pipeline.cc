#include "tools/run_pipeline.h"

#include <map>

#include "models/default_model.h"
#include "tools/command.h"

namespace hugot::tools {

std::unique_ptr<RowPipeline> load_pipeline(const RunOptions& options, Session& session) {
  static const std::map<std::string_view,
                        std::unique_ptr<RowPipeline> (*)(const RunOptions&, Session&)>
      kLoaders = {{"featureExtraction", load_embedding},
                  {"textClassification", load_text_classification},
                  {"zeroShotClassification", load_zero_shot},
                  {"crossEncoder", load_cross_encoder},
                  {"tokenClassification", load_entities},
                  {"questionAnswering", load_question_answering},
                  {"fillMask", load_fill_mask},
                  {"tabular", load_tabular},
                  {"imageClassification", load_image_classification},
                  {"zeroShotImageClassification", load_zero_shot_images},
                  {"objectDetection", load_object_detection}};
  return kLoaders.at(options.type)(options, session);
}

std::filesystem::path model_of(const RunOptions& options) {
  if (options.model.empty()) return find_default_model();
  return find_model(options.model, options.model_folder);
}

ModelOptions model_options(const RunOptions& options) {
  return {options.max_length, options.onnx_filename, precision_from_name(options.precision)};
}

std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view part = list.substr(0, comma);
    const size_t begin = part.find_first_not_of(" \t\r\n");
    if (begin != std::string_view::npos) {
      parts.emplace_back(part.substr(begin, part.find_last_not_of(" \t\r\n") + 1 - begin));
    }
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return parts;
}

bool offsets_in_bytes(const RunOptions& options) {
  return options.offsets.empty() ? options.format == "hugot" : options.offsets == "bytes";
}

std::optional<ScoreFunction> function_from_name(std::string_view name) {
  if (name == "softmax") return ScoreFunction::kSoftmax;
  if (name == "sigmoid") return ScoreFunction::kSigmoid;
  if (name == "none") return ScoreFunction::kNone;
  return std::nullopt;
}

std::optional<std::string> optional_text(const JsonRow& row, std::string_view key) {
  if (!row.has(key)) return std::nullopt;
  return row.text(key);
}

LabelTask label_task(const JsonRow& row) {
  LabelTask task;
  task.input = row.text("input");
  if (row.has("labels")) {
    task.labels =
        row.at("labels").is_string() ? split_list(row.text("labels")) : row.texts("labels");
    require(!task.labels.empty(), ErrorCode::kInvalidData, "\"labels\" is empty");
  }
  task.hypothesis_template = optional_text(row, "hypothesis_template").value_or("");
  return task;
}

void append_labels(std::string& out, std::span<const ScoredLabel> labels, JsonStyle style,
                   bool with_ids) {
  const bool go = style == JsonStyle::kGo;
  JsonList json(out, style);
  json.open('[');
  for (const ScoredLabel& label : labels) {
    json.next().open('{').key(go ? "Label" : "label").text(label.label);
    json.key(go ? "Score" : "score").number(label.score);
    if (go && with_ids) json.key("ClassIndex").count(label.id);
    json.close('}');
  }
  json.close(']');
}

}  // namespace hugot::tools
