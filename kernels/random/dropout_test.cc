#include "kernels/random/dropout.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "kernels/dropout_mask.h"
#include "kernels/philox.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

Attributes place(float ratio, int64_t site) { return {{"ratio", ratio}, {"site", site}}; }

// Keys of `texts` texts of `length` tokens.
Tensor keys_of(int64_t texts, int64_t length, uint64_t step = 1) {
  Tensor keys(DType::kInt64, {texts, length});
  for (int64_t i = 0; i < keys.size(); ++i) {
    const uint64_t text = text_dropout_key(3, step, static_cast<uint32_t>(i / length), 0);
    keys.data<int64_t>()[i] =
        static_cast<int64_t>(token_dropout_key(text, static_cast<uint32_t>(i % length)));
  }
  return keys;
}

Case dropout_case(const std::string& name, std::vector<Tensor> inputs, float ratio,
                  int64_t site = 2) {
  return {.name = name,
          .op_type = "Dropout",
          .inputs = std::move(inputs),
          .attributes = place(ratio, site),
          .domain = "hugot"};
}

std::vector<double> run(const Case& test) {
  return as_doubles(run_node(node_of(test), test.inputs)[0]);
}

Tensor ones(const Shape& shape) {
  Tensor x(DType::kFloat64, shape);
  std::fill_n(x.data<double>(), x.size(), 1.0);
  return x;
}

}  // namespace

TEST_CASE("Philox gives the known answers of Random123") {
  using Words = std::array<std::array<uint32_t, 1>, 4>;
  const auto draw = [](Words words, uint64_t key) {
    philox(words, key);
    return words;
  };
  CHECK(draw({{{0}, {0}, {0}, {0}}}, 0) ==
        Words{{{0x6627e8d5}, {0xe169c58d}, {0xbc57ac4c}, {0x9b00dbd8}}});
  CHECK(draw({{{~0u}, {~0u}, {~0u}, {~0u}}}, ~uint64_t{0}) ==
        Words{{{0x408f276d}, {0x41c83b0e}, {0xa20bc7c6}, {0x6d5451fd}}});
  CHECK(draw({{{0x243f6a88}, {0x85a308d3}, {0x13198a2e}, {0x03707344}}}, 0x299f31d0a4093822u) ==
        Words{{{0xd16cfe09}, {0x94fdcceb}, {0x5001e420}, {0x24126ea1}}});
}

TEST_CASE("dropout of tokens and of rows of attention, with and without a residual") {
  const Tensor keys = keys_of(2, 5);
  const Tensor x = random_tensor(DType::kFloat32, {2, 5, 37}, -1, 1, 1);
  const Tensor residual = random_tensor(DType::kFloat32, {2, 5, 37}, -1, 1, 2);
  const Tensor scores = random_tensor(DType::kFloat32, {2, 3, 5, 5}, 0, 1, 3);
  run_cases({dropout_case("tokens", {x, keys}, 0.25f),
             dropout_case("residual", {x, keys, residual}, 0.25f),
             dropout_case("heads", {scores, keys}, 0.5f),
             dropout_case("nothing", {x, keys}, 0.0f)});
  Case wrong = dropout_case("keys do not fit", {x, keys_of(2, 4)}, 0.25f);
  wrong.error = ErrorCode::kInvalidArgument;
  Case certain = dropout_case("everything", {x, keys}, 1.0f);
  certain.error = ErrorCode::kInvalidArgument;
  run_cases({wrong, certain});
}

TEST_CASE("dropout drops as often as it is told, and the mean stays") {
  for (const double ratio : {0.1, 0.5, 0.9}) {
    const Shape shape = {4, 50, 1000};
    const std::vector<double> y =
        run(dropout_case("", {ones(shape), keys_of(4, 50)}, static_cast<float>(ratio)));
    double zeros = 0, sum = 0;
    for (const double value : y) {
      zeros += value == 0;
      sum += value;
      CHECK((value == 0 || std::abs(value - 1 / (1 - ratio)) < 2e-4 / (1 - ratio)));
    }
    const auto n = static_cast<double>(y.size());
    // Five standard deviations of 200,000 draws.
    const double limit = 5 * std::sqrt(ratio * (1 - ratio) / n);
    CHECK(std::abs(zeros / n - ratio) < limit);
    CHECK(std::abs(sum / n - 1) < limit / (1 - ratio));
  }
}

TEST_CASE("what is dropped depends on key, place, row and element alone") {
  const Tensor keys = keys_of(3, 4);
  const std::vector<double> all = run(dropout_case("", {ones({3, 4, 64}), keys}, 0.5f));
  // One token of one text alone.
  Tensor key(DType::kInt64, {1, 1});
  key.data<int64_t>()[0] = keys.data<int64_t>()[7];
  const std::vector<double> one = run(dropout_case("", {ones({1, 1, 64}), key}, 0.5f));
  CHECK(one == std::vector<double>(all.begin() + 7 * 64, all.begin() + 8 * 64));
  // Fewer elements are the first ones.
  const std::vector<double> few = run(dropout_case("", {ones({1, 1, 13}), key}, 0.5f));
  CHECK(few == std::vector<double>(one.begin(), one.begin() + 13));
  // Other places, steps and heads drop other elements; key 0 drops none.
  std::set<std::vector<double>> distinct = {one};
  distinct.insert(run(dropout_case("", {ones({1, 1, 64}), key}, 0.5f, 3)));
  distinct.insert(run(dropout_case("", {ones({1, 1, 64}), keys_of(1, 1, 2)}, 0.5f)));
  const std::vector<double> heads = run(dropout_case("", {ones({1, 2, 1, 64}), key}, 0.5f));
  distinct.insert({heads.begin() + 64, heads.end()});
  CHECK(distinct.size() == 4);
  CHECK(std::vector<double>(heads.begin(), heads.begin() + 64) == one);
  key.data<int64_t>()[0] = 0;
  CHECK(run(dropout_case("", {ones({1, 1, 64}), key}, 0.5f)) == std::vector<double>(64, 1.0));
  CHECK(token_dropout_key(0, 5) == 0);
  CHECK(text_dropout_key(1, 2, 3, 0) != text_dropout_key(1, 2, 3, 1));
  CHECK(text_dropout_key(1, 2, 3, 0) != text_dropout_key(1, 3, 2, 0));
  CHECK(text_dropout_key(1, 2, 3, 0) != text_dropout_key(2, 2, 3, 0));
}

TEST_CASE("attention with dropout") {
  struct Form {
    int64_t heads, kv_heads, size, length, left;
  };
  uint64_t seed = 1;
  for (const Form& form : {Form{2, 2, 4, 1, -1}, Form{3, 3, 32, 21, -1}, Form{4, 2, 16, 18, 3},
                           Form{1, 1, 64, 300, -1}}) {
    const auto floats = [&](const Shape& shape) {
      return random_tensor(DType::kFloat32, shape, -1, 1, ++seed);
    };
    const Tensor q = floats({2, form.length, form.heads * form.size});
    const Tensor k = floats({2, form.length, form.kv_heads * form.size});
    const Tensor v = floats({2, form.length, form.kv_heads * form.size});
    const Tensor bias = floats({1, form.heads, form.length, form.length});
    const Tensor dy = floats(q.shape()), keys = keys_of(2, form.length);
    Attributes attributes = place(0.3f, 5);
    attributes.insert({{"num_heads", form.heads},
                       {"kv_num_heads", form.kv_heads},
                       {"scale", 0.3f},
                       {"left_window_size", form.left}});
    for (const bool biased : {false, true}) {
      Case test = {.name = str(form.length, " tokens", biased ? ", bias" : ""),
                   .op_type = "DropoutAttention",
                   .inputs = {q, k, v, biased ? bias : Tensor(), keys},
                   .attributes = attributes,
                   .domain = "hugot",
                   .tolerance = Tolerance{1e-5, 1e-5}};
      run_cases({test});
      test.op_type = "AttentionGradient";
      test.inputs.insert(test.inputs.begin() + 3, dy);
      test.outputs = biased ? 4 : 3;
      run_cases({test});
    }
  }
}

TEST_CASE("attention of which nothing is dropped is attention") {
  const Tensor q = random_tensor(DType::kFloat32, {1, 9, 32}, -1, 1, 1);
  Tensor keys(DType::kInt64, {1, 9});
  std::fill_n(keys.data<int64_t>(), 9, 0);
  Attributes attributes = {{"num_heads", int64_t{2}}, {"scale", 0.25f}};
  const Case plain = {.name = "",
                      .op_type = "Attention",
                      .inputs = {q, q, q},
                      .attributes = attributes,
                      .domain = "hugot"};
  attributes.insert({{"ratio", 0.3f}, {"site", int64_t{5}}});
  const Case dropped = {.name = "",
                        .op_type = "DropoutAttention",
                        .inputs = {q, q, q, {}, keys},
                        .attributes = attributes,
                        .domain = "hugot"};
  CHECK(identical(run_node(node_of(plain), plain.inputs)[0],
                  run_node(node_of(dropped), dropped.inputs)[0]));
}

}  // namespace hugot::test
