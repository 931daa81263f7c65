#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using List = std::vector<int64_t>;

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

struct Form {
  const char* name;
  Shape x;
  Attributes attributes;
};

std::vector<Form> forms() {
  return {
      {"one axis", {2, 3, 11}, {{"kernel_shape", List{3}}}},
      {"all attributes",
       {1, 2, 23},
       {{"kernel_shape", List{3}},
        {"strides", List{2}},
        {"dilations", List{3}},
        {"pads", List{4, 1}}}},
      {"two axes", {2, 3, 7, 9}, {{"kernel_shape", List{3, 2}}}},
      {"strides of two, padded",
       {1, 2, 9, 12},
       {{"kernel_shape", List{3, 3}}, {"strides", List{2, 2}}, {"pads", List{1, 1, 1, 1}}}},
      {"with a rest",
       {1, 2, 8, 7},
       {{"kernel_shape", List{3, 3}},
        {"strides", List{2, 3}},
        {"pads", List{1, 0, 0, 1}},
        {"ceil_mode", int64_t{1}}}},
      {"a last window in the padding",
       {1, 1, 2, 4},
       {{"kernel_shape", List{1, 2}},
        {"strides", List{3, 3}},
        {"pads", List{0, 0, 2, 1}},
        {"ceil_mode", int64_t{1}}}},
      {"dilated", {1, 2, 9, 10}, {{"kernel_shape", List{2, 3}}, {"dilations", List{3, 2}}}},
      {"three axes",
       {1, 2, 5, 6, 4},
       {{"kernel_shape", List{2, 3, 2}},
        {"strides", List{1, 2, 1}},
        {"pads", List{1, 0, 1, 0, 2, 0}}}},
      {"same, upper",
       {1, 2, 7, 8},
       {{"kernel_shape", List{4, 3}},
        {"auto_pad", std::string("SAME_UPPER")},
        {"strides", List{2, 3}}}},
      {"same, lower",
       {1, 2, 7, 8},
       {{"kernel_shape", List{4, 2}},
        {"auto_pad", std::string("SAME_LOWER")},
        {"dilations", List{1, 3}}}},
      {"valid", {1, 2, 5, 5}, {{"kernel_shape", List{3, 3}}, {"auto_pad", std::string("VALID")}}},
      {"the whole image", {2, 3, 4, 5}, {{"kernel_shape", List{4, 5}}}},
      {"no image", {0, 3, 4, 5}, {{"kernel_shape", List{2, 2}}}},
      {"no channel", {2, 0, 4, 5}, {{"kernel_shape", List{2, 2}}}},
  };
}

Attributes with(Attributes attributes, const char* name, Attribute value) {
  attributes[name] = std::move(value);
  return attributes;
}

Tensor shape_tensor(const Shape& shape) {
  return Tensor::from<int64_t>({shape.rank()}, shape.dims());
}

Tensor floats(const Shape& shape, std::initializer_list<double> values) {
  return numbers(DType::kFloat32, shape, values);
}

}  // namespace

TEST_CASE("pools agree with float64 in every type and form") {
  uint64_t seed = 1;
  for (const Form& form : forms()) {
    for (const DType dtype : kFloats) {
      const std::string name = str(form.name, " ", dtype_name(dtype));
      const Tensor x = random_tensor(dtype, form.x, -2, 2, ++seed);
      const auto one = [&](const char* op, Attributes attributes, int outputs = 1) {
        return Case{.name = name,
                    .op_type = op,
                    .inputs = {x},
                    .attributes = std::move(attributes),
                    .outputs = outputs};
      };
      run_cases({one("MaxPool", form.attributes), one("MaxPool", form.attributes, 2),
                 one("MaxPool", with(form.attributes, "storage_order", int64_t{1}), 2),
                 one("AveragePool", form.attributes),
                 one("AveragePool", with(form.attributes, "count_include_pad", int64_t{1})),
                 one("LpPool", with(form.attributes, "p", int64_t{1})),
                 one("LpPool", form.attributes),
                 one("LpPool", with(form.attributes, "p", int64_t{3}))});
    }
  }
}

TEST_CASE("the transposed maps of pools") {
  uint64_t seed = 100;
  for (const Form& form : forms()) {
    for (const DType dtype : kFloats) {
      const Tensor x = random_tensor(dtype, form.x, -2, 2, ++seed);
      const Case sums = {.name = form.name,
                         .op_type = "SumPool",
                         .inputs = {x},
                         .attributes = form.attributes,
                         .domain = "hugot"};
      const Shape y = run_node(node_of(sums), {x})[0].shape();
      const Tensor dy = random_tensor(dtype, y, -1, 1, ++seed);
      const auto one = [&](const char* op, Attributes attributes) {
        return Case{.name = form.name,
                    .op_type = op,
                    .inputs = {dy, shape_tensor(form.x)},
                    .attributes = std::move(attributes),
                    .domain = "hugot"};
      };
      run_cases(
          {sums, one("SumPoolGradient", form.attributes),
           one("AveragePoolGradient", form.attributes),
           one("AveragePoolGradient", with(form.attributes, "count_include_pad", int64_t{1}))});
    }
  }
}

TEST_CASE("pools by hand") {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor line = floats({1, 1, 5}, {1, 4, 2, 3, 9});
  const Attributes two = {{"kernel_shape", List{2}}};
  const Attributes padded = {{"kernel_shape", List{2}}, {"pads", List{1, 1}}};
  const Tensor square = floats({1, 1, 2, 3}, {1, 5, 2, 7, 3, 4});
  run_cases({
      {.name = "maxima and where they are",
       .op_type = "MaxPool",
       .inputs = {line},
       .attributes = two,
       .expected = {floats({1, 1, 4}, {4, 4, 3, 9}),
                    numbers(DType::kInt64, {1, 1, 4}, {1, 1, 3, 4})}},
      {.name = "columns first",
       .op_type = "MaxPool",
       .inputs = {square},
       .attributes = {{"kernel_shape", List{2, 2}}, {"storage_order", int64_t{1}}},
       .expected = {floats({1, 1, 1, 2}, {7, 5}), numbers(DType::kInt64, {1, 1, 1, 2}, {1, 2})}},
      {.name = "bytes",
       .op_type = "MaxPool",
       .inputs = {numbers(DType::kInt8, {1, 1, 4}, {-128, -5, -7, 3})},
       .attributes = padded,
       .expected = {numbers(DType::kInt8, {1, 1, 5}, {-128, -5, -5, 3, 3})},
       .opset = 12},
      {.name = "padding is no maximum",
       .op_type = "MaxPool",
       .inputs = {floats({1, 1, 2}, {-3, -inf})},
       .attributes = padded,
       .expected = {floats({1, 1, 3}, {-3, -3, -inf})},
       .opset = 1},
      {.name = "not a number",
       .op_type = "MaxPool",
       .inputs = {floats({1, 1, 3}, {nan, 1, 2})},
       .attributes = two,
       .expected = {floats({1, 1, 2}, {nan, 2})}},
      {.name = "without padding",
       .op_type = "AveragePool",
       .inputs = {line},
       .attributes = padded,
       .expected = {floats({1, 1, 6}, {1, 2.5, 3, 2.5, 6, 9})}},
      {.name = "with padding",
       .op_type = "AveragePool",
       .inputs = {line},
       .attributes = with(padded, "count_include_pad", int64_t{1}),
       .expected = {floats({1, 1, 6}, {0.5, 2.5, 3, 2.5, 6, 4.5})},
       .opset = 7},
      {.name = "what lies behind the padding does not count",
       .op_type = "AveragePool",
       .inputs = {line},
       .attributes = {{"kernel_shape", List{3}},
                      {"strides", List{3}},
                      {"pads", List{0, 0}},
                      {"ceil_mode", int64_t{1}},
                      {"count_include_pad", int64_t{1}}},
       .expected = {floats({1, 1, 2}, {7.0 / 3, 6})},
       .opset = 10},
      {.name = "a norm",
       .op_type = "LpPool",
       .inputs = {floats({1, 1, 3}, {3, -4, 0})},
       .attributes = {{"kernel_shape", List{2}}, {"p", 2.0f}},
       .expected = {floats({1, 1, 2}, {5, 4})},
       .opset = 1},
  });
}

TEST_CASE("norms of images and of channels") {
  uint64_t seed = 300;
  for (const DType dtype : kFloats) {
    for (const int64_t p : {1, 2, 3}) {
      run_cases({{.name = str(dtype_name(dtype), " p ", p),
                  .op_type = "GlobalLpPool",
                  .inputs = {random_tensor(dtype, {2, 3, 4, 5}, -2, 2, ++seed)},
                  .attributes = {{"p", p}}}});
    }
    for (const int64_t size : {1, 2, 3, 8, 100}) {
      run_cases(
          {{.name = str(dtype_name(dtype), " size ", size),
            .op_type = "LRN",
            .inputs = {random_tensor(dtype, {2, 7, 3, 4}, -2, 2, ++seed)},
            .attributes = {{"size", size}, {"alpha", 0.5f}, {"beta", 0.6f}, {"bias", 1.5f}}}});
    }
  }
  run_cases({{.name = "a channel and its neighbours",
              .op_type = "LRN",
              .inputs = {floats({1, 3, 1}, {1, 2, 3})},
              .attributes = {{"size", int64_t{2}}, {"alpha", 2.0f}, {"beta", 1.0f}},
              .expected = {floats({1, 3, 1}, {1 / 6.0, 2 / 14.0, 3 / 10.0})}},
             {.name = "the first version has a broken exponent",
              .op_type = "GlobalLpPool",
              .inputs = {floats({1, 1, 2}, {1, 1})},
              .attributes = {{"p", 0.5f}},
              .expected = {floats({1, 1, 1}, {4})},
              .opset = 1},
             {.name = "no size",
              .op_type = "LRN",
              .inputs = {floats({1, 1, 1}, {1})},
              .attributes = {{"size", int64_t{0}}},
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("MaxUnpool") {
  const Tensor x = floats({1, 1, 2, 2}, {5, 6, 7, 8});
  const Tensor indices = numbers(DType::kInt64, {1, 1, 2, 2}, {5, 7, 13, 15});
  const Attributes pool = {{"kernel_shape", List{2, 2}}, {"strides", List{2, 2}}};
  const auto bad = ErrorCode::kInvalidArgument;
  run_cases({
      {.name = "back where they were",
       .op_type = "MaxUnpool",
       .inputs = {x, indices},
       .attributes = pool,
       .expected = {floats({1, 1, 4, 4}, {0, 0, 0, 0, 0, 5, 0, 6, 0, 0, 0, 0, 0, 7, 0, 8})}},
      {.name = "into a larger shape",
       .op_type = "MaxUnpool",
       .inputs = {x, indices, shape_tensor({1, 1, 4, 5})},
       .attributes = pool,
       .expected = {floats({1, 1, 4, 5},
                           {0, 0, 0, 0, 0, 0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 8, 0})}},
      {.name = "into a smaller shape",
       .op_type = "MaxUnpool",
       .inputs = {x, indices, shape_tensor({1, 1, 4, 3})},
       .attributes = pool,
       .error = bad},
      {.name = "outside",
       .op_type = "MaxUnpool",
       .inputs = {x, numbers(DType::kInt64, {1, 1, 2, 2}, {5, 7, 13, 16})},
       .attributes = pool,
       .error = bad},
      {.name = "another shape",
       .op_type = "MaxUnpool",
       .inputs = {x, numbers(DType::kInt64, {1, 1, 4}, {5, 7, 13, 15})},
       .attributes = pool,
       .error = bad},
      {.name = "pads that leave nothing",
       .op_type = "MaxUnpool",
       .inputs = {x, indices},
       .attributes = with(pool, "pads", List{9, 0, 0, 0}),
       .error = bad},
  });
}

TEST_CASE("regions") {
  uint64_t seed = 400;
  for (const DType dtype : kFloats) {
    const Tensor x = random_tensor(dtype, {2, 3, 9, 10}, -1, 1, ++seed);
    const Tensor rois =
        numbers(dtype, {4, 4}, {0, 0, 9, 9, 1, 2.5, 7, 4, -3, -2, 20, 5, 5, 5, 4, 4});
    const Tensor batch = numbers(DType::kInt64, {4}, {0, 1, 1, 0});
    for (const char* mode : {"avg", "max"}) {
      for (const int64_t ratio : {0, 2}) {
        for (const int opset : {10, 16}) {
          const Attributes attributes = {{"mode", std::string(mode)},
                                         {"output_height", int64_t{3}},
                                         {"output_width", int64_t{2}},
                                         {"sampling_ratio", ratio},
                                         {"spatial_scale", 0.75f}};
          run_cases({{.name = str(mode, " ", ratio, " opset ", opset, dtype_name(dtype)),
                      .op_type = "RoiAlign",
                      .inputs = {x, rois, batch},
                      .attributes = attributes,
                      .opset = opset}});
        }
      }
    }
    run_cases({{.name = str("maxima ", dtype_name(dtype)),
                .op_type = "MaxRoiPool",
                .inputs = {x, numbers(dtype, {2, 5}, {1, 0, 0, 9, 9, 0, 2, 1, 30, 4})},
                .attributes = {{"pooled_shape", List{3, 2}}, {"spatial_scale", 0.5f}}}});
  }
  const Tensor image = floats({1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Tensor one = numbers(DType::kInt64, {1}, {0});
  const auto bad = ErrorCode::kInvalidArgument;
  run_cases({
      {.name = "the mean of a region",
       .op_type = "RoiAlign",
       .inputs = {image, floats({1, 4}, {0, 0, 2, 2}), one},
       .attributes = {{"sampling_ratio", int64_t{2}},
                      {"coordinate_transformation_mode", std::string("output_half_pixel")}},
       .expected = {floats({1, 1, 1, 1}, {5})}},
      {.name = "maxima of regions",
       .op_type = "MaxRoiPool",
       .inputs = {image, floats({2, 5}, {0, 0, 0, 1, 1, 0, 7, 7, 8, 8})},
       .attributes = {{"pooled_shape", List{1, 1}}},
       .expected = {floats({2, 1, 1, 1}, {5, 0})}},
      {.name = "an image that is not there",
       .op_type = "RoiAlign",
       .inputs = {image, floats({1, 4}, {0, 0, 2, 2}), numbers(DType::kInt64, {1}, {1})},
       .error = bad},
      {.name = "an infinite region",
       .op_type = "RoiAlign",
       .inputs = {image, floats({1, 4}, {0, 0, 1e38, 2}), one},
       .error = bad},
      {.name = "no number of an image",
       .op_type = "MaxRoiPool",
       .inputs = {image, floats({1, 5}, {std::nan(""), 0, 0, 1, 1})},
       .attributes = {{"pooled_shape", List{1, 1}}},
       .error = bad},
      {.name = "no bins",
       .op_type = "MaxRoiPool",
       .inputs = {image, floats({1, 5}, {0, 0, 0, 1, 1})},
       .attributes = {{"pooled_shape", List{1, 0}}},
       .error = bad},
  });
}

TEST_CASE("NhwcMaxPool has its channels last") {
  run_cases(
      {{.name = "two channels",
        .op_type = "NhwcMaxPool",
        .inputs = {numbers(DType::kInt8, {1, 2, 3, 2}, {1, -1, 2, -2, 3, -3, 4, -4, 5, 0, 6, -6})},
        .attributes = {{"kernel_shape", List{2, 2}}},
        .expected = {numbers(DType::kInt8, {1, 1, 2, 2}, {5, 0, 6, 0})},
        .domain = "com.microsoft"}});
}

TEST_CASE("what is no pool is an error") {
  const Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4});
  const int64_t huge = int64_t{1} << 62;
  const std::pair<const char*, Attributes> wrong[] = {
      {"no kernel", {}},
      {"a kernel for one axis", {{"kernel_shape", List{2}}}},
      {"a kernel of length 0", {{"kernel_shape", List{2, 0}}}},
      {"a huge kernel", {{"kernel_shape", List{huge, huge}}}},
      {"a kernel that does not fit", {{"kernel_shape", List{3, 1}}}},
      {"stride 0", {{"kernel_shape", List{1, 1}}, {"strides", List{0, 1}}}},
      {"negative pads", {{"kernel_shape", List{1, 1}}, {"pads", List{0, -1, 0, 0}}}},
      {"huge pads", {{"kernel_shape", List{1, 1}}, {"pads", List{0, huge, 0, huge}}}},
      {"an unknown auto_pad", {{"kernel_shape", List{1, 1}}, {"auto_pad", std::string("SAME")}}},
  };
  for (const auto& [name, attributes] : wrong) {
    for (const char* op : {"MaxPool", "AveragePool", "LpPool"}) {
      run_cases({{.name = name,
                  .op_type = op,
                  .inputs = {x},
                  .attributes = attributes,
                  .error = ErrorCode::kInvalidArgument}});
    }
  }
  run_cases({{.name = "integers",
              .op_type = "MaxPool",
              .inputs = {as_type(x, DType::kInt32)},
              .attributes = {{"kernel_shape", List{1, 1}}},
              .error = ErrorCode::kUnsupported},
             {.name = "no spatial axis",
              .op_type = "AveragePool",
              .inputs = {floats({1, 2}, {1, 2})},
              .attributes = {{"kernel_shape", List{}}},
              .error = ErrorCode::kInvalidArgument},
             {.name = "a kernel much larger than the image costs nothing",
              .op_type = "AveragePool",
              .inputs = {floats({1, 1, 2}, {1, 3})},
              .attributes = {{"kernel_shape", List{1000000000}}, {"pads", List{999999999, 0}}},
              .expected = {floats({1, 1, 2}, {1, 2})}}});
}

}  // namespace hugot::test
