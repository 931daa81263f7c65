#include "models/new_model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "base/testing.h"
#include "graph/exec/executor.h"
#include "graph/op.h"
#include "kernels/registry.h"
#include "models/convert.h"
#include "models/encoder.h"
#include "models/model_directory.h"
#include "models/narrow_weights.h"
#include "models/pooling.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

const fs::path kTinyBert = "tests/data/tiny-bert";

NewModelOptions small_options() {
  NewModelOptions options;
  options.layers = 2;
  options.hidden = 24;
  options.heads = 3;
  options.intermediate = 40;
  options.max_length = 16;
  options.dim = 10;
  options.normalize = true;
  options.tokenizer = kTinyBert;
  return options;
}

std::string bytes_of(const fs::path& folder) {
  std::string bytes;
  for (const char* name : {"onnx/model.onnx", "model.safetensors", "2_Dense/model.safetensors",
                           "config.json", "modules.json"}) {
    bytes += read_file(folder / name);
  }
  return bytes;
}

TEST_CASE("new: a model directory with everything in it") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  const fs::path path = folder.path() / "below" / "new";
  new_model(small_options(), path, ops);

  const ModelDirectory directory = ModelDirectory::read(path);
  CHECK(directory.model_type == "bert");
  CHECK(directory.hidden_size == 24);
  CHECK(directory.positions == 16);
  CHECK(directory.max_length(0) == 16);
  CHECK(directory.tokenizer_limit == 16);
  REQUIRE(directory.modules.size() == 3);
  CHECK(directory.modules[0].pooling == std::vector<Pooling>{Pooling::kMean});
  CHECK(directory.modules[1].kind == SentenceModule::Kind::kDense);
  CHECK(directory.modules[2].kind == SentenceModule::Kind::kNormalize);
  const Dense dense(directory.modules[1].folder);
  CHECK(dense.inputs() == 24);
  CHECK(dense.outputs() == 10);
  CHECK(read_file(path / "tokenizer.json") == read_file(kTinyBert / "tokenizer.json"));
  const auto encoder = Encoder::load(directory.onnx_file(""), ops, {});
  INFO(encoder->why_not_ragged());
  CHECK(encoder->ragged_plan() != nullptr);

  // The safetensors file holds the same model.
  convert_model(path, folder.path() / "converted", ops);
  CHECK(read_file(folder.path() / "converted" / "onnx/model.onnx") ==
        read_file(path / "onnx/model.onnx"));
}

TEST_CASE("new: weights as they are said to be, by the seed") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  NewModelOptions options = small_options();
  new_model(options, folder.path() / "a", ops);
  new_model(options, folder.path() / "b", ops);
  CHECK(bytes_of(folder.path() / "a") == bytes_of(folder.path() / "b"));
  options.seed = 1;
  new_model(options, folder.path() / "c", ops);
  CHECK(bytes_of(folder.path() / "a") != bytes_of(folder.path() / "c"));

  double sum = 0, squares = 0, largest = 0;
  int64_t count = 0;
  for (const auto& [key, tensor] : read_safetensors(folder.path() / "a" / "model.safetensors")) {
    const std::string& name = key;  // a structured binding cannot be captured
    CAPTURE(name);
    for (int64_t i = 0; i < tensor.size(); ++i) {
      const double x = tensor.data<float>()[i];
      if (tensor.rank() == 1) {
        CHECK(x == (name.ends_with("LayerNorm.weight") ? 1 : 0));
        continue;
      }
      sum += x;
      squares += x * x;
      largest = std::max(largest, std::abs(x));
      ++count;
    }
  }
  CHECK(count > 8000);
  CHECK(largest <= 0.04);
  CHECK(largest > 0.0395);
  CHECK(std::abs(sum / static_cast<double>(count)) < 0.0006);
  // The deviation of a normal distribution cut at two deviations is 0.8796 of its own.
  CHECK(std::sqrt(squares / static_cast<double>(count)) ==
        doctest::Approx(0.02 * 0.8796).epsilon(0.02));
}

TEST_CASE("new: what makes no model is refused, and nothing is left") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  const auto error_with = [&](const auto& change) {
    NewModelOptions options = small_options();
    change(options);
    const std::string error = message_of([&] { new_model(options, folder.path() / "new", ops); });
    CHECK(fs::is_empty(folder.path()));
    return error;
  };
  CHECK(error_with([](auto& o) { o.architecture = "gpt2"; }).find("'gpt2'") != std::string::npos);
  CHECK(error_with([](auto& o) { o.heads = 5; }) == "hidden 24 is no multiple of heads 5");
  CHECK(error_with([](auto& o) { o.layers = 0; }).find("layers 0") == 0);
  CHECK(error_with([](auto& o) { o.max_length = 2; }).find("no room") != std::string::npos);
  CHECK(error_with([](auto& o) { o.pooling = Pooling::kMax; }).find("mean or cls") !=
        std::string::npos);
  CHECK(error_with([](auto& o) { o.tokenizer = "none"; }).find("none") != std::string::npos);

  // Ids with gaps.
  const TemporaryDirectory tokenizer;
  auto json = nlohmann::json::parse(read_file(kTinyBert / "tokenizer.json"));
  json["model"]["vocab"]["query"] = 1000;
  write_file_atomically(tokenizer.path() / "tokenizer.json", json.dump());
  CHECK(error_with([&](auto& o) { o.tokenizer = tokenizer.path(); }).find("gaps") !=
        std::string::npos);

  new_model(small_options(), folder.path() / "new", ops);
  CHECK(message_of([&] {
          new_model(small_options(), folder.path() / "new", ops);
        }).find("--force") != std::string::npos);
  NewModelOptions options = small_options();
  options.force = true;
  options.tokenizer = folder.path() / "new";
  CHECK(message_of([&] {
          new_model(options, folder.path() / "new", ops);
        }).find("same directory") != std::string::npos);
  options.tokenizer = kTinyBert / "tokenizer.json";
  options.dim = 0;
  new_model(options, folder.path() / "new", ops);
  CHECK(ModelDirectory::read(folder.path() / "new").modules.size() == 2);
}

TEST_CASE("narrow_embeddings: rows are widened behind the Gather") {
  const OpRegistry ops = builtin_ops();
  constexpr int64_t kRows = 40, kWidth = 30;
  Tensor table(DType::kFloat32, {kRows, kWidth});
  for (int64_t i = 0; i < table.size(); ++i) {
    table.data<float>()[i] = static_cast<float>(std::sin(0.1 * static_cast<double>(i * i)));
  }
  const auto gather = [&] {
    Graph graph;
    graph.opsets[""] = 13;
    const ValueId ids = graph.add_input("ids", Fact::of(DType::kInt64, {Dim::symbol("n")}));
    Node node;
    node.op_type = "Gather";
    node.opset = 13;
    node.op = ops.find("", "Gather", 13);
    node.inputs = {graph.add_initializer("table", table), ids};
    node.outputs = {graph.add_value("rows")};
    graph.outputs = node.outputs;
    infer_node(graph, graph.add_node(std::move(node)));
    return graph;
  };
  const Tensor ids = Tensor::from<int64_t>({3}, {39, 0, 7});
  for (const Precision precision : {Precision::kInt8, Precision::kBFloat16}) {
    Graph graph = gather();
    CHECK(narrow_weights(graph, precision, ops) == 0);
    CHECK(narrow_embeddings(graph, precision, ops) == 1);
    CHECK(graph.dump().find(precision == Precision::kInt8 ? "int8" : "bfloat16") !=
          std::string::npos);
    const Tensor rows = Executor(Plan::compile(graph)).run(std::span(&ids, 1))[0];
    for (int64_t r = 0; r < 3; ++r) {
      const float* const from = table.data<float>() + ids.data<int64_t>()[r] * kWidth;
      float largest = 0;
      for (int64_t c = 0; c < kWidth; ++c) largest = std::max(largest, std::abs(from[c]));
      const float scale = largest / 127;
      for (int64_t c = 0; c < kWidth; ++c) {
        const float expected = precision == Precision::kInt8
                                   ? std::nearbyint(from[c] * (1 / scale)) * scale
                                   : static_cast<float>(BFloat16(from[c]));
        CHECK(rows.data<float>()[r * kWidth + c] == expected);
      }
    }
  }

  // A table that is multiplied by, too, stays.
  Graph shared = gather();
  shared.outputs.push_back(shared.find("table"));
  CHECK(narrow_embeddings(shared, Precision::kInt8, ops) == 0);
}

TEST_CASE("convert: embeddings in fewer bits") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  const fs::path weights = folder.path() / "weights", both = folder.path() / "both";
  convert_model(kTinyBert, weights, ops, {.precision = Precision::kInt8});
  convert_model(kTinyBert, both, ops, {.precision = Precision::kInt8, .embeddings = true});
  CHECK(fs::file_size(both / "onnx/model.onnx") < fs::file_size(weights / "onnx/model.onnx"));
  const auto encoder = Encoder::load(ModelDirectory::read(both).onnx_file(""), ops, {});
  CHECK(encoder->ragged_plan() != nullptr);
  CHECK(encoder->precision() == Precision::kInt8);
  CHECK(message_of([&] {
          convert_model(kTinyBert, folder.path() / "no", ops, {.embeddings = true});
        }).find("int8 or bf16") != std::string::npos);
}

}  // namespace
}  // namespace hugot
