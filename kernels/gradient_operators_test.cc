// Operators that compute a whole gradient at once, in float32 under every instruction set against
// float64. That their float64 form is the gradient is what gradient_check.h sees in the cases of
// the operators that they belong to.
#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, uint64_t seed, double limit = 1) {
  return random_tensor(DType::kFloat32, shape, -limit, limit, seed);
}

Case gradient_case(const std::string& name, const std::string& op_type, std::vector<Tensor> inputs,
                   Attributes attributes, int outputs, Tolerance tolerance) {
  return {.name = name,
          .op_type = op_type,
          .inputs = std::move(inputs),
          .attributes = std::move(attributes),
          .domain = "hugot",
          .outputs = outputs,
          .tolerance = tolerance};
}

}  // namespace

TEST_CASE("GeluGradient agrees with float64") {
  for (const char* form : {"none", "tanh"}) {
    for (const double limit : {1.0, 12.0, 1e4}) {
      const Tensor x = floats({3, 333}, 1, limit), dy = floats({3, 333}, 2);
      run_cases({gradient_case(str(form, " to ", limit), "GeluGradient", {x, dy},
                               {{"approximate", std::string(form)}}, 1, {1e-6, 6e-7})});
    }
  }
  run_cases({{.name = "do not fit",
              .op_type = "GeluGradient",
              .inputs = {floats({2}, 1), floats({3}, 2)},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("LayerNormalizationGradient agrees with float64") {
  uint64_t seed = 1;
  for (const Shape& shape : {Shape{1, 5}, Shape{3, 67}, Shape{2, 80, 33}, Shape{0, 4}}) {
    const int64_t cols = shape.back();
    const Tensor x = floats(shape, ++seed, 3), scale = floats({cols}, ++seed),
                 dy = floats(shape, ++seed);
    for (const int outputs : {1, 3}) {
      run_cases({gradient_case(shape.to_string(), "LayerNormalizationGradient", {x, scale, dy}, {},
                               outputs, {1e-5, 2e-5})});
    }
  }
  run_cases({{.name = "scale does not fit",
              .op_type = "LayerNormalizationGradient",
              .inputs = {floats({2, 3}, 1), floats({4}, 2), floats({2, 3}, 3)},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("LinearWeightGradient agrees with float64") {
  struct Form {
    Shape rows;
    int64_t k, n;
  };
  uint64_t seed = 1;
  for (const Form& form : {Form{{1}, 1, 1}, Form{{7}, 5, 33}, Form{{2, 9}, 32, 3},
                           Form{{1, 150}, 70, 200}, Form{{1000}, 37, 66}, Form{{0}, 3, 4}}) {
    const Shape rows = form.rows.with(0, form.rows[0]);
    std::vector<int64_t> x_dims(rows.begin(), rows.end()), y_dims = x_dims;
    x_dims.push_back(form.k);
    y_dims.push_back(form.n);
    const Tensor x = floats(Shape(std::span<const int64_t>(x_dims)), ++seed);
    const Tensor dy = floats(Shape(std::span<const int64_t>(y_dims)), ++seed);
    for (const int64_t transposed : {0, 1}) {
      for (const int outputs : {1, 2}) {
        run_cases({gradient_case(x.shape().to_string(), "LinearWeightGradient", {x, dy},
                                 {{"trans_w", transposed}}, outputs, {1e-5, 2e-5})});
      }
    }
  }
  run_cases({{.name = "rows do not fit",
              .op_type = "LinearWeightGradient",
              .inputs = {floats({2, 3}, 1), floats({3, 3}, 2)},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("GatherGradient adds rows to those that they were taken from") {
  const Tensor table = floats({5, 67}, 1), dy = floats({2, 3, 67}, 2);
  const auto indices = [](std::initializer_list<int64_t> values) {
    return Tensor::from<int64_t>({2, 3}, values);
  };
  run_cases({gradient_case("with repetitions", "GatherGradient",
                           {table, indices({4, 0, 4, -1, 2, 4}), dy}, {}, 1, {1e-6, 1e-6}),
             {.name = "outside of the table",
              .op_type = "GatherGradient",
              .inputs = {table, indices({4, 0, 5, 1, 2, 4}), dy},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument},
             {.name = "rows are missing",
              .op_type = "GatherGradient",
              .inputs = {table, indices({4, 0, 1, 1, 2, 4}), floats({3, 67}, 3)},
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("AttentionGradient agrees with float64") {
  struct Form {
    int64_t heads, kv_heads, size, length;
    bool causal = false;
    int64_t left = -1;
  };
  uint64_t seed = 1;
  for (const Form& form :
       {Form{2, 2, 4, 1}, Form{2, 2, 32, 7}, Form{3, 3, 64, 21}, Form{4, 2, 16, 18, true},
        Form{2, 1, 96, 33, false, 4}, Form{1, 1, 128, 300}}) {
    const Shape q_shape = {2, form.length, form.heads * form.size};
    const Shape k_shape = {2, form.length, form.kv_heads * form.size};
    const Tensor q = floats(q_shape, ++seed), k = floats(k_shape, ++seed),
                 v = floats(k_shape, ++seed);
    const Tensor dy = floats(q_shape, ++seed);
    const Attributes attributes = {{"num_heads", form.heads},
                                   {"kv_num_heads", form.kv_heads},
                                   {"scale", 0.3f},
                                   {"causal", int64_t{form.causal}},
                                   {"left_window_size", form.left}};
    const Tensor bias = floats({1, form.heads, form.length, form.length}, ++seed);
    const Tensor keys = floats({2, 1, 1, form.length}, ++seed);
    const std::string name = str(form.heads, " heads of ", form.size, ", ", form.length, " tokens");
    run_cases({gradient_case(name, "AttentionGradient", {q, k, v, dy}, attributes, 3, {1e-5, 1e-5}),
               gradient_case(name + ", bias", "AttentionGradient", {q, k, v, dy, bias}, attributes,
                             4, {1e-5, 1e-5}),
               gradient_case(name + ", bias of keys", "AttentionGradient", {q, k, v, dy, keys},
                             attributes, 3, {1e-5, 1e-5})});
  }
  run_cases({{.name = "heads do not fit",
              .op_type = "AttentionGradient",
              .inputs = {floats({1, 2, 6}, 1), floats({1, 2, 6}, 2), floats({1, 2, 6}, 3),
                         floats({1, 2, 6}, 4)},
              .attributes = {{"num_heads", int64_t{4}}, {"scale", 1.0f}},
              .domain = "hugot",
              .outputs = 3,
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("gradients of pooled regions agree with float64") {
  const Tensor x = floats({2, 5, 9, 10}, 1), dy = floats({3, 5, 3, 2}, 2);
  const Tensor rois = numbers(DType::kFloat32, {3, 4},
                              {0.3, 0.1, 8.7, 8.9, 1.1, 2.6, 7.2, 4.3, -3.3, -2.1, 20.5, 5.2});
  const Tensor images = numbers(DType::kInt64, {3}, {0, 1, 1});
  for (const char* mode : {"avg", "max"}) {
    const Attributes attributes = {
        {"mode", std::string(mode)}, {"output_height", int64_t{3}}, {"output_width", int64_t{2}}};
    run_cases({gradient_case(mode, "RoiAlignGradient", {dy, x, rois, images}, attributes, 2,
                             {1e-5, 2e-5})});
  }
  const Tensor boxes =
      numbers(DType::kFloat32, {3, 5}, {1, 0, 0, 9, 9, 0, 2, 1, 30, 4, 0, 3, 3, 3, 3});
  const Attributes shape = {{"pooled_shape", std::vector<int64_t>{3, 2}}};
  run_cases({gradient_case("maxima", "MaxRoiPoolGradient", {dy, x, boxes}, shape, 1, {1e-6, 1e-6}),
             {.name = "do not fit",
              .op_type = "MaxRoiPoolGradient",
              .inputs = {floats({3, 5, 2, 2}, 1), x, boxes},
              .attributes = shape,
              .domain = "hugot",
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("DeformColumnsGradient agrees with float64") {
  const Tensor x = floats({2, 4, 6, 5}, 1), w = numbers(DType::kInt64, {4}, {6, 2, 3, 2});
  const Tensor offset = floats({2, 24, 3, 6}, 2, 3), mask = floats({2, 12, 3, 6}, 3);
  const Tensor columns = floats({2, 2, 12, 18}, 4);
  const Attributes attributes = {{"group", int64_t{2}},
                                 {"offset_group", int64_t{2}},
                                 {"strides", std::vector<int64_t>{2, 1}},
                                 {"pads", std::vector<int64_t>{1, 1, 0, 1}}};
  run_cases({gradient_case("bent", "DeformColumnsGradient", {columns, x, w, offset, mask},
                           attributes, 3, {1e-5, 2e-5}),
             gradient_case("no mask", "DeformColumnsGradient", {columns, x, w, offset}, attributes,
                           3, {1e-5, 2e-5}),
             {.name = "columns do not fit",
              .op_type = "DeformColumnsGradient",
              .inputs = {floats({2, 2, 12, 17}, 4), x, w, offset},
              .attributes = attributes,
              .domain = "hugot",
              .outputs = 3,
              .error = ErrorCode::kInvalidArgument}});
}

TEST_CASE("DetGradient agrees with float64, and has minors where there is no inverse") {
  run_cases({
      gradient_case("regular", "DetGradient", {floats({2, 3}, 1), floats({2, 3, 5, 5}, 2)}, {}, 1,
                    {1e-4, 1e-4}),
      {.name = "singular",
       .op_type = "DetGradient",
       .inputs = {numbers(DType::kFloat32, {2}, {1, 2}),
                  numbers(DType::kFloat32, {2, 2, 2}, {1, 2, 2, 4, 0, 0, 0, 0})},
       .expected = {numbers(DType::kFloat32, {2, 2, 2}, {4, -2, -2, 1, 0, 0, 0, 0})},
       .domain = "hugot"},
      {.name = "do not fit",
       .op_type = "DetGradient",
       .inputs = {floats({3}, 1), floats({2, 3, 3}, 2)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("LinearAttentionGradient agrees with float64") {
  const Tensor q = floats({2, 7, 16}, 1), k = floats({2, 7, 8}, 2), v = floats({2, 7, 6}, 3),
               past = floats({2, 2, 4, 3}, 4),
               decay = random_tensor(DType::kFloat32, {2, 7, 8}, -1, 0, 5),
               beta = random_tensor(DType::kFloat32, {2, 7, 1}, 0, 1, 6),
               dy = floats({2, 7, 12}, 7), state = floats({2, 2, 4, 3}, 8);
  const Attributes attributes = {{"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}};
  run_cases({gradient_case("all", "LinearAttentionGradient",
                           {q, k, v, past, decay, beta, dy, state}, attributes, 6, {1e-5, 5e-5}),
             gradient_case("nothing before and behind", "LinearAttentionGradient",
                           {q, k, v, Tensor(), decay, beta, dy}, attributes, 6, {1e-5, 5e-5}),
             {.name = "do not fit",
              .op_type = "LinearAttentionGradient",
              .inputs = {q, k, v, past, decay, beta, v},
              .attributes = attributes,
              .domain = "hugot",
              .outputs = 6,
              .error = ErrorCode::kInvalidArgument}});
}

}  // namespace hugot::test
