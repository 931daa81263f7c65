// Quantized models: every spelling becomes hugot.QuantizedLinear, which gives what it replaces, and
// runs over many texts at once.
#include <doctest/doctest.h>

#include "autodiff/backward.h"
#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "tests/ragged_model.h"

namespace hugot::test {
namespace {

// How the weight of a layer is quantized.
struct Weight {
  DType dtype = DType::kInt8;
  bool per_column = false;
  bool transposed = false;
};

struct Quantized {
  ValueId elements, scale, zero;
};

Quantized weight(GraphBuilder& b, int64_t in, int64_t out, const Weight& w, uint64_t seed) {
  const bool is_signed = w.dtype == DType::kInt8;
  const Shape shape = w.transposed ? Shape{out, in} : Shape{in, out};
  const Shape columns = w.per_column ? Shape{out} : Shape{};
  Graph& graph = b.graph;
  return {graph.add_initializer("w", random_tensor(w.dtype, shape, is_signed ? -128 : 0,
                                                   is_signed ? 128 : 256, seed)),
          graph.add_initializer("scale",
                                random_tensor(DType::kFloat32, columns, 0.001, 0.01, seed + 1)),
          graph.add_initializer("zero", random_tensor(w.dtype, columns, is_signed ? -3 : 120,
                                                      is_signed ? 3 : 140, seed + 2))};
}

Quantized dynamic(GraphBuilder& b, ValueId x) {
  const ValueId y = b.op("DynamicQuantizeLinear", {x}, {}, 3);
  return {y, y + 1, y + 2};
}

// As quantize_dynamic writes a linear layer; `order` swaps operands.
ValueId dynamic_linear(GraphBuilder& b, const Quantized& x, const Quantized& w, ValueId bias,
                       bool order = false) {
  const ValueId product = b.op("MatMulInteger", {x.elements, w.elements, x.zero, w.zero});
  const ValueId sums = b.op("Cast", {product}, {{"to", int64_t{1}}});
  const ValueId scales = order ? b.op("Mul", {w.scale, x.scale}) : b.op("Mul", {x.scale, w.scale});
  const ValueId y = order ? b.op("Mul", {scales, sums}) : b.op("Mul", {sums, scales});
  return b.op("Add", {y, bias});
}

// QuantizeLinear and DequantizeLinear with constant parameters.
ValueId through_bytes(GraphBuilder& b, ValueId x, float scale, uint8_t zero) {
  const ValueId s = b.number(scale);
  const ValueId z = b.graph.add_initializer("zero", Tensor::scalar<uint8_t>(zero));
  return b.op("DequantizeLinear", {b.op("QuantizeLinear", {x, s, z}), s, z});
}

ValueId dequantized(GraphBuilder& b, const Quantized& w, int64_t axis) {
  return b.op("DequantizeLinear", {w.elements, w.scale, w.zero}, {{"axis", axis}});
}

struct Fused {
  Tensor before, after;
  Graph graph;
};

// y = f(x) for x float32 [n, 8], before and after the fusions of quantized products.
template <class Build>
Fused fuse(const Build& build) {
  GraphBuilder b(21);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  b.graph.outputs = {build(b, x)};
  const Tensor input = random_tensor(DType::kFloat32, {5, 8}, -4, 4, 1);
  Fused result{run_exact(b.graph, input), {}, {}};
  PassContext context{ops()};
  infer(b.graph);
  CHECK(apply_pass(b.graph, context, "fuse_quantized", fuse_quantized) == 1);
  CHECK(context.log.size() == 1);
  apply_pass(b.graph, context, "fuse_linear", fuse_linear);
  b.graph.verify("the fusion");
  CHECK(count(b.graph, "QuantizedLinear") == 1);
  result.after = run_exact(b.graph, input);
  result.graph = std::move(b.graph);
  return result;
}

}  // namespace

TEST_CASE("a dynamically quantized layer keeps its bits when it is fused") {
  for (const DType dtype : {DType::kInt8, DType::kUInt8}) {
    for (const bool per_column : {false, true}) {
      for (const bool order : {false, true}) {
        const Fused fused = fuse([&](GraphBuilder& b, ValueId x) {
          const Quantized w = weight(b, 8, 6, {dtype, per_column}, 1);
          return b.op("Relu", {dynamic_linear(b, dynamic(b, x), w, b.weights({6}, 9), order)});
        });
        CHECK(identical(fused.before, fused.after));
        CHECK(fused.graph.node_count() == 2);
      }
    }
  }
}

TEST_CASE("products whose integers are read elsewhere stay") {
  GraphBuilder b(21);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
  const Quantized w = weight(b, 8, 6, {}, 1), q = dynamic(b, x);
  const ValueId product = b.op("MatMulInteger", {q.elements, w.elements, q.zero, w.zero});
  const ValueId sums = b.op("Cast", {product}, {{"to", int64_t{1}}});
  b.graph.outputs = {b.op("Mul", {sums, b.op("Mul", {q.scale, w.scale})}), product};
  PassContext context{ops()};
  infer(b.graph);
  CHECK(fuse_quantized(b.graph, context) == 0);
}

TEST_CASE("dequantized operands are multiplied as integers") {
  for (const bool per_column : {false, true}) {
    for (const char* type : {"MatMul", "Gemm"}) {
      const bool gemm = std::string_view(type) == "Gemm";
      const Fused fused = fuse([&](GraphBuilder& b, ValueId x) {
        const Quantized w = weight(b, 8, 6, {DType::kInt8, per_column, gemm}, 1);
        std::vector<ValueId> inputs = {through_bytes(b, x, 0.04f, 100),
                                       dequantized(b, w, gemm ? 0 : 1)};
        if (gemm) inputs.push_back(b.weights({6}, 3));
        return b.op(type, inputs, gemm ? Attributes{{"transB", int64_t{1}}} : Attributes{});
      });
      CHECK(count(fused.graph, "DequantizeLinear") == 0);
      CHECK(largest_difference(fused.before, fused.after) < 1e-5);
    }
  }
}

TEST_CASE("weights with scales along the sums, or by block, are dequantized") {
  for (const bool block : {false, true}) {
    GraphBuilder b(21);
    const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 8}));
    const ValueId w =
        b.graph.add_initializer("w", random_tensor(DType::kInt8, {8, 8}, -128, 128, 1));
    const ValueId scale = b.graph.add_initializer(
        "scale", random_tensor(DType::kFloat32, block ? Shape{2, 8} : Shape{8}, 0.1, 1, 2));
    Attributes attributes = {{"axis", int64_t{0}}};
    if (block) attributes["block_size"] = int64_t{4};
    b.graph.outputs = {b.op("MatMul", {through_bytes(b, x, 0.1f, 7),
                                       b.op("DequantizeLinear", {w, scale}, attributes)})};
    PassContext context{ops()};
    infer(b.graph);
    CHECK(fuse_quantized(b.graph, context) == 0);
  }
}

TEST_CASE("weights are dequantized when the model is made ready, however large they become") {
  GraphBuilder b(21);
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 1000}));
  const ValueId w =
      b.graph.add_initializer("w", random_tensor(DType::kInt8, {1000, 1500}, -128, 128, 1));
  b.graph.outputs = {b.op("MatMul", {x, b.op("DequantizeLinear", {w, b.number(0.1f)})})};
  PassContext context{ops()};
  optimize_exact(b.graph, context);
  CHECK(count(b.graph, "DequantizeLinear") == 0);
}

TEST_CASE("a dynamically quantized encoder has one range for each text, and no loops") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId x = b.op("Gather", {b.weights({kVocabulary, 16}, 1), ids});
    const Quantized q = dynamic(b, x);  // read by several layers
    const Weight columns = {.dtype = DType::kUInt8, .per_column = true};
    const ValueId gate =
        b.op("Sigmoid", {dynamic_linear(b, q, weight(b, 16, 24, columns, 10), b.weights({24}, 2))});
    const ValueId value = dynamic_linear(b, q, weight(b, 16, 24, {}, 20), b.weights({24}, 3));
    const Quantized inner = dynamic(b, b.op("Mul", {gate, value}));
    return b.op("Add",
                {dynamic_linear(b, inner, weight(b, 24, 16, {}, 30), b.weights({16}, 4)), x});
  });
  CHECK(count(model.ragged->graph(), "QuantizedLinear") == 3);
  CHECK(count(model.ragged->graph(), "DynamicQuantizeLinear") == 2);
  CHECK(model.ragged->graph().node_count() == 7);
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("dynamic quantization of one row of each text") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId x = b.op("Gather", {b.weights({kVocabulary, 16}, 1), ids});
    const ValueId first = b.op("Gather", {x, b.integer(0)}, {{"axis", int64_t{1}}});
    const Quantized q = dynamic(b, first);
    return b.op("Tanh", {dynamic_linear(b, q, weight(b, 16, 8, {}, 10), b.weights({8}, 2))});
  });
  CHECK(count(model.ragged->graph(), "QuantizedLinear") == 1);
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("integers and dequantized numbers of several texts, where nothing is fused") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId x = b.op("Gather", {b.weights({kVocabulary, 16}, 1), ids});
    const Quantized q = dynamic(b, x), w = weight(b, 16, 16, {}, 10);
    const ValueId again = b.op("DequantizeLinear", {q.elements, q.scale, q.zero});
    const ValueId product = b.op("MatMulInteger", {q.elements, w.elements, q.zero, w.zero});
    return b.op(
        "Add",
        {b.op("Mul", {b.op("Cast", {product}, {{"to", int64_t{1}}}), b.number(1e-4f)}), again});
  });
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("texts of packed elements cannot be joined") {
  const auto build = [](GraphBuilder& b, ValueId ids) {
    const ValueId x = b.op("Gather", {b.weights({kVocabulary, 16}, 1), ids});
    const ValueId scale = b.number(0.1f);
    const ValueId q =
        b.op("QuantizeLinear", {x, scale}, {{"output_dtype", static_cast<int64_t>(DType::kInt4)}});
    return b.op("DequantizeLinear", {q, scale});
  };
  CHECK_THROWS_WITH_AS(make_model(build, 21), doctest::Contains("int4"), Error);
}

TEST_CASE("a statically quantized encoder runs packed") {
  const Model model = make_model([](GraphBuilder& b, ValueId ids) {
    const ValueId x =
        through_bytes(b, b.op("Gather", {b.weights({kVocabulary, 16}, 1), ids}), 0.004f, 128);
    const Weight columns = {.per_column = true};
    const ValueId hidden =
        b.op("Add", {b.op("MatMul", {x, dequantized(b, weight(b, 16, 24, columns, 10), 1)}),
                     b.weights({24}, 2)});
    const ValueId y = through_bytes(b, b.op("Relu", {hidden}), 0.01f, 0);
    return b.op("MatMul", {y, dequantized(b, weight(b, 24, 16, {}, 20), 1)});
  });
  CHECK(count(model.ragged->graph(), "QuantizedLinear") == 2);
  CHECK(loops(*model.ragged) == 0);
  check_model(model);
}

TEST_CASE("gradients go straight through a quantization, and not where it saturates") {
  GraphBuilder b(21);
  Graph& graph = b.graph;
  const ValueId x = graph.add_input("x", Fact::of(DType::kFloat32, {5}));
  const ValueId scale = graph.add_initializer("scale", Tensor::scalar<float>(0.5f));
  const ValueId zero = graph.add_initializer("zero", Tensor::scalar<int8_t>(10));
  const ValueId q = b.op("QuantizeLinear", {x, scale, zero});
  const ValueId moved = b.op("Reshape", {q, b.integers({5, 1})});
  const ValueId y = b.op("DequantizeLinear", {moved, scale, zero});
  const ValueId weights =
      graph.add_initializer("weights", Tensor::from<float>({5, 1}, {1, 2, 3, 4, 5}));
  const ValueId loss = b.op("ReduceSum", {b.op("Mul", {y, weights})}, {{"keepdims", int64_t{0}}});
  infer(graph);
  const ValueId wrt[] = {x, scale};
  graph.outputs = build_backward(graph, loss, wrt, ops());
  Executor executor(Plan::compile(std::move(graph)));
  // 0.5 * (127 - 10) is the largest number.
  const Tensor input = Tensor::from<float>({5}, {1.1f, -3, 58.5f, 59, -100});
  const auto gradients = executor.run(std::span(&input, 1));
  REQUIRE(gradients.size() == 2);
  CHECK(identical(gradients[0], Tensor::from<float>({5}, {1, 2, 3, 0, 0})));
  // By element q - zero - x / scale inside of the range, and q - zero outside.
  const double expected = 1 * (2 - 2.2) + 2 * 0 + 3 * 0 + 4 * 117 + 5 * -138;
  CHECK(static_cast<double>(gradients[1].data<float>()[0]) ==
        doctest::Approx(expected).epsilon(1e-5));
}

}  // namespace hugot::test
