// Fusions find every spelling, and what they make equals what they replace.
#include "graph/passes/passes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "graph/exec/executor.h"
#include "graph/passes/match.h"
#include "tests/graph_builder.h"

namespace hugot {
namespace {

using test::count;
using test::GraphBuilder;
using test::largest_difference;
using test::ops;
using test::run_exact;

// Builds y = f(x) with x float32 [batch, 8], fuses, and compares before and after.
template <class Build>
void check_fusion(const Build& build, size_t (*pass)(Graph&, PassContext&),
                  std::string_view fused_type, std::string_view gone_type) {
  GraphBuilder builder(14);
  const ValueId x = builder.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  builder.graph.outputs = {build(builder, x)};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  const Tensor before = run_exact(builder.graph, input);

  PassContext context{ops()};
  infer(builder.graph);
  eliminate_common(builder.graph, context);
  CHECK(pass(builder.graph, context) == 1);
  builder.graph.remove_dead();
  builder.graph.verify("the fusion");
  CHECK(count(builder.graph, fused_type) == 1);
  CHECK(count(builder.graph, gone_type) == 0);
  CHECK(context.log.size() == 1);
  CHECK(largest_difference(run_exact(builder.graph, input), before) < 2e-6);
}

}  // namespace

TEST_CASE("gelu is found in every order of its factors") {
  const auto erf_part = [](GraphBuilder& b, ValueId x, bool divide) {
    const ValueId scaled = divide ? b.op("Div", {x, b.number(static_cast<float>(M_SQRT2))})
                                  : b.op("Mul", {x, b.number(static_cast<float>(M_SQRT1_2))});
    return b.op("Add", {b.op("Erf", {scaled}), b.number(1)});
  };
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {
        return b.op("Mul", {b.op("Mul", {x, erf_part(b, x, true)}), b.number(0.5f)});
      },
      fuse_gelu, "Gelu", "Erf");
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {
        return b.op("Mul", {b.op("Mul", {b.number(0.5f), x}), erf_part(b, x, true)});
      },
      fuse_gelu, "Gelu", "Erf");
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {
        return b.op("Mul", {x, b.op("Mul", {b.number(0.5f), erf_part(b, x, false)})});
      },
      fuse_gelu, "Gelu", "Erf");
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {  // x itself is a product
        const ValueId y = b.op("Mul", {x, x});
        return b.op("Mul", {b.op("Div", {y, b.number(2)}), erf_part(b, y, true)});
      },
      fuse_gelu, "Gelu", "Erf");
}

TEST_CASE("gelu is found in its tanh form, with a power or with products") {
  const auto build = [](bool power) {
    return [power](GraphBuilder& b, ValueId x) {
      const ValueId cube =
          power ? b.op("Pow", {x, b.number(3)}) : b.op("Mul", {x, b.op("Mul", {x, x})});
      const ValueId inner = b.op("Add", {x, b.op("Mul", {b.number(0.044715f), cube})});
      const ValueId scaled = b.op("Mul", {b.number(0.7978846f), inner});
      const ValueId gate = b.op("Add", {b.number(1), b.op("Tanh", {scaled})});
      return b.op("Mul", {b.op("Mul", {b.number(0.5f), x}), gate});
    };
  };
  check_fusion(build(true), fuse_gelu, "Gelu", "Tanh");
  check_fusion(build(false), fuse_gelu, "Gelu", "Tanh");
}

TEST_CASE("what only looks like gelu stays") {
  GraphBuilder b(14);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const ValueId erf = b.op("Erf", {b.op("Div", {x, b.number(1.5f)})});
  b.graph.outputs = {
      b.op("Mul", {b.op("Mul", {x, b.op("Add", {erf, b.number(1)})}), b.number(0.5f)})};
  PassContext context{ops()};
  infer(b.graph);
  CHECK(fuse_gelu(b.graph, context) == 0);
}

TEST_CASE("layer normalization is found with power or product, quotient or reciprocal") {
  const auto build = [](bool power, bool reciprocal) {
    return [=](GraphBuilder& b, ValueId x) {
      const Attributes last = {{"axes", std::vector<int64_t>{-1}}};
      const ValueId centered = b.op("Sub", {x, b.op("ReduceMean", {x}, last)});
      const ValueId square =
          power ? b.op("Pow", {centered, b.number(2)}) : b.op("Mul", {centered, centered});
      const ValueId variance = b.op("ReduceMean", {square}, last);
      const ValueId deviation = b.op("Sqrt", {b.op("Add", {variance, b.number(1e-12f)})});
      const ValueId normal = reciprocal ? b.op("Mul", {centered, b.op("Reciprocal", {deviation})})
                                        : b.op("Div", {centered, deviation});
      return b.op("Add", {b.op("Mul", {normal, b.weights({8}, 2)}), b.weights({8}, 3)});
    };
  };
  for (const bool power : {true, false}) {
    for (const bool reciprocal : {true, false}) {
      check_fusion(build(power, reciprocal), fuse_layer_norm, "LayerNormalization", "ReduceMean");
    }
  }
}

TEST_CASE("RMS normalization is found with power or product, quotient, reciprocal or root") {
  enum class Inverse { kDivide, kReciprocal, kOneOver, kPower };
  const auto build = [](bool power, Inverse inverse) {
    return [=](GraphBuilder& b, ValueId x) {
      const ValueId squares = power ? b.op("Pow", {x, b.number(2)}) : b.op("Mul", {x, x});
      const ValueId mean = b.op("ReduceMean", {squares}, {{"axes", std::vector<int64_t>{-1}}});
      const ValueId shifted = b.op("Add", {mean, b.number(1e-6f)});
      const ValueId root = b.op("Sqrt", {shifted});
      ValueId normal = kNoValue;
      if (inverse == Inverse::kDivide) normal = b.op("Div", {x, root});
      if (inverse == Inverse::kReciprocal) normal = b.op("Mul", {b.op("Reciprocal", {root}), x});
      if (inverse == Inverse::kOneOver) {
        normal = b.op("Mul", {x, b.op("Div", {b.number(1), root})});
      }
      if (inverse == Inverse::kPower) {
        normal = b.op("Mul", {x, b.op("Pow", {shifted, b.number(-0.5f)})});
      }
      return b.op("Mul", {b.weights({8}, 2), normal});
    };
  };
  for (const bool power : {true, false}) {
    for (const Inverse inverse :
         {Inverse::kDivide, Inverse::kReciprocal, Inverse::kOneOver, Inverse::kPower}) {
      check_fusion(build(power, inverse), fuse_rms_norm, "RMSNormalization", "ReduceMean");
    }
  }
}

TEST_CASE("rotary embeddings are found for halves and for neighbours") {
  const auto slice = [](GraphBuilder& b, ValueId x, int64_t begin, int64_t end, int64_t step = 1) {
    return b.op("Slice",
                {x, b.integers({begin}), b.integers({end}), b.integers({-1}), b.integers({step})});
  };
  const Attributes last = {{"axis", int64_t{-1}}};
  const auto sum = [](GraphBuilder& b, ValueId x, ValueId turned, int64_t features) {
    const ValueId cos = b.weights({1, features}, 5), sin = b.weights({1, features}, 6);
    return b.op("Add", {b.op("Mul", {x, cos}), b.op("Mul", {turned, sin})});
  };
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {
        const ValueId second = b.op("Neg", {slice(b, x, 4, int64_t{1} << 60)});
        return sum(b, x, b.op("Concat", {second, slice(b, x, 0, 4)}, last), 8);
      },
      fuse_rotary, "Rotary", "Concat");
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {
        const ValueId parts = b.op("Split", {x, b.integers({4, 4})}, last, 2);
        const ValueId second = b.op("Mul", {parts + 1, b.number(-1)});
        return sum(b, x, b.op("Concat", {second, parts}, last), 8);
      },
      fuse_rotary, "Rotary", "Concat");
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {
        const ValueId odd = b.op("Neg", {slice(b, x, 1, 8, 2)});
        const auto pair = [&](ValueId half) { return b.op("Unsqueeze", {half, b.integers({-1})}); };
        const ValueId stacked = b.op("Concat", {pair(odd), pair(slice(b, x, 0, 8, 2))}, last);
        return sum(b, x, b.op("Reshape", {stacked, b.integers({-1, 8})}), 8);
      },
      [](Graph& graph, PassContext& context) {
        // Reshapes with a known result are views by then.
        for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
          Node& node = graph.node(id);
          if (node.op_type != "Unsqueeze" && node.op_type != "Reshape") continue;
          const bool pairs = node.op_type == "Unsqueeze";
          const std::vector<int64_t> shape =
              pairs ? std::vector<int64_t>{-1, 4, 1} : std::vector<int64_t>{-1, 8};
          rewrite(node, context.ops, "hugot", "View", 1, {node.inputs[0]}, {{"shape", shape}});
        }
        return fuse_rotary(graph, context);
      },
      "Rotary", "Concat");
  check_fusion(
      [&](GraphBuilder& b, ValueId x) {  // a table entry per pair
        const ValueId cos = b.weights({1, 4}, 5), sin = b.weights({1, 4}, 6);
        const ValueId x1 = slice(b, x, 0, 4), x2 = slice(b, x, -4, 8);
        const auto times = [&](ValueId a, ValueId c) { return b.op("Mul", {a, c}); };
        return b.op("Concat",
                    {b.op("Sub", {times(x1, cos), times(sin, x2)}),
                     b.op("Add", {times(x1, sin), times(x2, cos)})},
                    last);
      },
      fuse_rotary, "Rotary", "Concat");
}

TEST_CASE("rotary embeddings of the first features take the rest along") {
  GraphBuilder b(18);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const auto slice = [&](ValueId of, int64_t begin, int64_t end) {
    return b.op("Slice", {of, b.integers({begin}), b.integers({end}), b.integers({1})});
  };
  const Attributes last = {{"axis", int64_t{-1}}};
  const ValueId head = slice(x, 0, 6);
  const ValueId turned =
      b.op("Concat", {b.op("Neg", {slice(head, 3, 6)}), slice(head, 0, 3)}, last);
  const ValueId rotated = b.op("Add", {b.op("Mul", {head, b.weights({1, 6}, 1)}),
                                       b.op("Mul", {turned, b.weights({1, 6}, 2)})});
  b.graph.outputs = {b.op("Concat", {rotated, slice(x, 6, 8)}, last)};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  const Tensor before = run_exact(b.graph, input);
  PassContext context{ops()};
  infer(b.graph);
  CHECK(fuse_rotary(b.graph, context) == 2);
  b.graph.remove_dead();
  CHECK(b.graph.node_count() == 1);
  CHECK(b.graph.node(0).at<int64_t>("rotary_dim") == 6);
  CHECK(identical(run_exact(b.graph, input), before));
}

TEST_CASE("linear takes bias, activation and residual along") {
  GraphBuilder b(20);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const ValueId product = b.op("MatMul", {x, b.weights({8, 8}, 1)});
  const ValueId act = b.op("Gelu", {b.op("Add", {b.weights({8}, 2), product})});
  b.graph.outputs = {b.op("Add", {act, x})};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  const Tensor before = run_exact(b.graph, input);
  PassContext context{ops()};
  infer(b.graph);
  fuse_linear(b.graph, context);
  b.graph.remove_dead();
  CHECK(b.graph.node_count() == 1);
  CHECK(largest_difference(run_exact(b.graph, input), before) < 2e-6);
}

TEST_CASE("linear nodes that only project the same value become a group") {
  GraphBuilder b(20);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const ValueId other = b.op("Tanh", {x});
  const auto product = [&](ValueId from, int64_t width, uint64_t seed) {
    return b.op("MatMul", {from, b.weights({8, width}, seed)});
  };
  const ValueId q = b.op("Add", {product(x, 12, 1), b.weights({12}, 2)});
  const ValueId k = product(x, 4, 3);  // without a bias, and narrower
  const ValueId v = b.op("Add", {product(x, 4, 4), b.weights({4}, 5)});
  const ValueId activated = b.op("Relu", {product(x, 4, 6)});
  const ValueId with_residual = b.op("Add", {product(x, 8, 7), other});
  const ValueId elsewhere = product(other, 4, 8);
  b.graph.outputs = {
      b.op("Concat", {q, k, v, activated, with_residual, elsewhere}, {{"axis", int64_t{1}}})};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  PassContext context{ops()};
  infer(b.graph);
  fuse_linear(b.graph, context);
  b.graph.remove_dead();
  const Tensor before = run_exact(b.graph, input);
  context.log.clear();
  CHECK(merge_linear(b.graph, context) == 1);
  CHECK(context.log.size() == 1);
  b.graph.remove_dead();
  infer(b.graph);
  b.graph.verify("test");
  CHECK(count(b.graph, "LinearGroup") == 1);
  CHECK(count(b.graph, "Linear") == 3);
  CHECK(identical(run_exact(b.graph, input), before));
  CHECK(merge_linear(b.graph, context) == 0);
  // The weights of a group are narrowed like those of other layers.
  CHECK(lower_precision(b.graph, context, "bf16") == 4);
  const double difference = largest_difference(run_exact(b.graph, input), before);
  CHECK(difference > 1e-6);
  CHECK(difference < 0.5);
}

TEST_CASE("lower precision is for linear nodes by constants") {
  GraphBuilder b(20);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const ValueId y = b.op("MatMul", {x, b.weights({8, 8}, 1)});
  b.graph.outputs = {b.op("MatMul", {y, b.op("Transpose", {x})})};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  const Tensor before = run_exact(b.graph, input);
  PassContext context{ops()};
  infer(b.graph);
  fuse_linear(b.graph, context);
  CHECK(lower_precision(b.graph, context, "int8") == 1);
  const double difference = largest_difference(run_exact(b.graph, input), before);
  CHECK(difference > 1e-5);
  CHECK(difference < 1);
}

TEST_CASE("linear leaves a product alone that others read too") {
  GraphBuilder b(20);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const ValueId product = b.op("MatMul", {x, b.weights({8, 8}, 1)});
  b.graph.outputs = {b.op("Add", {product, b.weights({8}, 2)}), product};
  PassContext context{ops()};
  infer(b.graph);
  fuse_linear(b.graph, context);
  b.graph.remove_dead();
  CHECK(count(b.graph, "Linear") == 1);
  CHECK(count(b.graph, "Add") == 1);
}

TEST_CASE("shape arithmetic of exporters is solved for the length of a text") {
  GraphBuilder b(14);
  const ValueId ids = b.input("input_ids", DType::kInt64);
  const ValueId hidden = b.op("Gather", {b.weights({10, 8}, 1), ids});
  const auto size = [&](int64_t axis) {
    return b.op("Unsqueeze",
                {b.op("Gather", {b.op("Shape", {hidden}), b.integer(axis)}), b.integers({0})});
  };
  const ValueId target =
      b.op("Concat", {size(0), size(1), b.integers({2}), b.integers({4})}, {{"axis", int64_t{0}}});
  b.graph.outputs = {b.op("Reshape", {hidden, target})};
  PassContext context{ops()};
  const RaggedInput inputs[] = {{.name = "input_ids"}};
  const int outputs[] = {0};
  optimize_for_ragged(b.graph, inputs, outputs, context);
  CHECK(b.graph.node_count() == 2);
  CHECK(count(b.graph, "View") == 1);
  CHECK(to_string(*b.graph.fact(b.graph.outputs[0]).shape) == "[1,S,2,4]");
}

TEST_CASE("masks of single texts vanish in every spelling") {
  const auto remaining = [](const auto& build) {
    GraphBuilder b(14);
    const ValueId ids = b.input("input_ids", DType::kInt64);
    const ValueId mask = b.input("attention_mask", DType::kInt64);
    const ValueId hidden = b.op("Gather", {b.weights({10, 8}, 1), ids});
    const ValueId wide = b.op("Unsqueeze", {mask, b.integers({2})});
    b.graph.outputs = {build(b, hidden, wide)};
    PassContext context{ops()};
    const RaggedInput inputs[] = {{.name = "input_ids"},
                                  {"attention_mask", RaggedInput::Kind::kUniform, 1}};
    const int outputs[] = {0};
    optimize_for_ragged(b.graph, inputs, outputs, context);
    return b.graph.node_count();
  };
  CHECK(remaining([](GraphBuilder& b, ValueId hidden, ValueId mask) {
          const ValueId number = b.op("Cast", {mask}, {{"to", int64_t{1}}});
          const ValueId bias = b.op("Mul", {b.op("Sub", {b.number(1), number}), b.number(-3e38f)});
          return b.op("Add", {hidden, bias});
        }) == 1);
  CHECK(remaining([](GraphBuilder& b, ValueId hidden, ValueId mask) {
          const ValueId hole = b.op("Equal", {mask, b.integer(0)});
          return b.op("Where", {hole, b.number(-3e38f), hidden});
        }) == 1);
  CHECK(remaining([](GraphBuilder& b, ValueId hidden, ValueId mask) {
          const ValueId keep =
              b.op("Expand", {b.op("Cast", {mask}, {{"to", int64_t{9}}}), b.op("Shape", {hidden})});
          return b.op("Where", {keep, hidden, b.number(0)});
        }) == 1);
}

TEST_CASE("half precision is computed in float32 and rounded where the graph says so") {
  GraphBuilder b(14);
  const auto half = [](const Tensor& tensor) { return test::as_type(tensor, DType::kFloat16); };
  const Attributes to_half = {{"to", int64_t{static_cast<int>(DType::kFloat16)}}};
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat16, {Dim::symbol("n"), 8}));
  const ValueId w =
      b.graph.add_initializer("w", half(test::random_tensor(DType::kFloat32, {8, 8}, -1, 1, 1)));
  const ValueId product = b.op("MatMul", {x, w});
  const ValueId rounded = b.op("Cast", {b.op("Tanh", {product})}, to_half);
  const ValueId positive =
      b.op("Greater", {rounded, b.graph.add_initializer("zero", half(Tensor::scalar(0.0f)))});
  b.graph.outputs = {b.op("Mul", {rounded, rounded}), positive, product};
  const Tensor input = half(test::random_tensor(DType::kFloat32, {5, 8}, -2, 2, 2));
  const auto run = [&](Graph graph) {
    Executor executor(Plan::compile(std::move(graph)));
    return executor.run(std::span(&input, 1));
  };
  infer(b.graph);
  const std::vector<Tensor> before = run(b.graph);
  PassContext context{ops()};
  optimize_exact(b.graph, context);
  b.graph.verify("widen_half");
  for (NodeId id = 0; id < static_cast<NodeId>(b.graph.node_count()); ++id) {
    const Node& node = b.graph.node(id);
    CAPTURE(node.label());
    if (node.op_type == "Cast") continue;
    CHECK(b.graph.fact(node.inputs[0]).dtype == DType::kFloat32);
  }
  const std::vector<Tensor> after = run(b.graph), again = run(b.graph);
  for (size_t i = 0; i < after.size(); ++i) {
    CAPTURE(i);
    CHECK(identical(after[i], again[i]));
    CHECK(after[i].dtype() == before[i].dtype());
    CHECK(test::difference(after[i], before[i], {.relative = 2e-3, .absolute = 2e-3}) == "");
  }
}

TEST_CASE("threads that share a plan may begin at once; weights are packed once") {
  GraphBuilder b(14);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  b.graph.outputs = {b.op("MatMul", {x, b.weights({8, 8}, 1)})};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  const Tensor expected = run_exact(b.graph, input);
  infer(b.graph);
  const auto plan = Plan::compile(b.graph);
  std::vector<Tensor> results(4);
  {
    std::vector<std::jthread> threads;
    for (Tensor& result : results) {
      threads.emplace_back([&] { result = Executor(plan).run(std::span(&input, 1))[0]; });
    }
  }
  for (const Tensor& result : results) CHECK(identical(result, expected));
}

TEST_CASE("a large folded weight is computed when it is packed, and not by the passes") {
  GraphBuilder b(14);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 96}));
  const ValueId w = b.weights({300, 96}, 1);
  const Attributes swap = {{"perm", std::vector<int64_t>{1, 0}}};
  b.graph.outputs = {b.op("MatMul", {x, b.op("Transpose", {w}, swap)})};
  const Tensor input = test::random_tensor(DType::kFloat32, {5, 96}, -4, 4, 1);
  const Tensor expected = run_exact(b.graph, input);
  PassContext context{ops()};
  fold_constants(b.graph, context);
  b.graph.remove_dead();
  REQUIRE(b.graph.node_count() == 1);
  const Tensor* const weight = b.graph.constant(b.graph.node(0).inputs[1]);
  REQUIRE(weight != nullptr);
  CHECK(weight->is_deferred());
  CHECK(weight->shape() == Shape{96, 300});
  CHECK(identical(run_exact(b.graph, input), expected));
}

TEST_CASE("what a few numbers of a model can make huge is not folded, and an error when it runs") {
  using Build = ValueId (*)(GraphBuilder&);
  const std::vector<Build> huge = {
      [](GraphBuilder& b) {
        return b.op("ConstantOfShape", {b.integers({int64_t{1} << 40, 1 << 10})});
      },
      [](GraphBuilder& b) {
        return b.op("Expand", {b.number(1), b.integers({int64_t{1} << 40, 1 << 10})});
      },
      [](GraphBuilder& b) {
        return b.op("Tile", {b.integers({1, 2}), b.integers({int64_t{1} << 50})});
      },
      [](GraphBuilder& b) {
        return b.op("Range", {b.integer(0), b.integer(int64_t{1} << 50), b.integer(1)});
      },
      [](GraphBuilder& b) {
        return b.op("Pad", {b.integers({1, 2}), b.integers({int64_t{1} << 50, 0})});
      },
  };
  for (const Build build : huge) {
    GraphBuilder b(18);
    b.graph.outputs = {build(b)};
    PassContext context{ops()};
    optimize_exact(b.graph, context);
    REQUIRE(b.graph.node_count() == 1);
    CAPTURE(b.graph.node(0).label());
    Executor executor(Plan::compile(b.graph));
    ErrorCode code = ErrorCode::kInternal;
    try {
      executor.run(std::span<const Tensor>());
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK(code == ErrorCode::kOutOfMemory);
  }
}

}  // namespace hugot
