#include "pipelines/training_output.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "autodiff/float_type.h"
#include "base/error.h"
#include "base/file.h"
#include "base/npz.h"
#include "base/safetensors.h"
#include "graph/passes/passes.h"
#include "models/directory_files.h"
#include "models/encoder_output.h"
#include "models/json_file.h"
#include "models/sentence_graph.h"
#include "onnx/exporter.h"
#include "onnx/upgrade.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

void make_folders(const fs::path& folder) {
  std::error_code error;
  if (!folder.empty()) fs::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot make folder ", folder.string(), ": ", error.message());
}

// The trained tensors that `graph` has, in its element types.
std::map<std::string, Tensor, std::less<>> trained_tensors(TrainingSetup& setup,
                                                           const Graph& graph) {
  std::map<std::string, Tensor, std::less<>> changed;
  for (const Parameter& parameter : setup.model().parameters()) {
    const ValueId id = graph.find(parameter.name);
    if (id == kNoValue) continue;  // of a module or of the new head
    const DType dtype = graph.fact(id).dtype;
    changed.emplace(parameter.name, dtype == parameter.value.dtype()
                                        ? parameter.value
                                        : convert_float(parameter.value, dtype));
  }
  const auto value = [&](const std::string& name) -> const Tensor& {
    const auto& parameters = setup.model().parameters();
    const auto it = std::find_if(parameters.begin(), parameters.end(),
                                 [&](const Parameter& p) { return p.name == name; });
    require(it != parameters.end(), ErrorCode::kInternal, "no parameter '", name, "'");
    return it->value;
  };
  const Graph& source = setup.file().graph;
  for (const Adapter& adapter : setup.adapters()) {
    const Tensor& weight = *source.constant(source.find(adapter.weight));
    changed.emplace(adapter.weight,
                    merge_adapter(adapter, weight, value(adapter.a), value(adapter.b)));
  }
  for (const TiedWeight& tied : setup.tied()) {
    changed.emplace(tied.copy, tied_copy(tied, changed.at(tied.original)));
  }
  return changed;
}

// The weights of Dense modules.
void write_modules(TrainingSetup& setup) {
  const ModelDirectory& directory = setup.directory();
  for (const SentenceModule& module : directory.modules) {
    if (module.kind != SentenceModule::Kind::kDense) continue;
    std::map<std::string, Tensor> tensors;
    for (const Parameter& parameter : setup.model().parameters()) {
      for (const char* name : {"linear.weight", "linear.bias"}) {
        if (parameter.name == dense_tensor_name(module, name)) {
          tensors.emplace(name, convert_float(parameter.value, DType::kFloat32));
        }
      }
    }
    if (tensors.empty()) continue;
    write_safetensors(setup.options().output / module.folder.lexically_relative(directory.root) /
                          "model.safetensors",
                      tensors);
  }
}

// The source's graph with a classifier on top.
void write_with_head(TrainingSetup& setup, const fs::path& target) {
  const fs::path source = setup.directory().root / setup.onnx_path();
  LoadedModel model = load_model(source, setup.ops());
  Graph& graph = model.graph;
  const int output = find_output(graph, setup.output_name());
  keep_outputs(graph, std::span(&output, 1));
  infer(graph);
  if (const auto opset = graph.opsets.find(""); opset == graph.opsets.end() || opset->second < 13) {
    upgrade_opset(graph, setup.ops(), 13);  // now that ranks are known
  }
  const size_t first = graph.node_count();
  append_sentence_head(graph, setup.ops(), setup.directory().modules);
  const DType dtype = graph.fact(graph.outputs[0]).dtype;
  const auto head_tensor = [&](size_t i) {
    for (const Parameter& parameter : setup.model().parameters()) {
      if (parameter.name == setup.head_names()[i]) return convert_float(parameter.value, dtype);
    }
    fail(ErrorCode::kInternal, "the head is frozen");
  };
  append_classifier(graph, setup.ops(), head_tensor(0), head_tensor(1));
  for (const auto& [name, tensor] : trained_tensors(setup, graph)) {
    graph.value(graph.find(name)).fact.constant = tensor;
  }
  write_for_opset(graph, setup.ops(), first);
  ExportOptions options;
  options.graph_name = model.graph_name;
  options.doc_string = model.doc_string;
  options.metadata = model.metadata;
  options.producer_version = HUGOT_VERSION;
  write_model(graph, target, options);
}

// "BertModel" -> "BertForSequenceClassification"
std::string classifier_class(const std::string& name) {
  const size_t end = std::min(name.find("Model"), name.find("For"));
  return name.substr(0, end) + "ForSequenceClassification";
}

void describe_classes(const fs::path& config_file, const std::vector<std::string>& names,
                      bool many_labels) {
  OrderedJson config = OrderedJson::object();
  if (fs::exists(config_file)) config = OrderedJson::parse(read_file(config_file));
  OrderedJson id2label = OrderedJson::object(), label2id = OrderedJson::object();
  for (size_t i = 0; i < names.size(); ++i) {
    id2label[std::to_string(i)] = names[i];
    label2id[names[i]] = i;
  }
  config["id2label"] = id2label;
  config["label2id"] = label2id;
  config["problem_type"] =
      many_labels ? "multi_label_classification" : "single_label_classification";
  const auto architectures = config.find("architectures");
  if (architectures != config.end() && architectures->is_array() && !architectures->empty() &&
      (*architectures)[0].is_string()) {
    config["architectures"] = {classifier_class((*architectures)[0].get<std::string>())};
  }
  write_file_atomically(config_file, config.dump(2) + "\n");
}

std::string number(double x) { return nlohmann::json(x).dump(); }

std::string model_card(const TrainingSetup& setup, const TrainingResult& result) {
  const TrainingOptions& options = setup.options();
  const std::string base = fs::path(setup.directory().root).lexically_normal().filename().string();
  const bool classifier = setup.has_head() || setup.loss_config().options.name == "cross_entropy";
  std::string text = "---\ntags:\n- onnx\n";
  text += classifier ? "- text-classification\n" : "- sentence-similarity\n- feature-extraction\n";
  text += "---\n\n# " + fs::path(options.output).filename().string() + "\n\n";
  text += "Fine-tuned from `" + base + "` with hugot.\n\n| setting | value |\n|---|---|\n";
  const auto row = [&](const std::string& name, const std::string& value) {
    text += "| " + name + " | " + value + " |\n";
  };
  row("loss", setup.loss_config().options.name +
                  (options.loss_params.empty() ? "" : " `" + options.loss_params + "`"));
  row("rows", std::to_string(setup.train().rows()) + " (" + std::to_string(setup.train().tokens()) +
                  " tokens)");
  row("epochs", std::to_string(result.epochs) + (result.stopped_early ? " (stopped early)" : ""));
  row("batch size", std::to_string(options.batch_size * options.accumulation));
  row("steps", std::to_string(result.steps));
  row("learning rate", number(setup.optimizer().lr));
  if (options.lora_rank > 0) {
    row("LoRA",
        "rank " + std::to_string(options.lora_rank) + ", alpha " + number(options.lora_alpha));
  }
  if (options.dropout > 0) row("dropout", number(options.dropout));
  if (options.ema > 0) row("average of weights", "decay " + number(options.ema));
  if (!options.freeze.empty()) row("frozen", "`" + options.freeze + "`");
  row("seed", std::to_string(options.seed));
  row("loss of the last step", number(result.last_loss));
  if (!result.evaluations.empty()) {
    text += "\n## Evaluation\n\n| epoch | step |";
    for (const auto& [name, value] : result.evaluations[0].metrics) text += " " + name + " |";
    text += "\n|---|---|";
    for (size_t i = 0; i < result.evaluations[0].metrics.size(); ++i) text += "---|";
    text += "\n";
    for (const TrainingEvaluation& evaluation : result.evaluations) {
      text +=
          "| " + std::to_string(evaluation.epoch) + " | " + std::to_string(evaluation.step) + " |";
      for (const auto& [name, value] : evaluation.metrics) text += " " + number(value) + " |";
      text += "\n";
    }
    text += "\nThe weights are those of step " + std::to_string(result.best_step) + ".\n";
  }
  return text + "\n![loss](loss.svg)\n";
}

}  // namespace

void write_trained_directory(TrainingSetup& setup, const TrainingResult& result) {
  const fs::path& output = setup.options().output;
  ModelDirectory described = setup.directory();
  if (setup.has_head()) described.modules.clear();
  copy_model_files(described, output);
  if (setup.has_head()) {
    fs::remove(output / "modules.json");
    const fs::path transformer =
        setup.directory().transformer.lexically_relative(setup.directory().root);
    describe_classes(output / transformer / "config.json", setup.class_names(),
                     setup.loss_config().options.name == "bce");
  }
  if (!setup.loss().parameters().empty()) {
    NamedTensors head;
    for (const Parameter& parameter : setup.loss().parameters()) {
      head.emplace_back(parameter.name, convert_float(parameter.value, DType::kFloat32));
    }
    write_npz(output / "head.npz", head);
  }
  write_file_atomically(output / "README.md", model_card(setup, result));
  const fs::path target = output / setup.onnx_path();
  make_folders(target.parent_path());
  if (setup.has_head()) {
    write_with_head(setup, target);
  } else {
    write_modules(setup);
    write_updated_model(setup.file(), trained_tensors(setup, setup.file().graph), target);
  }
}

}  // namespace hugot
