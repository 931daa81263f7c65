#include "kernels/random/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/harness.h"

namespace hugot::test {
namespace {

std::vector<double> draw(const Case& test) {
  return as_doubles(run_node(node_of(test), test.inputs)[0]);
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
double variance(const std::vector<double>& values) {
  const double center = mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - center) * (v - center);
  return sum / static_cast<double>(values.size());
}

const std::vector<int64_t> kShape = {100, 200};
constexpr float kSeed = 7;

}  // namespace

TEST_CASE("random numbers have the moments that the node asks for") {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    const auto type = static_cast<int64_t>(dtype);
    const auto normal = draw({.name = "",
                              .op_type = "RandomNormal",
                              .inputs = {},
                              .attributes = {{"shape", kShape},
                                             {"seed", kSeed},
                                             {"mean", 3.0f},
                                             {"scale", 2.0f},
                                             {"dtype", type}}});
    CHECK(normal.size() == 20000);
    CHECK(mean(normal) == doctest::Approx(3).epsilon(0.02));
    CHECK(variance(normal) == doctest::Approx(4).epsilon(0.03));
    const auto uniform = draw(
        {.name = "",
         .op_type = "RandomUniform",
         .inputs = {},
         .attributes = {
             {"shape", kShape}, {"seed", kSeed}, {"low", -1.0f}, {"high", 3.0f}, {"dtype", type}}});
    CHECK(mean(uniform) == doctest::Approx(1).epsilon(0.03));
    CHECK(variance(uniform) == doctest::Approx(16.0 / 12).epsilon(0.03));
    CHECK(*std::min_element(uniform.begin(), uniform.end()) >= -1);
    CHECK(*std::max_element(uniform.begin(), uniform.end()) <= 3);
  }
}

TEST_CASE("a seed gives the same numbers every time and in every thread, no seed others") {
  const Tensor like(DType::kFloat32, {300, 200});
  const Case seeded = {
      .name = "", .op_type = "RandomNormalLike", .inputs = {like}, .attributes = {{"seed", kSeed}}};
  const Tensor once = run_node(node_of(seeded), seeded.inputs)[0];
  ThreadPool pool(2);
  CHECK(identical(once, run_node(node_of(seeded), seeded.inputs, &pool)[0]));
  const Case fresh = {.name = "", .op_type = "RandomUniformLike", .inputs = {like}};
  CHECK_FALSE(identical(run_node(node_of(fresh), fresh.inputs)[0],
                        run_node(node_of(fresh), fresh.inputs)[0]));
}

TEST_CASE("Bernoulli and Multinomial draw by their probabilities") {
  Tensor p(DType::kFloat32, {20000});
  std::fill_n(p.data<float>(), p.size(), 0.3f);
  const auto ones =
      draw({.name = "",
            .op_type = "Bernoulli",
            .inputs = {p},
            .attributes = {{"seed", kSeed}, {"dtype", static_cast<int64_t>(DType::kInt32)}}});
  CHECK(mean(ones) == doctest::Approx(0.3).epsilon(0.03));
  CHECK(draw({.name = "",
              .op_type = "Bernoulli",
              .inputs = {numbers(DType::kFloat64, {2}, {0, 1})}}) == std::vector<double>{0, 1});

  const double inf = HUGE_VAL;
  const Tensor x = numbers(DType::kFloat32, {2, 3}, {std::log(1.0), std::log(3.0), -inf, 5, 5, 5});
  const auto drawn = draw({.name = "",
                           .op_type = "Multinomial",
                           .inputs = {x},
                           .attributes = {{"seed", kSeed}, {"sample_size", int64_t{10000}}}});
  REQUIRE(drawn.size() == 20000);
  CHECK(std::count(drawn.begin(), drawn.begin() + 10000, 1) == doctest::Approx(7500).epsilon(0.03));
  CHECK(std::count(drawn.begin(), drawn.begin() + 10000, 2) == 0);
  for (const double value : {0, 1, 2}) {
    CHECK(std::count(drawn.begin() + 10000, drawn.end(), value) ==
          doctest::Approx(3333).epsilon(0.06));
  }
}

TEST_CASE("random operators refuse what they cannot draw") {
  run_cases({
      {.name = "no probability",
       .op_type = "Bernoulli",
       .inputs = {numbers(DType::kFloat32, {1}, {1.5})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative shape",
       .op_type = "RandomNormal",
       .inputs = {},
       .attributes = {{"shape", std::vector<int64_t>{2, -1}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no number type",
       .op_type = "RandomUniformLike",
       .inputs = {Tensor::from<std::string>({1}, {"a"})},
       .error = ErrorCode::kUnsupported},
      {.name = "no type",
       .op_type = "RandomUniformLike",
       .inputs = {numbers(DType::kFloat32, {1}, {0})},
       .attributes = {{"dtype", int64_t{99}}},
       .error = ErrorCode::kInvalidData},
      {.name = "no class",
       .op_type = "Multinomial",
       .inputs = {numbers(DType::kFloat32, {1, 0}, {})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no row",
       .op_type = "Multinomial",
       .inputs = {numbers(DType::kFloat32, {2}, {0, 0})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative number of samples",
       .op_type = "Multinomial",
       .inputs = {numbers(DType::kFloat32, {1, 2}, {0, 0})},
       .attributes = {{"sample_size", int64_t{-1}}},
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
