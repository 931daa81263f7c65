// Losses and gradients of small BERTs, computed by torch in float64 and recorded in ../shared/data.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "autodiff/backward.h"
#include "autodiff/ragged_model.h"
#include "base/npz.h"
#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "graph/writer.h"
#include "onnx/loader.h"
#include "tests/graph_builder.h"

namespace hugot::test {
namespace {

using Json = nlohmann::json;
using Arrays = std::map<std::string, Tensor>;

const std::filesystem::path kGolden = "../shared/data/training-golden";

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE_MESSAGE(file.good(), "cannot read ", path.string());
  return Json::parse(file);
}

Arrays read_arrays(const std::filesystem::path& path) {
  Arrays arrays;
  for (auto& [name, tensor] : read_npz(path)) arrays.emplace(name, tensor);
  return arrays;
}

// The same graph in float64 instead of float32.
void widen(Graph& graph) {
  const auto wide = [](Tensor& tensor) {
    if (tensor.dtype() == DType::kFloat32) tensor = as_type(tensor, DType::kFloat64);
  };
  for (size_t i = 0; i < graph.value_count(); ++i) {
    Fact& fact = graph.value(static_cast<ValueId>(i)).fact;
    if (fact.dtype == DType::kFloat32) fact.dtype = DType::kFloat64;
    if (fact.constant) wide(*fact.constant);
    if (fact.uniform) wide(*fact.uniform);
  }
  for (size_t i = 0; i < graph.node_count(); ++i) {
    for (auto& [name, attribute] : graph.node(static_cast<NodeId>(i)).attributes) {
      if (Tensor* tensor = std::get_if<Tensor>(&attribute)) wide(*tensor);
      int64_t* type = name == "to" ? std::get_if<int64_t>(&attribute) : nullptr;
      if (type != nullptr && *type == static_cast<int64_t>(DType::kFloat32)) {
        *type = static_cast<int64_t>(DType::kFloat64);
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------
// Batches

// Rows [0, batch) of all columns, one column after the other, padded to one length.
struct Batch {
  Tensor ids, mask, types;
};

std::vector<std::vector<int64_t>> first_texts(const Json& info, const Arrays& rows) {
  const auto batch = info.at("batch_size").get<int64_t>();
  std::vector<std::vector<int64_t>> texts;
  for (const std::string column : info.at("columns")) {
    const std::vector<int64_t> ids = to_int64s(rows.at("ids." + column));
    const std::vector<int64_t> ends = to_int64s(rows.at("cu_seqlens." + column));
    for (size_t i = 0; i < static_cast<size_t>(batch); ++i) {
      texts.emplace_back(ids.begin() + ends[i], ids.begin() + ends[i + 1]);
    }
  }
  return texts;
}

Batch first_batch(const Json& info, const Arrays& rows) {
  const std::vector<std::vector<int64_t>> texts = first_texts(info, rows);
  size_t length = 0;
  for (const auto& text : texts) length = std::max(length, text.size());
  const Shape shape = {static_cast<int64_t>(texts.size()), static_cast<int64_t>(length)};
  Batch result;
  for (Tensor* tensor : {&result.ids, &result.mask, &result.types}) {
    *tensor = Tensor(DType::kInt64, shape);
    std::fill_n(tensor->data<int64_t>(), shape.size(), 0);
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    std::copy(texts[i].begin(), texts[i].end(), result.ids.data<int64_t>() + i * length);
    std::fill_n(result.mask.data<int64_t>() + i * length, texts[i].size(), 1);
  }
  return result;
}

// ---------------------------------------------------------------------------------------------
// Pooling and losses, as graph pieces

Term unit(const Term& x) { return x / sqrt(sum(square(x), x.writer().integers({-1}))); }

Term total_mean(const Term& x) {
  return x.writer().op("ReduceMean", {x}, {{"keepdims", int64_t{0}}});
}

Term embeddings(const std::filesystem::path& model, const Term& tokens, const Term& mask) {
  GraphWriter& w = tokens.writer();
  Term pooled;
  if (read_json(model / "1_Pooling" / "config.json").value("pooling_mode_cls_token", false)) {
    const Term first = w.constant(Tensor::scalar<int64_t>(0));
    pooled = w.op("Gather", {tokens, first}, {{"axis", int64_t{1}}});
  } else {
    const Term weights = unsqueeze(cast_to(mask, tokens.dtype()), {2});
    const Term axes = w.integers({1});
    pooled = w.op("Squeeze", {sum(tokens * weights, axes) / sum(weights, axes), axes});
  }
  const Json modules = read_json(model / "modules.json");
  const bool normalize = std::any_of(modules.begin(), modules.end(), [](const Json& module) {
    return module.at("type").get<std::string>().find("Normalize") != std::string::npos;
  });
  return normalize ? unit(pooled) : pooled;
}

// Mean of -log softmax(scores)[i, classes[i]].
Term cross_entropy(const Term& scores, const Term& classes) {
  GraphWriter& w = scores.writer();
  const Term logs = w.op("LogSoftmax", {scores}, {{"axis", int64_t{-1}}});
  return -total_mean(
      w.op("GatherElements", {logs, unsqueeze(classes, {1})}, {{"axis", int64_t{1}}}));
}

Term loss_of(const Json& info, const Arrays& rows, const std::vector<Term>& columns) {
  GraphWriter& w = columns[0].writer();
  const std::string name = info.at("loss");
  const auto batch = info.at("batch_size").get<int64_t>();
  const auto labels = [&] {
    const Tensor& all = rows.at("labels");
    const Tensor part = Tensor(all.dtype(), {batch}, all.raw()).clone();
    return w.constant(is_float(part.dtype()) ? as_type(part, columns[0].dtype()) : part);
  };
  if (name == "cross_entropy") return cross_entropy(columns[0], labels());
  if (name == "cosine_similarity") {
    const Term product = unit(columns[0]) * unit(columns[1]);
    const Term cosine = w.op("ReduceSum", {product, w.integers({1})}, {{"keepdims", int64_t{0}}});
    return total_mean(square(cosine - labels()));
  }
  const Term count = w.constant(Tensor::scalar(batch));
  const Term own = w.op("Range", {0, count, 1});
  const std::vector<Term> rest(columns.begin() + 1, columns.end());
  const Term scores = matrix_product(unit(columns[0]), transposed(unit(w.concat(rest, 0)))) *
                      info.at("params").at("scale").get<double>();
  if (name == "mnrl") return cross_entropy(scores, own);
  REQUIRE(name == "mnrl_symmetric");
  return (cross_entropy(scores, own) + cross_entropy(transposed(scores), own)) / 2;
}

// ---------------------------------------------------------------------------------------------

// How far a gradient is from the recorded one.
struct Distance {
  double largest = 0;  // magnitude of the gradient
  double relative_max = 0, relative_l2 = 0;

  Distance(const Tensor& actual, const Tensor& expected) {
    const std::vector<double> a = as_doubles(actual), e = as_doubles(expected);
    double scale = 0, error = 0, squares = 0, error_squares = 0;
    for (size_t i = 0; i < e.size(); ++i) {
      largest = std::max(largest, std::abs(a[i]));
      scale = std::max(scale, std::abs(e[i]));
      error = std::max(error, std::abs(a[i] - e[i]));
      squares += e[i] * e[i];
      error_squares += (a[i] - e[i]) * (a[i] - e[i]);
    }
    relative_max = error / scale;
    relative_l2 = std::sqrt(error_squares / squares);
  }
};

enum class Form {
  kWritten,  // float64, the graph as it is in the file
  kInputs,   // float64, parameters are graph inputs; folded and simplified before and after
  kFused,    // float32, parameters are initializers; fused operators
  kRagged,   // float64, without padding: TrainableModel
  kRagged32  // the same in float32
};

bool in_float32(Form form) { return form == Form::kFused || form == Form::kRagged32; }

// A case as one graph: the model on the first batch, pooling, loss and gradients.
struct Problem {
  Json info;
  Arrays rows, expected;
  Graph graph;  // outputs: the gradients in the order of `expected`, and the loss
  std::map<std::string, Tensor> arguments;

  Problem(const std::string& name, Form form) {
    const auto folder = kGolden / "cases" / name;
    info = read_json(folder / "case.json");
    rows = read_arrays(folder / "rows.npz");
    expected = read_arrays(folder / "grads.npz");
    const auto model = kGolden / "models" / info.at("model").get<std::string>();
    graph = load_model(model / "model.onnx", ops()).graph;
    if (!in_float32(form) && form != Form::kRagged) widen(graph);
    if (form == Form::kRagged || form == Form::kRagged32) return;
    const Batch batch = first_batch(info, rows);
    arguments = {
        {"input_ids", batch.ids}, {"attention_mask", batch.mask}, {"token_type_ids", batch.types}};
    std::vector<ValueId> wrt;
    for (const auto& [parameter, gradient] : expected) {
      wrt.push_back(graph.find(parameter));
      REQUIRE(wrt.back() != kNoValue);
      if (form == Form::kInputs) make_input(wrt.back());
    }
    infer(graph);
    PassContext passes{ops()};
    if (form == Form::kInputs) fold_constants(graph, passes);
    for (auto* pass : {simplify, eliminate_common, fuse_layer_norm, fuse_gelu, fuse_linear}) {
      if (form != Form::kWritten) pass(graph, passes);
      infer(graph);
    }
    const ValueId loss = add_loss(model);
    graph.outputs = build_backward(graph, loss, wrt, ops());
    graph.outputs.push_back(loss);
    graph.remove_dead();
    graph.verify("build_backward");
    if (form == Form::kInputs) optimize_exact(graph, passes);
  }

  void make_input(ValueId id) {
    Value& value = graph.value(id);
    arguments.emplace(value.name, *value.fact.constant);
    value.fact = Fact::of(value.fact.dtype, *value.fact.shape);
    value.initializer = false;
    graph.inputs.push_back(id);
  }

  ValueId add_loss(const std::filesystem::path& model) {
    GraphWriter writer(graph, ops());
    Term output = writer.value(graph.outputs.at(0));
    if (info.at("loss") == "cross_entropy") return loss_of(info, rows, {output}).id();
    output = embeddings(model, output, writer.value(graph.find("attention_mask")));
    const auto count = static_cast<int>(info.at("columns").size());
    const Attributes rows_of = {{"axis", int64_t{0}}, {"num_outputs", int64_t{count}}};
    return loss_of(info, rows, writer.outputs("Split", {output}, rows_of, count)).id();
  }

  // The same through TrainableModel: vectors of the texts, loss, and the way back.
  std::vector<Tensor> run_ragged(DType dtype) {
    TrainableModelOptions options;
    options.dtype = dtype;
    for (const auto& entry : expected) options.trainable.push_back(entry.first);
    const bool classifies = info.at("loss") == "cross_entropy";
    if (!classifies) {
      infer(graph);
      GraphWriter writer(graph, ops());
      const auto model = kGolden / "models" / info.at("model").get<std::string>();
      graph.outputs = {embeddings(model, writer.value(graph.outputs.at(0)),
                                  writer.value(graph.find("attention_mask")))
                           .id()};
    }
    const auto model = make_ragged_model(graph, ops(), options);
    std::vector<std::vector<int32_t>> texts;
    std::vector<TrainRow> batch;
    for (const std::vector<int64_t>& text : first_texts(info, rows)) {
      texts.emplace_back(text.begin(), text.end());
    }
    for (const auto& text : texts) batch.push_back({.ids = text});
    ThreadPool pool(2);
    const Tensor vectors = model->forward(batch, true, {.pool = &pool});

    Graph head;
    const ValueId input = head.add_input("vectors", Fact::of(vectors));
    head.value(input).fact.constant.reset();
    GraphWriter writer(head, ops());
    const auto count = classifies ? 1 : static_cast<int>(info.at("columns").size());
    const Attributes rows_of = {{"axis", int64_t{0}}, {"num_outputs", int64_t{count}}};
    const std::vector<Term> columns =
        count == 1 ? std::vector<Term>{writer.value(input)}
                   : writer.outputs("Split", {writer.value(input)}, rows_of, count);
    const ValueId loss = loss_of(info, rows, columns).id();
    head.outputs = build_backward(head, loss, std::span(&input, 1), ops());
    head.outputs.push_back(loss);
    head.remove_dead();
    const std::vector<Tensor> results = Executor(Plan::compile(head)).run(std::span(&vectors, 1));
    model->backward(results[0], {.pool = &pool});
    std::vector<Tensor> gradients;
    for (const Parameter& parameter : model->parameters()) gradients.push_back(parameter.gradient);
    gradients.push_back(results[1]);
    return gradients;
  }

  std::vector<Tensor> run() const {
    std::vector<Tensor> inputs;
    for (const ValueId id : graph.inputs) inputs.push_back(arguments.at(graph.value(id).name));
    return Executor(Plan::compile(graph)).run(inputs);
  }
};

void check_case(const std::string& name, Form form) {
  CAPTURE(name);
  CAPTURE(static_cast<int>(form));
  Problem problem(name, form);
  const Json& info = problem.info;
  const bool wide = !in_float32(form);
  const DType dtype = wide ? DType::kFloat64 : DType::kFloat32;
  const bool ragged = form == Form::kRagged || form == Form::kRagged32;
  const std::vector<Tensor> results = ragged ? problem.run_ragged(dtype) : problem.run();
  const double loss = as_doubles(results.back())[0], loss_expected = info["first_batch"]["loss"];
  CHECK(std::abs(loss - loss_expected) <= (wide ? 1e-7 : 2e-6) * loss_expected);
  // In float32 as far off as torch is, with some room.
  const double l2_limit =
      10 * info["first_batch"]["float32"]["worst_tensor_relative_l2"].get<double>();
  const std::vector<std::string> zero = info.at("zero_gradient");
  double worst = 0, worst_zero = 0;
  size_t i = 0;
  for (const auto& entry : problem.expected) {
    const std::string& parameter = entry.first;
    CAPTURE(parameter);
    const Tensor& actual = results[i++];
    REQUIRE(describe(actual) == describe(as_type(entry.second, dtype)));
    const Distance distance(actual, entry.second);
    if (std::find(zero.begin(), zero.end(), parameter) != zero.end()) {
      worst_zero = std::max(worst_zero, distance.largest);
      CHECK(distance.largest < (wide ? 1e-12 : 1e-6));
    } else {
      const double error = wide ? distance.relative_max : distance.relative_l2;
      worst = std::max(worst, error);
      CHECK(error <= (wide ? 1e-5 : l2_limit));
    }
  }
  MESSAGE(name, " in ", std::string(dtype_name(dtype)), ": ", problem.expected.size(),
          " parameters, loss off by ", std::abs(loss / loss_expected - 1), ", gradients by ", worst,
          ", zero gradients up to ", worst_zero);
}

}  // namespace

TEST_CASE("recorded losses and gradients of whole models") {
  if (!std::filesystem::exists(kGolden)) {
    MESSAGE("skipped: there is no ", kGolden.string());
    return;
  }
  for (const char* name : {"cosine-names", "cosine-folded", "cosine-dynamo18", "cross-entropy",
                           "mnrl-pairs", "mnrl-hard-negatives", "mnrl-symmetric"}) {
    for (const Form form :
         {Form::kWritten, Form::kInputs, Form::kFused, Form::kRagged, Form::kRagged32}) {
      check_case(name, form);
    }
  }
}

}  // namespace hugot::test
