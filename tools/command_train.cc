// hugot train: fine-tuning.
#include <unistd.h>

#include <charconv>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "base/communicator.h"
#include "base/error.h"
#include "base/mpi_transport.h"
#include "hugot/training.hpp"
#include "tools/command.h"
#include "tools/row_stream.h"

namespace hugot::tools {
namespace {

struct Options {
  TrainingOptions training;
  std::string head;
  std::string precision = "fp32";
  bool no_shuffle = false;
  bool untie = false;
};

// "classes:3"
int parse_head(const std::string& text) {
  if (text.empty()) return 0;
  constexpr std::string_view kClasses = "classes:";
  int classes = 0;
  const char* const end = text.data() + text.size();
  const bool named = text.starts_with(kClasses);
  const auto parsed = std::from_chars(text.data() + (named ? kClasses.size() : 0), end, classes);
  require(
      named && parsed.ec == std::errc() && parsed.ptr == end && classes >= 1 && classes <= 1 << 20,
      ErrorCode::kInvalidArgument, "--head ", text, ": expected is classes:N");
  return classes;
}

std::string rounded(double x) {
  std::ostringstream text;
  text << std::setprecision(5) << x;
  return text.str();
}

TrainingResult train_with_progress(const TrainingOptions& options, std::stop_token stop) {
  ProgressLine progress;
  TrainingCallbacks callbacks;
  callbacks.step = [&](const TrainingProgress& now) {
    progress.update_steps(str("epoch ", now.epoch, ", loss ", rounded(now.loss)),
                          static_cast<uint64_t>(now.step), static_cast<uint64_t>(now.steps));
  };
  callbacks.evaluation = [&](const TrainingEvaluation& evaluation) {
    progress.clear();
    std::cerr << "epoch " << evaluation.epoch << ':';
    for (const auto& [name, value] : evaluation.metrics) {
      std::cerr << ' ' << name << ' ' << rounded(value);
    }
    std::cerr << std::endl;
  };
  callbacks.message = [&](std::string_view text) {
    progress.clear();
    std::cerr << text << std::endl;
  };
  return train(options, callbacks, std::move(stop));
}

int run(const Options& given) {
  const InterruptGuard interrupt;
  TrainingOptions options = given.training;
  options.mpi = options.mpi || started_by_mpi();
  // What ends one process ends all of them; one tells it.
  const bool quiet = options.mpi && open_mpi()->rank() > 0;
  options.head_classes = parse_head(given.head);
  options.double_precision = given.precision == "fp64";
  options.shuffle = !given.no_shuffle;
  options.tie_weights = !given.untie;
  try {
    const TrainingResult result = train_with_progress(options, interrupt.token());
    if (quiet) return kDone;
    std::cerr << "wrote " << options.output.string() << " after " << result.steps << " steps"
              << (result.stopped_early ? " (stopped early)" : "") << ", loss "
              << rounded(result.last_loss) << std::endl;
  } catch (const Error& error) {
    const bool cancelled = error.code() == ErrorCode::kCancelled;
    if (!cancelled && !quiet) throw;
    if (!quiet) std::cerr << error.what() << std::endl;
    return cancelled ? kInterrupted : kNothingDone;
  }
  return kDone;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& given = add_command<Options>(
      app, action, "train",
      "Fine-tune an embedding model or a classifier on rows of texts, and write it as ONNX again",
      run, command);
  TrainingOptions& options = given.training;
  const auto option = [&](std::string_view names, auto& value, const std::string& text) {
    return command->add_option(both_spellings(names), value, text);
  };
  option("--model,-p", options.model, "model directory")->required();
  option("--train", options.train_file, "rows to learn from, .jsonl")->required();
  option("--eval", options.eval_file, "rows to measure on after every epoch, .jsonl");
  option("--output,-o", options.output, "directory to write")->required();
  option(
      "--loss", options.loss,
      "cosine_similarity, cosent, angle, mnrl, mnrl_symmetric, triplet, contrastive, "
      "online_contrastive, softmax, cross_entropy, bce, mse or matryoshka (default: by the rows)");
  option("--loss-params", options.loss_params, "parameters of the loss, a JSON object");
  option("--loss-graph", options.loss_graph, "an ONNX graph as loss");
  option("--optimizer-params", options.optimizer_params,
         "type (sgd, adam, adamw, lion, adafactor), lr, schedule, warmup_steps, clip_norm .., a "
         "JSON object");
  option("--epochs", options.epochs, "")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  option("--batch-size,-b", options.batch_size, "rows of a batch")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  option("--accumulation", options.accumulation, "batches of a step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  option("--lr", options.lr, "learning rate (2e-5)");
  option("--max-length", options.max_length, "tokens a text is cut to (default: the model's limit)")
      ->check(CLI::Range(1, 1 << 30));
  option("--onnx-filename,-n", options.onnx_filename, "graph, relative to the model directory");
  option("--freeze", options.freeze, "what stays as it is: embeddings,layers:A-B");
  option("--lora-rank", options.lora_rank,
         "train matrices of this rank beside those of the layers, merged when written (LoRA)")
      ->check(CLI::Range(1, 1 << 20));
  option("--lora-alpha", options.lora_alpha, "LoRA: alpha / rank is its factor")
      ->capture_default_str();
  option("--head", given.head, "a new classifier on top: classes:N");
  option("--head-init", options.head_init, ".npz with head.weight and head.bias");
  option("--precision", given.precision, "what is computed in: fp32 or fp64")
      ->check(CLI::IsMember({"fp32", "fp64"}))
      ->capture_default_str();
  option("--dropout", options.dropout, "probability of dropout (default: none)");
  option("--ema", options.ema,
         "decay of an average of the weights, which is evaluated and written (default: none)");
  command->add_flag(both_spellings("--untie"), given.untie,
                    "train equal matrices of the file apart");
  command->add_flag(both_spellings("--no-shuffle"), given.no_shuffle,
                    "rows in the order of the file");
  option("--seed", options.seed, "of the order of rows, and of new weights")->capture_default_str();
  command->add_flag("--resume", options.resume, "go on after the last checkpoint");
  command->add_flag("--force", options.force, "replace an earlier output");
  option("--save-steps", options.save_steps, "a checkpoint after every N steps (default: epochs)")
      ->check(CLI::Range(1, 1 << 30));
  option("--patience", options.patience,
         "stop when the evaluation has not improved for N epochs (default: never)")
      ->check(CLI::Range(1, 1 << 20));
  option("--tolerance", options.tolerance, "what counts as an improvement")->capture_default_str();
  option("--threads", options.threads, "0: all processors")->check(CLI::Range(0, 4096));
  command->add_flag(
      "--mpi", options.mpi,
      "train together with the other processes of an MPI job (default: under mpirun)");
}

}  // namespace hugot::tools
