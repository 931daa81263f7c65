// hugot inspect: what a graph needs and how it would run.
#include <iostream>
#include <sstream>

#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "models/encoder.h"
#include "models/model_directory.h"
#include "tools/command.h"
#include "tools/inspect.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string model;
  std::string onnx_filename;
  std::string dims;
  std::string dot;
  bool nodes = false;
  bool passes = false;
  bool dump = false;
};

std::filesystem::path graph_file(const Options& options) {
  const auto path = find_model(options.model, {});
  if (!std::filesystem::is_directory(path)) return path;
  return ModelDirectory::read(path).onnx_file(options.onnx_filename);
}

// What passes did, and the graph after the last one, with all its constants.
struct PassRecord {
  Graph graph;
  int passes = 0;
  std::ostringstream text;

  PassObserver observer() {
    return [this](std::string_view pass, size_t changes, const Graph& after) {
      graph = after;
      text << "== pass " << ++passes << ", " << pass << ": ";
      if (pass == "specialize") {
        text << "one text of S tokens";
      } else if (changes == 0) {
        text << "no changes\n";
        return;
      } else {
        text << changes << " changes";
      }
      text << ", " << after.order().size() << " nodes, verified\n" << after.dump();
    };
  }
};

std::string dims_text(const DimValues& dims) {
  std::string text;
  for (const auto& [name, number] : dims) {
    text += str(text.empty() ? "" : ", ", name, "=", number);
  }
  return text.empty() ? "the fixed shapes" : text;
}

size_t constant_bytes(const Graph& graph) {
  size_t bytes = 0;
  for (ValueId id = 0; id < static_cast<ValueId>(graph.value_count()); ++id) {
    if (const Tensor* constant = graph.constant(id)) bytes += constant->bytes();
  }
  return bytes;
}

// Returns the graph that exact mode runs.
Graph inspect_exact(Graph graph, const OpRegistry& ops, const DimValues& dims,
                    const PassObserver& observer) {
  PassContext context{ops, {}, observer};
  try {
    optimize_exact(graph, context);
    const auto plan = Plan::compile(graph);
    std::cout << "exact mode: yes, " << graph.order().size() << " nodes; memory for "
              << dims_text(dims) << ":\n"
              << "  weights: " << bytes_text(static_cast<int64_t>(constant_bytes(graph))) << "\n";
    print_memory(std::cout, plan->memory(), graph, dims, [](ValueId) { return 1; });
  } catch (const Error& error) {
    std::cout << "exact mode: no: " << error.what() << "\n";
  }
  return graph;
}

// `optimised` is the plan's graph with all its constants.
void inspect_ragged(const Encoder& encoder, const Graph& optimised, const Graph& loaded,
                    const DimValues& dims) {
  const RaggedPlan& plan = *encoder.ragged_plan();
  print_ragged(std::cout, plan, encoder.fusions());
  // The batch and sequence axes of the file are the texts and tokens here.
  const ValueId ids = plan.inputs().empty() ? kNoValue : loaded.find(plan.inputs().front().name);
  if (ids == kNoValue || loaded.fact(ids).rank() != 2) return;
  const Dims& axes = *loaded.fact(ids).shape;
  const auto value_of = [&](const Dim& dim) {
    return dim.evaluate([&](std::string_view name) -> std::optional<int64_t> {
      const auto it = dims.find(name);
      return it != dims.end() ? std::optional(it->second) : std::nullopt;
    });
  };
  const int64_t texts = value_of(axes[0]), tokens = value_of(axes[1]);
  std::cout << "  memory for " << texts << " texts of " << tokens << " tokens at once:\n";
  print_memory(std::cout, plan.memory(), optimised, {{std::string(kLengthSymbol), tokens}},
               [&](ValueId id) { return plan.extent(id) == Extent::kText ? texts : 1; });
}

int inspect(const Options& options) {
  const OpRegistry ops = builtin_ops();
  LoadedModel model = load_model(graph_file(options), ops);
  const Graph loaded = model.graph;
  const DimValues dims = bind_dims(loaded, parse_dims(options.dims));
  print_header(std::cout, model);
  print_parameters(std::cout, loaded);
  print_operators(std::cout, loaded);
  Graph inferred = loaded;
  try {
    infer(inferred);
    print_values(std::cout, inferred);
  } catch (const Error& error) {
    std::cout << "values: inference fails: " << error.what() << "\n";
  }

  PassRecord exact, ragged;
  Graph shown = inspect_exact(loaded, ops, dims, exact.observer());
  std::shared_ptr<const Encoder> encoder;
  try {
    encoder = Encoder::load(std::move(model), ops, {.observer = ragged.observer()});
    if (encoder->ragged_plan() != nullptr) {
      inspect_ragged(*encoder, ragged.graph, loaded, dims);
    } else {
      std::cout << "ragged mode: no, text by text: " << encoder->why_not_ragged() << "\n";
    }
  } catch (const Error& error) {
    std::cout << "ragged mode: no: " << error.what() << "\n";
  }
  const RaggedPlan* plan = encoder != nullptr ? encoder->ragged_plan() : nullptr;
  if (plan != nullptr) shown = ragged.graph;
  if (options.nodes && plan != nullptr) {
    print_fusions(std::cout, encoder->fusions());
    print_nodes(std::cout, *plan);
  }
  if (options.nodes && plan == nullptr) print_nodes(std::cout, shown);
  if (options.passes) {
    std::cout << (ragged.passes > 0 ? ragged.text : exact.text).str();
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
      "Inputs, parameters, operators and memory of a graph, and how it runs without padding",
      inspect, command);
  command->add_option("--model", options.model, "an .onnx file or a model directory")->required();
  command->add_option(both_spellings("--onnx-filename"), options.onnx_filename,
                      "graph, relative to the model directory");
  command->add_option("--dims", options.dims,
                      "numbers for symbolic dimensions, as NAME=NUMBER,.. (memory; default 64)");
  command->add_flag("--nodes", options.nodes,
                    "list the fusions and every node of the optimised graph");
  command->add_flag("--passes", options.passes, "print the graph after each pass");
  command->add_flag("--dump", options.dump, "print the optimised graph");
  command->add_option("--dot", options.dot, "write the optimised graph as a Graphviz file");
}

}  // namespace hugot::tools
