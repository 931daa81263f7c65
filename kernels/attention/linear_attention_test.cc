#include <doctest/doctest.h>

#include <cmath>

#include "tests/gradient_check.h"
#include "tests/graph_builder.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

Attributes heads(int64_t query, int64_t state, const char* rule) {
  return {{"q_num_heads", query}, {"kv_num_heads", state}, {"update_rule", std::string(rule)}};
}

}  // namespace

TEST_CASE("LinearAttention agrees with float64 under every rule") {
  uint64_t seed = 1;
  for (const DType dtype : kFloats) {
    for (const char* rule : {"linear", "gated", "delta", "gated_delta"}) {
      for (const int64_t group : {1, 2}) {
        for (const bool single : {false, true}) {
          const bool gated = std::string_view(rule).starts_with("gated");
          const bool delta = std::string_view(rule).ends_with("delta");
          const auto make = [&](int64_t last, double low, double high) {
            return random_tensor(dtype, {2, 5, last}, low, high, ++seed);
          };
          Tolerance tolerance = default_tolerance(dtype);
          tolerance.absolute += 20 * tolerance.relative;
          const Tensor q = make(2 * group * 4, -1, 1), k = make(8, -0.5, 0.5), v = make(6, -1, 1);
          const Tensor past = random_tensor(dtype, {2, 2, 4, 3}, -1, 1, ++seed);
          const Tensor decay = gated ? make(single ? 2 : 8, -1, 0) : Tensor();
          const Tensor beta = delta ? make(single ? 1 : 2, 0, 1) : Tensor();
          const std::string name = str(rule, " ", group, single, " ", dtype_name(dtype));
          run_cases({{.name = name,
                      .op_type = "LinearAttention",
                      .inputs = {q, k, v, past, decay, beta},
                      .attributes = heads(2 * group, 2, rule),
                      .outputs = 2,
                      .tolerance = tolerance},
                     {.name = "from nothing " + name,
                      .op_type = "LinearAttention",
                      .inputs = {q, k, v, Tensor(), decay, beta},
                      .attributes = heads(2 * group, 2, rule),
                      .outputs = 2,
                      .tolerance = tolerance}});
        }
      }
    }
  }
}

TEST_CASE("LinearAttention by hand") {
  // One head of one key and one value: a state that is a number.
  const Tensor q = floats({1, 2, 1}, {1, 2}), k = floats({1, 2, 1}, {3, 4}),
               v = floats({1, 2, 1}, {5, 6});
  const double ln2 = std::log(0.5);
  const Tensor decay = floats({1, 2, 1}, {0, ln2}), beta = floats({1, 2, 1}, {1, 0.5});
  const auto one = [&](const char* rule, std::vector<Tensor> inputs, double y0, double y1,
                       double state) {
    return Case{.name = rule,
                .op_type = "LinearAttention",
                .inputs = std::move(inputs),
                .attributes = heads(1, 1, rule),
                .expected = {floats({1, 2, 1}, {y0, y1}), floats({1, 1, 1, 1}, {state})}};
  };
  run_cases({
      one("linear", {q, k, v}, 15, 78, 39),
      one("gated", {q, k, v, Tensor(), decay}, 15, 63, 31.5),
      // 15, then 15 + 0.5 * 4 * (6 - 15 * 4)
      one("delta", {q, k, v, Tensor(), Tensor(), beta}, 15, -186, -93),
      // 15, then 7.5 + 0.5 * 4 * (6 - 7.5 * 4)
      one("gated_delta", {q, k, v, Tensor(), decay, beta}, 15, -81, -40.5),
  });
  const auto refused = [&](const char* name, std::vector<Tensor> inputs, Attributes attributes) {
    run_cases({{.name = name,
                .op_type = "LinearAttention",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidArgument}});
  };
  refused("no decay", {q, k, v}, heads(1, 1, "gated"));
  refused("decay for nothing", {q, k, v, Tensor(), decay}, heads(1, 1, "linear"));
  refused("no beta", {q, k, v}, heads(1, 1, "delta"));
  refused("no rule", {q, k, v}, heads(1, 1, "fast"));
  refused("no head", {q, k, v}, heads(0, 1, "linear"));
  refused("heads that share nothing", {q, k, v}, heads(1, 2, "linear"));
  refused("heads that do not fit", {q, k, v}, heads(2, 1, "linear"));
  refused("another state", {q, k, v, floats({1, 1, 1, 2}, {1, 2})}, heads(1, 1, "linear"));
  refused("other steps", {q, floats({1, 1, 1}, {1}), v}, heads(1, 1, "linear"));
}

TEST_CASE("FlexAttention without bodies is attention") {
  uint64_t seed = 100;
  for (const DType dtype : kFloats) {
    const Tensor q = random_tensor(dtype, {2, 4, 3, 8}, -1, 1, ++seed);
    const Tensor k = random_tensor(dtype, {2, 2, 5, 8}, -1, 1, ++seed);
    const Tensor v = random_tensor(dtype, {2, 2, 5, 6}, -1, 1, ++seed);
    const Case attention = {.name = "attention", .op_type = "Attention", .inputs = {q, k, v}};
    const auto wide = [](const Tensor& x) { return as_type(x, DType::kFloat64); };
    const std::vector<Tensor> inputs = {wide(q), wide(k), wide(v)};
    run_cases({{.name = std::string(dtype_name(dtype)),
                .op_type = "FlexAttention",
                .inputs = {q, k, v},
                .expected = {as_type(run_node(node_of(attention), inputs)[0], dtype)},
                .domain = "ai.onnx.preview"}});
  }
  const Tensor q = random_tensor(DType::kFloat32, {1, 1, 2, 3}, -1, 1, 1);
  const auto refused = [&](const char* name, std::vector<Tensor> inputs,
                           Attributes attributes = {}) {
    run_cases({{.name = name,
                .op_type = "FlexAttention",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .domain = "ai.onnx.preview",
                .error = ErrorCode::kInvalidArgument}});
  };
  refused("ranks", {q.reshaped({1, 2, 3}), q, q});
  refused("heads", {q, random_tensor(DType::kFloat32, {1, 2, 2, 3}, -1, 1, 1), q});
  refused("keys and values", {q, q, random_tensor(DType::kFloat32, {1, 1, 3, 3}, -1, 1, 1)});
  refused("a precision", {q, q, q}, {{"softmax_precision", int64_t{7}}});
}

TEST_CASE("FlexAttention with bodies has gradients") {
  // The scores and a bias of the graph around; their tanh.
  const auto body = [](bool captures) {
    GraphBuilder b(23);
    Fact fact;
    fact.dtype = DType::kFloat64;
    const ValueId scores = b.graph.add_input("scores", fact);
    const ValueId bias = b.graph.add_input("bias", fact);
    b.graph.outputs = {captures ? b.op("Add", {scores, bias}) : b.op("Tanh", {scores})};
    return std::make_shared<const Graph>(b.graph);
  };
  const auto random = [](const Shape& shape, uint64_t seed) {
    return random_tensor(DType::kFloat64, shape, -1, 1, seed);
  };
  const Case test = {
      .name = "two bodies",
      .op_type = "FlexAttention",
      .inputs = {random({2, 4, 3, 8}, 1), random({2, 2, 5, 8}, 2), random({2, 2, 5, 6}, 3),
                 random({4, 3, 5}, 4)},
      .attributes = {{"score_mod", body(true)},
                     {"prob_mod", body(false)},
                     {"scale", 0.5f},
                     {std::string(kCapturedAttribute), std::vector<std::string>{"bias"}}},
      .domain = "ai.onnx.preview"};
  CHECK(check_gradients(test) == 24);
}

}  // namespace hugot::test
