// The training itself: epochs, steps, evaluation, checkpoints.
#include "pipelines/trainer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autodiff/parallel_model.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mpi_transport.h"
#include "kernels/cpu/isa.h"
#include "kernels/dropout_mask.h"
#include "kernels/random/random.h"
#include "pipelines/evaluation.h"
#include "pipelines/training_checkpoint.h"
#include "pipelines/training_output.h"
#include "pipelines/training_setup.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMetricsFile = "metrics.jsonl";
constexpr const char* kCheckpoints = "checkpoints";
constexpr size_t kPlacesInMessage = 8;

// The shortest text that reads back as the same number.
std::string digits(double x) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), x).ptr;
  return {buffer, end};
}

// Rows of a matrix [first, first + count), sharing its memory.
Tensor rows_of(const Tensor& matrix, int64_t first, int64_t count) {
  const int64_t width = matrix.shape()[1];
  const size_t row = matrix.bytes() / static_cast<size_t>(matrix.shape()[0]);
  auto owner = std::make_shared<const Tensor>(matrix);
  const void* data = static_cast<const std::byte*>(owner->raw()) + static_cast<size_t>(first) * row;
  return {matrix.dtype(), {count, width}, data, owner};
}

Tensor join_rows(std::span<const Tensor> parts) {
  int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.shape()[0];
  Tensor whole(parts[0].dtype(), {rows, parts[0].shape()[1]});
  auto* to = static_cast<std::byte*>(whole.raw());
  for (const Tensor& part : parts) {
    std::memcpy(to, part.raw(), part.bytes());
    to += part.bytes();
  }
  return whole;
}

bool all_finite(const Tensor& tensor) {
  const auto check = [&]<class T>(const T* data) {
    return std::all_of(data, data + tensor.size(), [](T x) { return std::isfinite(x); });
  };
  return tensor.dtype() == DType::kFloat64 ? check(tensor.data<double>())
                                           : check(tensor.data<float>());
}

// The metric that decides which weights are best; larger is better. None of them: the loss.
std::string primary_metric(const Metrics& metrics) {
  for (const char* name : {"spearman", "f1", "triplet_accuracy", "mrr@10"}) {
    if (metrics.contains(name)) return name;
  }
  return "loss";
}

double goodness(const TrainingEvaluation& evaluation) {
  const double value = evaluation.metrics.at(evaluation.primary);
  return evaluation.primary == "loss" ? -value : value;
}

// ---------------------------------------------------------------------------------------------

class TrainerRun {
 public:
  TrainerRun(TrainingSetup& setup, const TrainingCallbacks& callbacks, std::stop_token stop,
             Communicator& ranks)
      : setup_(setup),
        ranks_(ranks),
        options_(setup.options()),
        callbacks_(callbacks),
        run_{&setup.pool(), std::move(stop)},
        parameters_(setup.parameters()),
        optimizer_(setup.optimizer(), parameters_, setup.rates()),
        average_(options_.ema, parameters_) {
    const auto rows = static_cast<int64_t>(setup.train().rows());
    batches_ = (rows + options_.batch_size - 1) / options_.batch_size;
    steps_per_epoch_ = (batches_ + options_.accumulation - 1) / options_.accumulation;
    steps_ = steps_per_epoch_ * options_.epochs;
    state_.settings = settings();
  }

  TrainingResult run() {
    begin();
    try {
      if (evaluation_due()) evaluate();  // where the last run was stopped
      while (state_.step < steps_ && !state_.stopped_early) {
        require(!run_.stop.stop_requested(), ErrorCode::kCancelled, "cancelled");
        step();
        if (evaluation_due()) evaluate();
        const bool due = options_.save_steps > 0 && state_.step % options_.save_steps == 0;
        if (!due && state_.step % steps_per_epoch_ != 0) continue;
        check_equal_parameters(parameters_, ranks_);
        save();
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
      ranks_.agree_on_cancellation();
      save();
      fail(ErrorCode::kCancelled, "stopped after step ", state_.step, " of ", steps_,
           "; the same command with --resume goes on from there");
    }
    return finish();
  }

 private:
  fs::path last_checkpoint() const { return options_.output / kCheckpoints / "last.npz"; }
  fs::path best_checkpoint() const { return options_.output / kCheckpoints / "best.npz"; }
  fs::path metrics_path() const { return options_.output / kMetricsFile; }

  // What decides the numbers that come out.
  std::string settings() const {
    const OptimizerOptions& o = setup_.optimizer();
    const nlohmann::json json = {
        {"loss", setup_.loss_config().options.name},
        {"loss parameters", options_.loss_params},
        {"optimizer parameters", options_.optimizer_params},
        {"learning rate", o.lr},
        {"epochs", options_.epochs},
        {"batch size", options_.batch_size},
        {"accumulation", options_.accumulation},
        {"freeze", options_.freeze},
        {"head", options_.head_classes},
        {"LoRA rank", options_.lora_rank},
        {"LoRA alpha", options_.lora_alpha},
        {"dropout", options_.dropout},
        {"average of weights", options_.ema},
        {"tied weights", options_.tie_weights},
        {"precision", options_.double_precision ? "fp64" : "fp32"},
        {"shuffle", options_.shuffle},
        {"seed", options_.seed},
        {"rows", setup_.train().rows()},
        {"data", setup_.train().hash()},
    };
    return json.dump();
  }

  // Folders, an earlier checkpoint, and the metrics up to it.
  void begin() {
    ranks_.check_equal(std::hash<std::string>()(state_.settings + cpu::active_isa().name),
                       "options, rows or instructions");
    const bool there = options_.resume && fs::exists(last_checkpoint());
    if (ranks_.broadcast(std::as_bytes(std::span(&there, 1)))[0] != std::byte{0}) {
      const TrainingProcess process = {optimizer_, average_};
      state_ = read_checkpoint(last_checkpoint(), parameters_, &process, state_.settings, ranks_);
      state_.settings = settings();
      setup_.model().parameters_changed();
      message(str("going on after step ", state_.step, " of ", steps_));
    } else if (options_.resume) {
      message(str("there is no checkpoint in ", options_.output.string(), ": starting anew"));
    }
    check_equal_parameters(parameters_, ranks_);
    if (!ranks_.leads()) return;
    std::error_code error;
    fs::create_directories(options_.output / kCheckpoints, error);
    require(!error, ErrorCode::kIo, "cannot make folder ",
            (options_.output / kCheckpoints).string(), ": ", error.message());
    open_metrics();
  }

  void open_metrics() {
    if (!fs::exists(metrics_path())) {
      require(state_.metrics_bytes == 0, ErrorCode::kInvalidData, metrics_path().string(),
              " is gone, which the checkpoint goes on from");
      std::ofstream make(metrics_path(), std::ios::binary);
    }
    std::error_code error;
    const auto size = fs::file_size(metrics_path(), error);
    require(!error && size >= state_.metrics_bytes, ErrorCode::kInvalidData,
            metrics_path().string(), " is shorter than it was at the checkpoint");
    fs::resize_file(metrics_path(), state_.metrics_bytes, error);
    metrics_.open(metrics_path(), std::ios::binary | std::ios::app);
    require(!error && metrics_.is_open(), ErrorCode::kIo, "cannot write ", metrics_path().string());
  }

  void write_metrics(const std::string& row) {
    if (!ranks_.leads()) return;
    metrics_ << row << '\n' << std::flush;
    require(metrics_.good(), ErrorCode::kIo, "cannot write ", metrics_path().string());
    state_.metrics_bytes += row.size() + 1;
  }

  void message(const std::string& text) const {
    if (callbacks_.message) callbacks_.message(text);
  }

  // -- one step

  // Rows of an epoch (from 0) in the order of their use.
  const std::vector<size_t>& order(int64_t epoch) {
    if (epoch == order_epoch_) return order_;
    order_.resize(setup_.train().rows());
    std::iota(order_.begin(), order_.end(), size_t{0});
    if (options_.shuffle) {
      // Fisher and Yates; the numbers depend on seed and epoch alone.
      const random::Stream stream(random::Stream(options_.seed).bits(static_cast<uint64_t>(epoch)));
      for (size_t i = order_.size(); i-- > 1;) {
        const auto j = static_cast<size_t>(stream.uniform(i) * static_cast<double>(i + 1));
        std::swap(order_[i], order_[std::min(j, i)]);
      }
    }
    order_epoch_ = epoch;
    return order_;
  }

  void step() {
    const int64_t epoch = state_.step / steps_per_epoch_;
    const std::vector<size_t>& rows = order(epoch);
    setup_.model().zero_gradients();
    for (Parameter& parameter : setup_.loss().parameters()) {
      std::memset(parameter.gradient.raw(), 0, parameter.gradient.bytes());
    }
    const int64_t first = state_.step % steps_per_epoch_ * options_.accumulation;
    const int64_t last = std::min(first + options_.accumulation, batches_);
    double loss = 0;
    for (int64_t batch = first; batch < last; ++batch) {
      const auto begin = static_cast<size_t>(batch * options_.batch_size);
      const auto count = std::min(static_cast<size_t>(options_.batch_size), rows.size() - begin);
      loss += accumulate(std::span(rows).subspan(begin, count), batch + 1 == last);
    }
    const auto parts = static_cast<double>(last - first);
    loss /= parts;
    const double norm = gradient_norm(parameters_, run_.pool) / parts;
    if (!std::isfinite(norm)) not_finite("the gradient", norm, batch_);
    const OptimizerOptions& o = setup_.optimizer();
    const double lr = learning_rate(o, state_.step, steps_);
    const double clip = o.clip_norm > 0 ? std::min(1.0, o.clip_norm / (norm + 1e-6)) : 1.0;
    optimizer_.step(lr, clip / parts, run_.pool);
    average_.update(run_.pool);
    setup_.model().parameters_changed();
    ++state_.step;
    state_.last_loss = loss;
    write_metrics(str("{\"step\":", state_.step, ",\"loss\":", digits(loss), ",\"lr\":", digits(lr),
                      ",\"grad_norm\":", digits(norm), ",\"epoch\":", epoch + 1, '}'));
    if (callbacks_.step) {
      callbacks_.step({static_cast<int>(epoch + 1), state_.step, steps_, loss, lr, norm});
    }
  }

  // Texts column by column.
  static std::vector<TrainRow> texts(const TrainingData& data, std::span<const size_t> rows) {
    std::vector<TrainRow> result;
    for (size_t column = 0; column < data.columns().size(); ++column) {
      for (const size_t row : rows) result.push_back(data.text(row, column));
    }
    return result;
  }

  // The same to learn from, with what dropout goes by: seed, step, row and column.
  std::vector<TrainRow> texts_of_step(std::span<const size_t> rows) const {
    std::vector<TrainRow> result = texts(setup_.train(), rows);
    for (size_t i = 0; options_.dropout > 0 && i < result.size(); ++i) {
      result[i].dropout_key = text_dropout_key(options_.seed, static_cast<uint64_t>(state_.step),
                                               static_cast<uint32_t>(rows[i % rows.size()]),
                                               static_cast<uint32_t>(i / rows.size()));
    }
    return result;
  }

  static std::vector<Tensor> columns_of(const Tensor& vectors, size_t columns) {
    const int64_t rows = vectors.shape()[0] / static_cast<int64_t>(columns);
    std::vector<Tensor> result;
    for (size_t i = 0; i < columns; ++i) {
      result.push_back(rows_of(vectors, static_cast<int64_t>(i) * rows, rows));
    }
    return result;
  }

  // Adds the gradients of a batch, the last one of its step or another; returns its loss.
  double accumulate(std::span<const size_t> rows, bool last) {
    const TrainingData& data = setup_.train();
    const std::vector<TrainRow> all = texts_of_step(rows);
    const auto mini = static_cast<size_t>(setup_.loss_config().mini_batch_size * ranks_.size());
    const bool cached = mini > 0 && all.size() > mini;
    const Tensor vectors = cached ? vectors_of(all, mini) : setup_.model().forward(all, true, run_);
    batch_.assign(rows.begin(), rows.end());
    const std::vector<Tensor> columns = columns_of(vectors, data.columns().size());
    const Loss::Result loss =
        setup_.loss().run(columns, data.labels(rows, setup_.model().dtype()), run_);
    if (!std::isfinite(loss.value)) not_finite("the loss", loss.value, rows, &vectors);
    const Tensor gradient = join_rows(loss.gradients);
    TrainRun run = run_;
    run.last = last;
    if (!cached) {
      setup_.model().backward(gradient, run);
      return loss.value;
    }
    for (size_t begin = 0; begin < all.size(); begin += mini) {
      const size_t count = std::min(mini, all.size() - begin);
      run.last = last && begin + count == all.size();
      setup_.model().forward(std::span(all).subspan(begin, count), true, run);
      setup_.model().backward(
          rows_of(gradient, static_cast<int64_t>(begin), static_cast<int64_t>(count)), run);
    }
    return loss.value;
  }

  // Vectors without gradients, `count` texts at a time.
  Tensor vectors_of(std::span<const TrainRow> all, size_t count) {
    std::vector<Tensor> parts;
    for (size_t begin = 0; begin < all.size(); begin += count) {
      parts.push_back(
          setup_.vectors(all.subspan(begin, std::min(count, all.size() - begin)), run_));
    }
    return join_rows(parts);
  }

  // "train.jsonl:7, 3, 12": the file once, then lines.
  std::string places_of(std::span<const size_t> rows) const {
    std::string text = setup_.train().place(rows[0]);
    for (size_t i = 1; i < std::min(rows.size(), kPlacesInMessage); ++i) {
      const std::string& place = setup_.train().place(rows[i]);
      text += ", " + place.substr(place.find_last_of(": ") + 1);
    }
    return rows.size() > kPlacesInMessage ? text + ", .." : text;
  }

  // Leaves the last good state in the checkpoint and names what went wrong.
  [[noreturn]] void not_finite(const char* what, double value, std::span<const size_t> rows,
                               const Tensor* vectors = nullptr) {
    std::string tensor;
    bool good = true;
    for (const Parameter* parameter : parameters_) {
      if (all_finite(parameter->value)) continue;
      good = false;
      tensor = str("parameter '", parameter->name, "'");
      break;
    }
    if (good && vectors != nullptr && !all_finite(*vectors)) tensor = "the model's output";
    for (size_t i = 0; tensor.empty() && i < parameters_.size(); ++i) {
      if (all_finite(parameters_[i]->gradient)) continue;
      tensor = str("the gradient of '", parameters_[i]->name, "'");
    }
    if (tensor.empty()) tensor = what;
    if (good) save();
    fail(ErrorCode::kInvalidData, "step ", state_.step + 1, ", batch of ", places_of(rows), ": ",
         what, " is ", std::isnan(value) ? "nan" : "infinite",
         "; the first tensor that is not finite: ", tensor,
         fs::exists(last_checkpoint())
             ? str("; the last good state is in ", last_checkpoint().string())
             : "",
         "; a smaller learning rate or clip_norm may help");
  }

  // -- evaluation

  bool evaluation_due() const {
    const bool done = !state_.evaluations.empty() && state_.evaluations.back().step == state_.step;
    return setup_.eval() != nullptr && state_.step > 0 && state_.step % steps_per_epoch_ == 0 &&
           !done;
  }

  // While it lives, the parameters are their average.
  class Averaged {
   public:
    explicit Averaged(TrainerRun& run) : run_(run) { swap(); }
    ~Averaged() { swap(); }
    Averaged(const Averaged&) = delete;
    Averaged& operator=(const Averaged&) = delete;

   private:
    void swap() {
      if (!run_.average_.active()) return;
      run_.average_.swap();
      run_.setup_.model().parameters_changed();
    }
    TrainerRun& run_;
  };

  void evaluate() {
    const Averaged averaged(*this);
    const TrainingData& data = *setup_.eval();
    std::vector<size_t> rows(data.rows());
    std::iota(rows.begin(), rows.end(), size_t{0});
    const Tensor vectors = vectors_of(texts(data, rows), static_cast<size_t>(options_.batch_size));
    const std::vector<Tensor> columns = columns_of(vectors, data.columns().size());
    TrainingEvaluation evaluation;
    evaluation.epoch = static_cast<int>(state_.step / steps_per_epoch_);
    evaluation.step = state_.step;
    evaluation.metrics = metrics_of(data, columns);
    if (setup_.eval_has_loss()) evaluation.metrics["loss"] = loss_of(data, columns);
    require(!evaluation.metrics.empty(), ErrorCode::kInvalidArgument,
            "there is nothing to measure on the rows for evaluation");
    evaluation.primary = primary_metric(evaluation.metrics);
    write_evaluation(evaluation);
    compare(evaluation);
    state_.evaluations.push_back(evaluation);
    if (callbacks_.evaluation) callbacks_.evaluation(evaluation);
  }

  Metrics metrics_of(const TrainingData& data, const std::vector<Tensor>& columns) {
    Metrics metrics;
    if (columns.size() == 2 && data.label_kind() == LabelKind::kNumber) {
      std::vector<double> scores;
      for (size_t row = 0; row < data.rows(); ++row) scores.push_back(data.number(row));
      metrics.merge(evaluate_similarity(columns[0], columns[1], scores));
    } else if (columns.size() == 1 && data.label_kind() == LabelKind::kClass) {
      std::vector<int64_t> labels;
      for (size_t row = 0; row < data.rows(); ++row) labels.push_back(data.class_of(row));
      metrics.merge(evaluate_classes(columns[0], labels));
    } else if (columns.size() >= 2 && data.label_kind() == LabelKind::kNone) {
      metrics.merge(evaluate_retrieval(columns[0], columns[1], setup_.pool()));
      if (columns.size() >= 3) {
        metrics.merge(evaluate_triplets(columns[0], columns[1], columns[2]));
      }
    }
    return metrics;
  }

  // The mean over batches as in training, by their rows.
  double loss_of(const TrainingData& data, const std::vector<Tensor>& columns) {
    double sum = 0;
    for (size_t begin = 0; begin < data.rows(); begin += static_cast<size_t>(options_.batch_size)) {
      const size_t count = std::min(static_cast<size_t>(options_.batch_size), data.rows() - begin);
      std::vector<size_t> rows(count);
      std::iota(rows.begin(), rows.end(), begin);
      std::vector<Tensor> part;
      for (const Tensor& column : columns) {
        part.push_back(rows_of(column, static_cast<int64_t>(begin), static_cast<int64_t>(count)));
      }
      sum += static_cast<double>(count) *
             setup_.loss().value(part, data.labels(rows, setup_.model().dtype()), run_);
    }
    return sum / static_cast<double>(data.rows());
  }

  void write_evaluation(const TrainingEvaluation& evaluation) {
    std::string row = str("{\"step\":", evaluation.step, ",\"epoch\":", evaluation.epoch);
    for (const auto& [name, value] : evaluation.metrics) {
      row += str(",\"eval_", name, "\":", std::isfinite(value) ? digits(value) : "null");
    }
    write_metrics(row + '}');
  }

  // Keeps the best weights, and counts evaluations without improvement.
  void compare(const TrainingEvaluation& evaluation) {
    const double value = goodness(evaluation);
    if (!state_.best || value > *state_.best) {
      state_.best = value;
      state_.best_step = state_.step;
      if (ranks_.leads()) write_checkpoint(best_checkpoint(), parameters_, nullptr, state_);
    }
    if (!state_.reference || value > *state_.reference + options_.tolerance) {
      state_.reference = value;
      state_.unimproved = 0;
    } else if (++state_.unimproved >= options_.patience && options_.patience > 0) {
      state_.stopped_early = true;
    }
  }

  // -- the end

  void save() {
    if (!ranks_.leads()) return;
    const TrainingProcess process = {optimizer_, average_};
    write_checkpoint(last_checkpoint(), parameters_, &process, state_);
  }

  TrainingResult finish() {
    TrainingResult result;
    result.steps = state_.step;
    result.epochs = static_cast<int>(state_.step / steps_per_epoch_);
    result.stopped_early = state_.stopped_early;
    result.last_loss = state_.last_loss;
    result.evaluations = state_.evaluations;
    result.best_step = state_.step;
    const Averaged averaged(*this);
    if (state_.best && state_.best_step != state_.step) {
      read_checkpoint(best_checkpoint(), parameters_, nullptr, state_.settings, ranks_);
      setup_.model().parameters_changed();
      result.best_step = state_.best_step;
    }
    if (!ranks_.leads()) return result;
    metrics_.close();
    write_plot();
    write_trained_directory(setup_, result);
    std::error_code ignored;
    fs::remove_all(options_.output / kCheckpoints, ignored);
    return result;
  }

  void write_plot() const {
    std::vector<double> losses;
    std::ifstream file(metrics_path());
    for (std::string line; std::getline(file, line);) {
      const auto row = nlohmann::json::parse(line, nullptr, false);
      if (row.is_object() && row.contains("loss")) losses.push_back(row.value("loss", 0.0));
    }
    write_file_atomically(options_.output / "loss.svg",
                          plot_loss(losses, setup_.loss_config().options.name + " loss by step"));
  }

  TrainingSetup& setup_;
  Communicator& ranks_;
  const TrainingOptions& options_;
  const TrainingCallbacks& callbacks_;
  TrainRun run_;
  std::vector<Parameter*> parameters_;
  Optimizer optimizer_;
  WeightAverage average_;
  int64_t batches_ = 0, steps_per_epoch_ = 0, steps_ = 0;
  TrainingState state_;
  std::ofstream metrics_;
  std::vector<size_t> order_;
  int64_t order_epoch_ = -1;
  std::vector<size_t> batch_;  // the last one
};

// An output directory has to be new, or to hold a training that is to be resumed or replaced.
void check_output(const TrainingOptions& options) {
  const fs::path& output = options.output;
  require(!fs::exists(output) || fs::is_directory(output), ErrorCode::kInvalidArgument,
          output.string(), " exists and is no directory");
  require(!fs::exists(output) || !fs::equivalent(output, find_model(options.model, {})),
          ErrorCode::kInvalidArgument, "model and output are the same directory");
  if (!fs::exists(output) || fs::is_empty(output)) return;
  if (options.resume) {
    require(fs::exists(output / kCheckpoints) || !fs::exists(output / kMetricsFile),
            ErrorCode::kInvalidArgument, output.string(),
            " holds a training that is complete; there is nothing to resume");
    return;
  }
  require(options.force, ErrorCode::kInvalidArgument, output.string(),
          " exists and is not empty; --force replaces what is in it, --resume goes on");
  require(fs::exists(output / kMetricsFile) || fs::exists(output / "config.json"),
          ErrorCode::kInvalidArgument, output.string(),
          " does not look like the output of a training, so it is not replaced");
  fs::remove_all(output);
}

}  // namespace

TrainingResult train(const TrainingOptions& options, const TrainingCallbacks& callbacks,
                     std::stop_token stop) {
  Communicator ranks(options.mpi ? open_mpi() : nullptr);
  return train_together(options, callbacks, std::move(stop), ranks);
}

TrainingResult train_together(const TrainingOptions& options, const TrainingCallbacks& given,
                              std::stop_token stop, Communicator& ranks) {
  return ranks.together([&] {
    require(!options.model.empty(), ErrorCode::kInvalidArgument, "training needs a model");
    const int processors = processors_per_rank(ranks);
    ThreadPool pool(options.threads > 0 ? options.threads : processors);
    TrainingSetup setup(options, pool);
    setup.distribute(ranks);
    const TrainingCallbacks callbacks = ranks.leads() ? given : TrainingCallbacks();
    if (ranks.leads()) check_output(options);
    if (callbacks.message) {
      callbacks.message(str(setup.train().rows(), " rows, ", setup.train().tokens(), " tokens, ",
                            setup.parameters().size(), " tensors to train, ", setup.frozen(),
                            " frozen",
                            ranks.size() > 1 ? str(", ", ranks.size(), " processes") : ""));
      for (const TiedWeight& tied : setup.tied()) {
        callbacks.message(str("'", tied.copy, "' is ", tied.transposed ? "the transposed " : "",
                              "'", tied.original, "' and stays it"));
      }
      if (options.dropout > 0) {
        callbacks.message(str("dropout at ", setup.model().dropout().to_string()));
      }
    }
    return TrainerRun(setup, callbacks, std::move(stop), ranks).run();
  });
}

}  // namespace hugot
