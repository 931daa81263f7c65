// Ragged mode on images: tensors of one size for every item, each as if alone, bit by bit.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/ragged_model.h"

namespace hugot {
namespace {

using test::GraphBuilder;
using test::linear;

constexpr int64_t kChannels = 3, kHeight = 8, kWidth = 12;
constexpr int64_t kHidden = 16, kHeads = 4;

ValueId transpose(GraphBuilder& b, ValueId x, std::vector<int64_t> perm) {
  return b.op("Transpose", {x}, {{"perm", std::move(perm)}});
}

// Attention as exporters write it, with a residual.
ValueId attention(GraphBuilder& b, ValueId x, uint64_t seed) {
  const auto split = [&](uint64_t s, std::vector<int64_t> perm) {
    const ValueId heads = b.op("Reshape", {linear(b, x, kHidden, kHidden, s),
                                           b.integers({0, -1, kHeads, kHidden / kHeads})});
    return transpose(b, heads, std::move(perm));
  };
  ValueId scores = b.op("MatMul", {split(seed, {0, 2, 1, 3}), split(seed + 2, {0, 2, 3, 1})});
  scores = b.op("Div", {scores, b.number(2)});
  const ValueId mixed = b.op("MatMul", {b.op("Softmax", {scores}, {{"axis", int64_t{-1}}}),
                                        split(seed + 4, {0, 2, 1, 3})});
  const ValueId joined =
      b.op("Reshape", {transpose(b, mixed, {0, 2, 1, 3}), b.integers({0, -1, kHidden})});
  return b.op("Add", {linear(b, joined, kHidden, kHidden, seed + 6), x});
}

struct ImageModel {
  std::shared_ptr<const Plan> exact;
  std::shared_ptr<const RaggedPlan> ragged;
  std::vector<std::string> log;
};

template <class Build>
ImageModel make_image_model(const Build& build) {
  GraphBuilder b(13);
  const ValueId pixels = b.graph.add_input(
      "pixel_values",
      Fact::of(DType::kFloat32, {Dim::symbol("batch"), kChannels, kHeight, Dim::symbol("width")}));
  b.graph.outputs = {build(b, pixels)};
  PassContext context{test::ops()};
  ImageModel model;
  Graph exact = b.graph;
  optimize_exact(exact, context);
  model.exact = Plan::compile(std::move(exact));
  const RaggedInput inputs[] = {{.name = "pixel_values",
                                 .kind = RaggedInput::Kind::kTensor,
                                 .shape = {kChannels, kHeight, kWidth}}};
  const int outputs[] = {0};
  context.log.clear();
  optimize_for_ragged(b.graph, inputs, outputs, context);
  model.log = context.log;
  model.ragged = RaggedPlan::compile(std::move(b.graph), {inputs[0]});
  return model;
}

std::vector<float> run_images(RaggedExecutor& executor, const std::vector<Tensor>& images,
                              ThreadPool* pool) {
  const std::vector<int64_t> lengths(images.size(), 1);
  Tensor joined(DType::kFloat32, {std::ssize(images), kChannels, kHeight, kWidth});
  float* to = joined.data<float>();
  for (const Tensor& image : images) {
    to = std::copy_n(image.data<float>(), image.size(), to);
  }
  executor.run({.lengths = lengths, .tensors = std::span(&joined, 1)}, {.pool = pool});
  const auto values = executor.output(0).values<float>();
  return {values.begin(), values.end()};
}

// 50 random batchings against every image alone, bit by bit; and alone against exact mode.
void check_images(const ImageModel& model) {
  CHECK(test::loops(*model.ragged) == 0);
  std::vector<Tensor> images;
  for (uint64_t i = 0; i < 9; ++i) {
    images.push_back(
        test::random_tensor(DType::kFloat32, {1, kChannels, kHeight, kWidth}, -1, 1, 70 + i));
  }
  RaggedExecutor executor(model.ragged);
  Executor exact(model.exact);
  std::vector<std::vector<float>> alone;
  for (const Tensor& image : images) {
    alone.push_back(run_images(executor, {image}, nullptr));
    const Tensor reference = exact.run(std::span(&image, 1))[0];
    REQUIRE(reference.size() == std::ssize(alone.back()));
    for (size_t i = 0; i < alone.back().size(); ++i) {
      CHECK(alone.back()[i] == doctest::Approx(reference.data<float>()[i]).epsilon(1e-4).scale(1));
    }
  }
  ThreadPool pool(2);
  std::mt19937_64 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<Tensor> batch;
    std::vector<float> wanted;
    for (size_t k = 0, n = 1 + random() % 10; k < n; ++k) {
      const size_t i = random() % images.size();
      batch.push_back(images[i]);
      wanted.insert(wanted.end(), alone[i].begin(), alone[i].end());
    }
    CHECK(run_images(executor, batch, round % 2 == 0 ? nullptr : &pool) == wanted);
  }
}

}  // namespace

TEST_CASE("a vision transformer runs on the rows of all images") {
  for (const bool flat : {true, false}) {
    CAPTURE(flat);
    const ImageModel model = make_image_model([&](GraphBuilder& b, ValueId pixels) {
      const ValueId patches = b.op(
          "Conv", {pixels, b.weights({kHidden, kChannels, 4, 4}, 900), b.weights({kHidden}, 901)},
          {{"strides", std::vector<int64_t>{4, 4}}});
      ValueId x = flat ? transpose(b, b.op("Reshape", {patches, b.integers({0, 0, -1})}), {0, 2, 1})
                       : b.op("Reshape",
                              {transpose(b, patches, {0, 2, 3, 1}), b.integers({0, -1, kHidden})});
      const ValueId batch = b.op("Gather", {b.op("Shape", {pixels}), b.integers({0})});
      const ValueId shape =
          b.op("Concat", {batch, b.integers({1, kHidden})}, {{"axis", int64_t{0}}});
      const ValueId token = b.op("Expand", {b.weights({1, 1, kHidden}, 902), shape});
      x = b.op("Concat", {token, x}, {{"axis", int64_t{1}}});
      x = b.op("Add", {x, b.weights({1, 7, kHidden}, 903)});
      x = attention(b, attention(b, x, 1), 50);
      const ValueId first = b.op("Gather", {x, b.integer(0)}, {{"axis", int64_t{1}}});
      return linear(b, first, kHidden, 5, 100);
    });
    const auto counts = [&](const char* what) {
      return std::count_if(model.log.begin(), model.log.end(),
                           [&](const std::string& line) { return line.starts_with(what); });
    };
    CHECK(counts("patches:") == 1);
    CHECK(counts("attention:") == 2);
    CHECK(counts(kNotFused.data()) == 0);
    check_images(model);
  }
}

TEST_CASE("as many heads as tokens, and heads of as many features") {
  const ImageModel model = make_image_model([](GraphBuilder& b, ValueId pixels) {
    const ValueId patches = b.op("Conv", {pixels, b.weights({kHidden, kChannels, 4, 6}, 900)},
                                 {{"strides", std::vector<int64_t>{4, 6}}});
    const ValueId x = transpose(b, b.op("Reshape", {patches, b.integers({0, 0, -1})}), {0, 2, 1});
    return attention(b, attention(b, x, 1), 50);
  });
  check_images(model);
}

TEST_CASE("a convolutional network runs on all images at once") {
  const ImageModel model = make_image_model([](GraphBuilder& b, ValueId pixels) {
    const auto conv = [&](ValueId x, const Shape& w, uint64_t seed, int64_t groups,
                          int64_t stride) {
      const int64_t pad = w[2] / 2;
      return b.op("Relu", {b.op("Conv", {x, b.weights(w, seed), b.weights({w[0]}, seed + 1)},
                                {{"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                                 {"strides", std::vector<int64_t>{stride, stride}},
                                 {"group", groups}})});
    };
    ValueId x = conv(pixels, {14, kChannels, 3, 3}, 1, 1, 2);
    x = b.op("Add", {x, conv(x, {14, 1, 5, 5}, 3, 14, 1)});
    x = conv(x, {20, 14, 1, 1}, 5, 1, 1);
    x = b.op("ReduceMean", {x}, {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", int64_t{0}}});
    return linear(b, x, 20, 6, 100);
  });
  check_images(model);
}

TEST_CASE("a given tensor that does not fit is an error") {
  const ImageModel model =
      make_image_model([](GraphBuilder& b, ValueId pixels) { return b.op("Relu", {pixels}); });
  RaggedExecutor executor(model.ragged);
  const int64_t lengths[] = {1, 1};
  const auto run = [&](std::span<const Tensor> tensors) {
    executor.run({.lengths = lengths, .tensors = tensors});
  };
  const Tensor one(DType::kFloat32, {1, kChannels, kHeight, kWidth});
  const Tensor wide(DType::kFloat64, {2, kChannels, kHeight, kWidth});
  CHECK_THROWS_AS(run({}), Error);
  CHECK_THROWS_AS(run(std::span(&one, 1)), Error);
  CHECK_THROWS_AS(run(std::span(&wide, 1)), Error);
}

}  // namespace hugot
