// Dropout in whole encoders: where it is, that its gradients are those of what it computes, and
// that it does not depend on how that is computed.
#include "autodiff/dropout.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/ragged_model.h"
#include "kernels/dropout_mask.h"
#include "tests/encoder.h"

namespace hugot::test {
namespace {

constexpr double kRatio = 0.2;

using Texts = std::vector<std::vector<int32_t>>;

std::vector<TrainRow> rows_of(const Texts& texts, uint64_t step) {
  std::vector<TrainRow> rows;
  for (const auto& text : texts) {
    const auto row = static_cast<uint32_t>(rows.size());
    const uint64_t key = step == 0 ? 0 : text_dropout_key(1, step, row, 0);
    rows.push_back({.ids = text, .dropout_key = key});
  }
  return rows;
}

struct Result {
  Tensor vectors;
  std::vector<Tensor> gradients;
};

Tensor seed_of(const Tensor& vectors) {
  return random_tensor(vectors.dtype(), vectors.shape(), -1, 1, 5);
}

Result run(TrainableModel& model, const std::vector<TrainRow>& rows, ThreadPool* pool = nullptr) {
  Result result;
  result.vectors = model.forward(rows, true, {.pool = pool});
  model.zero_gradients();
  model.backward(seed_of(result.vectors), {.pool = pool});
  for (const Parameter& p : model.parameters()) result.gradients.push_back(p.gradient.clone());
  return result;
}

double distance(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = as_doubles(a), y = as_doubles(b);
  REQUIRE(x.size() == y.size());
  double most = 0;
  for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(x[i] - y[i]));
  return most;
}

Graph bert(Encoder& e) {
  ValueId x = e.layer_norm(e.embeddings());
  x = e.layer(e.layer(x));
  e.b.graph.outputs = {e.mean(x)};
  infer(e.b.graph);
  return e.b.graph;
}

// Normalization in front of each part.
Graph pre_norm(Encoder& e) {
  ValueId x = e.embeddings();
  for (int i = 0; i < 2; ++i) {
    x = e.b.op("Add", {x, e.linear(e.attention(e.layer_norm(x)), kWidth, kWidth)});
    const ValueId inner = e.gelu(e.linear(e.layer_norm(x), kWidth, 2 * kWidth));
    x = e.b.op("Add", {e.linear_transposed(inner, 2 * kWidth, kWidth), x});
  }
  e.b.graph.outputs = {e.first(e.layer_norm(x))};
  infer(e.b.graph);
  return e.b.graph;
}

// sum of vectors * seed_of()
double loss(TrainableModel& model, const std::vector<TrainRow>& rows) {
  const Tensor vectors = model.forward(rows, false, {});
  const std::vector<double> x = as_doubles(vectors), seed = as_doubles(seed_of(vectors));
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * seed[i];
  return sum;
}

template <class Make>
void check_encoder(const Make& make) {
  Encoder e;
  const Graph graph = make(e);
  TrainableModelOptions options = {.trainable = e.trainable, .dtype = DType::kFloat64};
  const auto plain = make_ragged_model(graph, ops(), options);
  CHECK(plain->dropout().count() == 0);
  options.dropout = kRatio;
  const auto ragged = make_ragged_model(graph, ops(), options);
  const auto padded = make_padded_model(graph, ops(), options);
  for (const TrainableModel* model : {ragged.get(), padded.get()}) {
    CHECK(model->dropout().embeddings == 1);
    CHECK(model->dropout().attention == 2);
    CHECK(model->dropout().projections == 4);
  }
  const Texts texts = random_texts({5, 1, 17, 5, 12, 33});
  const auto rows = rows_of(texts, 7), whole = rows_of(texts, 0);
  ThreadPool pool(2);

  // Without padding as with it; without keys as without dropout.
  const Result expected = run(*padded, rows), one = run(*ragged, rows);
  CHECK(distance(one.vectors, expected.vectors) < 1e-10);
  const Result none = run(*plain, whole), kept = run(*ragged, whole);
  CHECK(distance(kept.vectors, none.vectors) < 1e-10);
  CHECK(distance(one.vectors, none.vectors) > 1e-2);
  CHECK(distance(one.vectors, run(*ragged, rows_of(texts, 8)).vectors) > 1e-2);
  for (size_t i = 0; i < e.trainable.size(); ++i) {
    CAPTURE(e.trainable[i]);
    CHECK(distance(one.gradients[i], expected.gradients[i]) < 1e-9);
    CHECK(distance(kept.gradients[i], none.gradients[i]) < 1e-9);
  }

  // The gradient against differences, for some elements of every parameter.
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < e.trainable.size(); ++i) {
    CAPTURE(e.trainable[i]);
    Tensor& value = ragged->parameters()[i].value;
    const std::vector<double> gradient = as_doubles(one.gradients[i]);
    for (int64_t k = 0; k < value.size(); k += value.size() / 2 + 1) {
      double& element = value.data<double>()[k];
      const double before = element;
      element = before + kStep;
      const double up = loss(*ragged, rows);
      element = before - kStep;
      const double down = loss(*ragged, rows);
      element = before;
      const double slope = gradient[static_cast<size_t>(k)];
      CHECK(std::abs((up - down) / (2 * kStep) - slope) <= 1e-6 * std::max(1.0, std::abs(slope)));
    }
  }
}

}  // namespace

TEST_CASE("dropout in encoders") {
  check_encoder(bert);
  check_encoder(pre_norm);
}

TEST_CASE("dropout does not depend on threads, parts of a batch and the texts beside") {
  Encoder e;
  const Graph graph = bert(e);
  const Texts texts = random_texts({50, 61, 40, 3, 60, 61, 9, 58, 60, 61, 33, 1});
  const auto rows = rows_of(texts, 3);
  ThreadPool pool(2);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    TrainableModelOptions options = {.trainable = e.trainable, .dtype = dtype, .dropout = kRatio};
    const auto whole = make_ragged_model(graph, ops(), options);
    options.activation_bytes = 1;  // parts of 256 tokens, which are computed once more
    const auto parts = make_ragged_model(graph, ops(), options);
    const Result one = run(*whole, rows), two = run(*whole, rows, &pool);
    const Result cut = run(*parts, rows), cut_two = run(*parts, rows, &pool);
    CHECK(identical(one.vectors, two.vectors));
    CHECK(identical(one.vectors, cut.vectors));
    const double limit = dtype == DType::kFloat64 ? 1e-10 : 1e-3;
    for (size_t i = 0; i < e.trainable.size(); ++i) {
      CAPTURE(e.trainable[i]);
      CHECK(identical(one.gradients[i], two.gradients[i]));
      CHECK(identical(cut.gradients[i], cut_two.gradients[i]));
      CHECK(distance(one.gradients[i], cut.gradients[i]) < limit);
    }
    for (size_t i : {size_t{0}, size_t{3}, size_t{7}}) {
      const Tensor alone = whole->forward(std::span(rows).subspan(i, 1), false, {});
      const size_t bytes = alone.bytes();
      const Tensor same(dtype, alone.shape(),
                        static_cast<const std::byte*>(one.vectors.raw()) + i * bytes);
      CHECK(identical(alone, same));
    }
  }
}

TEST_CASE("a graph without attention and residual sums has no places for dropout") {
  Encoder e;
  e.b.graph.outputs = {e.mean(e.linear(e.embeddings(), kWidth, kWidth))};
  infer(e.b.graph);
  const TrainableModelOptions options = {.trainable = e.trainable, .dropout = kRatio};
  CHECK_THROWS_AS(make_ragged_model(e.b.graph, ops(), options), Error);
  CHECK_THROWS_AS(TrainableModel::create(e.b.graph, ops(), options), Error);
}

}  // namespace hugot::test
