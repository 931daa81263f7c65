// The batching rules of views, movement, matmul and attention, through a small encoder layer.
#include "graph/exec/ragged.h"

#include <doctest/doctest.h>

#include "tests/graph_builder.h"

namespace hugot::test {
TEST_CASE("a packed encoder layer gives each text the bits that it has alone") {
  GraphBuilder b(21);
  const ValueId ids = b.graph.add_input("ids", Fact::of(DType::kInt64, {1, Dim::symbol("S")}));
  uint64_t seed = 0;
  const auto weight = [&](const Shape& shape) { return b.weights(shape, ++seed); };
  const auto linear = [&](ValueId x, int64_t k, int64_t n, Attributes attributes = {},
                          ValueId residual = kNoValue) {
    return b.fused("Linear", {x, weight({k, n}), weight({n}), residual}, std::move(attributes));
  };
  const ValueId words = b.op("Gather", {weight({50, 32}), ids});
  const ValueId parts = b.op("Split", {linear(words, 32, 96)}, {{"axis", int64_t{2}}}, 3);
  const ValueId attended = b.fused("Attention", {parts, parts + 1, parts + 2},
                                   {{"num_heads", int64_t{4}}, {"scale", 0.3f}});
  const ValueId hidden = linear(attended, 32, 32, {{"activation", std::string("gelu")}}, words);
  const ValueId heads = b.op("Reshape", {hidden, b.integers({1, -1, 4, 8})});
  const ValueId swapped = b.op("Transpose", {heads}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  const ValueId cut = b.op("Slice", {swapped, b.integers({1}), b.integers({3}), b.integers({-1})});
  const ValueId joined = b.op("Concat", {cut, swapped}, {{"axis", int64_t{-1}}});
  const ValueId flat = b.op("Reshape", {joined, b.integers({0, 0, -1})});
  b.graph.outputs.push_back(b.op("MatMul", {flat, weight({48, 16})}));
  // The first token of each text, and a classifier on it.
  const ValueId first = b.op("Gather", {hidden, b.integer(0)}, {{"axis", int64_t{1}}});
  b.graph.outputs.push_back(b.op("Gemm", {first, weight({32, 3}), weight({3})}));
  infer(b.graph);
  const auto plan = RaggedPlan::compile(b.graph, {{.name = "ids"}});

  const Graph& graph = plan->graph();
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    const Node& node = graph.node(id);
    CAPTURE(node.op_type);
    const bool reads_first = node.op_type == "Gather" && node.has("axis");
    const Batching expected = node.op_type == "Attention" ? Batching::kSegments
                              : node.op_type == "Gemm"    ? Batching::kRows
                              : reads_first               ? Batching::kSegments
                                                          : Batching::kPacked;
    CHECK(static_cast<int>(plan->batching(id)) == static_cast<int>(expected));
  }

  const std::vector<int64_t> lengths = {5, 1, 33, 5, 12};
  const Tensor tokens = random_tensor(DType::kInt64, {56}, 0, 50, 9);
  ThreadPool threads(2);
  for (ThreadPool* pool : {static_cast<ThreadPool*>(nullptr), &threads}) {
    RaggedExecutor together(plan), single(plan);
    const std::span<const int64_t> all[] = {tokens.values<int64_t>()};
    together.run(lengths, all, {.pool = pool});
    int64_t begin = 0;
    for (size_t text = 0; text < lengths.size(); ++text) {
      const std::span<const int64_t> own[] = {tokens.values<int64_t>().subspan(
          static_cast<size_t>(begin), static_cast<size_t>(lengths[text]))};
      single.run({&lengths[text], 1}, own);
      const auto rows = [](const Tensor& t, int64_t row, int64_t count) {
        const int64_t width = t.size() / t.shape()[0];
        return Tensor(t.dtype(), {count, width}, t.data<float>() + row * width);
      };
      CHECK(identical(rows(together.output(0), begin, lengths[text]),
                      rows(single.output(0), 0, lengths[text])));
      CHECK(identical(rows(together.output(1), static_cast<int64_t>(text), 1),
                      rows(single.output(1), 0, 1)));
      begin += lengths[text];
    }
  }
}

}  // namespace hugot::test
