#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using Names = std::vector<std::string>;
using Numbers = std::vector<float>;

struct Kind {
  const char* op;
  int64_t gates;
  int outputs;
};
constexpr Kind kKinds[] = {{"RNN", 1, 2}, {"GRU", 3, 2}, {"LSTM", 4, 3}};

struct Sizes {
  int64_t steps = 4, batch = 3, inputs = 5, hidden = 6, directions = 1;
  bool batch_first = false;
};

// X, W, R, B, the lengths (omitted), and the initial states; for LSTM the peepholes.
std::vector<Tensor> operands(const Kind& kind, const Sizes& s, DType dtype, uint64_t seed) {
  const auto make = [&](const Shape& shape) { return random_tensor(dtype, shape, -1, 1, ++seed); };
  const int64_t rows = kind.gates * s.hidden;
  const Shape state = s.batch_first ? Shape{s.batch, s.directions, s.hidden}
                                    : Shape{s.directions, s.batch, s.hidden};
  std::vector<Tensor> result = {
      make(s.batch_first ? Shape{s.batch, s.steps, s.inputs} : Shape{s.steps, s.batch, s.inputs}),
      make({s.directions, rows, s.inputs}),
      make({s.directions, rows, s.hidden}),
      make({s.directions, 2 * rows}),
      Tensor(),
      make(state)};
  if (kind.outputs == 3) {
    result.push_back(make(state));
    result.push_back(make({s.directions, 3 * s.hidden}));
  }
  return result;
}

Tolerance tolerance_for(DType dtype) {
  Tolerance tolerance = default_tolerance(dtype);
  tolerance.absolute = 40 * tolerance.relative;
  tolerance.relative *= 40;
  return tolerance;
}

void check(const Kind& kind, const std::string& name, std::vector<Tensor> inputs,
           Attributes attributes, int opset = kNewest) {
  run_cases({{.name = name,
              .op_type = kind.op,
              .inputs = inputs,
              .attributes = std::move(attributes),
              .opset = opset,
              .outputs = kind.outputs,
              .tolerance = tolerance_for(inputs[0].dtype())}});
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("recurrent layers agree with float64 in every type and direction") {
  uint64_t seed = 1;
  for (const Kind& kind : kKinds) {
    for (const DType dtype :
         {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
      for (const char* direction : {"forward", "reverse", "bidirectional"}) {
        for (const int64_t layout : {0, 1}) {
          Sizes sizes;
          sizes.directions = direction == std::string("bidirectional") ? 2 : 1;
          sizes.batch_first = layout == 1;
          std::vector<Tensor> inputs = operands(kind, sizes, dtype, seed += 100);
          const Attributes attributes = {{"direction", std::string(direction)},
                                         {"layout", layout},
                                         {"hidden_size", sizes.hidden}};
          check(kind, str(direction, " ", layout, " ", dtype_name(dtype)), inputs, attributes);
          inputs[4] = numbers(DType::kInt32, {3}, {2, 4, 0});
          check(kind, str("lengths ", direction, " ", layout), inputs, attributes);
          inputs.resize(3);
          check(kind, str("bare ", direction, " ", layout), inputs, attributes,
                layout == 1 ? 14 : 7);
        }
      }
    }
  }
}

TEST_CASE("recurrent layers with every attribute") {
  for (const Kind& kind : kKinds) {
    const std::vector<Tensor> inputs = operands(kind, {}, DType::kFloat32, 7000);
    check(kind, "clipped", inputs, {{"clip", 0.3f}});
    check(kind, "linear before reset", inputs, {{"linear_before_reset", int64_t{1}}},
          kind.gates == 3 ? 3 : kNewest);
    check(kind, "coupled gates", inputs, {{"input_forget", int64_t{1}}}, kind.gates == 3 ? 3 : 1);
    for (const char* f : {"Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh",
                          "sigmoid", "Softplus", "Softsign", "TANH", "ThresholdedRelu"}) {
      check(kind, f, inputs,
            {{"activations", Names{f, "HardSigmoid", "Softsign"}},
             {"activation_alpha", Numbers{0.4f}},
             {"activation_beta", Numbers{0.3f}}});
    }
    Sizes large;
    large.batch = 9;
    large.hidden = 70;
    large.inputs = 33;
    check(kind, "large", operands(kind, large, DType::kFloat32, 8000), {});
    Sizes none;
    none.steps = 0;
    check(kind, "no step", operands(kind, none, DType::kFloat32, 9000), {});
    none.batch = 0;
    check(kind, "no sequence", operands(kind, none, DType::kFloat32, 9000), {});
  }
}

TEST_CASE("recurrent layers by hand") {
  const auto tensor = [](const Shape& shape, std::initializer_list<double> values) {
    return numbers(DType::kFloat32, shape, values);
  };
  const Tensor x = tensor({2, 1, 1}, {1, 2});
  const double h1 = std::tanh(0.5 * 1 + 0.1 + 0.2), h2 = std::tanh(0.5 * 2 + 0.3 * h1 + 0.1 + 0.2);

  // An LSTM whose input, output and forget gates are the sigmoids of 1, 2 and 3.
  const Tensor lstm_w = tensor({1, 4, 1}, {0, 0, 0, 1});
  const Tensor lstm_r = tensor({1, 4, 1}, {0, 0, 0, 0});
  const Tensor lstm_b = tensor({1, 8}, {1, 2, 3, 0, 0, 0, 0, 0});
  const double c1 = sigmoid(1) * std::tanh(1.0);
  const double c2 = sigmoid(3) * c1 + sigmoid(1) * std::tanh(2.0);
  const double y1 = sigmoid(2) * std::tanh(c1), y2 = sigmoid(2) * std::tanh(c2);

  // A GRU with update gate sigmoid(1), reset gate sigmoid(2).
  const Tensor gru_w = tensor({1, 3, 1}, {0, 0, 1});
  const Tensor gru_r = tensor({1, 3, 1}, {0, 0, 0.5});
  const Tensor gru_b = tensor({1, 6}, {1, 2, 0.25, 0, 0, 0.75});
  const double z = sigmoid(1), r = sigmoid(2);
  const double before = std::tanh(3 + 0.5 * (r * 2) + 0.25 + 0.75);
  const double after = std::tanh(3 + r * (0.5 * 2 + 0.75) + 0.25);
  const Tensor gru_x = tensor({1, 1, 1}, {3}), gru_h = tensor({1, 1, 1}, {2});
  run_cases({
      {.name = "two steps",
       .op_type = "RNN",
       .inputs = {x, tensor({1, 1, 1}, {0.5}), tensor({1, 1, 1}, {0.3}),
                  tensor({1, 2}, {0.1, 0.2})},
       .expected = {tensor({2, 1, 1, 1}, {h1, h2}), tensor({1, 1, 1}, {h2})}},
      {.name = "gates",
       .op_type = "LSTM",
       .inputs = {x, lstm_w, lstm_r, lstm_b},
       .expected = {tensor({2, 1, 1, 1}, {y1, y2}), tensor({1, 1, 1}, {y2}),
                    tensor({1, 1, 1}, {c2})}},
      {.name = "reset before the product",
       .op_type = "GRU",
       .inputs = {gru_x, gru_w, gru_r, gru_b, Tensor(), gru_h},
       .expected = {tensor({1, 1, 1, 1}, {(1 - z) * before + z * 2})}},
      {.name = "reset behind the product",
       .op_type = "GRU",
       .inputs = {gru_x, gru_w, gru_r, gru_b, Tensor(), gru_h},
       .attributes = {{"linear_before_reset", int64_t{1}}},
       .expected = {tensor({1, 1, 1, 1}, {(1 - z) * after + z * 2})}},
  });
}

TEST_CASE("recurrent layers refuse what does not fit") {
  const auto bad = ErrorCode::kInvalidArgument;
  for (const Kind& kind : kKinds) {
    const std::vector<Tensor> fine = operands(kind, {}, DType::kFloat32, 1);
    const auto refused = [&](const char* name, size_t i, const Tensor& operand,
                             Attributes attributes = {}) {
      std::vector<Tensor> inputs = fine;
      inputs[i] = operand;
      run_cases({{.name = name,
                  .op_type = kind.op,
                  .inputs = inputs,
                  .attributes = std::move(attributes),
                  .outputs = 2,
                  .error = bad}});
    };
    refused("rank", 0, fine[0].reshaped({12, 5}));
    refused("inputs", 1, random_tensor(DType::kFloat32, {1, kind.gates * 6, 4}, -1, 1, 1));
    refused("gates", 2, random_tensor(DType::kFloat32, {1, 2 * 6, 6}, -1, 1, 1));
    refused("bias", 3, random_tensor(DType::kFloat32, {1, kind.gates * 6}, -1, 1, 1));
    refused("another type", 3, as_type(fine[3], DType::kFloat64));
    refused("lengths", 4, numbers(DType::kInt32, {3}, {1, 5, 2}));
    refused("negative lengths", 4, numbers(DType::kInt32, {3}, {1, -1, 2}));
    refused("lengths of another batch", 4, numbers(DType::kInt32, {2}, {1, 2}));
    refused("state", 5, random_tensor(DType::kFloat32, {1, 2, 6}, -1, 1, 1));
    refused("two directions", 0, fine[0], {{"direction", std::string("bidirectional")}});
    refused("direction", 0, fine[0], {{"direction", std::string("back")}});
    refused("hidden_size", 0, fine[0], {{"hidden_size", int64_t{7}}});
    refused("layout", 0, fine[0], {{"layout", int64_t{2}}});
    refused("no function", 0, fine[0], {{"activations", Names{"Sinus", "Tanh", "Tanh"}}});
    refused("too few functions", 0, fine[0], {{"activations", Names{}}});
  }
}

}  // namespace hugot::test
