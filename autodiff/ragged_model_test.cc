// Gradients without padding against those of the padded graph, and their bits.
#include "autodiff/ragged_model.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/encoder.h"

namespace hugot::test {
namespace {

struct Result {
  Tensor vectors;
  std::vector<Tensor> gradients;
};

Result run(TrainableModel& model, const std::vector<std::vector<int32_t>>& texts,
           ThreadPool* pool) {
  std::vector<TrainRow> rows;
  for (const auto& text : texts) rows.push_back({.ids = text});
  Result result;
  result.vectors = model.forward(rows, true, {.pool = pool});
  const Tensor seed = random_tensor(model.dtype(), result.vectors.shape(), -1, 1, 5);
  model.zero_gradients();
  model.backward(seed, {.pool = pool});
  for (const Parameter& parameter : model.parameters()) {
    result.gradients.push_back(parameter.gradient.clone());
  }
  return result;
}

double largest(const Tensor& x) {
  double most = 0;
  for (const double value : as_doubles(x)) most = std::max(most, std::abs(value));
  return most;
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(describe(a) == describe(b));
  const std::vector<double> x = as_doubles(a), y = as_doubles(b);
  double most = 0;
  for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(x[i] - y[i]));
  return most;
}

void check(Encoder& encoder, ValueId output) {
  encoder.b.graph.outputs = {output};
  infer(encoder.b.graph);
  const auto texts = random_texts({5, 1, 17, 5, 12, 33});
  ThreadPool pool(2);
  for (const DType dtype : {DType::kFloat64, DType::kFloat32}) {
    CAPTURE(dtype_name(dtype));
    const TrainableModelOptions options = {.trainable = encoder.trainable, .dtype = dtype};
    const auto ragged = make_ragged_model(encoder.b.graph, ops(), options);
    const auto padded = make_padded_model(encoder.b.graph, ops(), options);
    const Result one = run(*ragged, texts, nullptr), two = run(*ragged, texts, &pool);
    const Result expected = run(*padded, texts, nullptr);
    const double limit = dtype == DType::kFloat64 ? 1e-10 : 2e-4;
    CHECK(distance(one.vectors, expected.vectors) < limit);
    CHECK(identical(one.vectors, two.vectors));
    double scale = 0;
    for (const Tensor& gradient : expected.gradients) scale = std::max(scale, largest(gradient));
    for (size_t i = 0; i < encoder.trainable.size(); ++i) {
      CAPTURE(encoder.trainable[i]);
      CHECK(distance(one.gradients[i], expected.gradients[i]) <= limit * scale);
      CHECK(identical(one.gradients[i], two.gradients[i]));
    }
  }
}

}  // namespace

TEST_CASE("gradients of a BERT with mean pooling") {
  Encoder e;
  const ValueId x = e.layer_norm(e.embeddings());
  check(e, e.mean(e.layer(e.layer(x))));
}

TEST_CASE("gradients of a classifier on the first token") {
  Encoder e;
  const ValueId x = e.first(e.layer(e.embeddings()));
  const ValueId pooled = e.b.op("Tanh", {e.linear(x, kWidth, kWidth)});
  check(e,
        e.b.op("Gemm", {pooled, e.weights({3, kWidth}), e.weights({3})}, {{"transB", int64_t{1}}}));
}

TEST_CASE("gradients of a bias that depends on positions, and of one weight that is used twice") {
  Encoder e;
  GraphBuilder& b = e.b;
  const ValueId length = b.op("Gather", {b.op("Shape", {e.ids}), b.integer(1)});
  const ValueId place = b.op("Range", {b.integer(0), length, b.integer(1)});
  const ValueId apart = b.op("Sub", {b.op("Unsqueeze", {place, b.integers({0})}),
                                     b.op("Unsqueeze", {place, b.integers({1})})});
  const ValueId bucket = b.op("Add", {apart, b.integer(40)});
  const ValueId picked = b.op("Gather", {e.weights({80, kHeads}), bucket});
  const ValueId bias = b.op(
      "Unsqueeze",
      {b.op("Transpose", {picked}, {{"perm", std::vector<int64_t>{2, 0, 1}}}), b.integers({0})});
  const ValueId x = e.layer(e.embeddings(), bias);
  const ValueId twice = e.weights({kWidth, kWidth});
  const ValueId y = b.op("MatMul", {b.op("Tanh", {b.op("MatMul", {x, twice})}), twice});
  check(e, e.mean(y));
}

TEST_CASE("gradients through operators without a rule for many texts") {
  Encoder e;
  GraphBuilder& b = e.b;
  // A convolution over the tokens, of one text as of a padded one when nothing is behind it.
  const std::vector<int64_t> swapped = {0, 2, 1};
  const ValueId columns = b.op("Transpose", {e.embeddings()}, {{"perm", swapped}});
  const ValueId conv = b.op("Conv", {columns, e.weights({kWidth, kWidth, 2}), e.weights({kWidth})},
                            {{"pads", std::vector<int64_t>{1, 0}}});
  const ValueId x = b.op("Transpose", {conv}, {{"perm", swapped}});
  check(e, e.mean(b.op("Tanh", {x})));
}

TEST_CASE("gradients add up until they are zeroed") {
  Encoder e;
  e.b.graph.outputs = {e.mean(e.layer(e.embeddings()))};
  infer(e.b.graph);
  const auto model =
      make_ragged_model(e.b.graph, ops(), {.trainable = e.trainable, .dtype = DType::kFloat64});
  const auto texts = random_texts({4, 9});
  const Result once = run(*model, texts, nullptr);
  std::vector<TrainRow> rows;
  for (const auto& text : texts) rows.push_back({.ids = text});
  model->forward(rows, true, {});
  model->backward(random_tensor(DType::kFloat64, once.vectors.shape(), -1, 1, 5), {});
  for (size_t i = 0; i < once.gradients.size(); ++i) {
    const double twice = largest(model->parameters()[i].gradient);
    CHECK(twice == doctest::Approx(2 * largest(once.gradients[i])));
  }
  CHECK_THROWS_AS(model->backward(once.vectors, {}), Error);
}

TEST_CASE("a batch in parts has the vectors and gradients of the whole") {
  Encoder e;
  e.b.graph.outputs = {e.mean(e.layer(e.embeddings()))};
  infer(e.b.graph);
  TrainableModelOptions options = {.trainable = e.trainable, .dtype = DType::kFloat64};
  const auto whole = make_ragged_model(e.b.graph, ops(), options);
  options.activation_bytes = 1;
  const auto parts = make_ragged_model(e.b.graph, ops(), options);
  // The fewest tokens of a part are 256.
  const auto texts = random_texts({50, 61, 40, 3, 60, 61, 9, 58, 60, 61, 33, 1});
  ThreadPool pool(2);
  const Result expected = run(*whole, texts, nullptr), one = run(*parts, texts, nullptr),
               two = run(*parts, texts, &pool);
  CHECK(identical(one.vectors, expected.vectors));
  for (size_t i = 0; i < e.trainable.size(); ++i) {
    CAPTURE(e.trainable[i]);
    CHECK(distance(one.gradients[i], expected.gradients[i]) <= 1e-10);
    CHECK(identical(one.gradients[i], two.gradients[i]));
  }
}

}  // namespace hugot::test
