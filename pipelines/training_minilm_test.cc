// The first batch of the real all-MiniLM-L6-v2 against torch in float64: loss and the norm of the
// gradient of every tensor.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/file.h"
#include "pipelines/training_setup.h"
#include "tests/harness.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kModel = "models/all-MiniLM-L6-v2";
const fs::path kShared = "../shared/data";

double norm(const Tensor& x) {
  const std::vector<double> values = test::as_doubles(x);
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

void check_first_batch(const std::string& loss, const fs::path& rows, size_t batch) {
  CAPTURE(loss);
  const json golden = json::parse(read_file(kShared / "training-golden/minilm/golden.json"));
  const json& expected = golden.at(loss);
  TrainingOptions options;
  options.model = kModel;
  options.train_file = rows;
  options.output = "unused";
  options.loss = loss;
  options.max_length = golden.at("max_length");
  ThreadPool pool(2);
  TrainingSetup setup(options, pool);
  const TrainRun run = {.pool = &pool};
  std::vector<size_t> first(batch);
  std::iota(first.begin(), first.end(), size_t{0});
  std::vector<TrainRow> texts;
  for (size_t column = 0; column < 2; ++column) {
    for (const size_t row : first) texts.push_back(setup.train().text(row, column));
  }
  const Tensor vectors = setup.model().forward(texts, true, run);
  const Shape half = vectors.shape().with(0, static_cast<int64_t>(batch));
  const size_t bytes = vectors.bytes() / 2;
  const auto* data = static_cast<const std::byte*>(vectors.raw());
  const std::vector<Tensor> columns = {Tensor(vectors.dtype(), half, data),
                                       Tensor(vectors.dtype(), half, data + bytes)};
  const Loss::Result result =
      setup.loss().run(columns, setup.train().labels(first, vectors.dtype()), run);
  const double want = expected.at("loss")[0];
  CHECK(std::abs(result.value - want) <= 1e-5 * std::max(1.0, want));
  Tensor gradient(vectors.dtype(), vectors.shape());
  for (size_t i = 0; i < 2; ++i) {
    std::memcpy(static_cast<std::byte*>(gradient.raw()) + i * bytes, result.gradients[i].raw(),
                bytes);
  }
  setup.model().zero_gradients();
  setup.model().backward(gradient, run);
  const double total = expected.at("grad_norm")[0];
  CHECK(std::abs(gradient_norm(setup.parameters(), &pool) / total - 1) <= 1e-5);
  // By torch's names: graphs call weights that they hold transposed otherwise.
  const json names = json::parse(read_file(kShared / "minilm/parameter_names.json"));
  std::map<std::string, double> norms;
  for (const auto& [name, value] : expected.at("gradient_norm_per_tensor").items()) {
    norms.emplace(names.at(name).at("torch"), value);
  }
  const std::vector<std::string> zero = expected.at("zero_gradient");
  CHECK(setup.model().parameters().size() == norms.size());
  double worst = 0;
  for (const Parameter& parameter : setup.model().parameters()) {
    CAPTURE(parameter.name);
    constexpr std::string_view kTransposed = ".weight_t";
    std::string name = names.contains(parameter.name)
                           ? names.at(parameter.name).at("torch").get<std::string>()
                           : parameter.name;
    if (name.ends_with(kTransposed)) name.resize(name.size() - 2);
    REQUIRE(norms.contains(name));
    const double length = norm(parameter.gradient), wanted = norms.at(name);
    if (std::find(zero.begin(), zero.end(), name) != zero.end()) {
      CHECK(length <= 1e-6 * total);
    } else {
      worst = std::max(worst, std::abs(length / wanted - 1));
      CHECK(std::abs(length / wanted - 1) <= 1e-4);
    }
  }
  MESSAGE(loss, ": ", norms.size(), " tensors, norms of gradients off by ", worst);
}

}  // namespace

TEST_CASE("gradients of all-MiniLM-L6-v2") {
  if (!fs::exists(kShared / "training-golden/minilm") || !fs::exists(kModel / "tokenizer.json")) {
    MESSAGE("skipped: there is no ", kModel.string(), ", or no ", kShared.string());
    return;
  }
  check_first_batch("cosine_similarity", kShared / "hugot/semanticSimilarityTest.jsonl", 32);
  check_first_batch("mnrl", kShared / "training-golden/minilm/pairs64.jsonl", 64);
}

}  // namespace hugot
