// hugot.RelativeAttention against hugot.Attention with the same bias made by hand.
#include <doctest/doctest.h>

#include "graph/op.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr int64_t kHeads = 3, kSize = 8, kPositions = 5;
constexpr float kScale = 0.35f, kQueryScale = 0.5f, kKeyScale = -0.25f;

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -1, 1, seed);
}

// scale * (x_i . table)[index[i, j]] of one head, at [i, j].
double picked(const Tensor& x, const Tensor& table, const Tensor& index, int64_t head, int64_t i,
              int64_t j, int64_t columns) {
  const bool per_head = index.rank() == 3 && index.shape()[0] > 1;
  const int64_t rows = x.shape()[1];
  int64_t at = index.data<int64_t>()[((per_head ? head * rows : 0) + i) * columns + j];
  if (at < 0) at += kPositions;
  double sum = 0;
  for (int64_t d = 0; d < kSize; ++d) {
    sum += static_cast<double>(x.data<float>()[i * kHeads * kSize + head * kSize + d]) *
           static_cast<double>(table.data<float>()[(head * kSize + d) * kPositions + at]);
  }
  return sum;
}

// inputs: Q, K, V, bias, A, a, B, b, some undefined.
Tensor expected(const std::vector<Tensor>& inputs) {
  const int64_t queries = inputs[0].shape()[1], keys = inputs[1].shape()[1];
  Tensor bias(DType::kFloat32, {1, kHeads, queries, keys});
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = 0; j < keys; ++j) {
        double sum = inputs[3].defined() ? double{inputs[3].data<float>()[i * keys + j]} : 0.0;
        if (inputs[4].defined()) {
          sum += double{kQueryScale} * picked(inputs[0], inputs[4], inputs[5], head, i, j, keys);
        }
        if (inputs[6].defined()) {
          sum += double{kKeyScale} * picked(inputs[1], inputs[6], inputs[7], head, j, i, queries);
        }
        bias.data<float>()[(head * queries + i) * keys + j] = static_cast<float>(sum);
      }
    }
  }
  const Case plain = {.name = "plain",
                      .op_type = "Attention",
                      .inputs = {inputs[0], inputs[1], inputs[2], bias},
                      .attributes = {{"num_heads", kHeads}, {"scale", kScale}},
                      .domain = "hugot"};
  return run_node(node_of(plain), plain.inputs)[0];
}

Case relative_case(std::string name, std::vector<Tensor> inputs) {
  return {.name = std::move(name),
          .op_type = "RelativeAttention",
          .inputs = std::move(inputs),
          .attributes = {{"num_heads", kHeads},
                         {"scale", kScale},
                         {"query_scale", kQueryScale},
                         {"key_scale", kKeyScale}},
          .domain = "hugot"};
}

}  // namespace

TEST_CASE("relative attention adds what queries and keys have in common with positions") {
  uint64_t seed = 1;
  for (const int64_t queries : {1, 3, 19}) {
    for (const int64_t keys : {1, 19, 40}) {
      for (const int terms : {1, 2, 3}) {
        for (const bool per_head : {false, true}) {
          const auto index = [&](int64_t rows, int64_t columns) {
            const Shape shape =
                per_head ? Shape{kHeads, rows, columns} : Shape{1, 1, rows, columns};
            return random_tensor(DType::kInt64, shape, -kPositions, kPositions - 0.01, ++seed);
          };
          const auto rows = [&](int64_t count) {
            return floats({1, count, kHeads * kSize}, ++seed);
          };
          std::vector<Tensor> inputs = {rows(queries), rows(keys), rows(keys)};
          inputs.resize(8);
          if (per_head) inputs[3] = floats({1, 1, queries, keys}, ++seed);
          if ((terms & 1) != 0) {
            inputs[4] = floats({kHeads, kSize, kPositions}, ++seed);
            inputs[5] = index(queries, keys);
          }
          if ((terms & 2) != 0) {
            inputs[6] = floats({kHeads, kSize, kPositions}, ++seed);
            inputs[7] = index(keys, queries);
          }
          Case test =
              relative_case(str(queries, " queries, ", keys, " keys, terms ", terms), inputs);
          test.expected = {expected(inputs)};
          test.tolerance = Tolerance{1e-5, 2e-6};
          run_cases({test});
        }
      }
    }
  }
}

TEST_CASE("relative attention checks its operands") {
  const Tensor x = floats({1, 4, kHeads * kSize}, 1);
  const Tensor table = floats({kHeads, kSize, kPositions}, 2);
  const auto index = [](const Shape& shape, double high) {
    return random_tensor(DType::kInt64, shape, high - 1, high, 3);
  };
  const auto bad = [&](std::string name, const Tensor& a, const Tensor& i) {
    Case test = relative_case(std::move(name), {x, x, x, {}, a, i});
    test.error = ErrorCode::kInvalidArgument;
    return test;
  };
  run_cases({bad("index too large", table, index({4, 4}, kPositions + 1)),
             bad("index too small", table, index({4, 4}, -kPositions - 1)),
             bad("index of other lengths", table, index({4, 5}, 2)),
             bad("a table of other heads", floats({2, kSize, kPositions}, 2), index({4, 4}, 2)),
             bad("no index", table, {})});
}

}  // namespace hugot::test
