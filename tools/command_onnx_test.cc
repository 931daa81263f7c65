// hugot onnx-test: conformance cases in the layout of the onnx project (a folder with model.onnx
// and test_data_set_N/{input,output}_N.pb).
#include <algorithm>
#include <iostream>

#include "base/thread_pool.h"
#include "graph/exec/executor.h"
#include "onnx/datum_reader.h"
#include "tools/command.h"
#include "tools/compare.h"
#include "tools/exact.h"

namespace hugot::tools {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string root;
  std::string filter;
  std::string device = "cpu";
  int threads = 1;
};

// Folders below `root` that hold model.onnx and at least one test_data_set_*, sorted.
std::vector<fs::path> find_cases(const fs::path& root) {
  std::vector<fs::path> cases;
  const auto is_case = [](const fs::path& folder) {
    if (!fs::is_regular_file(folder / "model.onnx")) return false;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().filename().string().starts_with("test_data_set_")) return true;
    }
    return false;
  };
  if (is_case(root)) cases.push_back(root);
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_directory() && is_case(entry.path())) cases.push_back(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

// PREFIX_0.pb, PREFIX_1.pb, .. as far as they exist, for these values of the graph.
std::vector<Datum> read_data(const fs::path& folder, const std::string& prefix, const Graph& graph,
                             const std::vector<ValueId>& values) {
  std::vector<Datum> data;
  for (const ValueId id : values) {
    const fs::path file = folder / str(prefix, "_", data.size(), ".pb");
    if (!fs::exists(file)) break;
    const Fact& fact = graph.fact(id);
    Datum& datum = data.emplace_back(read_datum_pb(file, fact.kind));
    // Before 1.17, onnx wrote bfloat16 as the uint16 of its bits.
    if (fact.dtype == DType::kBFloat16 && datum.is_tensor() &&
        datum.tensor().dtype() == DType::kUInt16) {
      const auto bits = std::make_shared<Tensor>(datum.tensor());
      datum = Tensor(DType::kBFloat16, bits->shape(), bits->raw(), bits);
    }
  }
  return data;
}

bool has_random_node(const Graph& graph) {
  for (const NodeId id : graph.order()) {
    if (graph.node(id).op != nullptr && !graph.node(id).op->deterministic) return true;
  }
  return false;
}

// Throws kInvalidData when an output differs from the expected one.
void run_data_set(const Plan& plan, Executor& executor, const fs::path& folder, ThreadPool& pool) {
  const Graph& graph = plan.graph();
  const auto inputs = read_data(folder, "input", graph, graph.inputs);
  const auto expected = read_data(folder, "output", graph, graph.outputs);
  std::vector<Datum> got;
  executor.run(inputs, got, {.pool = &pool});
  const bool random = has_random_node(plan.graph());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (random) {  // nothing but type and shape can be compared
      require(describe(got[i]) == describe(expected[i]), ErrorCode::kInvalidData, "output ", i,
              ": got ", describe(got[i]), ", expected ", describe(expected[i]));
      continue;
    }
    const std::string what = difference(got[i], expected[i], Tolerance{});
    require(what.empty(), ErrorCode::kInvalidData, "output ", i, ": ", what);
  }
}

void run_case(const fs::path& folder, const OpRegistry& ops, const std::shared_ptr<Device>& device,
              ThreadPool& pool) {
  const auto plan = load_exact(folder / "model.onnx", ops, device);
  Executor executor(plan);
  std::vector<fs::path> sets;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("test_data_set_"))
      sets.push_back(entry.path());
  }
  std::sort(sets.begin(), sets.end());
  for (const fs::path& set : sets) {
    with_context([&] { return set.filename().string(); },
                 [&] { run_data_set(*plan, executor, set, pool); });
  }
}

int onnx_test(const Options& options) {
  const std::shared_ptr<Device> device = open_device(options.device);
  require(fs::is_directory(options.root), ErrorCode::kNotFound,
          "no such directory: ", options.root);
  const OpRegistry ops = builtin_ops();
  ThreadPool pool(options.threads);
  int passed = 0;
  int failed = 0;
  for (const fs::path& folder : find_cases(options.root)) {
    const std::string name = fs::relative(folder, options.root).generic_string();
    if (name.find(options.filter) == std::string::npos) continue;
    try {
      run_case(folder, ops, device, pool);
      ++passed;
    } catch (const std::exception& error) {
      ++failed;
      std::cout << "FAIL " << name << ": " << error.what() << "\n";
    }
  }
  std::cout << passed << " passed, " << failed << " failed" << std::endl;
  if (passed + failed == 0) return kNothingDone;
  return failed == 0 ? kDone : kSomeFailed;
}

}  // namespace

void add_onnx_test(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "onnx-test",
      "Run every folder below ROOT that holds model.onnx and test_data_set_*", onnx_test, command);
  command->add_option("root", options.root, "folder to search")->required();
  command->add_option("--filter", options.filter, "only cases whose path contains this text");
  command->add_option("--device", options.device, "cpu, or cuda:N in a build that has it")
      ->capture_default_str();
  command->add_option("--threads", options.threads, "threads per operator; 0: all processors")
      ->capture_default_str();
}

}  // namespace hugot::tools
