#include <doctest/doctest.h>

#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using List = std::vector<int64_t>;

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

Tensor floats(const Shape& shape, uint64_t seed, DType dtype = DType::kFloat32) {
  return random_tensor(dtype, shape, -1, 1, seed);
}

Tensor line(std::initializer_list<double> values) {
  return numbers(DType::kFloat32, {1, 1, std::ssize(values)}, values);
}

Tensor shape_tensor(const Shape& shape) {
  return Tensor::from<int64_t>({shape.rank()}, shape.dims());
}

Tolerance tolerance_for(DType dtype, int64_t products) {
  Tolerance tolerance = default_tolerance(dtype);
  tolerance.absolute = tolerance.relative * static_cast<double>(products + 1);
  return tolerance;
}

struct Form {
  const char* name;
  Shape x, w;
  Attributes attributes;
};

std::vector<Form> forms() {
  return {
      {"one axis", {2, 3, 7}, {3, 4, 3}, {}},
      {"two axes", {2, 3, 4, 5}, {3, 2, 3, 2}, {}},
      {"strides and pads",
       {1, 3, 4, 5},
       {3, 2, 3, 4},
       {{"strides", List{2, 3}}, {"pads", List{1, 0, 0, 2}}}},
      {"dilated", {1, 2, 4, 5}, {2, 3, 2, 3}, {{"dilations", List{3, 2}}}},
      {"padding of the output",
       {1, 2, 4, 5},
       {2, 3, 3, 3},
       {{"strides", List{2, 3}}, {"output_padding", List{1, 2}}}},
      {"groups", {2, 6, 3, 4}, {6, 2, 2, 3}, {{"group", int64_t{3}}, {"strides", List{2, 2}}}},
      {"depthwise", {1, 4, 5, 6}, {4, 1, 3, 3}, {{"group", int64_t{4}}}},
      {"three axes", {1, 2, 2, 3, 4}, {2, 2, 2, 2, 3}, {{"strides", List{1, 2, 1}}}},
      {"same, upper",
       {1, 2, 4, 5},
       {2, 3, 4, 3},
       {{"auto_pad", std::string("SAME_UPPER")}, {"strides", List{2, 2}}}},
      {"same, lower",
       {1, 2, 4, 5},
       {2, 3, 4, 3},
       {{"auto_pad", std::string("SAME_LOWER")}, {"strides", List{3, 2}}}},
      {"valid", {1, 2, 4, 5}, {2, 3, 4, 3}, {{"auto_pad", std::string("VALID")}}},
      {"a wanted shape",
       {1, 2, 4, 5},
       {2, 3, 4, 3},
       {{"output_shape", List{6, 9}}, {"strides", List{2, 2}}, {"kernel_shape", List{4, 3}}}},
      {"a wanted shape of all axes",
       {1, 2, 4},
       {2, 3, 3},
       {{"output_shape", List{1, 3, 12}}, {"strides", List{2}}}},
      {"no image", {0, 3, 4}, {3, 2, 3}, {}},
      {"no filter", {1, 0, 4}, {0, 2, 3}, {}},
  };
}

}  // namespace

TEST_CASE("ConvTranspose agrees with float64 in every type and form") {
  uint64_t seed = 1;
  for (const Form& form : forms()) {
    for (const DType dtype : kFloats) {
      const auto group = form.attributes.find("group");
      const int64_t groups = group == form.attributes.end() ? 1 : std::get<int64_t>(group->second);
      const Tensor x = floats(form.x, ++seed, dtype), w = floats(form.w, ++seed, dtype);
      const Tensor b = floats({form.w[1] * groups}, ++seed, dtype);
      const Case test = {.name = str(form.name, " ", dtype_name(dtype)),
                         .op_type = "ConvTranspose",
                         .inputs = {x, w, b},
                         .attributes = form.attributes,
                         .opset = seed % 2 == 0 ? 1 : 11,
                         .tolerance = tolerance_for(dtype, form.w.size())};
      run_cases({test});
      const Tensor dy = floats(run_node(node_of(test), {x, w, b})[0].shape(), ++seed, dtype);
      run_cases({{.name = form.name,
                  .op_type = "ConvTransposeInputGradient",
                  .inputs = {dy, w, shape_tensor(form.x)},
                  .attributes = form.attributes,
                  .domain = "hugot",
                  .tolerance = tolerance_for(dtype, form.w.size())},
                 {.name = form.name,
                  .op_type = "ConvTransposeWeightGradient",
                  .inputs = {x, dy, shape_tensor(form.w)},
                  .attributes = form.attributes,
                  .domain = "hugot",
                  .tolerance = tolerance_for(dtype, dy.size())}});
    }
  }
}

TEST_CASE("ConvTranspose by hand") {
  run_cases({
      {.name = "spread",
       .op_type = "ConvTranspose",
       .inputs = {line({1, 2}), line({1, 10, 100})},
       .attributes = {{"strides", List{2}}},
       .expected = {line({1, 10, 102, 20, 200})}},
      {.name = "pads cut off",
       .op_type = "ConvTranspose",
       .inputs = {line({1, 2}), line({1, 10, 100})},
       .attributes = {{"strides", List{2}}, {"pads", List{1, 0}}},
       .expected = {line({10, 102, 20, 200})}},
      {.name = "the odd pad in front",
       .op_type = "ConvTranspose",
       .inputs = {line({1, 2}), line({1, 10, 100})},
       .attributes = {{"strides", List{2}}, {"output_shape", List{4}}},
       .expected = {line({10, 102, 20, 200})}},
      {.name = "the odd pad at the end",
       .op_type = "ConvTranspose",
       .inputs = {line({1, 2}), line({1, 10, 100})},
       .attributes = {{"strides", List{2}}, {"auto_pad", std::string("SAME_UPPER")}},
       .expected = {line({1, 10, 102, 20})}},
      {.name = "longer than all that is spread",
       .op_type = "ConvTranspose",
       .inputs = {line({1}), line({1, 10}), numbers(DType::kFloat32, {1}, {5})},
       .attributes = {{"output_shape", List{3}}},
       .expected = {line({6, 15, 5})}},
  });
}

TEST_CASE("what is no transposed convolution is an error") {
  const Tensor x = floats({1, 2, 5}, 1), w = floats({2, 3, 3}, 2);
  const auto refused = [](const char* name, std::vector<Tensor> inputs, Attributes attributes) {
    run_cases({{.name = name,
                .op_type = "ConvTranspose",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidArgument}});
  };
  refused("channels", {x, floats({3, 3, 3}, 1)}, {});
  refused("groups", {x, w}, {{"group", int64_t{3}}});
  refused("no group", {x, w}, {{"group", int64_t{0}}});
  refused("ranks", {x, floats({2, 3, 3, 1}, 1)}, {});
  refused("bias", {x, w, floats({2}, 1)}, {});
  refused("pads", {x, w}, {{"pads", List{4, 4}}});
  refused("negative output padding", {x, w}, {{"output_padding", List{-1}}});
  refused("a negative shape", {x, w}, {{"output_shape", List{-1}}});
  refused("a shape of another rank", {x, w}, {{"output_shape", List{1, 2}}});
  refused("another kernel", {x, w}, {{"kernel_shape", List{2}}});
  refused("types", {x, as_type(w, DType::kFloat64)}, {});
}

TEST_CASE("blocks and images") {
  uint64_t seed = 100;
  const Attributes attributes = {
      {"strides", List{2, 1}}, {"dilations", List{1, 2}}, {"pads", List{1, 0, 0, 2}}};
  for (const DType dtype : kFloats) {
    run_cases({{.name = "columns",
                .op_type = "Col2Im",
                .inputs = {floats({2, 3 * 6, 3 * 7}, ++seed, dtype), shape_tensor({6, 7}),
                           shape_tensor({3, 2})},
                .attributes = {{"strides", List{2, 1}}, {"pads", List{1, 0, 1, 1}}},
                .tolerance = tolerance_for(dtype, 6)},
               {.name = "blocks",
                .op_type = "Im2Col",
                .inputs = {floats({2, 3, 6, 7}, ++seed, dtype), shape_tensor({3, 2})},
                .attributes = attributes,
                .domain = "hugot"}});
  }
  const Tensor one = numbers(DType::kFloat32, {1, 2, 2}, {1, 2, 3, 4});
  run_cases({{.name = "overlapping",
              .op_type = "Col2Im",
              .inputs = {one, shape_tensor({3}), shape_tensor({2})},
              .expected = {line({1, 5, 4})}},
             {.name = "integers wrap around",
              .op_type = "Col2Im",
              .inputs = {numbers(DType::kInt8, {1, 2, 2}, {1, 100, 100, 4}), shape_tensor({3}),
                         shape_tensor({2})},
              .expected = {numbers(DType::kInt8, {1, 1, 3}, {1, -56, 4})}}});
  const auto refused = [&](const char* name, const Tensor& image, const Tensor& block) {
    run_cases({{.name = name,
                .op_type = "Col2Im",
                .inputs = {one, image, block},
                .error = ErrorCode::kInvalidArgument}});
  };
  const int64_t huge = int64_t{1} << 40;
  refused("another number of places", shape_tensor({4}), shape_tensor({2}));
  refused("ranks", shape_tensor({3, 3}), shape_tensor({2}));
  refused("an empty block", shape_tensor({3}), shape_tensor({0}));
  refused("a huge block", shape_tensor({3}), shape_tensor({huge}));
  refused("a negative image", shape_tensor({3}), numbers(DType::kInt64, {1}, {-2}));
  refused("a block larger than the image", shape_tensor({1}), shape_tensor({2}));
}

TEST_CASE("DeformConv") {
  uint64_t seed = 200;
  for (const DType dtype : kFloats) {
    const Tensor x = floats({2, 4, 6, 5}, ++seed, dtype), w = floats({6, 2, 3, 2}, ++seed, dtype);
    const Tensor offset = random_tensor(dtype, {2, 2 * 6 * 2, 3, 6}, -3, 3, ++seed);
    const Tensor bias = floats({6}, ++seed, dtype), mask = floats({2, 2 * 6, 3, 6}, ++seed, dtype);
    const Attributes attributes = {{"group", int64_t{2}},
                                   {"offset_group", int64_t{2}},
                                   {"strides", List{2, 1}},
                                   {"pads", List{1, 1, 0, 1}}};
    run_cases({{.name = str("bent ", dtype_name(dtype)),
                .op_type = "DeformConv",
                .inputs = {x, w, offset, bias, mask},
                .attributes = attributes,
                .tolerance = tolerance_for(dtype, 40)},
               {.name = "no mask",
                .op_type = "DeformConv",
                .inputs = {x, w, offset},
                .attributes = attributes,
                .tolerance = tolerance_for(dtype, 40)}});
  }
  // Without offsets it is a convolution, also along three axes.
  const Tensor x = floats({1, 2, 4, 5, 3}, ++seed), w = floats({3, 2, 2, 3, 2}, ++seed);
  const Case conv = {.name = "conv", .op_type = "Conv", .inputs = {x, w}};
  Tensor still(DType::kFloat32, {1, 12 * 3, 3, 3, 2});
  std::fill_n(still.data<float>(), still.size(), 0.0f);
  run_cases({{.name = "straight",
              .op_type = "DeformConv",
              .inputs = {x, w, still},
              .expected = run_node(node_of(conv), {x, w}),
              .tolerance = tolerance_for(DType::kFloat32, 24)}});
  const auto refused = [&](const char* name, std::vector<Tensor> inputs, Attributes attributes) {
    run_cases({{.name = name,
                .op_type = "DeformConv",
                .inputs = std::move(inputs),
                .attributes = std::move(attributes),
                .error = ErrorCode::kInvalidArgument}});
  };
  refused("offsets", {x, w, still.reshaped({1, 18, 6, 3, 2})}, {});
  refused("offset groups", {x, w, still}, {{"offset_group", int64_t{3}}});
  refused("no offset group", {x, w, still}, {{"offset_group", int64_t{0}}});
  refused("bias", {x, w, still, floats({2}, 1)}, {});
  refused("mask", {x, w, still, Tensor(), floats({1, 12, 3, 3, 3}, 1)}, {});
}

TEST_CASE("CausalConvWithState") {
  uint64_t seed = 300;
  for (const DType dtype : kFloats) {
    for (const int64_t taps : {1, 3}) {
      for (const int64_t steps : {1, 2, 9}) {
        for (const char* activation : {"none", "silu", "swish"}) {
          const Attributes attributes = {{"activation", std::string(activation)}};
          const Tensor x = floats({2, 5, steps}, ++seed, dtype);
          const Tensor w = floats({5, 1, taps}, ++seed, dtype);
          const std::string name = str(activation, " ", taps, " ", steps, dtype_name(dtype));
          run_cases({{.name = name,
                      .op_type = "CausalConvWithState",
                      .inputs = {x, w, floats({5}, ++seed, dtype),
                                 floats({2, 5, taps - 1}, ++seed, dtype)},
                      .attributes = attributes,
                      .outputs = 2,
                      .tolerance = tolerance_for(dtype, 8)},
                     {.name = "bare " + name,
                      .op_type = "CausalConvWithState",
                      .inputs = {x, w},
                      .attributes = attributes,
                      .outputs = 2,
                      .tolerance = tolerance_for(dtype, 8)}});
        }
      }
    }
  }
  const Tensor w = line({1, 10, 100});
  run_cases({{.name = "the past is handed on",
              .op_type = "CausalConvWithState",
              .inputs = {line({3}), w, Tensor(), line({1, 2})},
              .expected = {line({321}), line({2, 3})}},
             {.name = "another state",
              .op_type = "CausalConvWithState",
              .inputs = {line({3}), w, Tensor(), line({1, 2, 3})},
              .error = ErrorCode::kInvalidArgument},
             {.name = "another number of channels",
              .op_type = "CausalConvWithState",
              .inputs = {line({3}), floats({2, 1, 3}, 1)},
              .error = ErrorCode::kInvalidArgument},
             {.name = "no activation",
              .op_type = "CausalConvWithState",
              .inputs = {line({3}), w},
              .attributes = {{"activation", std::string("relu")}},
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
