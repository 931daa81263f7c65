// Adafactor against transformers, averages of weights, dropout, tied weights and quantized graphs
// in whole trainings.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "autodiff/optimizer.h"
#include "autodiff/weight_average.h"
#include "base/file.h"
#include "base/npz.h"
#include "base/testing.h"
#include "hugot/hugot.h"
#include "hugot/training.hpp"
#include "kernels/registry.h"
#include "models/convert.h"
#include "models/tied.h"
#include "onnx/exporter.h"
#include "onnx/loader.h"
#include "pipelines/testing.h"
#include "pipelines/training_config.h"
#include "tests/harness.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::arrays;
using test::as_doubles;
using test::as_type;
using test::ops;

// Matrix k of a stack.
Tensor slice(const Tensor& stack, int64_t k) {
  const std::vector<int64_t> dims(stack.shape().begin() + 1, stack.shape().end());
  const Shape shape{std::span<const int64_t>(dims)};
  const size_t bytes = stack.bytes() / static_cast<size_t>(stack.shape()[0]);
  return Tensor(stack.dtype(), shape,
                static_cast<const std::byte*>(stack.raw()) + static_cast<size_t>(k) * bytes)
      .clone();
}

void check_adafactor(const std::string& name, const json& settings,
                     const std::map<std::string, Tensor>& recorded, DType dtype, ThreadPool* pool) {
  CAPTURE(name);
  const OptimizerOptions options = parse_optimizer(settings.dump(), {});
  const std::vector<std::string> tensors = {"matrix", "tall", "vector", "cube"};
  std::vector<Parameter> parameters;
  for (const std::string& tensor : tensors) {
    const Tensor start = as_type(recorded.at(str(name, "/", tensor, "/start")), dtype);
    parameters.push_back({tensor, start.clone(), Tensor(dtype, start.shape())});
  }
  std::vector<Parameter*> pointers;
  for (Parameter& parameter : parameters) pointers.push_back(&parameter);
  Optimizer optimizer(options, pointers);
  for (int64_t k = 0; k < 10; ++k) {
    for (Parameter& parameter : parameters) {
      const Tensor& all = recorded.at(str(name, "/", parameter.name, "/gradients"));
      parameter.gradient = as_type(slice(all, k), dtype);
    }
    optimizer.step(learning_rate(options, k, 10), 1, pool);
    for (const Parameter& parameter : parameters) {
      CAPTURE(parameter.name);
      CAPTURE(k);
      const Tensor& all = recorded.at(str(name, "/", parameter.name, "/steps"));
      const std::vector<double> got = as_doubles(parameter.value), want = as_doubles(slice(all, k));
      double error = 0, largest = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        error = std::max(error, std::abs(got[i] - want[i]));
        largest = std::max(largest, std::abs(want[i]));
      }
      CHECK(error <= 1e-5 * largest);
    }
  }
}

// A directory with a small model, rows for it, and options.
class Small {
 public:
  Small() {
    convert_model("tests/data/tiny-bert", work_ / "tiny", ops());
    options.model = work_ / "tiny";
    for (int i = 0; i < 10; ++i) {
      options.train_rows.push_back(json({{"sentence1", str("hello cat ", i)},
                                         {"sentence2", str("the dog runs ", i * 7)},
                                         {"score", 0.1 * i}})
                                       .dump());
    }
    options.eval_rows = options.train_rows;
    options.batch_size = 4;
    options.epochs = 3;
    options.lr = 1e-3;
  }

  fs::path operator/(const std::string& name) const { return work_ / name; }

  fs::path graph(const std::string& output) const { return work_ / output / "onnx/model.onnx"; }

  TrainingResult run(const std::string& output, const TrainingCallbacks& callbacks = {},
                     std::stop_token stop = {}) {
    options.output = work_ / output;
    return train(options, callbacks, std::move(stop));
  }

  // Trains to `whole`; then once more, stopped after every step and resumed, on one thread. Both
  // have to give the same bytes.
  void check_resume(const std::string& name) {
    options.threads = 2;
    const TrainingResult whole = run(name + "-whole");
    options.threads = 1;
    options.resume = true;
    for (int64_t step = 1; step < whole.steps; ++step) {
      std::stop_source stop;
      TrainingCallbacks callbacks;
      callbacks.step = [&](const TrainingProgress& now) {
        if (now.step == step) stop.request_stop();
      };
      CHECK(error_of([&] { run(name + "-parts", callbacks, stop.get_token()); }) ==
            ErrorCode::kCancelled);
    }
    run(name + "-parts");
    options.resume = false;
    options.threads = 0;
    for (const char* file : {"metrics.jsonl", "onnx/model.onnx"}) {
      CHECK(read_file(work_ / (name + "-whole") / file) ==
            read_file(work_ / (name + "-parts") / file));
    }
  }

  TrainingOptions options;

 private:
  TemporaryDirectory work_;
};

double last_metric(const TrainingResult& result, const std::string& name) {
  return result.evaluations.back().metrics.at(name);
}

}  // namespace

TEST_CASE("Adafactor goes as that of transformers") {
  const json cases = json::parse(read_file("tests/data/optimizers/adafactor.json"));
  const auto recorded = arrays("tests/data/optimizers/adafactor.npz");
  CHECK(cases.size() >= 7);
  ThreadPool pool(2);
  for (const auto& [name, settings] : cases.items()) {
    check_adafactor(name, settings, recorded, DType::kFloat32, nullptr);
    check_adafactor(name, settings, recorded, DType::kFloat64, &pool);
  }
}

TEST_CASE("Adafactor does not depend on threads, and reads its parameters") {
  const OptimizerOptions options = parse_optimizer(R"({"type": "adafactor", "beta1": 0.9})", {});
  CHECK(options.adafactor.relative_step);
  ThreadPool pool(2);
  std::vector<Tensor> results;
  for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
    Parameter p = {"p", test::random_tensor(DType::kFloat32, {700, 130}, -1, 1, 1),
                   test::random_tensor(DType::kFloat32, {700, 130}, -1, 1, 2)};
    Optimizer optimizer(options, {&p});
    CHECK(optimizer.state(0, 0).shape() == Shape{700});
    CHECK(optimizer.state(0, 1).shape() == Shape{130});
    for (int64_t k = 0; k < 3; ++k) optimizer.step(learning_rate(options, k, 3), 0.5, threads);
    results.push_back(p.value);
  }
  CHECK(identical(results[0], results[1]));
  CHECK(learning_rate(options, 0, 3) == 0.01);
  CHECK(learning_rate(options, 39999, 3) == doctest::Approx(1 / 200.0));
  // A rate, wherever it comes from, stands against relative steps.
  const auto parse = [](const char* text, bool lr_given) {
    return parse_optimizer(text, {}, lr_given).adafactor.relative_step;
  };
  CHECK_FALSE(parse(R"({"type": "adafactor", "lr": 0.1})", false));
  CHECK_FALSE(parse(R"({"type": "adafactor"})", true));
  for (const char* wrong :
       {R"({"type": "adafactor", "lr": 0.1, "relative_step": true})",
        R"({"type": "adafactor", "eps": 1e-8})", R"({"type": "adafactor", "beta1": 1})",
        R"({"type": "adafactor", "schedule": "linear"})",
        R"({"type": "adafactor", "lr": 0.1, "warmup_init": true})",
        R"({"type": "adafactor", "decay_rate": 0.8})", R"({"type": "adamw", "beta1": 0.9})"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(parse_optimizer(wrong, {}), Error);
  }
}

TEST_CASE("an average of weights by its formula") {
  Parameter p = {"p", Tensor::from<double>({2}, {1, 2}), Tensor(DType::kFloat64, {2})};
  WeightAverage average(0.75, {&p});
  p.value.data<double>()[0] = 5;
  average.update(nullptr);
  CHECK(as_doubles(average.values()[0]) == std::vector<double>{2, 2});
  average.update(nullptr);
  average.swap();
  CHECK(as_doubles(p.value) == std::vector<double>{2.75, 2});
  average.swap();
  CHECK(as_doubles(p.value) == std::vector<double>{5, 2});
  WeightAverage none(0, {&p});
  none.update(nullptr);
  none.swap();
  CHECK(as_doubles(p.value) == std::vector<double>{5, 2});
  CHECK_THROWS_AS(WeightAverage(1, {&p}), Error);
}

TEST_CASE("the average is what is evaluated and written") {
  Small small;
  small.options.eval_rows.clear();
  std::vector<fs::path> steps;
  // The weights after 1, 2 and 3 steps.
  small.options.optimizer_params = R"({"type": "sgd", "lr": 0.1})";
  small.options.batch_size = 10;
  for (const int epochs : {1, 2, 3}) {
    small.options.epochs = epochs;
    small.run(str("plain", epochs));
  }
  small.options.ema = 0.5;
  small.run("average");
  const auto weights = [&](const std::string& output) {
    const LoadedModel model = load_model(small.graph(output), ops());
    std::map<std::string, Tensor> result;
    for (size_t i = 0; i < model.graph.value_count(); ++i) {
      const Value& value = model.graph.value(static_cast<ValueId>(i));
      if (value.initializer && is_float(value.fact.dtype) && value.fact.constant->size() > 1) {
        result.emplace(value.name, *value.fact.constant);
      }
    }
    return result;
  };
  const auto start = weights("tiny"), one = weights("plain1"), two = weights("plain2"),
             three = weights("plain3"), got = weights("average");
  size_t moved = 0;
  for (const auto& [name, tensor] : got) {
    const std::vector<double> a = as_doubles(start.at(name)), b = as_doubles(one.at(name)),
                              c = as_doubles(two.at(name)), d = as_doubles(three.at(name)),
                              e = as_doubles(tensor);
    for (size_t i = 0; i < e.size(); ++i) {
      const double want = a[i] / 8 + b[i] / 8 + c[i] / 4 + d[i] / 2;
      if (std::abs(e[i] - want) > 1e-6 * (1 + std::abs(want))) FAIL_CHECK(name);
      moved += e[i] != a[i];
    }
  }
  CHECK(moved > 1000);

  // The evaluation at the end is that of the weights that are written.
  small.options.eval_rows = small.options.train_rows;
  const TrainingResult averaged = small.run("evaluated");
  small.options.model = small / "evaluated";
  small.options.optimizer_params = R"({"type": "sgd", "lr": 0})";
  small.options.ema = 0;
  small.options.epochs = 1;
  const TrainingResult check = small.run("check");
  double best = 1e9;
  for (const TrainingEvaluation& evaluation : averaged.evaluations) {
    if (evaluation.step == averaged.best_step) best = evaluation.metrics.at("loss");
  }
  CHECK(last_metric(check, "loss") == doctest::Approx(best).epsilon(1e-6));
}

TEST_CASE("trainings with dropout, averages and Adafactor go on to the same bytes") {
  Small small;
  small.check_resume("plain");
  small.options.dropout = 0.2;
  small.options.ema = 0.9;
  small.check_resume("dropout");
  small.options.optimizer_params = R"({"type": "adafactor", "beta1": 0.5, "relative_step": false})";
  small.options.accumulation = 2;
  small.check_resume("adafactor");
  CHECK(read_file(small.graph("plain-whole")) != read_file(small.graph("dropout-whole")));
  CHECK(read_file(small.graph("adafactor-whole")) != read_file(small.graph("dropout-whole")));
}

TEST_CASE("dropout is in training alone, and goes by the seed") {
  Small small;
  small.options.double_precision = true;
  small.options.shuffle = false;
  small.options.optimizer_params = R"({"type": "sgd", "lr": 0})";
  const TrainingResult plain = small.run("plain");
  small.options.dropout = 0.3;
  std::vector<std::string> messages;
  TrainingCallbacks callbacks;
  callbacks.message = [&](std::string_view text) { messages.emplace_back(text); };
  std::map<uint64_t, std::vector<double>> losses;
  callbacks.step = [&](const TrainingProgress& now) {
    losses[small.options.seed].push_back(now.loss);
  };
  const TrainingResult dropped = small.run("dropped", callbacks);
  CHECK(last_metric(dropped, "loss") == doctest::Approx(last_metric(plain, "loss")).epsilon(1e-9));
  REQUIRE(messages.size() == 2);
  CHECK(messages[1].find("1 of embeddings, 2 of attention probabilities, 4 in front") !=
        std::string::npos);
  small.options.seed = 5;
  small.run("other", callbacks);
  CHECK(losses[0] != losses[5]);
  // Every epoch has the same rows and weights, but drops other elements.
  CHECK(losses[0][0] != losses[0][3]);
  // Mini-batches drop what the whole batch does.
  small.options.seed = 0;
  small.options.loss = "cosine_similarity";
  small.options.loss_params = R"({"mini_batch_size": 3})";
  std::vector<double> whole = losses[0];
  losses.clear();
  small.run("parts", callbacks);
  REQUIRE(losses[0].size() == whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    CHECK(losses[0][i] == doctest::Approx(whole[i]).epsilon(1e-12));
  }
  for (const double wrong : {-0.1, 1.0, std::nan("")}) {
    small.options.dropout = wrong;
    CHECK(error_of([&] { small.run("wrong"); }) == ErrorCode::kInvalidArgument);
  }
  small.options.dropout = 0;
  small.options.ema = 1;
  CHECK(error_of([&] { small.run("wrong"); }) == ErrorCode::kInvalidArgument);
}

TEST_CASE("dropout and averages through the interface of C") {
  Small small;
  std::string rows;
  for (const std::string& row : small.options.train_rows) rows += row + "\n";
  write_file_atomically(small / "rows.jsonl", rows);
  small.options.eval_rows.clear();
  small.options.dropout = 0.2;
  small.options.ema = 0.5;
  small.options.lr.reset();
  small.options.optimizer_params = R"({"type": "adafactor"})";
  small.run("one");
  const std::string model = (small / "tiny").string(), file = (small / "rows.jsonl").string(),
                    output = (small / "two").string();
  hugot_training_options c;
  hugot_training_options_init(&c);
  CHECK(c.dropout == 0);
  CHECK(c.ema == 0);
  CHECK(c.untie == 0);
  c.model = model.c_str();
  c.train_file = file.c_str();
  c.output = output.c_str();
  c.batch_size = 4;
  c.epochs = 3;
  c.dropout = 0.2;
  c.ema = 0.5;
  c.optimizer_params = R"({"type": "adafactor"})";
  CHECK(hugot_train(&c, nullptr, nullptr, nullptr) == HUGOT_OK);
  CHECK(read_file(small.graph("one")) == read_file(small.graph("two")));
  c.dropout = 2;
  const std::string other = (small / "three").string();
  c.output = other.c_str();
  CHECK(hugot_train(&c, nullptr, nullptr, nullptr) == HUGOT_INVALID_ARGUMENT);
}

namespace {

// The model of a directory with its graph changed.
template <class Change>
void change_graph(const fs::path& file, const Change& change) {
  LoadedModel model = load_model(file, ops());
  infer(model.graph);
  change(model.graph);
  write_model(model.graph, file, {});
}

// A matrix that a node of some type multiplies by.
ValueId matrix_of(const Graph& graph, size_t skip) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.op_type != "MatMul" && node.op_type != "Gemm") continue;
    const Value& weight = graph.value(node.inputs[1]);
    if (weight.initializer && skip-- == 0) return node.inputs[1];
  }
  FAIL("no such matrix");
  return kNoValue;
}

}  // namespace

TEST_CASE("weights that a file holds twice stay the same") {
  Small small;
  small.options.eval_rows.clear();
  std::string copy, back, original;
  const auto transposed = [](const Tensor& x) { return tied_copy({"", "", true}, x); };
  change_graph(small.graph("tiny"), [&](Graph& graph) {
    const ValueId first = matrix_of(graph, 0), second = matrix_of(graph, 1),
                  third = matrix_of(graph, 2);
    original = graph.value(first).name;
    copy = graph.value(second).name;
    back = graph.value(third).name;
    REQUIRE(graph.constant(first)->shape() == graph.constant(second)->shape());
    REQUIRE(graph.constant(first)->shape() == graph.constant(third)->shape());
    graph.value(second).fact = Fact::of(graph.constant(first)->clone());
    graph.value(third).fact = Fact::of(transposed(*graph.constant(first)));
  });
  const auto weight = [&](const std::string& output, const std::string& name) {
    const LoadedModel model = load_model(small.graph(output), ops());
    return model.graph.constant(model.graph.find(name))->clone();
  };
  std::vector<std::string> messages;
  TrainingCallbacks callbacks;
  callbacks.message = [&](std::string_view text) { messages.emplace_back(text); };
  for (const int rank : {0, 2}) {
    small.options.lora_rank = rank;
    messages.clear();
    small.run(str("tied", rank), callbacks);
    CHECK(identical(weight(str("tied", rank), copy), weight(str("tied", rank), original)));
    CHECK(identical(weight(str("tied", rank), back),
                    transposed(weight(str("tied", rank), original))));
    CHECK_FALSE(identical(weight(str("tied", rank), copy), weight("tiny", copy)));
    REQUIRE(messages.size() == 3);
    CHECK(messages[1] == str("'", copy, "' is '", original, "' and stays it"));
    CHECK(messages[2] == str("'", back, "' is the transposed '", original, "' and stays it"));
  }
  small.options.lora_rank = 0;
  small.options.tie_weights = false;
  small.run("apart");
  CHECK_FALSE(identical(weight("apart", copy), weight("apart", original)));
}

TEST_CASE("a quantized graph is refused before anything happens") {
  Small small;
  change_graph(small.graph("tiny"), [&](Graph& graph) {
    const ValueId weight = matrix_of(graph, 2);
    const ValueId scale = graph.add_initializer("scale", Tensor::scalar<float>(0.01f));
    const ValueId zero = graph.add_initializer("zero", Tensor::scalar<int8_t>(0));
    const auto append = [&](const std::string& op_type, ValueId x) {
      Node node;
      node.name = op_type;
      node.op_type = op_type;
      node.opset = graph.opsets.at("");
      node.op = &ops().get("", op_type, node.opset);
      node.inputs = {x, scale, zero};
      node.outputs = {graph.add_value(op_type)};
      return graph.node(graph.add_node(std::move(node))).outputs[0];
    };
    const ValueId wide = append("DequantizeLinear", append("QuantizeLinear", weight));
    for (size_t i = 0; i < graph.node_count(); ++i) {
      Node& node = graph.node(static_cast<NodeId>(i));
      if (node.op_type != "QuantizeLinear")
        std::replace(node.inputs.begin(), node.inputs.end(), weight, wide);
    }
  });
  std::string message;
  CHECK(error_of([&] { small.run("out"); }, &message) == ErrorCode::kUnsupported);
  CHECK(message.find("QuantizeLinear 'QuantizeLinear'") != std::string::npos);
  CHECK(message.find("quantized") != std::string::npos);
  CHECK_FALSE(fs::exists(small / "out"));
}

}  // namespace hugot
