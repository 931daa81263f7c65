// Losses, gradients and whole trainings against numbers recorded from torch, and their own rules.
#include "hugot/training.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "autodiff/loss.h"
#include "autodiff/optimizer.h"
#include "autodiff/train_graph.h"
#include "base/file.h"
#include "base/npz.h"
#include "base/testing.h"
#include "graph/passes/passes.h"
#include "graph/writer.h"
#include "hugot/hugot.h"
#include "kernels/registry.h"
#include "models/convert.h"
#include "models/encoder_output.h"
#include "models/sentence_graph.h"
#include "models/trainable.h"
#include "onnx/loader.h"
#include "pipelines/evaluation.h"
#include "pipelines/feature_extraction.h"
#include "pipelines/testing.h"
#include "pipelines/text_model.h"
#include "pipelines/training_config.h"
#include "tests/harness.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::arrays;
using test::as_doubles;
using test::ops;

const fs::path kGolden = "../shared/data/training-golden";

// The recorded cases; empty, with a message, where the shared data are not there.
std::vector<fs::path> golden_cases() {
  std::vector<fs::path> result;
  if (!fs::exists(kGolden)) {
    MESSAGE("skipped: there is no ", kGolden.string());
    return result;
  }
  for (const auto& entry : fs::directory_iterator(kGolden / "cases")) result.push_back(entry);
  std::sort(result.begin(), result.end());
  return result;
}

// The first batch of a recorded case, through model and loss.
class FirstBatch {
 public:
  FirstBatch(const fs::path& folder, DType dtype) : folder_(folder), dtype_(dtype) {
    info = json::parse(read_file(folder / "case.json"));
    rows_ = arrays(folder / "rows.npz");
    make_model();
    make_loss();
    const std::vector<TrainRow> texts = batch();
    const Tensor vectors = model->forward(texts, true, {});
    const size_t columns = info.at("columns").size();
    std::vector<Tensor> parts;
    const int64_t rows = vectors.shape()[0] / static_cast<int64_t>(columns);
    const size_t bytes = vectors.bytes() / columns;
    for (size_t i = 0; i < columns; ++i) {
      parts.emplace_back(dtype, Shape{rows, vectors.shape()[1]},
                         static_cast<const std::byte*>(vectors.raw()) + i * bytes);
    }
    const Loss::Result result = loss->run(parts, labels(rows), {});
    value = result.value;
    Tensor gradient(dtype, vectors.shape());
    for (size_t i = 0; i < columns; ++i) {
      std::memcpy(static_cast<std::byte*>(gradient.raw()) + i * bytes, result.gradients[i].raw(),
                  bytes);
    }
    model->backward(gradient, {});
    for (const Parameter& p : model->parameters()) gradients.emplace(p.name, p.gradient);
    for (const Parameter& p : loss->parameters()) gradients.emplace(p.name, p.gradient);
  }

  json info;
  double value = 0;
  std::map<std::string, Tensor> gradients;
  std::unique_ptr<TrainableModel> model;
  std::unique_ptr<Loss> loss;

 private:
  void make_model() {
    const fs::path source = kGolden / "models" / info.at("model").get<std::string>();
    const ModelDirectory directory = ModelDirectory::read(source);
    const LoadedModel file = load_model(directory.onnx_file(""), ops());
    Graph graph = file.graph;
    const bool logits = info.at("loss") == "cross_entropy";
    const int output = find_output(
        graph, logits ? choose_logits(file) : choose_vectors(file, "", !directory.modules.empty()));
    keep_outputs(graph, std::span(&output, 1));
    if (!logits) append_sentence_head(graph, ops(), directory.modules);
    const auto parameters = find_parameters(file, graph);
    const auto frozen =
        frozen_parameters(parameters, info.at("frozen").empty() ? "" : "embeddings,layers:0");
    TrainableModelOptions options;
    options.dtype = dtype_;
    std::vector<std::string> kept;
    for (size_t i = 0; i < parameters.size(); ++i) {
      (frozen[i] ? kept : options.trainable).push_back(parameters[i].name);
    }
    std::sort(kept.begin(), kept.end());
    CHECK(kept == info.at("frozen").get<std::vector<std::string>>());
    model = TrainableModel::create(std::move(graph), ops(), options);
  }

  void make_loss() {
    const LossConfig config = parse_loss(info.at("loss"), info.at("params").dump());
    const TrainRow row = texts_of(info.at("columns")[0], 1)[0];
    const int64_t dim = model->forward({&row, 1}, false, {}).shape()[1];
    loss = std::make_unique<Loss>(config.options, ops(), dtype_, info.at("columns"), dim, 1);
    if (loss->parameters().empty()) return;
    const auto head = arrays(folder_ / "head.npz");
    for (Parameter& parameter : loss->parameters()) {
      const Tensor& given = head.at(parameter.name);
      parameter.value = test::as_type(given, dtype_);
    }
  }

  std::vector<TrainRow> texts_of(const std::string& column, int64_t count) {
    const Tensor& all = rows_.at("ids." + column);
    auto& ids = ids_[column];
    if (ids.empty()) {
      for (const int64_t id : to_int64s(all)) ids.push_back(static_cast<int32_t>(id));
    }
    const std::vector<int64_t> ends = to_int64s(rows_.at("cu_seqlens." + column));
    std::vector<TrainRow> result;
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      result.push_back({std::span<const int32_t>(ids).subspan(
          static_cast<size_t>(ends[i]), static_cast<size_t>(ends[i + 1] - ends[i]))});
    }
    return result;
  }

  std::vector<TrainRow> batch() {
    std::vector<TrainRow> result;
    for (const std::string column : info.at("columns")) {
      const auto part = texts_of(column, info.at("batch_size"));
      result.insert(result.end(), part.begin(), part.end());
    }
    return result;
  }

  Tensor labels(int64_t rows) {
    const auto it = rows_.find("labels");
    if (info.at("label").is_null() || it == rows_.end()) return {};
    const Tensor& all = it->second;
    const bool lists = all.rank() == 2;
    const Shape shape = lists ? Shape{rows, all.shape()[1]} : Shape{rows};
    const Tensor part = Tensor(all.dtype(), shape, all.raw()).clone();
    if (info.at("loss") == "softmax" || info.at("loss") == "cross_entropy") {
      return test::as_type(part, DType::kInt64);
    }
    return test::as_type(part, dtype_);
  }

  fs::path folder_;
  DType dtype_;
  std::map<std::string, Tensor> rows_;
  std::map<std::string, std::vector<int32_t>> ids_;
};

void check_first_batch(const fs::path& folder, DType dtype) {
  CAPTURE(folder.filename().string());
  const bool wide = dtype == DType::kFloat64;
  CAPTURE(wide);
  const FirstBatch batch(folder, dtype);
  const double want = batch.info["first_batch"]["loss"];
  CHECK(std::abs(batch.value - want) <= (wide ? 1e-6 : 1e-5) * std::max(1.0, want));
  const auto expected = arrays(folder / "grads.npz");
  CHECK(batch.gradients.size() == expected.size());
  const std::vector<std::string> zero = batch.info.at("zero_gradient");
  for (const auto& entry : expected) {
    CAPTURE(entry.first);
    const auto& [name, gradient] = entry;
    REQUIRE(batch.gradients.contains(name));
    const std::vector<double> got = as_doubles(batch.gradients.at(name)), e = as_doubles(gradient);
    REQUIRE(got.size() == e.size());
    double error = 0, squares = 0, largest = 0;
    for (size_t i = 0; i < e.size(); ++i) {
      error += (got[i] - e[i]) * (got[i] - e[i]);
      squares += e[i] * e[i];
      largest = std::max(largest, std::abs(got[i]));
    }
    if (std::find(zero.begin(), zero.end(), name) != zero.end()) {
      CHECK(largest < (wide ? 1e-12 : 1e-5));
    } else {
      CHECK(std::sqrt(error / squares) <= (wide ? 1e-5 : 1e-4));
    }
  }
}

// ---------------------------------------------------------------------------------------------

TrainingOptions golden_run(const fs::path& folder, const json& info, const json& run) {
  TrainingOptions options;
  options.model = kGolden / "models" / info.at("model").get<std::string>();
  options.train_file = folder / "train.jsonl";
  options.loss = info.at("loss");
  options.loss_params = info.at("params").dump();
  options.optimizer_params = run.at("optimizer").dump();
  options.batch_size = info.at("batch_size");
  options.max_length = info.at("max_length");
  options.shuffle = false;
  if (!info.at("frozen").empty()) options.freeze = "embeddings,layers:0";
  if (fs::exists(folder / "head.npz")) options.head_init = folder / "head.npz";
  return options;
}

void check_run(const fs::path& folder, const std::string& name) {
  CAPTURE(folder.filename().string());
  CAPTURE(name);
  const json info = json::parse(read_file(folder / "case.json"));
  const json& run = info.at("runs").at(name);
  const TemporaryDirectory work;
  TrainingOptions options = golden_run(folder, info, run);
  options.output = work / "out";
  std::vector<TrainingProgress> steps;
  TrainingCallbacks callbacks;
  callbacks.step = [&](const TrainingProgress& now) { steps.push_back(now); };
  train(options, callbacks);
  REQUIRE(steps.size() == run.at("loss").size());
  for (size_t i = 0; i < steps.size(); ++i) {
    const double loss = run["loss"][i], norm = run["grad_norm"][i], lr = run["lr"][i];
    CHECK(std::abs(steps[i].loss - loss) <= 1e-4 * std::max(1.0, loss));
    CHECK(std::abs(steps[i].grad_norm - norm) <= 1e-3 * std::max(1.0, norm));
    CHECK(std::abs(steps[i].lr - lr) <= 1e-12);
  }
  const LoadedModel trained = load_model(options.output / "model.onnx", ops());
  const LoadedModel source = load_model(options.model / "model.onnx", ops());
  for (const std::string frozen : info.at("frozen")) {
    CHECK(identical(*trained.graph.constant(trained.graph.find(frozen)),
                    *source.graph.constant(source.graph.find(frozen))));
  }
}

// d loss / d x of every loss against finite differences.
void check_differences(const std::string& name, const json& params, int columns,
                       const Tensor& labels, int64_t dim) {
  CAPTURE(name);
  CAPTURE(params.dump());
  const LossConfig config = parse_loss(name, params.is_null() ? "" : params.dump());
  std::vector<std::string> names;
  std::vector<Tensor> x;
  for (int i = 0; i < columns; ++i) {
    names.push_back(str("c", i));
    x.push_back(
        test::random_tensor(DType::kFloat64, {5, dim}, -1, 1, static_cast<uint64_t>(i + 3)));
  }
  Loss loss(config.options, ops(), DType::kFloat64, names, dim, 1);
  const Loss::Result result = loss.run(x, labels, {});
  CHECK(std::isfinite(result.value));
  CHECK(loss.value(x, labels, {}) == result.value);
  constexpr double kStep = 1e-6;
  const auto check = [&](Tensor& variable, const Tensor& gradient) {
    for (int64_t i = 0; i < variable.size(); i += 3) {
      double& element = variable.data<double>()[i];
      const double before = element;
      element = before + kStep;
      const double up = loss.value(x, labels, {});
      element = before - kStep;
      const double down = loss.value(x, labels, {});
      element = before;
      CHECK(std::abs((up - down) / (2 * kStep) - gradient.data<double>()[i]) < 2e-6);
    }
  };
  for (size_t i = 0; i < x.size(); ++i) check(x[i], result.gradients[i]);
  for (Parameter& parameter : loss.parameters()) check(parameter.value, parameter.gradient);
}

Parameter parameter_of(std::initializer_list<double> values,
                       std::initializer_list<double> gradient) {
  const auto n = static_cast<int64_t>(values.size());
  return {"p", Tensor::from<double>({n, 1}, values), Tensor::from<double>({n, 1}, gradient)};
}

}  // namespace

TEST_CASE("recorded losses and gradients of first batches") {
  for (const fs::path& folder : golden_cases()) {
    for (const DType dtype : {DType::kFloat64, DType::kFloat32}) check_first_batch(folder, dtype);
  }
}

TEST_CASE("recorded trainings in float32") {
  for (const fs::path& folder : golden_cases()) {
    const json info = json::parse(read_file(folder / "case.json"));
    for (const auto& [name, run] : info.at("runs").items()) check_run(folder, name);
  }
}

TEST_CASE("gradients of losses are their differences") {
  const Tensor scores = Tensor::from<double>({5}, {0.1, 0.9, 0.4, 0.4, 0.7});
  const Tensor binary = Tensor::from<double>({5}, {1, 0, 1, 0, 1});
  const Tensor classes = Tensor::from<int64_t>({5}, {0, 2, 1, 1, 3});
  const Tensor lists = test::random_tensor(DType::kFloat64, {5, 4}, 0, 1, 9);
  check_differences("cosine_similarity", {}, 2, scores, 6);
  check_differences("cosent", {{"scale", 3}}, 2, scores, 6);
  check_differences("angle", {{"scale", 2}}, 2, scores, 6);
  check_differences("mnrl", {{"scale", 4}}, 3, {}, 6);
  check_differences("mnrl", {{"scale", 1}, {"similarity", "dot"}}, 2, {}, 6);
  check_differences("mnrl_symmetric", {{"scale", 4}}, 4, {}, 6);
  for (const char* distance : {"cosine", "euclidean", "manhattan"}) {
    check_differences("triplet", {{"distance", distance}, {"margin", 0.7}}, 3, {}, 6);
    check_differences("contrastive", {{"distance", distance}, {"margin", 2}}, 2, binary, 6);
    check_differences("online_contrastive", {{"distance", distance}, {"margin", 2}}, 2, binary, 6);
  }
  check_differences("softmax", {{"num_labels", 4}, {"multiply", true}}, 2, classes, 3);
  check_differences("cross_entropy", {}, 1, classes, 4);
  check_differences("cross_entropy", {{"label_smoothing", 0.1}}, 1, classes, 4);
  check_differences("bce", {}, 1, lists, 4);
  check_differences("mse", {}, 1, lists, 4);
  check_differences("matryoshka", {{"loss", "mnrl"}, {"dims", {6, 3}}, {"weights", {1, 0.5}}}, 2,
                    {}, 6);
  check_differences("matryoshka",
                    {{"loss", "angle"}, {"loss_params", {{"scale", 2}}}, {"dims", {6, 2}}}, 2,
                    scores, 6);
}

TEST_CASE("values of losses by their formulas") {
  const Tensor u = Tensor::from<double>({2, 2}, {3, 4, 1, 0}),
               v = Tensor::from<double>({2, 2}, {4, 3, 0, 2});
  const auto value = [&](const std::string& name, const json& params, std::vector<Tensor> x,
                         const Tensor& labels) {
    std::vector<std::string> names(x.size(), "c");
    for (size_t i = 0; i < x.size(); ++i) names[i] = str("c", i);
    return Loss(parse_loss(name, params.dump()).options, ops(), DType::kFloat64, names, 2, 1)
        .value(x, labels, {});
  };
  const Tensor y = Tensor::from<double>({2}, {0.5, 0.25});
  // cos = 0.96 and 0
  CHECK(value("cosine_similarity", json::object(), {u, v}, y) ==
        doctest::Approx((0.46 * 0.46 + 0.0625) / 2));
  CHECK(value("cosent", {{"scale", 2}}, {u, v}, y) ==
        doctest::Approx(std::log(1 + std::exp(-1.92))));
  // (3 + 4 i) / (4 + 3 i): 0.96 + 0.28 i; 1 / 2 i: -i
  CHECK(value("angle", {{"scale", 2}}, {u, v}, y) ==
        doctest::Approx(std::log(1 + std::exp(2 * (1.0 - 1.24)))));
  CHECK(value("bce", json::object(), {u}, Tensor::from<double>({2, 2}, {1, 0, 1, 0})) ==
        doctest::Approx((std::log1p(std::exp(-3)) + std::log1p(std::exp(4)) +
                         std::log1p(std::exp(-1)) + std::log(2)) /
                        4));
  CHECK(value("triplet", {{"distance", "manhattan"}, {"margin", 1}}, {u, v, v}, {}) ==
        doctest::Approx(1));
  // Numbers that overflow where a formula is taken literally.
  const Tensor far = Tensor::from<double>({2, 2}, {-1000, 1000, 1000, -1000});
  CHECK(value("bce", json::object(), {far}, Tensor::from<double>({2, 2}, {1, 1, 1, 0})) ==
        doctest::Approx(250));
}

TEST_CASE("optimizers by hand") {
  OptimizerOptions o;
  o.type = OptimizerType::kSgd;
  o.momentum = 0.5;
  o.nesterov = true;
  Parameter p = parameter_of({1, -2}, {0.5, 1});
  {
    Optimizer optimizer(o, {&p});
    optimizer.step(0.1, 1, nullptr);  // momentum g; step g + 0.5 g
    CHECK(as_doubles(p.value)[0] == doctest::Approx(1 - 0.1 * 0.75));
    optimizer.step(0.1, 1, nullptr);  // momentum 0.75; step 0.5 + 0.375
    CHECK(as_doubles(p.value)[0] == doctest::Approx(0.925 - 0.1 * 0.875));
  }
  o = {};
  o.type = OptimizerType::kLion;
  o.weight_decay = 0.1;
  p = parameter_of({1, -2}, {0.5, -1});
  Optimizer lion(o, {&p}, {0.5});
  lion.step(0.2, 1, nullptr);
  CHECK(as_doubles(p.value)[0] == doctest::Approx(1 - 0.1 * (1 + 0.1)));
  CHECK(as_doubles(p.value)[1] == doctest::Approx(-2 + 0.1 * (1 + 0.2)));
  CHECK(as_doubles(lion.state(0, 0))[1] == doctest::Approx(-0.001));
  CHECK(gradient_norm(std::vector<Parameter*>{&p}, nullptr) == doctest::Approx(std::sqrt(1.25)));
  CHECK_THROWS_AS(parse_optimizer(R"({"betas": [0.9]})", {}), Error);
  CHECK_THROWS_AS(parse_optimizer(R"({"betas": [0.9, 1]})", {}), Error);
  CHECK_THROWS_AS(parse_optimizer(R"({"nesterov": true})", {}), Error);
  CHECK_THROWS_AS(parse_optimizer(R"({"warmup_steps": -1})", {}), Error);
  CHECK_THROWS_AS(parse_optimizer(R"({"warmup_steps": 1.5})", {}), Error);
}

TEST_CASE("learning rates") {
  OptimizerOptions o;
  o.lr = 2;
  o.warmup_ratio = 0.4;  // of 5 steps: 2
  o.schedule = Schedule::kLinear;
  const double linear[] = {0, 1, 2, 2 * 2.0 / 3, 2 / 3.0, 0};
  for (int64_t k = 0; k <= 5; ++k) CHECK(learning_rate(o, k, 5) == doctest::Approx(linear[k]));
  o.schedule = Schedule::kCosine;
  CHECK(learning_rate(o, 3, 5) == doctest::Approx(1 + std::cos(std::acos(-1.0) / 3)));
  CHECK(learning_rate(o, 5, 5) == doctest::Approx(0));
  o.warmup_ratio = 0;
  o.schedule = Schedule::kInverseSqrt;
  CHECK(learning_rate(o, 3, 5) == doctest::Approx(1));
  o.schedule = Schedule::kConstant;
  CHECK(learning_rate(o, 4, 5) == 2);
}

TEST_CASE("metrics") {
  const std::vector<double> a = {1, 2, 3, 4}, b = {1, 4, 9, 16}, tied = {1, 1, 2, 2};
  CHECK(pearson(a, a) == doctest::Approx(1));
  CHECK(pearson(a, b) == doctest::Approx(0.9843740387));
  CHECK(spearman(a, b) == doctest::Approx(1));
  CHECK(spearman(a, tied) == doctest::Approx(0.894427191));
  CHECK(pearson(a, std::vector<double>{2, 2, 2, 2}) == 0);
  const Tensor q = Tensor::from<float>({3, 2}, {1, 0, 0, 1, 1, 1});
  const Tensor c = Tensor::from<float>({3, 2}, {1, 0.1f, 1, 0, 1, 1});
  ThreadPool pool(1);
  const Metrics retrieval = evaluate_retrieval(q, c, pool);
  // Ranks of the right candidates: 2, 3, 1.
  CHECK(retrieval.at("accuracy@1") == doctest::Approx(1 / 3.0));
  CHECK(retrieval.at("accuracy@3") == 1);
  CHECK(retrieval.at("mrr@10") == doctest::Approx((0.5 + 1 / 3.0 + 1) / 3));
  CHECK(retrieval.at("ndcg@10") == doctest::Approx((1 / std::log2(3.0) + 0.5 + 1) / 3));
  CHECK(evaluate_triplets(q, c, q).at("triplet_accuracy") == 0);
  const Metrics pairs = evaluate_similarity(q, c, std::vector<double>{1, 0, 0});
  CHECK(pairs.at("average_precision") == doctest::Approx(0.5));
  const Tensor logits = Tensor::from<float>({4, 3}, {1, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0});
  const Metrics classes = evaluate_classes(logits, std::vector<int64_t>{0, 1, 0, 0});
  CHECK(classes.at("accuracy") == 0.75);
  CHECK(classes.at("f1") == doctest::Approx((0.8 + 2 / 3.0) / 2));
  CHECK_THROWS_AS(evaluate_classes(logits, std::vector<int64_t>{0, 1, 0, 3}), Error);
}

TEST_CASE("layers are read from names") {
  CHECK(layer_number("encoder.layer.11.output.dense.weight") == 11);
  CHECK(layer_number("/bert/encoder/layer.0/attention/self/query/MatMul") == 0);
  CHECK(layer_number("['', 'm', 'm.encoder.layer.3', 'linear']") == 3);
  CHECK(layer_number("model.layers.7.mlp") == 7);
  CHECK(layer_number("h.2.attn") == 2);
  CHECK(layer_number("block.4.layer.0.SelfAttention") == 4);
  CHECK(!layer_number("embeddings.LayerNorm.weight"));
  CHECK(!layer_number("layer.x.0"));
  CHECK(!layer_number("layer.99999999999999999999"));
  std::vector<ModelParameter> parameters = {{"e", {}, true},
                                            {"a", {0}, false},
                                            {"b", {1}, false},
                                            {"s", {0, 1}, false},
                                            {"p", {}, false}};
  using Flags = std::vector<bool>;
  CHECK(frozen_parameters(parameters, "") == Flags{false, false, false, false, false});
  CHECK(frozen_parameters(parameters, "embeddings") == Flags{true, false, false, false, false});
  CHECK(frozen_parameters(parameters, "layers:0") == Flags{false, true, false, false, false});
  CHECK(frozen_parameters(parameters, "layers:0,1,embeddings") ==
        Flags{true, true, true, true, false});
  CHECK(frozen_parameters(parameters, "layers:all") == Flags{false, true, true, true, false});
  for (const char* wrong :
       {"x", "layers:", "layers:1-0", "layers:2", "layers:-1", "0", ",", "layers:0-99999999999"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(frozen_parameters(parameters, wrong), Error);
  }
}

TEST_CASE("training through the interfaces of C++ and C") {
  const TemporaryDirectory work;
  convert_model("tests/data/tiny-bert", work / "tiny", ops());
  TrainingOptions options;
  options.model = work / "tiny";
  for (int i = 0; i < 6; ++i) {
    options.train_rows.push_back(
        json({{"anchor", str("hello ", i)}, {"positive", str("world ", i)}}).dump());
  }
  std::string rows;
  for (const std::string& row : options.train_rows) rows += row + "\n";
  write_file_atomically(work / "rows.jsonl", rows);
  options.output = work / "one";
  options.batch_size = 4;
  options.epochs = 3;
  options.lr = 1e-3;
  std::vector<double> losses;
  TrainingCallbacks callbacks;
  callbacks.step = [&](const TrainingProgress& now) { losses.push_back(now.loss); };
  const TrainingResult result = train(options, callbacks);
  CHECK(result.steps == 6);
  CHECK(result.last_loss == losses.back());

  const std::string model = (work / "tiny").string(), file = (work / "rows.jsonl").string();
  const std::string two = (work / "two").string();
  hugot_training_options c;
  hugot_training_options_init(&c);
  c.model = model.c_str();
  c.train_file = file.c_str();
  c.output = two.c_str();
  c.batch_size = 4;
  c.epochs = 3;
  c.lr = 1e-3;
  std::vector<double> same;
  const auto on_step = [](void* user, int, int64_t, int64_t, double loss) {
    static_cast<std::vector<double>*>(user)->push_back(loss);
  };
  CHECK(hugot_train(&c, on_step, &same, nullptr) == HUGOT_OK);
  CHECK(same == losses);
  CHECK(read_file(work / "one/onnx/model.onnx") == read_file(work / "two/onnx/model.onnx"));
  CHECK(hugot_train(&c, nullptr, nullptr, nullptr) == HUGOT_INVALID_ARGUMENT);
  CHECK(std::string(hugot_last_error()).find("is not empty") != std::string::npos);
  CHECK(hugot_train(nullptr, nullptr, nullptr, nullptr) == HUGOT_INVALID_ARGUMENT);
  c.struct_size = 1;
  CHECK(hugot_train(&c, nullptr, nullptr, nullptr) == HUGOT_INVALID_ARGUMENT);

  // A stop keeps a checkpoint, from which the rest gives the same bytes.
  options.output = work / "three";
  options.resume = true;
  std::stop_source stop;
  callbacks.step = [&](const TrainingProgress& now) {
    if (now.step == 2) stop.request_stop();
  };
  CHECK(error_of([&] { train(options, callbacks, stop.get_token()); }) == ErrorCode::kCancelled);
  train(options);
  CHECK(read_file(work / "one/metrics.jsonl") == read_file(work / "three/metrics.jsonl"));
  CHECK(read_file(work / "one/onnx/model.onnx") == read_file(work / "three/onnx/model.onnx"));
}

TEST_CASE("a graph as loss") {
  Graph graph;
  GraphWriter writer(graph, ops());
  const Dims dims = {Dim::symbol("n"), Dim(3)};
  const Term u = writer.value(graph.add_input("left", Fact::of(DType::kFloat32, dims)));
  const Term v = writer.value(graph.add_input("column_1", Fact::of(DType::kFloat32, dims)));
  const Term y = writer.value(graph.add_input("labels", Fact::of(DType::kFloat32, {dims[0]})));
  const Term products =
      writer.op("ReduceSum", {u * v, writer.integers({1})}, {{"keepdims", int64_t{0}}});
  graph.outputs = {
      writer.op("ReduceMean", {square(products - y)}, {{"keepdims", int64_t{0}}}).id()};
  LossOptions options;
  options.name = "graph";
  options.graph = std::make_shared<const Graph>(graph);
  Loss loss(options, ops(), DType::kFloat64, {"left", "right"}, 3, 1);
  const std::vector<Tensor> x = {Tensor::from<double>({2, 3}, {1, 2, 3, 0, 1, 0}),
                                 Tensor::from<double>({2, 3}, {1, 0, 1, 5, 2, 5})};
  const auto result = loss.run(x, Tensor::from<double>({2}, {1, 2}), {});
  CHECK(result.value == 4.5);  // products 4 and 2
  CHECK(as_doubles(result.gradients[0]) == std::vector<double>{3, 0, 3, 0, 0, 0});
  CHECK_THROWS_AS(loss.run(x, {}, {}), Error);
  CHECK_THROWS_AS(loss.run(std::span(x).first(1), Tensor::from<double>({2}, {1, 2}), {}), Error);
  Loss other(options, ops(), DType::kFloat64, {"a", "b"}, 3, 1);
  CHECK_THROWS_AS(other.run(x, Tensor::from<double>({2}, {1, 2}), {}), Error);
}

}  // namespace hugot
