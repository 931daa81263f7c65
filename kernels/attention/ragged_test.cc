// The batching rules of views, movement, matmul and attention, through a small encoder layer.
#include "graph/exec/ragged.h"

#include <doctest/doctest.h>

#include "graph/op.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

// A graph under construction.
class Builder {
 public:
  Builder() : ids_(graph_.add_input("ids", Fact::of(DType::kInt64, {1, Dim::symbol("S")}))) {}

  ValueId ids() const { return ids_; }
  ValueId constant(const Tensor& tensor) { return graph_.add_initializer("c", tensor); }
  ValueId weight(const Shape& shape) {
    return constant(random_tensor(DType::kFloat32, shape, -0.5, 0.5, ++seed_));
  }
  ValueId list(std::initializer_list<int64_t> values) {
    return constant(Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
  }
  // The first output of a new node.
  ValueId add(const char* domain, const char* op, std::vector<ValueId> inputs,
              Attributes attributes = {}, int outputs = 1) {
    Node node;
    node.op_type = op;
    node.domain = domain;
    node.opset = domain[0] == 0 ? 21 : 1;
    node.op = &ops_.get(node.domain, op, node.opset);
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    for (int i = 0; i < outputs; ++i) node.outputs.push_back(graph_.add_value(op));
    const ValueId first = node.outputs[0];
    graph_.add_node(std::move(node));
    return first;
  }
  void output(ValueId id) { graph_.outputs.push_back(id); }
  std::shared_ptr<const RaggedPlan> compile() {
    infer(graph_);
    return RaggedPlan::compile(graph_, {{.name = "ids"}});
  }

 private:
  OpRegistry ops_ = builtin_ops();
  Graph graph_;
  ValueId ids_;
  uint64_t seed_ = 0;
};

}  // namespace

TEST_CASE("a packed encoder layer gives each text the bits that it has alone") {
  Builder b;
  const auto linear = [&](ValueId x, int64_t k, int64_t n, Attributes attributes = {},
                          ValueId residual = kNoValue) {
    return b.add("hugot", "Linear", {x, b.weight({k, n}), b.weight({n}), residual},
                 std::move(attributes));
  };
  const ValueId words = b.add("", "Gather", {b.weight({50, 32}), b.ids()});
  const ValueId parts = b.add("", "Split", {linear(words, 32, 96)}, {{"axis", int64_t{2}}}, 3);
  const ValueId attended = b.add("hugot", "Attention", {parts, parts + 1, parts + 2},
                                 {{"num_heads", int64_t{4}}, {"scale", 0.3f}});
  const ValueId hidden = linear(attended, 32, 32, {{"activation", std::string("gelu")}}, words);
  const ValueId heads = b.add("", "Reshape", {hidden, b.list({1, -1, 4, 8})});
  const ValueId swapped =
      b.add("", "Transpose", {heads}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  const ValueId cut = b.add("", "Slice", {swapped, b.list({1}), b.list({3}), b.list({-1})});
  const ValueId joined = b.add("", "Concat", {cut, swapped}, {{"axis", int64_t{-1}}});
  const ValueId flat = b.add("", "Reshape", {joined, b.list({0, 0, -1})});
  b.output(b.add("", "MatMul", {flat, b.weight({48, 16})}));
  // The first token of each text, and a classifier on it.
  const ValueId first =
      b.add("", "Gather", {hidden, b.constant(Tensor::scalar(int64_t{0}))}, {{"axis", int64_t{1}}});
  b.output(b.add("", "Gemm", {first, b.weight({32, 3}), b.weight({3})}));
  const auto plan = b.compile();

  const Graph& graph = plan->graph();
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    const Node& node = graph.node(id);
    CAPTURE(node.op_type);
    const bool reads_first = node.op_type == "Gather" && node.has("axis");
    const Batching expected = node.op_type == "Attention" ? Batching::kSegments
                              : node.op_type == "Gemm"    ? Batching::kRows
                              : reads_first               ? Batching::kLoop
                                                          : Batching::kPacked;
    CHECK(static_cast<int>(plan->batching(id)) == static_cast<int>(expected));
  }

  const std::vector<int64_t> lengths = {5, 1, 33, 5, 12};
  const Tensor ids = random_tensor(DType::kInt64, {56}, 0, 50, 9);
  ThreadPool threads(2);
  for (ThreadPool* pool : {static_cast<ThreadPool*>(nullptr), &threads}) {
    RaggedExecutor together(plan), single(plan);
    const std::span<const int64_t> all[] = {ids.values<int64_t>()};
    together.run(lengths, all, {.pool = pool});
    int64_t begin = 0;
    for (size_t text = 0; text < lengths.size(); ++text) {
      const std::span<const int64_t> own[] = {ids.values<int64_t>().subspan(
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
