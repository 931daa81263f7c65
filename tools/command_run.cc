// hugot run: JSONL rows through a pipeline.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "hugot/hugot.hpp"
#include "models/model_directory.h"
#include "tools/command.h"
#include "tools/json_text.h"
#include "tools/row_stream.h"
#include "tools/run_output.h"
#include "tools/run_pipeline.h"

namespace hugot::tools {
namespace {

// The types of the project's plan; those that this version runs come first.
constexpr std::array<std::string_view, 12> kTypes = {"featureExtraction",
                                                     "textClassification",
                                                     "tokenClassification",
                                                     "zeroShotClassification",
                                                     "crossEncoder",
                                                     "questionAnswering",
                                                     "fillMask",
                                                     "tabular",
                                                     "imageClassification",
                                                     "zeroShotImageClassification",
                                                     "objectDetection",
                                                     "textGeneration"};
constexpr size_t kImplementedTypes = 11;

// The group of a flag in the help is the list of the types that have it, and the only place where
// that is said; flags of all types are in the group that CLI11 gives them.
constexpr std::string_view kGroupOfAll = "Options";

// What changes no output: it may be another when a run is resumed.
constexpr std::array<std::string_view, 11> kWithoutInfluence = {
    "--model", "--model-folder", "--input", "--output", "--batch-size", "--threads",
    "--cache", "--resume",       "--stats", "--help",   "--type"};

// Refuses flags of other types. Returns what is given and makes a difference, by name.
std::map<std::string, std::string> given_flags(const CLI::App& command, const std::string& type) {
  std::map<std::string, std::string> given;
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0) continue;
    const std::string name = option->get_name();
    const std::vector<std::string> owners = split_list(option->get_group());
    const bool fits = option->get_group() == kGroupOfAll ||
                      std::find(owners.begin(), owners.end(), type) != owners.end();
    require(fits, ErrorCode::kInvalidArgument, name, " is no option of --type ", type, ", but of ",
            list_of(owners));
    if (std::find(kWithoutInfluence.begin(), kWithoutInfluence.end(), name) !=
        kWithoutInfluence.end()) {
      continue;
    }
    const std::string value = CLI::detail::join(option->results());
    if (value != option->get_default_str()) given[name] = value;
  }
  return given;
}

void check(const RunOptions& options) {
  const auto type = std::find(kTypes.begin(), kTypes.end(), options.type);
  const std::vector<std::string> known(kTypes.begin(), kTypes.begin() + kImplementedTypes);
  require(type != kTypes.end(), ErrorCode::kInvalidArgument, "unknown --type '", options.type,
          "'; known types: ", list_of(known));
  require(type < kTypes.begin() + kImplementedTypes, ErrorCode::kUnsupported, "--type ",
          options.type, " is not in this version; it has: ", list_of(known));
  require(!options.model.empty() || options.type == "featureExtraction",
          ErrorCode::kInvalidArgument, "--model is required for --type ", options.type,
          "; the default model is for featureExtraction only");
  require_cpu(options.device);
  require(!options.resume || !options.output.empty(), ErrorCode::kInvalidArgument,
          "--resume needs the --output of the run that it goes on with");
}

// One line. Names in lower case are this command's own, the others those of Hugot's statistics,
// with times in nanoseconds and counts of batches.
void print_stats(const RowCounts& counts, const PipelineStatistics& sums, int threads,
                 double load_seconds, double run_seconds) {
  const auto nanoseconds = [](double seconds) { return std::llround(seconds * 1e9); };
  const auto each = [](double sum, uint64_t count) {
    return count == 0 ? 0.0 : sum / static_cast<double>(count);
  };
  std::cerr << nlohmann::ordered_json{{"rows", counts.rows},
                                      {"failed_rows", counts.failed},
                                      {"tokens", sums.tokens},
                                      {"threads", threads},
                                      {"load_seconds", load_seconds},
                                      {"run_seconds", run_seconds},
                                      {"tokenize_seconds", sums.tokenize_seconds},
                                      {"model_seconds", sums.model_seconds},
                                      {"TokenizerTotalTime", nanoseconds(sums.tokenize_seconds)},
                                      {"TokenizerExecutionCount", sums.tokenize_calls},
                                      {"TokenizerAvgQueryTime",
                                       nanoseconds(
                                           each(sums.tokenize_seconds, sums.tokenize_calls))},
                                      {"OnnxTotalTime", nanoseconds(sums.model_seconds)},
                                      {"OnnxExecutionCount", sums.model_calls},
                                      {"OnnxAvgQueryTime",
                                       nanoseconds(each(sums.model_seconds, sums.model_calls))},
                                      {"TotalQueries", sums.texts},
                                      {"TotalDocuments", sums.sequences},
                                      {"AverageLatency",
                                       nanoseconds(each(sums.tokenize_seconds + sums.model_seconds,
                                                        sums.model_calls))},
                                      {"AverageBatchSize",
                                       each(static_cast<double>(sums.sequences), sums.model_calls)},
                                      {"FilteredResults", sums.filtered_results}}
                   .dump()
            << std::endl;
}

// Reads, runs and writes chunk by chunk, behind the rows of an earlier run. False when nobody reads
// the results any more.
bool run_all(const RunOptions& options, const RowPipeline& pipeline, RowReader& reader,
             RunOutput& output, std::optional<Row> next, const std::stop_token& stop,
             RowCounts& counts) {
  const JsonStyle style = json_style(options);
  ProgressLine progress(options.output.empty());
  progress.skip(counts.rows, reader.bytes_read());
  std::vector<Row> rows;
  std::string lines;
  for (bool more = true; more && !stop.stop_requested();) {
    rows.clear();
    while (rows.size() < static_cast<size_t>(options.batch_size)) {
      // Results do not depend on the batch: nobody has to wait for rows that are not there yet.
      if (!rows.empty() && !reader.ready()) break;
      if (!next) next = read_row(reader);
      more = next.has_value();
      if (!more) break;
      rows.push_back(*std::exchange(next, std::nullopt));
    }
    pipeline.run(rows, style, stop);
    lines.clear();
    RowCounts after = counts;
    for (const Row& row : rows) {
      append_line(lines, row, style);
      ++after.rows;
      if (row.error.empty()) continue;
      if (after.failed++ == 0) {
        std::cerr << "hugot: " << row.place.file << ":" << row.place.line << ": " << row.error
                  << std::endl;
      }
    }
    if (!output.write(lines)) return false;
    counts = after;
    progress.update(counts.rows, reader.bytes_read(), reader.total_bytes());
  }
  return true;
}

// What a run that did not come to its end leaves.
void tell_how_to_resume(const RunOutput& output) {
  const std::string partial = output.resumable();
  if (partial.empty()) return;
  std::cerr << "hugot: finished rows are kept in " << partial
            << "; the same command with --resume goes on" << std::endl;
}

int run(const RunOptions& options) {
  const InterruptGuard interrupt;
  RowReader reader(options.input, interrupt.descriptor(),
                   options.output.empty() ? "" : RunOutput::result_of(options.output));
  RunOutput output(options);
  RunOutput::Resumed resumed;
  try {
    resumed = output.resume(reader, json_style(options), interrupt.token());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    std::cerr << "hugot: interrupted before the first new row" << std::endl;
    return kInterrupted;
  }
  RowCounts& counts = resumed.counts;
  if (counts.rows > 0) {
    std::cerr << "hugot: going on behind " << counts.rows << " rows of an earlier run" << std::endl;
  }

  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [](auto from, auto to) {
    return std::chrono::duration<double>(to - from).count();
  };
  Session session({.threads = options.threads, .cache_directory = options.cache});
  const auto pipeline = load_pipeline(options, session);
  const auto loaded = std::chrono::steady_clock::now();
  if (const std::string warning = pipeline->warning(); !warning.empty()) {
    std::cerr << "hugot: warning: " << warning << std::endl;
  }

  bool reader_gone = false, finished = false;
  try {
    reader_gone = !run_all(options, *pipeline, reader, output, std::move(resumed.next),
                           interrupt.token(), counts);
    if (!interrupt.token().stop_requested()) {
      output.finish();
      finished = true;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) {
      tell_how_to_resume(output);
      throw;
    }
  }
  if (options.stats) {
    print_stats(counts, pipeline->statistics(), session.threads(), seconds(start, loaded),
                seconds(loaded, std::chrono::steady_clock::now()));
  }
  if (!finished) {
    std::cerr << "hugot: interrupted after " << counts.rows << " rows" << std::endl;
    tell_how_to_resume(output);
    return kInterrupted;
  }
  if (counts.failed > 1) {
    std::cerr << "hugot: " << counts.failed << " of " << counts.rows
              << " rows failed; each has its \"error\"" << std::endl;
  }
  return counts.failed > 0 || reader_gone ? kSomeFailed : kDone;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  const auto owned = std::make_shared<RunOptions>();
  RunOptions& options = *owned;
  CLI::App* const command = app.add_subcommand(
      "run", "Run a pipeline over JSONL rows; each comes back with \"output\" added");
  const auto option = [&](std::string_view names, auto& value, const std::string& text) {
    return command->add_option(both_spellings(names), value, text);
  };
  option(
      "--model,-p", options.model,
      "model directory, or the name of one below --model-folder (featureExtraction: default, the "
      "model that comes with hugot)");
  option("--type,-t", options.type,
         "pipeline: " + list_of({kTypes.begin(), kTypes.begin() + kImplementedTypes}))
      ->required();
  option("--input,-i", options.input, "a .jsonl file or a folder of them; without: standard input");
  option("--output,-o", options.output, "folder for result_0.jsonl; without: standard output");
  option("--batch-size,-b", options.batch_size, "rows that are read and run together")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  option("--onnx-filename,-n", options.onnx_filename, "graph, relative to the model directory");
  option("--model-folder,-f", options.model_folder,
         "where names are looked up (default: ~/hugot/models, ~/hugot)");
  option("--device", options.device, "cpu")->capture_default_str();
  option("--threads", options.threads, "0: all processors")->check(CLI::Range(0, 4096));
  option("--max-length", options.max_length, "tokens a text is cut to (default: the model's limit)")
      ->check(CLI::Range(1, 1 << 30));
  option("--precision", options.precision,
         "of linear layers: fp32, bf16, int8, or what the model says")
      ->check(kPrecisionNames)
      ->capture_default_str();
  option("--cache", options.cache, kCacheText)->capture_default_str();
  command->add_flag("--resume", options.resume,
                    "go on where an earlier run with this --output ended");
  command->add_flag("--stats", options.stats, "counters as JSON on standard error");
  option("--format", options.format, "spelling of the results: hugot or hf")
      ->check(CLI::IsMember({"hugot", "hf"}))
      ->capture_default_str();

  const char* group = "featureExtraction";
  command->add_flag("--normalize", options.normalize, "vectors of length 1")->group(group);
  option("--pooling", options.pooling,
         "mean, cls, max, last, mean-sqrt-len, weighted-mean, or none for a vector per token "
         "(default: the model's own)")
      ->group(group);
  option("--truncate-dim", options.truncate_dim, "only the first N elements")
      ->check(CLI::Range(1, 1 << 30))
      ->group(group);
  option("--prompt-name", options.prompt_name, "a prompt of config_sentence_transformers.json")
      ->group(group);
  option("--quantize", options.quantize, "elements of the vectors: int8, binary or ubinary")
      ->check(CLI::IsMember({"int8", "binary", "ubinary"}))
      ->group(group);
  option("--output-name", options.output_name, "graph output (default: chosen from the model)")
      ->group(group);
  command
      ->add_flag("--image", options.image,
                 "\"input\" is the path of an image (default: when the model takes nothing else)")
      ->group(group);

  group =
      "textClassification, crossEncoder, questionAnswering, fillMask, imageClassification, "
      "objectDetection";
  option("--top-k", options.top_k,
         "results with the best scores; labels, documents or boxes, 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->group(group);

  group = "textClassification, crossEncoder, tabular, imageClassification";
  option("--function", options.function,
         "of the model's scores: softmax, sigmoid or none (default: the model's own)")
      ->check(CLI::IsMember({"softmax", "sigmoid", "none"}))
      ->group(group);

  group = "textClassification, zeroShotClassification";
  command->add_flag(both_spellings("--multi-label"), options.multi_label, "each label by itself")
      ->group(group);

  group = "zeroShotClassification, zeroShotImageClassification";
  option("--labels", options.labels, "labels of rows without \"labels\", separated by commas")
      ->group(group);
  option("--hypothesis-template", options.hypothesis_template,
         "{} stands for the label (default: 'This example is {}.', of images 'This is a photo of "
         "{}.')")
      ->group(group);

  group = "crossEncoder, objectDetection";
  option("--score-threshold", options.score_threshold, "documents and boxes with less are left out")
      ->group(group);

  group = "crossEncoder";
  command->add_flag(both_spellings("--no-sort"), options.no_sort, "documents in their own order")
      ->group(group);

  group = "tokenClassification";
  option("--aggregation", options.aggregation, "none, simple, first, average or max")
      ->check(CLI::IsMember({"none", "simple", "first", "average", "max"}))
      ->capture_default_str()
      ->group(group);
  option("--ignore-labels", options.ignore_labels, "entities to leave out, separated by commas")
      ->capture_default_str()
      ->group(group);
  option("--stride", options.stride,
         "cut long texts into windows that share N tokens (default: their end is lost)")
      ->check(CLI::Range(0, 1 << 30))
      ->group(group);

  group = "tokenClassification, questionAnswering";
  option("--offsets", options.offsets,
         "unit: codepoints or bytes (default: bytes with --format hugot, else codepoints)")
      ->check(CLI::IsMember({"codepoints", "bytes"}))
      ->group(group);

  group = "questionAnswering";
  option("--max-answer-length", options.max_answer_length, "tokens of an answer at most")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str()
      ->group(group);
  option("--max-question-length", options.max_question_length,
         "without influence, as in transformers: questions are never cut")
      ->check(CLI::Range(1, 1 << 30))
      ->group(group);
  option("--doc-stride", options.doc_stride,
         "tokens that windows of a long context share (default: half a window, at most 128)")
      ->check(CLI::Range(0, 1 << 30))
      ->group(group);
  command
      ->add_flag(both_spellings("--impossible-answer"), options.impossible_answer,
                 "the empty answer is possible, too")
      ->group(group);
  command
      ->add_flag(both_spellings("--no-align-to-words"), options.no_align_to_words,
                 "answers may begin and end within words")
      ->group(group);

  group = "fillMask";
  option("--targets", options.targets, "only these tokens, separated by commas")->group(group);

  command->callback([owned, &action, command] {
    action = [owned, command] {
      check(*owned);
      owned->given = given_flags(*command, owned->type);
      return run(*owned);
    };
  });
}

}  // namespace hugot::tools
