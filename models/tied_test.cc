#include "models/tied.h"

#include <doctest/doctest.h>

#include "base/testing.h"
#include "models/trainable.h"
#include "tests/graph_builder.h"

namespace hugot::test {
namespace {

Tensor transposed_of(const Tensor& x) {
  Tensor y(x.dtype(), {x.shape()[1], x.shape()[0]});
  for (int64_t i = 0; i < x.shape()[0]; ++i) {
    for (int64_t j = 0; j < x.shape()[1]; ++j) {
      y.data<float>()[j * x.shape()[0] + i] = x.data<float>()[i * x.shape()[1] + j];
    }
  }
  return y;
}

Tensor filled(const Shape& shape, float value) {
  Tensor x(DType::kFloat32, shape);
  std::fill_n(x.data<float>(), x.size(), value);
  return x;
}

}  // namespace

TEST_CASE("equal matrices become one, what is equal by chance does not") {
  GraphBuilder b(17);
  Graph& g = b.graph;
  const ValueId x = g.add_input("x", Fact::of(DType::kFloat32, {Dim(2), Dim(3)}));
  const Tensor w = random_tensor(DType::kFloat32, {3, 5}, -1, 1, 1);
  const ValueId first = g.add_initializer("first", w);
  const ValueId copy = g.add_initializer("copy", w.clone());
  const ValueId back = g.add_initializer("back", transposed_of(w));
  Tensor almost = w.clone();
  almost.data<float>()[14] += 1e-6f;
  const ValueId other = g.add_initializer("other", almost);
  const Tensor half = as_type(w, DType::kFloat16);
  const ValueId narrow = g.add_initializer("narrow", half);
  // Vectors, and matrices that are the same everywhere.
  const ValueId scale1 = g.add_initializer("scale1", random_tensor(DType::kFloat32, {5}, 0, 1, 2));
  const ValueId scale2 = g.add_initializer("scale2", g.fact(scale1).constant->clone());
  const ValueId ones1 = g.add_initializer("ones1", filled({1, 5}, 1));
  const ValueId ones2 = g.add_initializer("ones2", filled({1, 5}, 1));
  g.add_initializer("unread", w.clone());
  const auto product = [&](ValueId a, ValueId weight) { return b.op("MatMul", {a, weight}); };
  ValueId y = b.op("Add", {product(x, first), product(x, copy)});
  y = b.op("Add", {product(product(y, back), other), y});
  y = b.op("Mul", {b.op("Mul", {y, scale1}), scale2});
  y = b.op("Mul", {b.op("Mul", {y, ones1}), ones2});
  const ValueId wide = b.op("Cast", {narrow}, {{"to", int64_t{1}}});
  g.outputs = {b.op("Add", {y, product(x, wide)})};
  infer(g);
  const Tensor input = random_tensor(DType::kFloat32, {2, 3}, -1, 1, 3);
  const Tensor before = run_exact(g, input);

  const std::vector<TiedWeight> tied = tie_equal_weights(g, ops());
  REQUIRE(tied.size() == 2);
  CHECK(tied[0].copy == "copy");
  CHECK(tied[0].original == "first");
  CHECK_FALSE(tied[0].transposed);
  CHECK(tied[1].copy == "back");
  CHECK(tied[1].original == "first");
  CHECK(tied[1].transposed);
  const auto readers = g.readers();
  CHECK(readers[static_cast<size_t>(copy)].empty());
  CHECK(readers[static_cast<size_t>(back)].empty());
  CHECK(readers[static_cast<size_t>(first)].size() == 3);
  infer(g);
  CHECK(identical(run_exact(g, input), before));
  CHECK(identical(tied_copy(tied[0], w), w));
  CHECK(identical(tied_copy(tied[1], w), transposed_of(w)));
  CHECK(identical(tied_copy({"a", "b", true}, half), as_type(transposed_of(w), DType::kFloat16)));
}

TEST_CASE("a square matrix and its transpose") {
  GraphBuilder b(17);
  Graph& g = b.graph;
  const ValueId x = g.add_input("x", Fact::of(DType::kFloat32, {Dim(2), Dim(4)}));
  const Tensor w = random_tensor(DType::kFloat32, {4, 4}, -1, 1, 1);
  ValueId y = x;
  for (const Tensor& weight : {w, transposed_of(w), w.clone()}) {
    y = b.op("MatMul", {y, g.add_initializer("w", weight)});
  }
  g.outputs = {y};
  infer(g);
  const Tensor input = random_tensor(DType::kFloat32, {2, 4}, -1, 1, 3);
  const Tensor before = run_exact(g, input);
  const std::vector<TiedWeight> tied = tie_equal_weights(g, ops());
  REQUIRE(tied.size() == 2);
  CHECK(tied[0].transposed);
  CHECK_FALSE(tied[1].transposed);
  infer(g);
  CHECK(identical(run_exact(g, input), before));
}

TEST_CASE("quantized graphs are not trained") {
  GraphBuilder b(21);
  Graph& g = b.graph;
  const ValueId x = g.add_input("x", Fact::of(DType::kFloat32, {Dim(2), Dim(4)}));
  g.outputs = {b.op("Relu", {x})};
  CHECK_NOTHROW(refuse_quantized(g));
  const ValueId scale = g.add_initializer("scale", Tensor::scalar<float>(0.1f));
  const ValueId zero = g.add_initializer("zero", Tensor::scalar<uint8_t>(128));
  g.outputs = {b.op("QuantizeLinear", {x, scale, zero})};
  std::string message;
  CHECK(error_of([&] { refuse_quantized(g); }, &message) == ErrorCode::kUnsupported);
  CHECK(message.find(g.producer(g.outputs[0])->label()) != std::string::npos);
  for (const auto& kind : std::vector<std::pair<std::string, std::string>>{
           {"", "DequantizeLinear"},
           {"", "DynamicQuantizeLinear"},
           {"", "MatMulInteger"},
           {"", "ConvInteger"},
           {"", "QLinearMatMul"},
           {"com.microsoft", "MatMulNBits"},
           {"com.microsoft", "MatMulIntegerToFloat"},
           {"com.microsoft", "DynamicQuantizeMatMul"},
           {"com.microsoft", "QAttention"},
           {"com.microsoft", "GatherBlockQuantized"}}) {
    CAPTURE(kind.second);
    Node& node = g.node(g.value(g.outputs[0]).producer);
    node.domain = kind.first;
    node.op_type = kind.second;
    CHECK_THROWS_AS(refuse_quantized(g), Error);
  }
}

}  // namespace hugot::test
