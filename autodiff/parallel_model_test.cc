#include "autodiff/parallel_model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "autodiff/ragged_model.h"
#include "tests/graph_builder.h"
#include "tests/harness.h"
#include "tests/rank_threads.h"

namespace hugot::test {
namespace {

constexpr int64_t kVocabulary = 3000, kWidth = 500, kDim = 5;

// The mean of transformed embeddings. The table's gradient travels in more than one bucket.
std::unique_ptr<TrainableModel> make_model(bool padded) {
  GraphBuilder b(17);
  const ValueId ids = b.input("input_ids", DType::kInt64);
  TrainableModelOptions options;
  options.dtype = DType::kFloat64;
  const auto weights = [&](const Shape& shape, uint64_t seed) {
    const ValueId id = b.weights(shape, seed, 0.5);
    options.trainable.push_back(b.graph.value(id).name);
    return id;
  };
  const ValueId x = b.op("Gather", {weights({kVocabulary, kWidth}, 1), ids});
  const ValueId y = b.op(
      "Tanh", {b.op("Add", {b.op("MatMul", {x, weights({kWidth, kDim}, 2)}), weights({kDim}, 3)})});
  b.graph.outputs = {
      b.op("ReduceMean", {y}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}})};
  return padded ? make_padded_model(b.graph, ops(), options)
                : make_ragged_model(b.graph, ops(), options);
}

struct Texts {
  explicit Texts(std::initializer_list<size_t> lengths) {
    int32_t id = 7;
    for (const size_t length : lengths) {
      auto& text = ids.emplace_back();
      for (size_t i = 0; i < length; ++i) text.push_back(id = (id * 31 + 11) % kVocabulary);
    }
    for (const auto& text : ids) rows.push_back({text});
  }
  std::vector<std::vector<int32_t>> ids;
  std::vector<TrainRow> rows;
};

struct Outcome {
  Tensor vectors;
  std::vector<Tensor> gradients;
};

// Two batches, the second one with fewer texts than there may be ranks; d_output = vectors.
Outcome two_batches(TrainableModel& model) {
  const Texts first{3, 1, 40, 2, 2, 9, 5}, second{4, 6};
  Outcome outcome;
  for (int step = 0; step < 2; ++step) {  // the second one starts from zero again
    model.zero_gradients();
    outcome.vectors = model.forward(first.rows, true, {});
    model.backward(outcome.vectors, {});
    const Tensor other = model.forward(second.rows, true, {});
    TrainRun run;
    run.last = true;
    model.backward(other, run);
  }
  for (const Parameter& parameter : model.parameters()) {
    outcome.gradients.push_back(parameter.gradient.clone());
  }
  return outcome;
}

Outcome one_batch(TrainableModel& model, std::initializer_list<size_t> lengths) {
  const Texts texts(lengths);
  model.zero_gradients();
  Outcome outcome;
  outcome.vectors = model.forward(texts.rows, true, {});
  TrainRun run;
  run.last = true;
  model.backward(outcome.vectors, run);
  for (const Parameter& parameter : model.parameters()) {
    outcome.gradients.push_back(parameter.gradient.clone());
  }
  return outcome;
}

double distance(const Tensor& a, const Tensor& b) {
  const auto x = as_doubles(a), y = as_doubles(b);
  double most = x.size() == y.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    most = std::max(most, std::abs(x[i] - y[i]));
  }
  return most;
}

TEST_CASE("rows are shared by their tokens") {
  const Texts texts{2, 2, 2, 2, 8};
  using Parts = std::vector<size_t>;
  CHECK(share_rows(texts.rows, 1) == Parts{0, 5});
  CHECK(share_rows(texts.rows, 2) == Parts{0, 4, 5});
  CHECK(share_rows(texts.rows, 4) == Parts{0, 2, 4, 4, 5});
  CHECK(share_rows(Texts{3}.rows, 3) == Parts{0, 0, 1, 1});
}

TEST_CASE("ranks together compute what one process does") {
  for (const bool padded : {false, true}) {
    const auto alone = make_model(padded);
    const Outcome expected = two_batches(*alone), expected_one = one_batch(*alone, {6, 5, 3});
    for (const int size : {2, 3, 4}) {
      CAPTURE(padded);
      CAPTURE(size);
      std::vector<Outcome> all(static_cast<size_t>(size)), ones(all.size());
      const auto errors = run_ranks(size, [&](Communicator& ranks) {
        const auto model = make_parallel_model(make_model(padded), ranks);
        const auto rank = static_cast<size_t>(ranks.rank());
        all[rank] = two_batches(*model);
        ones[rank] = one_batch(*model, {6, 5, 3});
      });
      CHECK(errors == std::vector<std::string>(all.size()));
      for (size_t rank = 0; rank < all.size(); ++rank) {
        CHECK(identical(all[rank].vectors, expected.vectors));
        for (size_t i = 0; i < expected.gradients.size(); ++i) {
          CHECK(distance(all[rank].gradients[i], expected.gradients[i]) < 1e-13);
          CHECK(distance(ones[rank].gradients[i], expected_one.gradients[i]) < 1e-13);
          CHECK(identical(all[rank].gradients[i], all[0].gradients[i]));
        }
      }
    }
  }
}

TEST_CASE("gradients are complete when the listener is told so") {
  const Texts texts{3, 1, 4};
  struct Copies final : GradientListener {
    explicit Copies(TrainableModel& m) : model(m), copies(m.parameters().size()) {}
    void complete(size_t i) override {
      CHECK_FALSE(copies[i].defined());
      copies[i] = model.parameters()[i].gradient.clone();
    }
    TrainableModel& model;
    std::vector<Tensor> copies;
  };
  const auto model = make_model(false);
  for (const bool fresh : {true, false}) {  // written, or added to what is there
    Copies copies(*model);
    if (fresh) model->zero_gradients();
    const Tensor vectors = model->forward(texts.rows, true, {});
    TrainRun run;
    run.listener = &copies;
    model->backward(vectors, run);
    for (size_t i = 0; i < copies.copies.size(); ++i) {
      REQUIRE(copies.copies[i].defined());
      CHECK(identical(copies.copies[i], model->parameters()[i].gradient));
    }
  }
}

TEST_CASE("other weights are noticed") {
  const auto errors = run_ranks(3, [](Communicator& ranks) {
    Parameter a{"a", Tensor::from<float>({3}, {1, 2, 3}), {}};
    const std::vector<Parameter*> parameters = {&a};
    check_equal_parameters(parameters, ranks);
    if (ranks.rank() == 2) a.value.data<float>()[2] = std::nextafter(3.0f, 4.0f);
    check_equal_parameters(parameters, ranks);
  });
  CHECK(errors == std::vector<std::string>(3, "rank 2 has other weights than rank 0"));
}

TEST_CASE("wrong calls are errors") {
  run_ranks(2, [](Communicator& ranks) {
    const auto model = make_parallel_model(make_model(false), ranks);
    CHECK_THROWS_AS(model->forward({}, true, {}), Error);
    CHECK_THROWS_AS(model->backward(Tensor(DType::kFloat64, {1, kDim}), {}), Error);
  });
}

}  // namespace
}  // namespace hugot::test
