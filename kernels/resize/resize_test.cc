#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using Words = std::initializer_list<std::pair<const char*, const char*>>;

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}
Tensor scales(std::vector<float> values) {
  return Tensor::from<float>({std::ssize(values)}, std::span<const float>(values));
}
Tensor sizes(std::vector<int64_t> values) {
  return Tensor::from<int64_t>({std::ssize(values)}, std::span<const int64_t>(values));
}

Attributes with(Words words, Attributes attributes = {}) {
  for (const auto& [name, word] : words) attributes[name] = std::string(word);
  return attributes;
}

// The operands behind the first of a Resize: scales when they are given, else sizes.
std::vector<Tensor> inputs(const Tensor& x, const Tensor& by_scales, const Tensor& by_sizes = {},
                           const Tensor& roi = {}) {
  return by_sizes.defined() ? std::vector<Tensor>{x, roi, by_scales, by_sizes}
                            : std::vector<Tensor>{x, roi, by_scales};
}

constexpr const char* kModes[] = {"nearest", "linear", "cubic"};
constexpr const char* kCoordinates[] = {"half_pixel",         "half_pixel_symmetric",
                                        "pytorch_half_pixel", "align_corners",
                                        "asymmetric",         "tf_crop_and_resize"};

// Resize to each of these: enlarged, made smaller, both, to one element, and as it is.
struct Form {
  Shape x;
  Tensor by_scales, by_sizes;
};
std::vector<Form> forms() {
  return {{{1, 2, 5, 4}, scales({1, 1, 2, 1.7f}), {}},
          {{2, 1, 5, 7}, {}, sizes({2, 1, 3, 4})},
          {{2, 1, 5, 7}, scales({1, 1, 0.6f, 0.5f}), {}},
          {{1, 1, 4, 5}, {}, sizes({1, 3, 1, 8})},
          {{6}, {}, sizes({9})},
          {{7}, scales({0.3f}), {}},
          {{2, 3, 2, 3, 4}, scales({1, 1, 2, 1.5f, 0.5f}), {}},
          {{2, 3}, scales({1, 1}), {}}};
}

Tensor roi_for(int rank) {
  Tensor roi(DType::kFloat32, {2 * rank});
  for (int i = 0; i < rank; ++i) {
    roi.data<float>()[i] = 0.1f * static_cast<float>(i);
    roi.data<float>()[rank + i] = 1.2f - 0.15f * static_cast<float>(i);
  }
  return roi;
}

void run_in_all_modes(DType dtype, const Attributes& common) {
  uint64_t seed = 1;
  for (const Form& form : forms()) {
    for (const char* mode : kModes) {
      for (const char* coordinates : kCoordinates) {
        if (std::string(mode) == "nearest" && common.contains("antialias")) continue;
        const Tensor x = random_tensor(dtype, form.x, -1, 1, ++seed);
        Tolerance tolerance = default_tolerance(dtype);
        tolerance.absolute = 4 * tolerance.relative;
        run_cases(
            {{.name = str(mode, " ", coordinates, " ", form.x.to_string(), " ", dtype_name(dtype)),
              .op_type = "Resize",
              .inputs = inputs(x, form.by_scales, form.by_sizes, roi_for(form.x.rank())),
              .attributes =
                  with({{"mode", mode}, {"coordinate_transformation_mode", coordinates}}, common),
              .tolerance = tolerance,
              .parameters = {1, 2}}});
      }
    }
  }
}

}  // namespace

TEST_CASE("Resize agrees with float64 in every mode") {
  run_in_all_modes(DType::kFloat32, {});
  run_in_all_modes(DType::kFloat32, {{"exclude_outside", int64_t{1}}});
  run_in_all_modes(DType::kFloat32, {{"antialias", int64_t{1}}});
  run_in_all_modes(DType::kFloat32, {{"antialias", int64_t{1}}, {"exclude_outside", int64_t{1}}});
  run_in_all_modes(DType::kFloat64, {{"cubic_coeff_a", -0.5f}});
  run_in_all_modes(DType::kFloat16, {{"extrapolation_value", 3.0f}});
  run_in_all_modes(DType::kBFloat16, {});
}

TEST_CASE("Resize by hand") {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4});
  const Tensor line = floats({4}, {1, 2, 3, 4});
  const auto nearest = [](const char* coordinates, const char* rounding) {
    return with({{"coordinate_transformation_mode", coordinates}, {"nearest_mode", rounding}});
  };
  run_cases({
      {.name = "nearest",
       .op_type = "Resize",
       .inputs = inputs(x, scales({1, 1, 2, 3})),
       .expected = {floats(
           {1, 1, 4, 6}, {1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 3, 3, 3, 4, 4, 4})},
       .parameters = {2}},
      {.name = "linear",
       .op_type = "Resize",
       .inputs = inputs(floats({2}, {1, 3}), scales({2})),
       .attributes = with({{"mode", "linear"}}),
       .expected = {floats({4}, {1, 1.5, 2.5, 3})},
       .parameters = {2}},
      {.name = "linear between the corners",
       .op_type = "Resize",
       .inputs = inputs(x, {}, sizes({1, 1, 3, 3})),
       .attributes =
           with({{"mode", "linear"}, {"coordinate_transformation_mode", "align_corners"}}),
       .expected = {floats({1, 1, 3, 3}, {1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4})}},
      {.name = "antialias averages",
       .op_type = "Resize",
       .inputs = inputs(line, scales({0.5f})),
       .attributes = with({{"mode", "linear"}}, {{"antialias", int64_t{1}}}),
       // Weights 1 3 3 1 of 8; the one outside goes to the border.
       .expected = {floats({2}, {(1 + 3 + 6 + 3) / 8.0, (2 + 9 + 12 + 4) / 8.0})},
       .parameters = {2}},
      {.name = "halves go down",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({2})),
       .attributes = nearest("half_pixel", "round_prefer_floor"),
       .expected = {floats({2}, {1, 3})}},
      {.name = "halves go up",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({2})),
       .attributes = nearest("half_pixel", "round_prefer_ceil"),
       .expected = {floats({2}, {2, 4})}},
      {.name = "up",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({3})),
       .attributes = nearest("asymmetric", "ceil"),
       .expected = {floats({3}, {1, 3, 4})}},
      {.name = "down",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({3})),
       .attributes = nearest("asymmetric", "floor"),
       .expected = {floats({3}, {1, 2, 3})}},
      {.name = "outside",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({3}), floats({2}, {-1, 1})),
       .attributes = with({{"coordinate_transformation_mode", "tf_crop_and_resize"}},
                          {{"extrapolation_value", 9.0f}}),
       .expected = {floats({3}, {9, 1, 4})},
       .parameters = {1}},
      {.name = "a region that is NaN is outside",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({2}), floats({2}, {NAN, 1})),
       .attributes = with({{"coordinate_transformation_mode", "tf_crop_and_resize"}}),
       .expected = {floats({2}, {0, 0})},
       .parameters = {1}},
      {.name = "only these axes, in this order",
       .op_type = "Resize",
       .inputs = inputs(floats({2, 1, 2}, {1, 2, 3, 4}), scales({2, 3})),
       .attributes = {{"axes", std::vector<int64_t>{-1, 1}}},
       .expected = {floats(
           {2, 3, 4}, {1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4, 3, 3, 4, 4})},
       .parameters = {2}},
      {.name = "not larger",
       .op_type = "Resize",
       .inputs = inputs(floats({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), {}, sizes({4, 2})),
       .attributes = with({{"keep_aspect_ratio_policy", "not_larger"}}),
       .expected = {floats({1, 2}, {1, 3})}},
      {.name = "not smaller",
       .op_type = "Resize",
       .inputs = inputs(floats({1, 2}, {1, 2}), {}, sizes({2, 2})),
       .attributes = with({{"keep_aspect_ratio_policy", "not_smaller"}}),
       .expected = {floats({2, 4}, {1, 1, 2, 2, 1, 1, 2, 2})}},
      {.name = "infinity stays where it is",
       .op_type = "Resize",
       .inputs = inputs(floats({3}, {1, INFINITY, 3}), {}, sizes({5})),
       .attributes =
           with({{"mode", "linear"}, {"coordinate_transformation_mode", "align_corners"}}),
       .expected = {floats({5}, {1, INFINITY, INFINITY, INFINITY, 3})}},
      {.name = "by 0.7, which is a little less in float32",
       .op_type = "Resize",
       .inputs = inputs(floats({10}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), scales({0.7f})),
       .attributes = nearest("asymmetric", "floor"),
       .expected = {floats({7}, {0, 1, 2, 4, 5, 7, 8})},
       .parameters = {2}},
      {.name = "version 10 up",
       .op_type = "Resize",
       .inputs = {line, scales({1.5f})},
       .expected = {floats({6}, {1, 1, 2, 3, 3, 4})},
       .opset = 10,
       .parameters = {1}},
      {.name = "version 10 down",
       .op_type = "Resize",
       .inputs = {line, scales({0.6f})},
       .expected = {floats({2}, {1, 3})},
       .opset = 10,
       .parameters = {1}},
      {.name = "version 10 linear",
       .op_type = "Resize",
       .inputs = {line, scales({2})},
       .attributes = with({{"mode", "linear"}}),
       .expected = {floats({8}, {1, 1.5, 2, 2.5, 3, 3.5, 4, 4})},
       .opset = 10,
       .parameters = {1}},
      {.name = "version 11 has empty operands",
       .op_type = "Resize",
       .inputs = inputs(line, scales({}), sizes({2}), scales({})),
       .expected = {floats({2}, {1, 3})},
       .opset = 11,
       .parameters = {1, 2}},
      {.name = "a scalar",
       .op_type = "Resize",
       .inputs = {floats({}, {3})},
       .expected = {floats({}, {3})}},
      {.name = "no element",
       .op_type = "Resize",
       .inputs = inputs(floats({0, 2}, {}), scales({3, 2})),
       .expected = {floats({0, 4}, {})},
       .parameters = {2}},
      {.name = "to no element",
       .op_type = "Resize",
       .inputs = inputs(line, {}, sizes({0})),
       .attributes = with({{"mode", "cubic"}}),
       .expected = {floats({0}, {})}},
  });
}

TEST_CASE("Resize moves elements of every type and adds up every number") {
  const Tensor strings = Tensor::from<std::string>({2}, {"a", "b"});
  const auto crop = with({{"coordinate_transformation_mode", "tf_crop_and_resize"}},
                         {{"extrapolation_value", 2.0f}});
  const Tensor roi = floats({2}, {0, 2});
  run_cases({{.name = "strings",
              .op_type = "Resize",
              .inputs = inputs(strings, {}, sizes({4})),
              .expected = {Tensor::from<std::string>({4}, {"a", "a", "b", "b"})}},
             {.name = "strings outside",
              .op_type = "Resize",
              .inputs = inputs(strings, {}, sizes({3}), roi),
              .attributes = crop,
              .expected = {Tensor::from<std::string>({3}, {"a", "b", ""})},
              .parameters = {1}},
             {.name = "complex",
              .op_type = "Resize",
              .inputs = inputs(Tensor::from<std::complex<float>>({2}, {{1, 2}, {3, 4}}), {},
                               sizes({3}), roi),
              .attributes = crop,
              .expected = {Tensor::from<std::complex<float>>({3}, {{1, 2}, {3, 4}, {2, 0}})},
              .parameters = {1}},
             {.name = "bool",
              .op_type = "Resize",
              .inputs = inputs(numbers(DType::kBool, {2}, {1, 0}), {}, sizes({3}), roi),
              .attributes = crop,
              .expected = {numbers(DType::kBool, {3}, {1, 0, 1})},
              .parameters = {1}},
             {.name = "sums of bytes are rounded to even",
              .op_type = "Resize",
              .inputs = inputs(numbers(DType::kUInt8, {2}, {0, 10}), {}, sizes({5})),
              .attributes =
                  with({{"mode", "linear"}, {"coordinate_transformation_mode", "align_corners"}}),
              .expected = {numbers(DType::kUInt8, {5}, {0, 2, 5, 8, 10})}},
             {.name = "sums of bytes saturate",
              .op_type = "Resize",
              .inputs = inputs(numbers(DType::kUInt8, {4}, {0, 0, 255, 255}), {}, sizes({8})),
              .attributes = with({{"mode", "cubic"}}),
              .expected = {numbers(DType::kUInt8, {8}, {0, 0, 0, 58, 197, 255, 255, 255})}}});
  for (const DType dtype : {DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64,
                            DType::kUInt16, DType::kUInt32, DType::kUInt64}) {
    run_cases({{.name = str(dtype_name(dtype)),
                .op_type = "Resize",
                .inputs = inputs(numbers(dtype, {2}, {7, 3}), {}, sizes({3})),
                .attributes = with({{"mode", "linear"}}),
                .expected = {numbers(dtype, {3}, {7, 5, 3})}},
               {.name = str("nearest ", dtype_name(dtype)),
                .op_type = "Resize",
                .inputs = inputs(numbers(dtype, {2}, {7, 3}), {}, sizes({4})),
                .expected = {numbers(dtype, {4}, {7, 7, 3, 3})}}});
  }
}

TEST_CASE("the gradient of Resize agrees with float64, and has a gradient") {
  uint64_t seed = 50;
  for (const Form& form : forms()) {
    for (const char* mode : kModes) {
      for (const char* coordinates : {"half_pixel", "tf_crop_and_resize"}) {
        const Attributes attributes =
            with({{"mode", mode}, {"coordinate_transformation_mode", coordinates}},
                 {{"extrapolation_value", 5.0f}});
        const Tensor roi = roi_for(form.x.rank());
        const Tensor x = random_tensor(DType::kFloat32, form.x, -1, 1, 1);
        const Case forward = {.name = mode,
                              .op_type = "Resize",
                              .inputs = inputs(x, form.by_scales, form.by_sizes, roi),
                              .attributes = attributes};
        const Shape y = run_node(node_of(forward), forward.inputs)[0].shape();
        for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
          Tolerance tolerance = default_tolerance(dtype);
          tolerance.absolute = 16 * tolerance.relative;
          run_cases({{.name = str(mode, " ", coordinates, " ", form.x.to_string(), " ",
                                  dtype_name(dtype)),
                      .op_type = "ResizeGradient",
                      .inputs = {random_tensor(dtype, y, -1, 1, ++seed),
                                 Tensor::from<int64_t>({form.x.rank()}, form.x.dims()), roi,
                                 form.by_scales, form.by_sizes},
                      .attributes = attributes,
                      .domain = "hugot",
                      .tolerance = tolerance,
                      .parameters = {2, 3}}});
        }
      }
    }
  }
}

TEST_CASE("what cannot be resized is an error") {
  const Tensor x = floats({2, 2}, {1, 2, 3, 4});
  struct Wrong {
    const char* name;
    std::vector<Tensor> inputs;
    Attributes attributes;
    int opset = kNewest;
  };
  const int64_t huge = int64_t{1} << 62;
  const Attributes not_larger = with({{"keep_aspect_ratio_policy", "not_larger"}});
  const Attributes crop = with({{"coordinate_transformation_mode", "tf_crop_and_resize"}});
  const Wrong wrong[] = {
      {"neither scales nor sizes", {x}, {}},
      {"both are empty", inputs(x, scales({}), sizes({})), {}},
      {"scales and sizes", inputs(x, scales({1, 1}), sizes({2, 2})), {}},
      {"too few scales", inputs(x, scales({1})), {}},
      {"too many sizes", inputs(x, {}, sizes({2, 2, 2})), {}},
      {"scales for other axes", inputs(x, scales({1, 1})), {{"axes", std::vector<int64_t>{0}}}},
      {"no such axis", inputs(x, scales({1})), {{"axes", std::vector<int64_t>{2}}}},
      {"an axis twice", inputs(x, scales({1, 1})), {{"axes", std::vector<int64_t>{1, -1}}}},
      {"scale 0", inputs(x, scales({1, 0})), {}},
      {"a negative scale", inputs(x, scales({1, -2})), {}},
      {"an infinite scale", inputs(x, scales({1, INFINITY})), {}},
      {"a scale that is NaN", inputs(x, scales({NAN, 1})), {}},
      {"an axis that overflows", inputs(x, scales({1, 1e19f})), {}},
      {"an axis that overflows in float", inputs(x, scales({1, 1e38f})), {}},
      {"a size that overflows", inputs(x, {}, sizes({huge, huge})), {}},
      {"a negative size", inputs(x, {}, sizes({2, -1})), {}},
      {"a negative size of a ratio", inputs(x, {}, sizes({2, -1})), not_larger},
      {"a ratio of nothing", inputs(floats({0, 2}, {}), {}, sizes({2, 2})), not_larger},
      {"a ratio that overflows", inputs(floats({1, 3}, {1, 2, 3}), {}, sizes({huge, 3})),
       with({{"keep_aspect_ratio_policy", "not_smaller"}})},
      {"nothing to repeat", inputs(floats({0, 2}, {}), {}, sizes({2, 2})), {}},
      {"no roi", inputs(x, scales({1, 2})), crop},
      {"a short roi", inputs(x, scales({1, 2}), {}, floats({2}, {0, 1})), crop},
      {"an unknown mode", inputs(x, scales({1, 2})), with({{"mode", "quadratic"}})},
      {"unknown coordinates", inputs(x, scales({1, 2})),
       with({{"coordinate_transformation_mode", "simple"}})},
      {"unknown rounding", inputs(x, scales({1, 2})), with({{"nearest_mode", "simple"}})},
      {"an unknown policy", inputs(x, {}, sizes({2, 2})),
       with({{"keep_aspect_ratio_policy", "larger"}})},
      {"nearest with antialias", inputs(x, scales({1, 2})), {{"antialias", int64_t{1}}}},
      {"cubic in version 10", {x, scales({1, 2})}, with({{"mode", "cubic"}}), 10},
  };
  for (const Wrong& test : wrong) {
    run_cases({{.name = test.name,
                .op_type = "Resize",
                .inputs = test.inputs,
                .attributes = test.attributes,
                .opset = test.opset,
                .error = ErrorCode::kInvalidArgument}});
  }
  run_cases({{.name = "sums of strings",
              .op_type = "Resize",
              .inputs = inputs(Tensor::from<std::string>({1}, {"a"}), scales({2})),
              .attributes = with({{"mode", "linear"}}),
              .error = ErrorCode::kUnsupported},
             {.name = "the gradient has another shape",
              .op_type = "ResizeGradient",
              .inputs = {x, sizes({2, 2}), {}, scales({1, 2})},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("Upsample") {
  const Tensor x = numbers(DType::kFloat32, {1, 1, 2, 2}, {1, 2, 3, 4});
  const Attributes factors = {{"height_scale", 1.0f}, {"width_scale", 2.5f}};
  const Tensor wide = numbers(DType::kFloat32, {1, 1, 2, 5}, {1, 1, 1, 2, 2, 3, 3, 3, 4, 4});
  const std::vector<float> scales = {1, 1, 1, 2.5f};
  const Attributes bilinear = {
      {"mode", std::string("bilinear")}, {"height_scale", 2.0f}, {"width_scale", 1.0f}};
  const Attributes linear = {{"mode", std::string("linear")}};
  const Tensor smooth = numbers(DType::kFloat32, {1, 1, 4, 2}, {1, 2, 2, 3, 3, 4, 3, 4});
  const auto one = [&](const char* name, int opset, std::vector<Tensor> inputs,
                       Attributes attributes, Tensor expected) {
    return Case{.name = name,
                .op_type = "Upsample",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .expected = {std::move(expected)},
                .opset = opset,
                .parameters = {1}};
  };
  run_cases({one("factors", 1, {x}, factors, wide),
             one("scales", 7, {x}, {{"scales", scales}}, wide),
             one("an input", 9, {x, Tensor::from<float>({4}, scales)}, {}, wide),
             one("between", 1, {x}, bilinear, smooth),
             one("linear", 9, {x, numbers(DType::kFloat32, {4}, {1, 1, 2, 1})}, linear, smooth)});
  run_cases({{.name = "too few scales",
              .op_type = "Upsample",
              .inputs = {x},
              .attributes = {{"scales", std::vector<float>{2, 2}}},
              .opset = 7,
              .error = ErrorCode::kInvalidArgument},
             {.name = "three axes",
              .op_type = "Upsample",
              .inputs = {x.reshaped({1, 2, 2})},
              .attributes = factors,
              .opset = 1,
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
