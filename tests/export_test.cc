// Rewriting, exporting and loading again keep what a model computes.
#include <doctest/doctest.h>

#include <filesystem>
#include <vector>

#include "base/testing.h"
#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "onnx/datum_reader.h"
#include "onnx/exporter.h"
#include "onnx/loader.h"
#include "onnx/upgrade.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

bool same(const Datum& a, const Datum& b) {
  if (a.kind() != b.kind() || a.items().size() != b.items().size()) return false;
  if (a.is_tensor()) return identical(a.tensor(), b.tensor());
  for (size_t i = 0; i < a.items().size(); ++i) {
    if (!same(a.items()[i], b.items()[i])) return false;
  }
  return true;
}

std::vector<Datum> run(Graph graph, const std::vector<Datum>& inputs, const OpRegistry& ops) {
  PassContext context{ops};
  optimize_exact(graph, context);
  std::vector<Datum> results;
  Executor(Plan::compile(std::move(graph))).run(inputs, results);
  return results;
}

std::vector<Datum> inputs_of(const fs::path& folder, const Graph& graph) {
  std::vector<Datum> inputs;
  for (const ValueId id : graph.inputs) {
    const std::string name = str("input_", inputs.size(), ".pb");
    inputs.push_back(read_datum_pb(folder / "test_data_set_0" / name, graph.fact(id).kind));
  }
  return inputs;
}

}  // namespace

TEST_CASE("onnx: graphs with functions, control flow and sequences are written and read again") {
  const OpRegistry ops = builtin_ops();
  const TemporaryDirectory directory;
  for (const auto& entry : fs::directory_iterator("tests/data/onnx-cases")) {
    CAPTURE(entry.path().string());
    const Graph graph = load_model(entry.path() / "model.onnx", ops).graph;
    const std::vector<Datum> inputs = inputs_of(entry.path(), graph);
    const std::vector<Datum> expected = run(graph, inputs, ops);
    // As loaded, after the passes, and in the newest version.
    Graph optimized = graph;
    PassContext context{ops};
    optimize_exact(optimized, context);
    Graph upgraded = graph;
    CHECK(upgrade_opset(upgraded, ops, 23) == 0);
    for (const Graph* each :
         {&graph, static_cast<const Graph*>(&optimized), static_cast<const Graph*>(&upgraded)}) {
      write_model(*each, directory / "again.onnx");
      const LoadedModel again = load_model(directory / "again.onnx", ops);
      const std::vector<Datum> actual = run(again.graph, inputs, ops);
      REQUIRE(actual.size() == expected.size());
      for (size_t i = 0; i < actual.size(); ++i) CHECK(same(actual[i], expected[i]));
    }
  }
}

}  // namespace hugot
