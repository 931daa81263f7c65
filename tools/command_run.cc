// hugot run: JSONL rows through a pipeline.
#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>

#include "base/error.h"
#include "hugot/hugot.hpp"
#include "models/model_directory.h"
#include "tools/command.h"
#include "tools/json_text.h"
#include "tools/row_stream.h"
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
                                                     "imageClassification",
                                                     "zeroShotImageClassification",
                                                     "objectDetection",
                                                     "tabular",
                                                     "textGeneration"};
constexpr size_t kImplementedTypes = 5;

void check(const RunOptions& options) {
  const auto type = std::find(kTypes.begin(), kTypes.end(), options.type);
  const std::vector<std::string> known(kTypes.begin(), kTypes.begin() + kImplementedTypes);
  require(type != kTypes.end(), ErrorCode::kInvalidArgument, "unknown --type '", options.type,
          "'; known types: ", list_of(known));
  require(type < kTypes.begin() + kImplementedTypes, ErrorCode::kUnsupported, "--type ",
          options.type, " is not in this version; it has: ", list_of(known));
  require_cpu(options.device);
  require(!options.resume, ErrorCode::kUnsupported,
          "--resume is not in this version; run without it, the rows are computed anew");
  require(options.output.empty() || !std::filesystem::is_regular_file(options.output),
          ErrorCode::kInvalidArgument, "--output ", options.output,
          " is a file; a folder is expected, the rows go to result_0.jsonl inside");
}

// The line that goes out for a row.
void append_line(std::string& out, const Row& row, JsonStyle style) {
  std::string member = row.error.empty() ? "\"output\":" + row.output : "\"error\":";
  if (!row.error.empty()) append_string(member, row.error, style);
  if (row.json) {
    out += row.json->with(member, {"output", "error"});
  } else {
    out += '{' + member + ",\"line\":" + std::to_string(row.place.line) + '}';
  }
  out += '\n';
}

struct Counts {
  uint64_t rows = 0;
  uint64_t failed = 0;
};

void print_stats(const Counts& counts, const PipelineStatistics& sums, int threads,
                 double load_seconds, double run_seconds) {
  std::cerr << nlohmann::ordered_json{{"rows", counts.rows},
                                      {"failed_rows", counts.failed},
                                      {"tokens", sums.tokens},
                                      {"threads", threads},
                                      {"load_seconds", load_seconds},
                                      {"run_seconds", run_seconds},
                                      {"tokenize_seconds", sums.tokenize_seconds},
                                      {"model_seconds", sums.model_seconds}}
                   .dump()
            << std::endl;
}

// Reads, runs and writes chunk by chunk. False when nobody reads the results any more.
bool run_all(const RunOptions& options, const RowPipeline& pipeline, RowReader& reader,
             const std::stop_token& stop, Counts& counts) {
  const JsonStyle style = options.format == "hf" ? JsonStyle::kPlain : JsonStyle::kGo;
  RowWriter writer(options.output);
  ProgressLine progress;
  std::vector<Row> rows;
  std::string lines;
  for (bool more = true; more && !stop.stop_requested();) {
    rows.clear();
    while (rows.size() < static_cast<size_t>(options.batch_size)) {
      const auto line = reader.next();
      more = line.has_value();
      if (!more) break;
      Row& row = rows.emplace_back();
      row.place = reader.place();
      try {
        row.json.emplace(*line);
      } catch (const Error& error) {
        row.error = error.what();
      }
    }
    pipeline.run(rows, style, stop);
    lines.clear();
    for (const Row& row : rows) {
      append_line(lines, row, style);
      ++counts.rows;
      if (row.error.empty()) continue;
      if (counts.failed++ == 0) {
        std::cerr << "hugot: " << row.place.file << ":" << row.place.line << ": " << row.error
                  << std::endl;
      }
    }
    if (!writer.write(lines)) return false;
    progress.update(counts.rows, reader.bytes_read(), reader.total_bytes());
  }
  return true;
}

int run(const RunOptions& options) {
  check(options);
  const InterruptGuard interrupt;
  RowReader reader(options.input, interrupt.descriptor());
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [](auto from, auto to) {
    return std::chrono::duration<double>(to - from).count();
  };
  Session session({.threads = options.threads, .cache_directory = options.cache});
  const auto pipeline = load_pipeline(options, session);
  const auto loaded = std::chrono::steady_clock::now();

  Counts counts;
  bool reader_gone = false;
  try {
    reader_gone = !run_all(options, *pipeline, reader, interrupt.token(), counts);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
  }
  if (options.stats) {
    print_stats(counts, pipeline->statistics(), session.threads(), seconds(start, loaded),
                seconds(loaded, std::chrono::steady_clock::now()));
  }
  if (interrupt.token().stop_requested()) {
    std::cerr << "hugot: interrupted after " << counts.rows << " rows" << std::endl;
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
  CLI::App* command = nullptr;
  RunOptions& options = add_command<RunOptions>(
      app, action, "run", "Run a pipeline over JSONL rows; each comes back with \"output\" added",
      run, command);
  const auto option = [&](std::string_view names, auto& value, const std::string& text) {
    return command->add_option(both_spellings(names), value, text);
  };
  option("--model,-p", options.model, "model directory, or the name of one below --model-folder")
      ->required();
  option("--type,-t", options.type,
         "pipeline: featureExtraction, textClassification, tokenClassification, "
         "zeroShotClassification or crossEncoder")
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
  command->add_flag("--resume", options.resume, "go on after an earlier run");
  command->add_flag("--stats", options.stats, "counters as JSON on standard error");
  option("--format", options.format, "spelling of the results: hugot or hf")
      ->check(CLI::IsMember({"hugot", "hf"}))
      ->capture_default_str();

  const char* group = "featureExtraction";
  command->add_flag("--normalize", options.normalize, "vectors of length 1")->group(group);
  option("--pooling", options.pooling,
         "mean, cls, max, last, mean-sqrt-len or weighted-mean (default: the model's own)")
      ->group(group);
  option("--truncate-dim", options.truncate_dim, "only the first N elements")
      ->check(CLI::Range(1, 1 << 30))
      ->group(group);
  option("--prompt-name", options.prompt_name, "a prompt of config_sentence_transformers.json")
      ->group(group);
  option("--output-name", options.output_name, "graph output (default: chosen from the model)")
      ->group(group);

  group = "textClassification, zeroShotClassification, crossEncoder";
  option("--top-k", options.top_k, "labels or documents with the best scores; 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->group(group);
  option("--function", options.function,
         "of the model's scores: softmax, sigmoid or none (default: the model's own)")
      ->check(CLI::IsMember({"softmax", "sigmoid", "none"}))
      ->group(group);
  command->add_flag(both_spellings("--multi-label"), options.multi_label, "each label by itself")
      ->group(group);
  option("--labels", options.labels, "labels of rows without \"labels\", separated by commas")
      ->group(group);
  option("--hypothesis-template", options.hypothesis_template, "{} stands for the label")
      ->capture_default_str()
      ->group(group);
  option("--score-threshold", options.score_threshold, "documents with less are left out")
      ->group(group);
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
  option("--offsets", options.offsets,
         "unit: codepoints or bytes (default: bytes with --format hugot, else codepoints)")
      ->check(CLI::IsMember({"codepoints", "bytes"}))
      ->group(group);
}

}  // namespace hugot::tools
