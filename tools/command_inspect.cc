// hugot inspect: what a graph needs and how it would run.
#include <iostream>
#include <sstream>

#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "models/encoder.h"
#include "models/image_encoder.h"
#include "models/model_directory.h"
#include "tools/command.h"
#include "tools/inspect.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string model;
  std::string onnx_filename;
  std::string output_name;
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
        text << "one text of S tokens, or one image";
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

int64_t value_of(const Dim& dim, const DimValues& dims) {
  return dim.evaluate([&](std::string_view name) -> std::optional<int64_t> {
    const auto it = dims.find(name);
    return it != dims.end() ? std::optional(it->second) : std::nullopt;
  });
}

// How a graph runs without padding: as an encoder of texts, or of images.
struct RaggedMode {
  std::shared_ptr<const void> encoder;
  const RaggedPlan* plan = nullptr;
  std::vector<std::string> fusions;
  std::string why_not;

  template <class E>
  explicit RaggedMode(std::shared_ptr<const E> loaded)
      : encoder(loaded),
        plan(loaded->ragged_plan()),
        fusions(loaded->fusions()),
        why_not(loaded->why_not_ragged()) {}
};

RaggedMode load_ragged(LoadedModel model, const OpRegistry& ops, const Options& options,
                       const DimValues& dims, const PassObserver& observer) {
  if (!takes_images(model.graph, options.output_name)) {
    return RaggedMode(Encoder::load(std::move(model), ops,
                                    {.output = options.output_name, .observer = observer}));
  }
  Shape image;
  const auto& declared = model.graph.fact(model.graph.find("pixel_values")).shape;
  if (declared && declared->size() == 4) {
    image = {value_of((*declared)[1], dims), value_of((*declared)[2], dims),
             value_of((*declared)[3], dims)};
  }
  return RaggedMode(
      ImageEncoder::load(std::move(model), ops,
                         {.output = options.output_name, .image = image, .observer = observer}));
}

// `optimised` is the plan's graph with all its constants.
void inspect_ragged(const RaggedPlan& plan, const std::vector<std::string>& fusions,
                    const Graph& optimised, const Graph& loaded, const DimValues& dims) {
  print_ragged(std::cout, plan, fusions);
  // The batch and sequence axes of the file are the texts and tokens here.
  const ValueId input = plan.inputs().empty() ? kNoValue : loaded.find(plan.inputs().front().name);
  if (input == kNoValue || !loaded.fact(input).shape) return;
  const Dims& axes = *loaded.fact(input).shape;
  if (axes.size() != 2 && axes.size() != 4) return;
  const bool images = axes.size() == 4;
  const int64_t texts = value_of(axes[0], dims), tokens = images ? 1 : value_of(axes[1], dims);
  std::cout << "  memory for " << texts;
  images ? std::cout << " images" : std::cout << " texts of " << tokens << " tokens";
  std::cout << " at once:\n";
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
  std::optional<RaggedMode> mode;
  try {
    mode = load_ragged(std::move(model), ops, options, dims, ragged.observer());
    if (mode->plan != nullptr) {
      inspect_ragged(*mode->plan, mode->fusions, ragged.graph, loaded, dims);
    } else {
      std::cout << "ragged mode: no, one by one: " << mode->why_not << "\n";
    }
  } catch (const Error& error) {
    std::cout << "ragged mode: no: " << error.what() << "\n";
  }
  const RaggedPlan* plan = mode ? mode->plan : nullptr;
  if (plan != nullptr) shown = ragged.graph;
  if (options.nodes && plan != nullptr) {
    print_fusions(std::cout, mode->fusions);
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
  command->add_option(both_spellings("--output-name"), options.output_name,
                      "the output that ragged mode is asked for; default: the first one");
  command->add_option("--dims", options.dims,
                      "numbers for symbolic dimensions, as NAME=NUMBER,.. (memory; default 64)");
  command->add_flag("--nodes", options.nodes,
                    "list the fusions and every node of the optimised graph");
  command->add_flag("--passes", options.passes, "print the graph after each pass");
  command->add_flag("--dump", options.dump, "print the optimised graph");
  command->add_option("--dot", options.dot, "write the optimised graph as a Graphviz file");
}

}  // namespace hugot::tools
