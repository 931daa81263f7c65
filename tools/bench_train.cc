// hugot bench train: the speed of the steps of a training, without checkpoints and evaluation.
#include <algorithm>
#include <cstring>
#include <optional>

#include "autodiff/optimizer.h"
#include "base/error.h"
#include "graph/exec/flops.h"
#include "graph/exec/ragged.h"
#include "kernels/cpu/isa.h"
#include "pipelines/training_setup.h"
#include "tools/bench.h"
#include "tools/bench_profile.h"

namespace hugot::tools {
namespace {

// The phases of steps, in seconds.
struct Phases {
  std::vector<double> step, forward, loss, backward, update;
};

class Steps {
 public:
  explicit Steps(TrainingSetup& setup)
      : setup_(setup),
        parameters_(setup.parameters()),
        optimizer_(setup.optimizer(), parameters_, setup.rates()) {}

  // One step on rows [begin, end).
  void run(size_t begin, size_t end, const TrainRun& run, Phases& phases) {
    const TrainingData& data = setup_.train();
    std::vector<size_t> rows;
    std::vector<TrainRow> texts;
    for (size_t row = begin; row < end; ++row) rows.push_back(row);
    for (size_t column = 0; column < data.columns().size(); ++column) {
      for (const size_t row : rows) texts.push_back(data.text(row, column));
    }
    const int threads = setup_.pool().size();
    const auto now = [&] { return work_clock(threads); };
    const double start = now();
    setup_.model().zero_gradients();
    for (Parameter& parameter : setup_.loss().parameters()) {
      std::memset(parameter.gradient.raw(), 0, parameter.gradient.bytes());
    }
    const Tensor vectors = setup_.model().forward(texts, true, run);
    const double encoded = now();
    const Tensor gradient = gradient_of_loss(vectors, rows);
    const double compared = now();
    setup_.model().backward(gradient, run);
    const double differentiated = now();
    gradient_norm(parameters_, run.pool);
    optimizer_.step(setup_.optimizer().lr, 1, run.pool);
    setup_.model().parameters_changed();
    const double done = now();
    phases.step.push_back(done - start);
    phases.forward.push_back(encoded - start);
    phases.loss.push_back(compared - encoded);
    phases.backward.push_back(differentiated - compared);
    phases.update.push_back(done - differentiated);
  }

 private:
  Tensor gradient_of_loss(const Tensor& vectors, std::span<const size_t> rows) {
    const TrainingData& data = setup_.train();
    const auto count = static_cast<int64_t>(rows.size());
    const size_t bytes = vectors.bytes() / data.columns().size();
    std::vector<Tensor> columns;
    for (size_t i = 0; i < data.columns().size(); ++i) {
      columns.emplace_back(vectors.dtype(), vectors.shape().with(0, count),
                           static_cast<const std::byte*>(vectors.raw()) + i * bytes);
    }
    const Loss::Result result = setup_.loss().run(
        columns, data.labels(rows, setup_.model().dtype()), {.pool = &setup_.pool()});
    Tensor gradient(vectors.dtype(), vectors.shape());
    for (size_t i = 0; i < result.gradients.size(); ++i) {
      std::memcpy(static_cast<std::byte*>(gradient.raw()) + i * bytes, result.gradients[i].raw(),
                  bytes);
    }
    return gradient;
  }

  TrainingSetup& setup_;
  std::vector<Parameter*> parameters_;
  Optimizer optimizer_;
};

}  // namespace

int bench_train(const TrainBenchOptions& options) {
  TrainingOptions training;
  training.model = options.model;
  training.train_file = options.input;
  training.output = "unused";
  training.onnx_filename = options.onnx_filename;
  training.loss = options.loss;
  training.batch_size = options.batch_size;
  training.max_length = options.max_length;
  ThreadPool pool(options.threads);
  TrainingSetup setup(training, pool);
  const auto batch = static_cast<size_t>(options.batch_size);
  const size_t rows = setup.train().rows(), batches = rows / batch;
  require(batches > 0, ErrorCode::kInvalidArgument, "a batch of ", batch, " rows, but there are ",
          rows);
  const RaggedPlan* plan = setup.model().plan();
  std::optional<Profile> profile;
  if (options.profile && plan != nullptr) profile.emplace(plan->graph());

  Steps steps(setup);
  PeakMeter peak(pool);
  Phases phases, warm_up;
  size_t tokens = 0;
  const auto step = [&](size_t i, NodeObserver* observer, Phases& into) {
    const size_t begin = i % batches * batch;
    steps.run(begin, begin + batch, {.pool = &pool, .observer = observer}, into);
    for (size_t row = begin; row < begin + batch; ++row) {
      for (size_t column = 0; column < setup.train().columns().size(); ++column) {
        tokens += setup.train().text(row, column).ids.size();
      }
    }
  };
  constexpr size_t kWarmUp = 3;
  for (size_t i = 0; i < kWarmUp; ++i) step(i, nullptr, warm_up);
  tokens = 0;
  const auto wall = [] { return work_clock(2); };
  for (const double start = wall(); phases.step.empty() || wall() - start < options.seconds;) {
    peak.sample();
    step(kWarmUp + phases.step.size(), profile ? &*profile : nullptr, phases);
  }

  const auto count = static_cast<double>(phases.step.size());
  const auto per_step = static_cast<double>(tokens) / count;
  const Spread seconds = spread_of(phases.step);
  const double rate = static_cast<double>(batch) / seconds.median;
  nlohmann::ordered_json results = {
      {"model", options.model},
      {"instruction_set", cpu::active_kernels().name},
      {"threads", pool.size()},
      {"batch_size", batch},
      {"padded", plan == nullptr},
      {"steps", phases.step.size()},
      {"rows_per_second", rate},
      {"tokens_per_step", per_step},
      {"seconds_per_step", {seconds.low, seconds.median, seconds.high}},
      {"forward", spread_of(phases.forward).median},
      {"loss", spread_of(phases.loss).median},
      {"backward", spread_of(phases.backward).median},
      {"update", spread_of(phases.update).median},
      {"peak_gflops", peak.gflops()},
      {"rss_mb", peak_memory()},
  };
  std::string table;
  const auto line = [&](const char* name, const char* format, double value) {
    table += name + format_number(format, value);
  };
  line("rows per second     ", "%10.1f\n", rate);
  line("tokens per step     ", "%10.1f\n", per_step);
  line("step                ", "%10.2f ms\n", 1e3 * seconds.median);
  line("  forward           ", "%10.2f ms\n", 1e3 * spread_of(phases.forward).median);
  line("  loss              ", "%10.2f ms\n", 1e3 * spread_of(phases.loss).median);
  line("  backward          ", "%10.2f ms\n", 1e3 * spread_of(phases.backward).median);
  line("  norm and optimizer", "%10.2f ms\n", 1e3 * spread_of(phases.update).median);
  line("peak memory         ", "%10.1f MB\n", peak_memory());
  if (plan == nullptr) table += "texts are padded: the graph does not run otherwise\n";
  if (profile) table += profile->table(str(phases.step.size(), " steps"));
  report(options.json, results, table);
  return 0;
}

}  // namespace hugot::tools
