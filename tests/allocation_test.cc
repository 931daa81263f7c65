// Counts heap allocations: repeated runs on the same shapes make none.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/testing.h"
#include "graph/exec/executor.h"
#include "graph/exec/ragged.h"
#include "graph/passes/passes.h"
#include "models/convert.h"
#include "models/encoder.h"
#include "onnx/loader.h"
#include "tests/graph_builder.h"

namespace {

std::atomic<int64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  void* block = std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }

namespace hugot {
namespace {

// Allocations of 99 repetitions after the first.
template <class Run>
int64_t allocations_when_repeated(const Run& run) {
  run();
  const int64_t before = allocations;
  for (int i = 1; i < 100; ++i) run();
  return allocations - before;
}

struct TinyBert {
  TinyBert() { convert_model("tests/data/tiny-bert", directory / "model", test::ops()); }
  TemporaryDirectory directory;
  std::filesystem::path path() const { return directory / "model"; }
};

}  // namespace

TEST_CASE("repeated runs of a graph allocate nothing") {
  const TinyBert model;
  Graph graph = load_model(model.path() / "onnx" / "model.onnx", test::ops()).graph;
  PassContext context{test::ops()};
  optimize_exact(graph, context);
  std::vector<Datum> inputs;
  for (const ValueId id : graph.inputs) {
    const bool mask = graph.value(id).name == "attention_mask";
    Tensor ones(DType::kInt64, {3, 9});
    fill(ones, Tensor::scalar<int64_t>(mask ? 1 : 0), ones.size());
    inputs.emplace_back(std::move(ones));
  }
  Executor executor(Plan::compile(std::move(graph)));
  std::vector<Datum> results;
  ThreadPool pool(2);
  for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
    CAPTURE(threads != nullptr);
    CHECK(allocations_when_repeated([&] { executor.run(inputs, results, {.pool = threads}); }) ==
          0);
  }
}

TEST_CASE("repeated ragged runs allocate nothing") {
  const TinyBert model;
  const std::vector<int64_t> lengths = {3, 7, 7, 1};
  const std::vector<int64_t> ids(18, 5);
  const std::vector<int64_t> types(18, 0);
  const std::span<const int64_t> tokens[] = {ids, types};
  ThreadPool pool(2);
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
    CAPTURE(static_cast<int>(precision));
    const std::shared_ptr<const Encoder> encoder =
        Encoder::load(model.path() / "onnx" / "model.onnx", test::ops(), {.precision = precision});
    RaggedExecutor executor(std::shared_ptr<const RaggedPlan>(encoder, encoder->ragged_plan()));
    for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
      CAPTURE(threads != nullptr);
      CHECK(allocations_when_repeated([&] { executor.run(lengths, tokens, {.pool = threads}); }) ==
            0);
    }
  }
}

}  // namespace hugot
