// Gradients of the zoo's encoders without padding against those of the padded graphs.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "autodiff/float_type.h"
#include "autodiff/ragged_model.h"
#include "graph/exec/ragged.h"
#include "graph/passes/passes.h"
#include "graph/writer.h"
#include "kernels/dropout_mask.h"
#include "kernels/registry.h"
#include "models/trainable.h"
#include "onnx/loader.h"

namespace hugot {
namespace {

const std::filesystem::path kZoo = "../shared/data/zoo";

const OpRegistry& ops() {
  static const OpRegistry registry = builtin_ops();
  return registry;
}

std::filesystem::path graph_file(const std::filesystem::path& folder) {
  for (const char* name : {"onnx/model.onnx", "model.onnx"}) {
    if (std::filesystem::exists(folder / name)) return folder / name;
  }
  return {};
}

// The first output, as one vector per text: where it has a row per token, their mean.
void reduce_to_vectors(Graph& graph) {
  constexpr int kFirst = 0;
  keep_outputs(graph, std::span(&kFirst, 1));
  infer(graph);
  if (graph.fact(graph.outputs[0]).rank() != 3) return;
  GraphWriter w(graph, ops());
  const Term tokens = w.value(graph.outputs[0]), axis = w.integers({1});
  const Term mask = w.value(graph.find("attention_mask"));
  const Term weight = unsqueeze(cast_to(mask, tokens.dtype()), {-1});
  const Term mean = sum(tokens * weight, axis) / sum(weight, axis);
  graph.outputs = {w.op("Squeeze", {mean, axis}).id()};
}

std::vector<Tensor> gradients_of(TrainableModel& model, const std::vector<TrainRow>& rows,
                                 ThreadPool* pool) {
  const Tensor vectors = model.forward(rows, true, {.pool = pool});
  model.zero_gradients();
  Tensor seed(DType::kFloat64, vectors.shape());
  std::mt19937_64 random(3);
  for (int64_t i = 0; i < seed.size(); ++i) {
    seed.data<double>()[i] = std::uniform_real_distribution(-1.0, 1.0)(random);
  }
  model.backward(convert_float(seed, model.dtype()), {.pool = pool});
  std::vector<Tensor> result = {convert_float(vectors, DType::kFloat64)};
  for (const Parameter& parameter : model.parameters()) {
    result.push_back(convert_float(parameter.gradient, DType::kFloat64));
  }
  return result;
}

// The largest difference, as a part of the largest number.
double distance(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected) {
  double largest = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto x = actual[i].values<double>(), y = expected[i].values<double>();
    REQUIRE(x.size() == y.size());
    for (size_t k = 0; k < x.size(); ++k) {
      largest = std::max(largest, std::abs(y[k]));
      worst = std::max(worst, std::abs(x[k] - y[k]));
    }
  }
  return worst / largest;
}

// What is dropped with padding is dropped without.
void check_dropout(const Graph& graph, TrainableModelOptions options, std::vector<TrainRow> rows,
                   const std::string& name) {
  options.dtype = DType::kFloat64;
  options.dropout = 0.2;
  const auto ragged = make_ragged_model(graph, ops(), options);
  const auto padded = make_padded_model(graph, ops(), options);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].dropout_key = text_dropout_key(1, 2, static_cast<uint32_t>(i), 0);
  }
  CHECK(ragged->dropout().embeddings == padded->dropout().embeddings);
  CHECK(ragged->dropout().attention == padded->dropout().attention);
  CHECK(ragged->dropout().projections == padded->dropout().projections);
  const double error =
      distance(gradients_of(*ragged, rows, nullptr), gradients_of(*padded, rows, nullptr));
  CHECK(error <= 1e-6);
  MESSAGE(name, " with dropout at ", ragged->dropout().to_string(), ": off by ", error);
}

int loops(const RaggedPlan& plan) {
  int found = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(plan.graph().node_count()); ++id) {
    const Node& node = plan.graph().node(id);
    const auto extent = plan.extent(node.outputs[0]);
    found += (extent == Extent::kText || sums_over_texts(node)) &&
             plan.batching(id) == Batching::kLoop && !node.op->aliases;
  }
  return found;
}

void check_folder(const std::filesystem::path& folder) {
  const std::filesystem::path file = graph_file(folder);
  if (file.empty()) return;
  CAPTURE(folder.string());
  const LoadedModel model = load_model(file, ops());
  if (model.graph.find("input_ids") == kNoValue || model.graph.find("attention_mask") == kNoValue ||
      model.graph.inputs.size() > 3) {
    return;
  }
  Graph graph = model.graph;
  TrainableModelOptions options;
  std::unique_ptr<TrainableModel> ragged, padded;
  try {
    reduce_to_vectors(graph);
    for (const ModelParameter& parameter : find_parameters(model, graph)) {
      options.trainable.push_back(parameter.name);
    }
    options.dtype = DType::kFloat64;
    padded = make_padded_model(graph, ops(), options);
    ragged = make_ragged_model(graph, ops(), options);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupported) {
      MESSAGE(folder.filename().string(), ": ",
              std::string(padded != nullptr ? "padded" : "not at all"), ": ",
              std::string(error.what()));
      return;
    }
    throw;
  }
  std::vector<std::vector<int32_t>> texts;
  std::mt19937_64 random(1);
  for (const size_t length : {7, 3, 12, 7}) {
    std::vector<int32_t>& text = texts.emplace_back(length);
    for (int32_t& id : text) id = static_cast<int32_t>(5 + random() % 195);
  }
  std::vector<TrainRow> rows;
  for (const auto& text : texts) rows.push_back({.ids = text});
  ThreadPool pool(2);
  const std::vector<Tensor> expected = gradients_of(*padded, rows, nullptr);
  const std::vector<Tensor> one = gradients_of(*ragged, rows, nullptr);
  const std::vector<Tensor> two = gradients_of(*ragged, rows, &pool);
  for (size_t i = 0; i < expected.size(); ++i) CHECK(identical(one[i], two[i]));
  // Masks of padded keys are large numbers, not infinity, and some pooling divides by sum + 1e-9.
  const double error = distance(one, expected);
  CHECK(error <= 1e-6);

  options.dtype = DType::kFloat32;
  const auto narrow = make_ragged_model(graph, ops(), options);
  const std::vector<Tensor> floats = gradients_of(*narrow, rows, nullptr);
  const std::vector<Tensor> floats_of_two = gradients_of(*narrow, rows, &pool);
  for (size_t i = 0; i < floats.size(); ++i) CHECK(identical(floats[i], floats_of_two[i]));
  const double float_error = distance(floats, one);
  CHECK(float_error <= 1e-4);
  MESSAGE(folder.filename().string(), ": ", options.trainable.size(), " parameters, off by ", error,
          ", in float32 by ", float_error, ", ", loops(*narrow->plan()), " loops of ",
          narrow->plan()->graph().node_count(), " nodes");
  check_dropout(graph, options, rows, folder.filename().string());
}

}  // namespace

TEST_CASE("gradients of the zoo's encoders without padding are those with padding") {
  if (!std::filesystem::exists(kZoo)) {
    MESSAGE("skipped: there is no ", kZoo.string());
    return;
  }
  for (const auto& entry : std::filesystem::directory_iterator(kZoo)) {
    if (entry.is_directory()) check_folder(entry.path());
  }
}

}  // namespace hugot
