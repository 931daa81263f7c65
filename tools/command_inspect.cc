// hugot inspect: what a graph needs and how it would run.
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <tuple>

#include "graph/exec/ragged.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "models/encoder.h"
#include "models/model_directory.h"
#include "onnx/loader.h"
#include "tools/command.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string model;
  std::string onnx_filename;
  std::string dot;
  bool dump = false;
};

std::filesystem::path graph_file(const Options& options) {
  const auto path = find_model(options.model, {});
  if (!std::filesystem::is_directory(path)) return path;
  return ModelDirectory::read(path).onnx_file(options.onnx_filename);
}

void print_ports(const char* title, const std::vector<ModelPort>& ports) {
  std::cout << title << ":\n";
  for (const ModelPort& port : ports) {
    std::cout << "  " << port.name << "  "
              << (port.fact.dtype == DType::kUndefined ? port.type : port.fact.to_string()) << "\n";
  }
}

struct Parameters {
  int64_t count = 0;
  size_t bytes = 0;
};

// Initializers of floating type and everything quantized; integers of shape arithmetic are few.
Parameters count_parameters(const Graph& graph) {
  Parameters sum;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(static_cast<ValueId>(i));
    if (!value.initializer || !value.fact.constant) continue;
    sum.count += value.fact.constant->size();
    sum.bytes += value.fact.constant->bytes();
  }
  return sum;
}

// Domain, operator, version of the domain -> nodes and the definition that runs them.
struct Usage {
  size_t nodes = 0;
  const OpDef* op = nullptr;
};
using Usages = std::map<std::tuple<std::string, std::string, int>, Usage>;

void count_operators(const Graph& graph, Usages& usages) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    Usage& usage = usages[{node.domain, node.op_type, node.opset}];
    ++usage.nodes;
    usage.op = node.op;
    for (const auto& [name, attribute] : node.attributes) {
      const auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute);
      if (body != nullptr) count_operators(**body, usages);
    }
  }
}

void print_operators(const Graph& graph) {
  Usages usages;
  count_operators(graph, usages);
  size_t nodes = 0;
  size_t covered = 0;
  std::cout << "operators:\n";
  for (const auto& [key, usage] : usages) {
    const auto& [domain, type, opset] = key;
    const bool implemented = usage.op != nullptr && usage.op->cpu != nullptr;
    nodes += usage.nodes;
    if (implemented) covered += usage.nodes;
    std::cout << "  " << std::setw(5) << usage.nodes << "  " << (domain.empty() ? "" : domain + ".")
              << type;
    if (implemented) {
      std::cout << "  version " << usage.op->since_version << "\n";
    } else {
      std::cout << "  NOT IMPLEMENTED (opset " << opset << ")\n";
    }
  }
  std::cout << "coverage: " << covered << " of " << nodes << " nodes can run\n";
}

std::string rule_name(const RaggedPlan& plan, NodeId id) {
  const Node& node = plan.graph().node(id);
  const auto extent = node.outputs.empty() || node.outputs[0] == kNoValue
                          ? Extent::kText
                          : plan.extent(node.outputs[0]);
  if (extent == Extent::kShared) return "shared";
  if (extent == Extent::kLength) return "by length";
  switch (plan.batching(id)) {
    case Batching::kPacked:
      return "packed";
    case Batching::kRows:
      return "rows";
    case Batching::kSegments:
      return "segments";
    case Batching::kLoop:
      return "loop";
  }
  return "?";
}

void print_ragged(const RaggedPlan& plan, const std::vector<std::string>& log) {
  std::map<std::string, size_t> fusions;
  for (const std::string& line : log) ++fusions[line.substr(0, line.find(':'))];
  std::cout << "ragged mode: yes, packed weights of " << plan.prepared_bytes() << " bytes\n";
  std::cout << "fusions:";
  for (const auto& [name, count] : fusions) std::cout << " " << name << " " << count;
  std::cout << (fusions.empty() ? " none\n" : "\n");

  const Graph& graph = plan.graph();
  std::map<std::string, size_t> rules;
  for (const NodeId id : graph.order()) ++rules[rule_name(plan, id)];
  std::cout << "batching rules:";
  for (const auto& [name, count] : rules) std::cout << " " << name << " " << count;
  std::cout << "\n";
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    std::cout << "  " << std::left << std::setw(10) << rule_name(plan, id) << std::right
              << node.label() << "  "
              << (node.output(0) == kNoValue ? "" : graph.fact(node.outputs[0]).to_string())
              << "\n";
  }
}

void write_dot(const Graph& graph, const std::string& file) {
  std::ofstream out(file);
  out << "digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n";
  const auto quoted = [](const std::string& text) {
    std::ostringstream escaped;
    escaped << std::quoted(text);
    return escaped.str();
  };
  const auto is_source = [&](ValueId id) {
    return std::find(graph.inputs.begin(), graph.inputs.end(), id) != graph.inputs.end();
  };
  for (const ValueId id : graph.inputs) {
    out << "  v" << id << " [shape=ellipse, label=" << quoted(graph.value(id).name) << "];\n";
  }
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    out << "  n" << id << " [label=" << quoted(node.op_type) << ", tooltip=" << quoted(node.name)
        << "];\n";
    for (const ValueId input : node.inputs) {
      if (input == kNoValue || graph.constant(input) != nullptr) continue;
      out << "  " << (is_source(input) ? "v" : "n")
          << (is_source(input) ? input : graph.value(input).producer) << " -> n" << id
          << " [label=" << quoted(graph.fact(input).to_string()) << "];\n";
    }
  }
  for (const ValueId id : graph.outputs) {
    out << "  o" << id << " [shape=ellipse, label=" << quoted(graph.value(id).name) << "];\n";
    if (graph.value(id).producer != kNoNode) {
      out << "  n" << graph.value(id).producer << " -> o" << id << ";\n";
    }
  }
  out << "}\n";
  out.close();
  require(!out.fail(), ErrorCode::kIo, "cannot write ", file);
}

int inspect(const Options& options) {
  const OpRegistry ops = builtin_ops();
  const auto file = graph_file(options);
  LoadedModel model = load_model(file, ops);
  std::cout << "model: " << file.string() << "\n";
  std::cout << "producer: " << model.producer_name << " " << model.producer_version
            << ", IR version " << model.ir_version << "\n";
  std::cout << "opsets:";
  for (const auto& [domain, version] : model.graph.opsets) {
    std::cout << " " << (domain.empty() ? "ai.onnx" : domain) << " " << version;
  }
  std::cout << "\n";
  print_ports("inputs", model.inputs);
  print_ports("outputs", model.outputs);
  const Parameters parameters = count_parameters(model.graph);
  std::cout << "initializers: " << parameters.count << " elements, " << parameters.bytes
            << " bytes\n";
  print_operators(model.graph);

  Graph shown = model.graph;
  try {
    const auto encoder = Encoder::load(std::move(model), ops, {});
    if (const RaggedPlan* plan = encoder->ragged_plan()) {
      print_ragged(*plan, encoder->fusions());
      shown = plan->graph();
    } else {
      std::cout << "ragged mode: no, text by text: " << encoder->why_not_ragged() << "\n";
    }
  } catch (const Error& error) {
    std::cout << "ragged mode: no: " << error.what() << "\n";
  }
  if (options.dump) std::cout << shown.dump();
  if (!options.dot.empty()) write_dot(shown, options.dot);
  return kDone;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "inspect",
      "Inputs, outputs, parameters and operators of a graph, and how it runs without padding",
      inspect, command);
  command->add_option("--model", options.model, "an .onnx file or a model directory")->required();
  command->add_option(both_spellings("--onnx-filename"), options.onnx_filename,
                      "graph, relative to the model directory");
  command->add_flag("--dump", options.dump, "print the optimised graph");
  command->add_option("--dot", options.dot, "write the optimised graph as a Graphviz file");
}

}  // namespace hugot::tools
