// hugot infer: any graph, exactly as written, on arrays from an .npz file.
#include <map>

#include "base/npz.h"
#include "base/thread_pool.h"
#include "graph/exec/executor.h"
#include "tools/command.h"
#include "tools/exact.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string model;
  std::string inputs;
  std::string outputs;
  std::string device = "cpu";
  int threads = 0;
};

// Items of sequences and optionals are arrays NAME.0, NAME.1, ..; those of a map have the keys
// beside them in NAME.keys.
void add_arrays(const std::string& name, const Datum& value, NamedTensors& arrays) {
  if (value.is_tensor()) {
    arrays.emplace_back(name, value.tensor());
    return;
  }
  if (value.kind() == Kind::kMap) arrays.emplace_back(name + ".keys", value.keys());
  for (size_t i = 0; i < value.items().size(); ++i) {
    add_arrays(str(name, ".", i), value.items()[i], arrays);
  }
}

int infer(const Options& options) {
  require_cpu(options.device);
  const OpRegistry ops = builtin_ops();
  const auto plan = load_exact(options.model, ops);
  std::map<std::string, Datum> inputs;
  for (auto& [name, tensor] : read_npz(options.inputs)) inputs.emplace(name, std::move(tensor));

  ThreadPool pool(options.threads);
  Executor executor(plan);
  const auto results = executor.run(inputs, {.pool = &pool});

  NamedTensors arrays;
  for (const ValueId output : plan->graph().outputs) {
    const std::string& name = plan->graph().value(output).name;
    add_arrays(name, results.at(name), arrays);
  }
  write_npz(options.outputs, arrays);
  return kDone;
}

}  // namespace

void add_infer(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "infer", "Run any ONNX graph exactly as written on arrays from an .npz file",
      infer, command);
  command->add_option("--model", options.model, "the .onnx file")->required();
  command->add_option("--inputs", options.inputs, ".npz with an array per graph input")->required();
  command->add_option("--outputs", options.outputs, ".npz to write, an array per graph output")
      ->required();
  command->add_option("--device", options.device, "cpu")->capture_default_str();
  command->add_option("--threads", options.threads, "threads; 0: all processors")
      ->check(CLI::Range(0, 4096));
}

}  // namespace hugot::tools
