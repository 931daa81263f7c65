// The pipelines that `hugot run` knows, as functions from rows to JSON.
#ifndef HUGOT_TOOLS_RUN_PIPELINE_H_
#define HUGOT_TOOLS_RUN_PIPELINE_H_

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hugot/hugot.hpp"
#include "models/model_directory.h"
#include "tools/json_row.h"
#include "tools/json_text.h"
#include "tools/row_stream.h"

namespace hugot::tools {

// What the command line says; options of one type after the common ones.
struct RunOptions {
  std::string model;
  std::string type;
  std::string input;
  std::string output;
  int batch_size = 256;
  std::string onnx_filename;
  std::string model_folder;
  std::string device = "cpu";
  int threads = 0;
  int max_length = 0;
  std::string precision = "model";
  std::string cache = default_cache_directory().string();
  bool resume = false;
  bool stats = false;
  std::string format = "hugot";

  // Flags of the command line that change results, with their text.
  std::map<std::string, std::string> given;

  // featureExtraction
  bool normalize = false;
  std::string pooling;
  int truncate_dim = 0;
  std::string prompt_name;
  std::string output_name;
  bool image = false;
  std::string quantize;

  // textClassification, zeroShotClassification, crossEncoder
  std::optional<int> top_k;
  std::string function;
  bool multi_label = false;
  std::string labels;
  std::optional<std::string> hypothesis_template;
  std::optional<double> score_threshold;
  bool no_sort = false;

  // tokenClassification
  std::string aggregation = "simple";
  std::string ignore_labels = "O";
  std::optional<int> stride;
  std::string offsets;  // questionAnswering, too

  // questionAnswering
  int max_answer_length = 15;
  int max_question_length = 64;  // has no influence, see docs/pipelines/question_answering.md
  std::optional<int> doc_stride;
  bool impossible_answer = false;
  bool no_align_to_words = false;

  // fillMask
  std::string targets;
};

// A row on its way: what came in, and the value to add.
struct Row {
  std::optional<JsonRow> json;  // empty when the line could not be parsed
  RowPlace place;
  std::string error;
  std::string output;  // JSON
};

class RowPipeline {
 public:
  virtual ~RowPipeline() = default;
  // Gives every row without an error its output or an error. Throws kCancelled.
  virtual void run(std::vector<Row>& rows, JsonStyle style, const std::stop_token& stop) const = 0;
  virtual PipelineStatistics statistics() const = 0;
  // What the user should know about the model; empty: nothing.
  virtual std::string warning() const { return {}; }
};

// The pipeline of --type, loaded. REQUIRES: the type is one that there is.
std::unique_ptr<RowPipeline> load_pipeline(const RunOptions& options, Session& session);

// One function per family, in the file of its name.
std::unique_ptr<RowPipeline> load_embedding(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_text_classification(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_zero_shot(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_cross_encoder(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_entities(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_question_answering(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_fill_mask(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_tabular(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_image_classification(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_object_detection(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_zero_shot_images(const RunOptions& options, Session& session);
std::unique_ptr<RowPipeline> load_image_embedding(const RunOptions& options, Session& session);
// Whether featureExtraction is about images: asked for, or the graph takes nothing else.
bool embeds_images(const RunOptions& options);
// Vectors to the rows that they belong to.
void store_vectors(const EmbeddingResult& result, const std::vector<Row*>& rows,
                   const std::string& quantize, JsonStyle style);

// How the results are spelled.
inline JsonStyle json_style(const RunOptions& options) {
  return options.format == "hf" ? JsonStyle::kPlain : JsonStyle::kGo;
}
std::filesystem::path model_of(const RunOptions& options);
ModelOptions model_options(const RunOptions& options);
// Parts between commas, without the blanks around them; empty ones are left out.
std::vector<std::string> split_list(std::string_view list);
// The unit of --offsets; what the format has without that.
bool offsets_in_bytes(const RunOptions& options);
std::optional<ScoreFunction> function_from_name(std::string_view name);
// Of a member that may be missing.
std::optional<std::string> optional_text(const JsonRow& row, std::string_view key);

// Calls parse(row) for each row without an error; what it throws becomes the row's error. Returns
// the others.
template <class Parse>
std::vector<Row*> parse_rows(std::vector<Row>& rows, Parse&& parse) {
  std::vector<Row*> good;
  for (Row& row : rows) {
    if (!row.error.empty()) continue;
    try {
      parse(row);
      good.push_back(&row);
    } catch (const Error& error) {
      row.error = error.what();
    }
  }
  return good;
}

// Moves the outcomes to the rows; `append(out, value, i)` writes a value as JSON.
template <class T, class Append>
void store_outcomes(const std::vector<Row*>& rows, const std::vector<Outcome<T>>& outcomes,
                    Append&& append) {
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i]->error = outcomes[i].error;
    if (rows[i]->error.empty()) append(rows[i]->output, outcomes[i].value, i);
  }
}

// What the zero-shot pipelines read from a row.
struct LabelTask {
  std::string input;  // the text, or the path of the image
  std::vector<std::string> labels;
  std::string hypothesis_template;
};
LabelTask label_task(const JsonRow& row);
// A list of labels with their scores; with_ids: Hugot's ClassIndex, too.
void append_labels(std::string& out, std::span<const ScoredLabel> labels, JsonStyle style,
                   bool with_ids = false);

// A JSON object or list, member by member.
class JsonList {
 public:
  JsonList(std::string& out, JsonStyle style) : out_(out), style_(style) {}

  JsonList& open(char bracket) {
    out_ += bracket;
    first_ = true;
    return *this;
  }
  JsonList& close(char bracket) {
    out_ += bracket;
    first_ = false;
    return *this;
  }
  // The comma before the next member or item, where it needs one.
  JsonList& next() {
    if (!first_) out_ += ',';
    first_ = false;
    return *this;
  }
  // `name` needs no escapes.
  JsonList& key(std::string_view name) {
    next();
    out_.append("\"").append(name).append("\":");
    return *this;
  }
  void text(std::string_view value) { append_string(out_, value, style_); }
  // As float32, which is what models compute in.
  void number(double value) { append_float(out_, static_cast<float>(value), style_); }
  void count(size_t value) { out_ += std::to_string(value); }
  void raw(std::string_view json) { out_ += json; }

 private:
  std::string& out_;
  JsonStyle style_;
  bool first_ = true;
};

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_RUN_PIPELINE_H_
