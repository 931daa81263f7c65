// Models for the tests of pipelines, made from the fixture in tests/data.
#ifndef HUGOT_PIPELINES_TESTING_H_
#define HUGOT_PIPELINES_TESTING_H_

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/npz.h"
#include "base/testing.h"
#include "kernels/registry.h"
#include "models/convert.h"
#include "onnx/exporter.h"
#include "onnx/loader.h"

namespace hugot::test {

inline const OpRegistry& ops() {
  static const OpRegistry registry = builtin_ops();
  return registry;
}

// The arrays of an .npz file by name.
inline std::map<std::string, Tensor> arrays(const std::filesystem::path& path) {
  std::map<std::string, Tensor> result;
  for (auto& [name, tensor] : read_npz(path)) result.emplace(name, tensor);
  return result;
}

// An encoder without a head: its output has a row per token, which are classes without names.
inline const std::filesystem::path& token_model() {
  static const TemporaryDirectory folder;
  static const std::filesystem::path path = [] {
    convert_model("tests/data/tiny-bert", folder.path() / "tiny", builtin_ops());
    return folder.path() / "tiny";
  }();
  return path;
}

// Makes `folder` a model that classifies texts: the scores are the first elements of the vector of
// the first token.
inline void make_classifier(const std::filesystem::path& folder,
                            const std::vector<std::string>& labels) {
  const OpRegistry ops = builtin_ops();
  Graph graph = load_model(token_model() / "onnx/model.onnx", ops).graph;
  const auto classes = static_cast<int64_t>(labels.size());
  const Fact fact = Fact::of(DType::kFloat32, {Dim::symbol("batch"), classes});
  const auto gather = [&](ValueId from, Tensor indices, const char* name, Fact result) {
    Node node;
    node.name = name;
    node.op_type = "Gather";
    node.opset = graph.opsets.at("");
    node.op = ops.find("", "Gather", node.opset);
    node.attributes = {{"axis", int64_t{1}}};
    node.inputs = {from, graph.add_initializer(str(name, "_indices"), std::move(indices))};
    node.outputs = {graph.add_value(name, std::move(result))};
    return graph.node(graph.add_node(node)).outputs[0];
  };
  std::vector<int64_t> first(labels.size());
  std::iota(first.begin(), first.end(), 0);
  const ValueId cls = gather(graph.outputs[0], Tensor::scalar<int64_t>(0), "cls", {});
  graph.outputs = {gather(cls, Tensor::from<int64_t>({classes}, std::span<const int64_t>(first)),
                          "logits", fact)};
  graph.declared_outputs = {fact};
  graph.remove_dead();
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(token_model() / "tokenizer.json", folder / "tokenizer.json");
  write_model(graph, folder / "model.onnx");
  std::ofstream config(folder / "config.json");
  config << R"({"model_type": "bert", "max_position_embeddings": 40, "id2label": {)";
  for (size_t i = 0; i < labels.size(); ++i) {
    config << (i == 0 ? "" : ", ") << '"' << i << R"(": ")" << labels[i] << '"';
  }
  config << "}}\n";
}

// Makes `folder` a model that answers questions: the scores of a token are the first two elements
// of its vector.
inline void make_answerer(const std::filesystem::path& folder) {
  const OpRegistry ops = builtin_ops();
  Graph graph = load_model(token_model() / "onnx/model.onnx", ops).graph;
  const ValueId hidden = graph.outputs[0];
  const Fact fact = Fact::of(DType::kFloat32, {Dim::symbol("batch"), Dim::symbol("sequence")});
  graph.outputs.clear();
  graph.declared_outputs.clear();
  for (const auto& [name, element] : {std::pair("start_logits", 0), {"end_logits", 1}}) {
    Node node;
    node.name = name;
    node.op_type = "Gather";
    node.opset = graph.opsets.at("");
    node.op = ops.find("", "Gather", node.opset);
    node.attributes = {{"axis", int64_t{2}}};
    node.inputs = {hidden,
                   graph.add_initializer(str(name, "_index"), Tensor::scalar<int64_t>(element))};
    node.outputs = {graph.add_value(name, fact)};
    graph.outputs.push_back(graph.node(graph.add_node(node)).outputs[0]);
    graph.declared_outputs.push_back(fact);
  }
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(token_model() / "tokenizer.json", folder / "tokenizer.json");
  write_model(graph, folder / "model.onnx");
  std::ofstream(folder / "config.json")
      << R"({"model_type": "bert", "max_position_embeddings": 40})" << '\n';
}

// Makes `folder` a classifier of three columns with these labels in its graph.
inline void make_table_model(const std::filesystem::path& folder,
                             const std::vector<std::string>& labels) {
  const OpRegistry ops = builtin_ops();
  Graph graph;
  graph.opsets = {{"", 17}, {"ai.onnx.ml", 1}};
  const Dim rows = Dim::symbol("rows");
  const auto classes = static_cast<int64_t>(labels.size());
  const ValueId input = graph.add_input("X", Fact::of(DType::kFloat32, {rows, 3}));
  Node node;
  node.name = "classifier";
  node.op_type = "LinearClassifier";
  node.domain = "ai.onnx.ml";
  node.opset = 1;
  node.op = ops.find(node.domain, node.op_type, node.opset);
  std::vector<float> coefficients(labels.size() * 3);
  std::iota(coefficients.begin(), coefficients.end(), -2.0f);
  node.attributes = {{"classlabels_strings", labels},
                     {"coefficients", coefficients},
                     {"intercepts", std::vector<float>(labels.size(), 0.5f)},
                     {"post_transform", std::string("SOFTMAX")}};
  node.inputs = {input};
  const Fact label = Fact::of(DType::kString, {rows});
  const Fact scores = Fact::of(DType::kFloat32, {rows, classes});
  node.outputs = {graph.add_value("label", label), graph.add_value("probabilities", scores)};
  graph.outputs = graph.node(graph.add_node(node)).outputs;
  graph.declared_outputs = {label, scores};
  std::filesystem::create_directories(folder);
  write_model(graph, folder / "model.onnx");
}

}  // namespace hugot::test

#endif  // HUGOT_PIPELINES_TESTING_H_
