// Whole trainings by several ranks, which are threads here.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "base/testing.h"
#include "kernels/registry.h"
#include "models/convert.h"
#include "onnx/loader.h"
#include "pipelines/trainer.h"
#include "tests/rank_threads.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::run_ranks;

const char* const kWords[] = {"hello", "world", "good", "bad", "the", "cat", "dog", "runs"};

std::string words(int seed) {
  std::string text;
  for (int i = 0; i <= seed % 5; ++i) text += str(i > 0 ? " " : "", kWords[(seed * 7 + 3 * i) % 8]);
  return text;
}

// A model directory and options of trainings with 10 rows.
struct Trainings {
  Trainings() {
    const OpRegistry ops = builtin_ops();
    convert_model("tests/data/tiny-bert", work / "tiny", ops);
  }

  TrainingOptions options(const std::string& loss, const fs::path& output) const {
    TrainingOptions options;
    options.model = work / "tiny";
    options.output = work / output;
    options.loss = loss;
    options.batch_size = 4;
    options.epochs = 2;
    options.lr = 1e-3;
    options.threads = 1;
    for (int i = 0; i < 10; ++i) {
      json row;
      if (loss == "cross_entropy") {
        row = {{"text", words(i)}, {"label", i % 3}};
        options.head_classes = 3;
      } else if (loss == "softmax") {
        row = {{"sentence1", words(i)}, {"sentence2", words(i + 3)}, {"label", i % 2}};
        options.loss_params = R"({"num_labels": 2})";
      } else if (loss == "mnrl") {
        row = {{"anchor", words(i)}, {"positive", words(i + 1)}, {"negative", words(i + 4)}};
      } else {
        row = {{"sentence1", words(i)}, {"sentence2", words(i + 3)}, {"score", 0.1 * i}};
      }
      options.train_rows.push_back(row.dump());
    }
    return options;
  }

  // As `size` ranks. Returns what they have thrown.
  static std::vector<std::string> train(const TrainingOptions& options, int size,
                                        const TrainingCallbacks& callbacks = {}) {
    return run_ranks(size,
                     [&](Communicator& ranks) { train_together(options, callbacks, {}, ranks); });
  }

  // All numbers of the rows of metrics.jsonl.
  std::vector<double> metrics(const fs::path& output) const {
    std::vector<double> result;
    std::istringstream file(read_file(work / output / "metrics.jsonl"));
    for (std::string line; std::getline(file, line);) {
      const json row = json::parse(line);
      for (const auto& [key, value] : row.items()) result.push_back(value);
    }
    return result;
  }

  std::string model(const fs::path& output) const {
    const fs::path folder = work / output;
    return read_file(fs::exists(folder / "onnx/model.onnx") ? folder / "onnx/model.onnx"
                                                            : folder / "model.onnx");
  }

  // The largest difference of weights.
  double distance(const fs::path& one, const fs::path& two) const {
    const OpRegistry ops = builtin_ops();
    const auto graph = [&](const fs::path& output) {
      return load_model(work / output / "onnx/model.onnx", ops).graph;
    };
    const Graph a = graph(one), b = graph(two);
    double most = 0;
    for (size_t i = 0; i < a.value_count(); ++i) {
      const Tensor* const x = a.constant(static_cast<ValueId>(i));
      const Tensor* const y = b.constant(static_cast<ValueId>(i));
      if (x == nullptr || x->dtype() != DType::kFloat32) continue;
      REQUIRE(y != nullptr);
      for (int64_t k = 0; k < x->size(); ++k) {
        most = std::max(most, std::abs(double{x->data<float>()[k]} - y->data<float>()[k]));
      }
    }
    return most;
  }

  const std::vector<std::string> none(int size) const {
    return std::vector<std::string>(static_cast<size_t>(size));
  }

  TemporaryDirectory work;
};

TEST_CASE("several ranks train what one process does") {
  const Trainings trainings;
  for (const std::string name : {"cosine_similarity", "mnrl", "cross_entropy", "softmax", "cached",
                                 "accumulated", "dropped"}) {
    const std::string loss = name == "cached"                             ? "mnrl"
                             : name == "accumulated" || name == "dropped" ? "cosine_similarity"
                                                                          : name;
    const auto run = [&](int size, const std::string& output) {
      TrainingOptions options = trainings.options(loss, output);
      options.double_precision = true;
      options.eval_rows = options.train_rows;
      if (name == "cached") options.loss_params = R"({"mini_batch_size": 2})";
      if (name == "accumulated") options.accumulation = 2;
      if (name == "dropped") {
        options.dropout = 0.1;
        options.ema = 0.9;
      }
      CHECK(Trainings::train(options, size) == trainings.none(size));
    };
    run(1, name + "1");
    const std::vector<double> expected = trainings.metrics(name + "1");
    for (const int size : {2, 3, 4}) {
      CAPTURE(name);
      CAPTURE(size);
      const std::string output = str(name, size);
      run(size, output);
      const std::vector<double> got = trainings.metrics(output);
      REQUIRE(got.size() == expected.size());
      for (size_t i = 0; i < got.size(); ++i) {
        CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-9));
      }
      CHECK(trainings.distance(name + "1", output) < 1e-7);  // weights are float32 in the file
    }
  }
}

TEST_CASE("equal trainings of several ranks are equal, and resumed ones") {
  const Trainings trainings;
  CHECK(Trainings::train(trainings.options("mnrl", "a/x"), 3) == trainings.none(3));
  CHECK(Trainings::train(trainings.options("mnrl", "b/x"), 3) == trainings.none(3));
  CHECK(trainings.model("a/x") == trainings.model("b/x"));
  CHECK(trainings.metrics("a/x") == trainings.metrics("b/x"));
  // One rank is asked to stop.
  const auto stopped = [&](const fs::path& output) {
    const auto errors = run_ranks(3, [&](Communicator& ranks) {
      std::stop_source stop;
      TrainingCallbacks callbacks;
      TrainingOptions options = trainings.options("mnrl", output);
      if (ranks.rank() == 1) stop.request_stop();
      options.save_steps = 1;
      train_together(options, callbacks, stop.get_token(), ranks);
    });
    for (const std::string& error : errors) {
      CHECK(error.find("stopped after step 0 of 6") != std::string::npos);
    }
  };
  const auto stopped_at_3 = [&](const fs::path& output) {
    run_ranks(3, [&](Communicator& ranks) {
      std::stop_source stop;
      TrainingCallbacks callbacks;
      callbacks.step = [&](const TrainingProgress& now) {
        if (now.step == 3) stop.request_stop();
      };
      train_together(trainings.options("mnrl", output), callbacks, stop.get_token(), ranks);
    });
  };
  stopped("c/x");
  stopped_at_3("d/x");
  stopped_at_3("e/x");
  const auto resumed = [&](const fs::path& output, int size) {
    TrainingOptions options = trainings.options("mnrl", output);
    options.resume = true;
    CHECK(Trainings::train(options, size) == trainings.none(size));
  };
  resumed("c/x", 3);
  resumed("d/x", 3);
  resumed("e/x", 2);
  for (const char* same : {"c/x", "d/x"}) {
    CHECK(trainings.model("a/x") == trainings.model(same));
    CHECK(trainings.metrics("a/x") == trainings.metrics(same));
  }
  const std::vector<double> a = trainings.metrics("a/x"), e = trainings.metrics("e/x");
  REQUIRE(a.size() == e.size());
  for (size_t i = 0; i < a.size(); ++i) CHECK(e[i] == doctest::Approx(a[i]).epsilon(1e-4));
}

TEST_CASE("an evaluation that is interrupted is made up for") {
  const Trainings trainings;
  for (const int size : {1, 2}) {
    CAPTURE(size);
    const auto run = [&](const fs::path& output, bool stops) {
      return run_ranks(size, [&](Communicator& ranks) {
        TrainingOptions options = trainings.options("mnrl", output);
        options.eval_rows = options.train_rows;
        options.resume = true;
        std::stop_source stop;
        TrainingCallbacks callbacks;
        callbacks.step = [&](const TrainingProgress& now) {
          if (stops && now.step == 3) stop.request_stop();  // the epoch's last one
        };
        train_together(options, callbacks, stop.get_token(), ranks);
      });
    };
    const fs::path whole = str("whole", size, "/x"), other = str("other", size, "/x");
    CHECK(run(whole, false) == trainings.none(size));
    CHECK(run(other, true)[0].find("stopped after step 3 of 6") != std::string::npos);
    CHECK(run(other, false) == trainings.none(size));
    CHECK(trainings.metrics(whole) == trainings.metrics(other));
    CHECK(trainings.model(whole) == trainings.model(other));
  }
}

TEST_CASE("what is wrong with one rank ends all") {
  const Trainings trainings;
  const auto run = [&](const std::function<void(TrainingOptions&)>& change) {
    return run_ranks(3, [&](Communicator& ranks) {
      TrainingOptions options = trainings.options("mnrl", "out");
      if (ranks.rank() == 1) change(options);
      train_together(options, {}, {}, ranks);
    });
  };
  auto errors = run([](TrainingOptions& options) { options.model = "nowhere"; });
  CHECK(errors[0].find("rank 1 of 3: ") == 0);
  CHECK(errors[0].find("nowhere") != std::string::npos);
  CHECK(errors[2] == errors[0]);
  errors = run([](TrainingOptions& options) { options.seed = 9; });
  CHECK(errors[0] == "rank 1 has other options, rows or instructions than rank 0");
  CHECK(errors[2] == errors[0]);
  errors = run([](TrainingOptions& options) { options.train_rows.pop_back(); });
  CHECK(errors[1] == "rank 1 has other options, rows or instructions than rank 0");
  // What the leading rank alone can know.
  fs::create_directories(trainings.work / "out");
  write_file_atomically(trainings.work / "out/mine.txt", "x");
  errors = run([](TrainingOptions&) {});
  CHECK(errors[0].find("is not empty") != std::string::npos);
  CHECK(errors[1] == "rank 0 of 3: " + errors[0]);
  // Numbers that are not finite.
  TrainingOptions options = trainings.options("mnrl", "wild");
  options.optimizer_params = R"({"type": "sgd", "lr": 1e30})";
  errors = Trainings::train(options, 2);
  CHECK(errors[0].find("step 2, batch of") != std::string::npos);
  CHECK(fs::exists(trainings.work / "wild/checkpoints/last.npz"));
  // A callback's exception.
  options = trainings.options("mnrl", "thrown");
  TrainingCallbacks callbacks;
  callbacks.step = [](const TrainingProgress&) { throw std::runtime_error("no more"); };
  errors = Trainings::train(options, 2, callbacks);
  CHECK(errors == std::vector<std::string>{"no more", "rank 0 of 2: no more"});
}

}  // namespace
}  // namespace hugot
