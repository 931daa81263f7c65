#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/harness.h"

namespace hugot::test {
namespace {

using List = std::vector<int64_t>;

Attributes list(const char* name, std::vector<int64_t> values) {
  return {{name, std::move(values)}};
}

Tensor floats(const Shape& shape, uint64_t seed, DType dtype = DType::kFloat32) {
  return random_tensor(dtype, shape, -1, 1, seed);
}

Tensor ones(const Shape& shape) {
  Tensor tensor(DType::kFloat32, shape);
  std::fill_n(tensor.data<float>(), tensor.size(), 1.0f);
  return tensor;
}

Tensor shape_tensor(const Shape& shape) {
  return Tensor::from<int64_t>({shape.rank()}, shape.dims());
}

// The error is relative to the sum of the products' sizes, not to what cancellation leaves.
Tolerance tolerance_for(DType dtype, int64_t products) {
  Tolerance tolerance = default_tolerance(dtype);
  tolerance.absolute = tolerance.relative * static_cast<double>(products + 1);
  return tolerance;
}

// By the definition, for two spatial axes without padding.
Tensor plain_conv(const Tensor& x, const Tensor& w) {
  const Shape &a = x.shape(), &k = w.shape();
  Tensor y(DType::kFloat64, {a[0], k[0], a[2] - k[2] + 1, a[3] - k[3] + 1});
  double* out = y.data<double>();
  for (int64_t n = 0; n < a[0]; ++n) {
    for (int64_t m = 0; m < k[0]; ++m) {
      for (int64_t p = 0; p < y.shape()[2]; ++p) {
        for (int64_t q = 0; q < y.shape()[3]; ++q) {
          double sum = 0;
          for (int64_t c = 0; c < k[1]; ++c) {
            for (int64_t i = 0; i < k[2]; ++i) {
              for (int64_t j = 0; j < k[3]; ++j) {
                sum += x.data<double>()[((n * a[1] + c) * a[2] + p + i) * a[3] + q + j] *
                       w.data<double>()[((m * k[1] + c) * k[2] + i) * k[3] + j];
              }
            }
          }
          *out++ = sum;
        }
      }
    }
  }
  return y;
}

struct Form {
  const char* name;
  Shape x, w;
  Attributes attributes;
};

std::vector<Form> forms() {
  return {
      {"one axis", {2, 3, 11}, {4, 3, 3}, {}},
      {"one axis, all attributes",
       {2, 4, 23},
       {6, 2, 3},
       {{"group", int64_t{2}},
        {"strides", std::vector<int64_t>{2}},
        {"dilations", std::vector<int64_t>{3}},
        {"pads", std::vector<int64_t>{4, 1}},
        {"kernel_shape", std::vector<int64_t>{3}}}},
      {"two axes", {2, 3, 7, 9}, {5, 3, 3, 2}, {}},
      {"padded", {1, 3, 6, 37}, {5, 3, 3, 3}, list("pads", {1, 1, 1, 1})},
      {"uneven pads and strides",
       {1, 2, 7, 8},
       {3, 2, 3, 4},
       {{"pads", std::vector<int64_t>{0, 3, 2, 1}}, {"strides", std::vector<int64_t>{2, 3}}}},
      {"dilated", {1, 2, 9, 10}, {3, 2, 2, 3}, list("dilations", {3, 2})},
      {"one by one", {2, 9, 5, 13}, {7, 9, 1, 1}, {}},
      {"one by one in strides", {2, 3, 5, 6}, {4, 3, 1, 1}, list("strides", {2, 2})},
      {"one by one, padded", {1, 3, 3, 4}, {4, 3, 1, 1}, list("pads", {1, 2, 0, 1})},
      {"groups", {2, 6, 5, 5}, {9, 2, 3, 3}, {{"group", int64_t{3}}}},
      {"depthwise",
       {2, 5, 6, 40},
       {5, 1, 3, 3},
       {{"group", int64_t{5}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}}},
      {"depthwise with two filters each", {1, 3, 6, 6}, {6, 1, 2, 2}, {{"group", int64_t{3}}}},
      {"three axes",
       {1, 2, 5, 6, 7},
       {3, 2, 2, 3, 2},
       {{"pads", std::vector<int64_t>{1, 0, 1, 0, 1, 0}},
        {"strides", std::vector<int64_t>{2, 1, 2}}}},
      {"four axes", {1, 2, 3, 4, 3, 4}, {2, 2, 2, 2, 2, 3}, {}},
      {"pads that the kernel never leaves",
       {1, 1, 2, 2},
       {1, 1, 2, 2},
       {{"pads", std::vector<int64_t>{4, 5, 3, 4}}, {"strides", std::vector<int64_t>{3, 2}}}},
      {"same, upper",
       {1, 2, 7, 8},
       {3, 2, 4, 3},
       {{"auto_pad", std::string("SAME_UPPER")}, {"strides", std::vector<int64_t>{2, 3}}}},
      {"same, lower",
       {1, 2, 7, 8},
       {3, 2, 4, 2},
       {{"auto_pad", std::string("SAME_LOWER")}, {"dilations", std::vector<int64_t>{1, 3}}}},
      {"same with strides beyond the kernel",
       {1, 2, 9, 9},
       {3, 2, 1, 2},
       {{"auto_pad", std::string("SAME_UPPER")}, {"strides", std::vector<int64_t>{4, 4}}}},
      {"valid", {1, 2, 5, 5}, {3, 2, 3, 3}, {{"auto_pad", std::string("VALID")}}},
      {"no image", {0, 3, 5, 5}, {4, 3, 3, 3}, {}},
      {"no filter", {2, 3, 5, 5}, {0, 3, 3, 3}, {}},
      {"no channel", {2, 0, 5, 5}, {4, 0, 3, 3}, {}},
      {"an empty axis that is padded", {1, 2, 0, 4}, {3, 2, 2, 2}, list("pads", {2, 0, 1, 0})},
      {"an empty axis", {1, 2, 0, 4}, {3, 2, 1, 1}, {}},
      {"in strides of two",
       {1, 8, 13, 35},
       {13, 8, 3, 3},
       {{"pads", std::vector<int64_t>{1, 1, 1, 1}}, {"strides", std::vector<int64_t>{2, 2}}}},
      {"depthwise in strides",
       {2, 7, 15, 18},
       {7, 1, 5, 5},
       {{"group", int64_t{7}},
        {"pads", std::vector<int64_t>{2, 2, 2, 2}},
        {"strides", std::vector<int64_t>{2, 2}}}},
      {"patches", {1, 3, 16, 24}, {10, 3, 8, 8}, list("strides", {8, 8})},
      {"many channels", {1, 70, 5, 30}, {20, 70, 3, 3}, list("pads", {1, 1, 1, 1})},
      {"many channels, one by one", {1, 200, 5, 9}, {20, 200, 1, 1}, {}},
      {"padding that is much larger than the image",
       {1, 2, 3, 3},
       {3, 2, 2, 2},
       {{"dilations", std::vector<int64_t>{20000, 1}},
        {"pads", std::vector<int64_t>{9999, 0, 10000, 0}}}},
      {"many columns", {1, 40, 19, 23}, {50, 40, 3, 3}, list("pads", {1, 1, 1, 1})},
  };
}

}  // namespace

TEST_CASE("Conv agrees with float64 in every type and form") {
  uint64_t seed = 1;
  for (const Form& form : forms()) {
    for (const DType dtype :
         {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
      // Large ones once.
      if (form.x.size() > 10000 && dtype != DType::kFloat32) continue;
      const std::string name = str(form.name, " ", dtype_name(dtype));
      const Tensor x = floats(form.x, ++seed, dtype), w = floats(form.w, ++seed, dtype);
      const Tensor b = floats({form.w[0]}, ++seed, dtype);
      const int64_t products = form.w.product(1, form.w.rank());
      run_cases({{.name = name,
                  .op_type = "Conv",
                  .inputs = {x, w, b},
                  .attributes = form.attributes,
                  .tolerance = tolerance_for(dtype, products)},
                 {.name = "no bias " + name,
                  .op_type = "Conv",
                  .inputs = {x, w},
                  .attributes = form.attributes,
                  .opset = seed % 2 == 0 ? 1 : 11,
                  .tolerance = tolerance_for(dtype, products)}});
    }
  }
}

TEST_CASE("Conv by hand") {
  const Tensor x = floats({2, 3, 8, 9}, 1, DType::kFloat64);
  const Tensor w = floats({4, 3, 3, 2}, 2, DType::kFloat64);
  const auto line = [](std::initializer_list<double> values) {
    return numbers(DType::kFloat32, {1, 1, std::ssize(values)}, values);
  };
  run_cases({
      {.name = "the definition",
       .op_type = "Conv",
       .inputs = {x, w},
       .expected = {plain_conv(x, w)}},
      {.name = "not flipped",
       .op_type = "Conv",
       .inputs = {line({1, 2, 3, 4}), line({1, 10})},
       .expected = {line({21, 32, 43})}},
      {.name = "pads are zeros",
       .op_type = "Conv",
       .inputs = {line({1, 2, 3}), line({1, 10, 100})},
       .attributes = list("pads", {1, 2}),
       .expected = {line({210, 321, 32, 3})}},
      {.name = "the odd pad behind",
       .op_type = "Conv",
       .inputs = {line({1, 2, 3}), line({1, 10})},
       .attributes = {{"auto_pad", std::string("SAME_UPPER")}},
       .expected = {line({21, 32, 3})}},
      {.name = "the odd pad in front",
       .op_type = "Conv",
       .inputs = {line({1, 2, 3}), line({1, 10})},
       .attributes = {{"auto_pad", std::string("SAME_LOWER")}},
       .expected = {line({10, 21, 32})}},
      {.name = "rounded once",
       .op_type = "Conv",
       .inputs = {numbers(DType::kFloat16, {1, 1, 3}, {2048, 1, 1}),
                  numbers(DType::kFloat16, {1, 1, 3}, {1, 1, 1})},
       .expected = {numbers(DType::kFloat16, {1, 1, 1}, {2050})}},
  });
}

TEST_CASE("the derivatives of Conv agree with float64, and have derivatives") {
  uint64_t seed = 100;
  for (const Form& form : forms()) {
    // The shape of the result.
    const Case forward = {.name = form.name,
                          .op_type = "Conv",
                          .inputs = {floats(form.x, 1), floats(form.w, 2)},
                          .attributes = form.attributes};
    const Tensor y = run_node(node_of(forward), forward.inputs)[0];
    for (const DType dtype :
         {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
      if (form.x.size() > 10000 && dtype != DType::kFloat32) continue;
      const Tensor x = floats(form.x, ++seed, dtype), w = floats(form.w, ++seed, dtype);
      const Tensor dy = floats(y.shape(), ++seed, dtype);
      const std::string name = str(form.name, " ", dtype_name(dtype));
      run_cases({{.name = name,
                  .op_type = "ConvInputGradient",
                  .inputs = {dy, w, shape_tensor(form.x)},
                  .attributes = form.attributes,
                  .domain = "hugot",
                  .tolerance = tolerance_for(dtype, form.w.size())},
                 {.name = name,
                  .op_type = "ConvWeightGradient",
                  .inputs = {x, dy, shape_tensor(form.w)},
                  .attributes = form.attributes,
                  .domain = "hugot",
                  .tolerance = tolerance_for(dtype, y.size() + 1)}});
    }
  }
}

TEST_CASE("columns in several chunks add up") {
  const Tensor x = floats({1, 20, 90, 80}, 1), w = floats({3, 20, 3, 3}, 2);
  const Tensor dy = floats({1, 3, 90, 80}, 3);
  const Attributes pads = list("pads", {1, 1, 1, 1});
  run_cases({{.name = "input",
              .op_type = "ConvInputGradient",
              .inputs = {dy, w, shape_tensor(x.shape())},
              .attributes = pads,
              .domain = "hugot",
              .tolerance = tolerance_for(DType::kFloat32, w.size())},
             {.name = "weight",
              .op_type = "ConvWeightGradient",
              .inputs = {x, dy, shape_tensor(w.shape())},
              .attributes = pads,
              .domain = "hugot",
              .tolerance = tolerance_for(DType::kFloat32, dy.size())}});
}

TEST_CASE("what is no convolution is an error") {
  const Tensor x = ones({1, 2, 5, 5}), w = ones({4, 2, 3, 3});
  const int64_t huge = int64_t{1} << 62;
  struct Wrong {
    const char* name;
    std::vector<Tensor> inputs;
    Attributes attributes;
  };
  const Wrong wrong[] = {
      {"no spatial axis", {ones({1, 2}), ones({4, 2})}, {}},
      {"a scalar", {ones({}), ones({})}, {}},
      {"ranks differ", {x, ones({4, 2, 3})}, {}},
      {"channels differ", {x, ones({4, 3, 3, 3})}, {}},
      {"channels and groups", {x, w}, {{"group", int64_t{2}}}},
      {"filters and groups", {x, ones({3, 1, 3, 3})}, {{"group", int64_t{2}}}},
      {"no group", {x, w}, {{"group", int64_t{0}}}},
      {"a negative group", {x, w}, {{"group", int64_t{-1}}}},
      {"so many groups that channels overflow", {x, w}, {{"group", int64_t{1} << 63 >> 1}}},
      {"the kernel is too large", {x, ones({4, 2, 6, 3})}, {}},
      {"dilated too far", {x, w}, list("dilations", {3, 1})},
      {"a kernel of length 0", {x, ones({4, 2, 0, 3})}, {}},
      {"another kernel_shape", {x, w}, list("kernel_shape", {3, 2})},
      {"kernel_shape of one axis", {x, w}, list("kernel_shape", {3})},
      {"stride 0", {x, w}, list("strides", {1, 0})},
      {"a negative stride", {x, w}, list("strides", {-1, 1})},
      {"strides of one axis", {x, w}, list("strides", {1})},
      {"a huge stride", {x, w}, list("strides", {huge, huge})},
      {"dilation 0", {x, w}, list("dilations", {0, 1})},
      {"a huge dilation", {x, w}, list("dilations", {huge, 1})},
      {"a negative pad", {x, w}, list("pads", {0, 0, -1, 0})},
      {"pads of one axis", {x, w}, list("pads", {1, 1})},
      {"huge pads", {x, w}, list("pads", {huge, huge, huge, huge})},
      {"an unknown auto_pad", {x, w}, {{"auto_pad", std::string("SAME")}}},
      {"the bias is too short", {x, w, ones({3})}, {}},
      {"the bias is a scalar", {x, w, ones({})}, {}},
      {"types differ", {x, as_type(w, DType::kFloat64)}, {}},
      {"the bias has another type", {x, w, as_type(ones({4}), DType::kFloat16)}, {}},
  };
  for (const Wrong& test : wrong) {
    run_cases({{.name = test.name,
                .op_type = "Conv",
                .inputs = test.inputs,
                .attributes = test.attributes,
                .error = ErrorCode::kInvalidArgument}});
  }
  run_cases({{.name = "integers",
              .op_type = "Conv",
              .inputs = {as_type(x, DType::kInt32), as_type(w, DType::kInt32)},
              .error = ErrorCode::kUnsupported},
             {.name = "the gradient has another shape",
              .op_type = "ConvInputGradient",
              .inputs = {ones({1, 4, 3, 2}), w, shape_tensor(x.shape())},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument},
             {.name = "a negative length",
              .op_type = "ConvWeightGradient",
              .inputs = {x, ones({1, 4, 3, 3}), Tensor::from<int64_t>({4}, {4, 2, -3, 3})},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("convolutions with channels last") {
  const auto turned = [](const Tensor& x, List perm) {
    const Case transpose = {.name = "transpose",
                            .op_type = "Transpose",
                            .inputs = {x},
                            .attributes = {{"perm", std::move(perm)}}};
    return run_node(node_of(transpose), {x})[0];
  };
  const List last = {0, 2, 3, 1};
  const Tensor x = random_tensor(DType::kFloat32, {2, 4, 7, 6}, -1, 1, 1),
               w = random_tensor(DType::kFloat32, {6, 2, 3, 2}, -1, 1, 2),
               b = random_tensor(DType::kFloat32, {6}, -1, 1, 3);
  Attributes attributes = {
      {"group", int64_t{2}}, {"pads", List{1, 0, 1, 1}}, {"strides", List{2, 1}}};
  const Case conv = {
      .name = "conv", .op_type = "Conv", .inputs = {x, w, b}, .attributes = attributes};
  const Tensor y = turned(run_node(node_of(conv), {x, w, b})[0], last);
  run_cases({{.name = "all",
              .op_type = "NhwcConv",
              .inputs = {turned(x, last), turned(w, last), b},
              .attributes = attributes,
              .expected = {y},
              .domain = "com.microsoft"}});
  const Tensor z = random_tensor(DType::kFloat32, y.shape(), -1, 1, 4);
  Tensor sum(DType::kFloat32, y.shape());
  for (int64_t i = 0; i < y.size(); ++i) {
    sum.data<float>()[i] = std::max(y.data<float>()[i] + z.data<float>()[i], 0.0f);
  }
  attributes["activation"] = std::string("Relu");
  run_cases({{.name = "but the weight",
              .op_type = "NhwcFusedConv",
              .inputs = {turned(x, last), w, b, z},
              .attributes = attributes,
              .expected = {sum},
              .domain = "com.microsoft"},
             {.name = "no image",
              .op_type = "NhwcConv",
              .inputs = {b, w},
              .domain = "com.microsoft",
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
