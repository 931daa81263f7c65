#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

Tolerance tolerance_for(DType dtype, int64_t length) {
  Tolerance tolerance = default_tolerance(dtype);
  tolerance.absolute += tolerance.relative * static_cast<double>(length);
  return tolerance;
}

Tensor scalar(int64_t value) { return Tensor::scalar<int64_t>(value); }

// By the definition: lines [count, length, parts] to [count, length, 2].
Tensor plain_dft(const Tensor& x, double sign) {
  const int64_t count = x.shape()[0], length = x.shape()[1], parts = x.shape()[2];
  Tensor y(DType::kFloat64, {count, length, 2});
  for (int64_t line = 0; line < count; ++line) {
    for (int64_t k = 0; k < length; ++k) {
      double re = 0, im = 0;
      for (int64_t n = 0; n < length; ++n) {
        const double* value = x.data<double>() + (line * length + n) * parts;
        const double angle = sign * 2 * std::numbers::pi * static_cast<double>(k * n % length) /
                             static_cast<double>(length);
        const double a = value[0], b = parts == 2 ? value[1] : 0;
        re += a * std::cos(angle) - b * std::sin(angle);
        im += a * std::sin(angle) + b * std::cos(angle);
      }
      y.data<double>()[(line * length + k) * 2] = re;
      y.data<double>()[(line * length + k) * 2 + 1] = im;
    }
  }
  return y;
}

}  // namespace

TEST_CASE("DFT of every length is its definition") {
  for (const int64_t length : {1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 31, 100, 128}) {
    for (const int64_t parts : {1, 2}) {
      const Tensor x = random_tensor(DType::kFloat64, {2, length, parts}, -1, 1, 7);
      Tensor back = plain_dft(x, 1);
      for (int64_t i = 0; i < back.size(); ++i) {
        back.data<double>()[i] /= static_cast<double>(length);
      }
      const Tolerance tolerance{1e-12, 1e-11};
      run_cases({{.name = str("forth ", length, " ", parts),
                  .op_type = "DFT",
                  .inputs = {x},
                  .expected = {plain_dft(x, -1)},
                  .opset = length % 2 == 0 ? 17 : 20,
                  .tolerance = tolerance},
                 {.name = str("back ", length, " ", parts),
                  .op_type = "DFT",
                  .inputs = {x},
                  .attributes = {{"inverse", int64_t{1}}},
                  .expected = {back},
                  .tolerance = tolerance}});
    }
  }
}

TEST_CASE("DFT in every type and form") {
  uint64_t seed = 1;
  for (const DType dtype : kFloats) {
    for (const int64_t inverse : {0, 1}) {
      for (const int64_t onesided : {0, 1}) {
        for (const int64_t length : {0, 5, 6, 11}) {
          const int64_t parts = onesided == 0 || inverse == 1 ? 2 : 1;
          const Tensor x = random_tensor(dtype, {2, 6, 3, parts}, -1, 1, ++seed);
          const Tensor given = length == 0 ? Tensor() : scalar(length);
          const Attributes attributes = {{"inverse", inverse}, {"onesided", onesided}};
          const std::string name = str(inverse, onesided, " ", length, " ", dtype_name(dtype));
          run_cases({{.name = name,
                      .op_type = "DFT",
                      .inputs = {x, given},
                      .attributes = attributes,
                      .opset = 17,
                      .tolerance = tolerance_for(dtype, 12)},
                     {.name = "last axis " + name,
                      .op_type = "DFT",
                      .inputs = {x, given},
                      .attributes = attributes,
                      .tolerance = tolerance_for(dtype, 12)}});
          if (inverse == 1 && onesided == 1) continue;
          run_cases({{.name = "given axis " + name,
                      .op_type = "DFT",
                      .inputs = {x, given, scalar(-3)},
                      .attributes = attributes,
                      .tolerance = tolerance_for(dtype, 12)}});
        }
      }
    }
  }
  // What a onesided transform leaves out is what its inverse fills in.
  for (const int64_t length : {5, 6}) {
    const Tensor x = random_tensor(DType::kFloat64, {1, length, 1}, -1, 1, ++seed);
    const Case forth = {
        .name = "forth", .op_type = "DFT", .inputs = {x}, .attributes = {{"onesided", int64_t{1}}}};
    run_cases({{.name = "there and back",
                .op_type = "DFT",
                .inputs = {run_node(node_of(forth), {x})[0], scalar(length)},
                .attributes = {{"onesided", int64_t{1}}, {"inverse", int64_t{1}}},
                .expected = {x},
                .tolerance = Tolerance{1e-12, 1e-12}}});
  }
  const auto refused = [&](const char* name, std::vector<Tensor> inputs) {
    run_cases({{.name = name,
                .op_type = "DFT",
                .inputs = std::move(inputs),
                .error = ErrorCode::kInvalidArgument}});
  };
  const Tensor x = random_tensor(DType::kFloat32, {2, 6, 1}, -1, 1, 1);
  refused("the last axis", {x, Tensor(), scalar(2)});
  refused("no such axis", {x, Tensor(), scalar(3)});
  refused("no length", {x, scalar(0)});
  refused("a negative length", {x, scalar(-4)});
  refused("three parts", {random_tensor(DType::kFloat32, {2, 6, 3}, -1, 1, 1)});
  refused("a list of lengths", {x, numbers(DType::kInt64, {2}, {1, 2})});
  refused("an empty signal", {random_tensor(DType::kFloat32, {2, 0, 1}, -1, 1, 1)});
}

TEST_CASE("STFT") {
  uint64_t seed = 100;
  for (const DType dtype : kFloats) {
    for (const int64_t parts : {1, 2}) {
      for (const int64_t onesided : {0, 1}) {
        if (parts == 2 && onesided == 1) continue;
        const Tensor x = random_tensor(dtype, {2, 23, parts}, -1, 1, ++seed);
        const Tensor window = random_tensor(dtype, {7}, 0, 1, ++seed);
        const Attributes attributes = {{"onesided", onesided}};
        const std::string name = str(parts, onesided, dtype_name(dtype));
        run_cases({{.name = "window " + name,
                    .op_type = "STFT",
                    .inputs = {x, scalar(4), window},
                    .attributes = attributes,
                    .tolerance = tolerance_for(dtype, 20)},
                   {.name = "both " + name,
                    .op_type = "STFT",
                    .inputs = {x, scalar(5), window, scalar(7)},
                    .attributes = attributes,
                    .tolerance = tolerance_for(dtype, 20)},
                   {.name = "length " + name,
                    .op_type = "STFT",
                    .inputs = {x, scalar(3), Tensor(), scalar(8)},
                    .attributes = attributes,
                    .tolerance = tolerance_for(dtype, 20)}});
      }
    }
  }
  const auto refused = [&](const char* name, std::vector<Tensor> inputs) {
    run_cases({{.name = name,
                .op_type = "STFT",
                .inputs = std::move(inputs),
                .error = ErrorCode::kInvalidArgument}});
  };
  const Tensor x = random_tensor(DType::kFloat32, {2, 6, 1}, -1, 1, 1);
  refused("no step", {x, scalar(0), Tensor(), scalar(2)});
  refused("a frame longer than the signal", {x, scalar(1), Tensor(), scalar(7)});
  refused("no frame", {x, scalar(1), Tensor(), scalar(0)});
  refused("a window of another type", {x, scalar(1), random_tensor(DType::kFloat64, {3}, 0, 1, 1)});
}

TEST_CASE("windows") {
  const auto one = [](const char* op, int64_t size, int64_t periodic,
                      std::initializer_list<double> values) {
    return Case{.name = str(size, " ", periodic),
                .op_type = op,
                .inputs = {scalar(size)},
                .attributes = {{"periodic", periodic}},
                .expected = {numbers(DType::kFloat32, {size}, values)},
                .tolerance = Tolerance{1e-6, 1e-7}};
  };
  run_cases({
      one("HannWindow", 4, 1, {0, 0.5, 1, 0.5}),
      one("HannWindow", 3, 0, {0, 1, 0}),
      one("HannWindow", 1, 0, {1}),
      one("HannWindow", 0, 1, {}),
      one("HammingWindow", 2, 1, {4 / 46.0, 1}),
      one("BlackmanWindow", 3, 0, {0, 1, 0}),
      {.name = "int32 in, float64 out",
       .op_type = "HannWindow",
       .inputs = {Tensor::scalar<int32_t>(4)},
       .attributes = {{"output_datatype", int64_t{11}}},
       .expected = {numbers(DType::kFloat64, {4}, {0, 0.5, 1, 0.5})}},
      {.name = "negative",
       .op_type = "HannWindow",
       .inputs = {scalar(-1)},
       .error = ErrorCode::kInvalidArgument},
      {.name = "text",
       .op_type = "HannWindow",
       .inputs = {scalar(1)},
       .attributes = {{"output_datatype", int64_t{8}}},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no type",
       .op_type = "HannWindow",
       .inputs = {scalar(1)},
       .attributes = {{"output_datatype", int64_t{-3}}},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("MelWeightMatrix") {
  const auto weights = [](int64_t bands, int64_t length, int64_t rate, float low, float high) {
    return std::vector<Tensor>{scalar(bands), scalar(length), scalar(rate),
                               Tensor::scalar<float>(low), Tensor::scalar<float>(high)};
  };
  run_cases({
      // With edges in bins 0, 3, 7 and 11.
      {.name = "two triangles",
       .op_type = "MelWeightMatrix",
       .inputs = weights(2, 31, 16, 0, 8),
       .expected = {numbers(
           DType::kFloat32, {16, 2},
           {0, 0,    1.0 / 3, 0,   2.0 / 3, 0,    1, 0, 0.75, 0.25, 0.5, 0.5, 0.25, 0.75, 0, 1,
            0, 0.75, 0,       0.5, 0,       0.25, 0, 0, 0,    0,    0,   0,   0,    0,    0, 0})}},
      {.name = "bands beyond the transform",
       .op_type = "MelWeightMatrix",
       .inputs = weights(4, 4, 2, 1e10f, 1e30f),
       .expected = {numbers(DType::kFloat32, {3, 4}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})}},
      {.name = "no rate",
       .op_type = "MelWeightMatrix",
       .inputs = weights(4, 4, 0, 1, 2),
       .error = ErrorCode::kInvalidArgument},
      {.name = "negative bands",
       .op_type = "MelWeightMatrix",
       .inputs = weights(-4, 4, 1, 1, 2),
       .error = ErrorCode::kInvalidArgument},
      {.name = "infinite",
       .op_type = "MelWeightMatrix",
       .inputs = weights(4, 4, 1, 1, HUGE_VALF),
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
