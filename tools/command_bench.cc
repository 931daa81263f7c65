// hugot bench: how fast models and kernels are.
#include "base/error.h"
#include "tools/bench.h"
#include "tools/command.h"

namespace hugot::tools {
namespace {

struct Options {
  ModelBenchOptions model;
  KernelBenchOptions kernels;
  TokenizeBenchOptions tokenize;
  TrainBenchOptions train;
  const CLI::App* kernels_command = nullptr;
  const CLI::App* tokenize_command = nullptr;
  const CLI::App* train_command = nullptr;
};

int bench(const Options& options) {
  if (options.kernels_command->parsed()) return bench_kernels(options.kernels);
  if (options.tokenize_command->parsed()) return bench_tokenize(options.tokenize);
  if (options.train_command->parsed()) return bench_train(options.train);
  require(!options.model.model.empty(), ErrorCode::kInvalidArgument, "--model is required");
  require(options.model.seconds == 0 || options.model.rounds == 0, ErrorCode::kInvalidArgument,
          "--seconds and --rounds exclude each other");
  require(options.model.callers == 1 || options.model.one_by_one, ErrorCode::kInvalidArgument,
          "--callers needs --one-by-one");
  return bench_model(options.model);
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "bench", "Speed of featureExtraction on JSONL rows", bench, command);
  const auto option = [](CLI::App* to, std::string_view names, auto& value,
                         const std::string& text) {
    return to->add_option(both_spellings(names), value, text);
  };
  const char* json_text = "results as one line of JSON; -: to standard output, without the table";
  ModelBenchOptions& model = options.model;
  option(command, "--model,-p", model.model, "model directory, or a name below --model-folder");
  option(command, "--model-folder,-f", model.model_folder, "where names are looked up");
  option(command, "--onnx-filename,-n", model.onnx_filename,
         "graph, relative to the model directory");
  option(command, "--input,-i", model.input,
         "rows with \"input\", or with \"ids\" to leave tokenizing out; without: standard input");
  option(command, "--threads", model.threads, "0: all processors")->check(CLI::Range(0, 4096));
  option(command, "--limit", model.limit, "only the first N rows")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_flag(both_spellings("--one-by-one"), model.one_by_one,
                    "a call per text, instead of one call for all");
  option(command, "--callers", model.callers,
         "so many threads call the one pipeline at the same time")
      ->check(CLI::Range(1, 4096));
  option(command, "--seconds", model.seconds, "go on so long (3)")->check(CLI::Range(1e-3, 1e6));
  option(command, "--rounds", model.rounds, "times through all rows")
      ->check(CLI::Range(1, 1 << 20));
  option(command, "--max-length", model.max_length, "tokens a text is cut to")
      ->check(CLI::Range(1, 1 << 30));
  option(command, "--precision", model.precision,
         "of linear layers: fp32, bf16, int8, or what the model says")
      ->check(kPrecisionNames)
      ->capture_default_str();
  option(command, "--cache", model.cache, kCacheText)->capture_default_str();
  command->add_flag("--profile", model.profile, "a table of the time by operator");
  option(command, "--json", model.json, json_text);

  CLI::App* kernels = command->add_subcommand("kernels", "Speed of the CPU kernels");
  options.kernels_command = kernels;
  option(kernels, "--filter", options.kernels.filter, "only names with this part");
  option(kernels, "--threads", options.kernels.threads, "1; 0: all processors")
      ->check(CLI::Range(0, 4096));
  option(kernels, "--json", options.kernels.json, json_text);
  option(kernels, "--compare", options.kernels.compare,
         "two results of --json: ratios, and which differ by more than their noise")
      ->expected(2);

  CLI::App* tokenize = command->add_subcommand("tokenize", "Speed of turning texts into ids");
  options.tokenize_command = tokenize;
  option(tokenize, "--model", options.tokenize.model, "as for hugot tokenize")->required();
  option(tokenize, "--model-folder", options.tokenize.model_folder, "where names are looked up");
  option(tokenize, "--input", options.tokenize.input,
         "rows with \"input\"; without: standard input");
  option(tokenize, "--threads", options.tokenize.threads, "0: all processors")
      ->check(CLI::Range(0, 4096));
  option(tokenize, "--seconds", options.tokenize.seconds, "go on so long (3)")
      ->check(CLI::Range(0.0, 1e6));
  tokenize->add_flag("--all", options.tokenize.all, "make tokens, offsets and masks, too");
  option(tokenize, "--json", options.tokenize.json, json_text);

  CLI::App* train = command->add_subcommand("train", "Speed of the steps of hugot train");
  options.train_command = train;
  option(train, "--model", options.train.model, "as for hugot train")->required();
  option(train, "--input", options.train.input, "rows as for hugot train")->required();
  option(train, "--onnx-filename", options.train.onnx_filename,
         "graph, relative to the model directory");
  option(train, "--loss", options.train.loss, "as for hugot train");
  option(train, "--batch-size", options.train.batch_size, "rows of a step")
      ->check(CLI::Range(1, 1 << 20));
  option(train, "--threads", options.train.threads, "0: all processors")
      ->check(CLI::Range(0, 4096));
  option(train, "--max-length", options.train.max_length, "tokens a text is cut to")
      ->check(CLI::Range(1, 1 << 30));
  option(train, "--seconds", options.train.seconds, "go on so long (5)")
      ->check(CLI::Range(0.0, 1e6));
  train->add_flag("--profile", options.train.profile, "a table of the model's time by operator");
  option(train, "--json", options.train.json, json_text);
}

}  // namespace hugot::tools
