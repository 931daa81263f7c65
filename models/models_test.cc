#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/testing.h"
#include "kernels/cpu/isa.h"
#include "kernels/registry.h"
#include "models/convert.h"
#include "models/encoder.h"
#include "models/encoder_output.h"
#include "models/image_encoder.h"
#include "models/model_directory.h"
#include "models/pooling.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

const fs::path kTinyBert = "tests/data/tiny-bert";

// The text of the error that `function` throws, with its code in front.
template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
  return "no error";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("pooling: every mode, by hand") {
  const std::vector<float> rows = {1, -2, 3, 4, -5, 6};  // three tokens of two numbers
  const auto pooled = [&](Pooling mode, int64_t skip) {
    std::vector<double> out(2);
    pool({&mode, 1}, rows.data(), 3, 2, skip, out.data());
    return out;
  };
  using Vector = std::vector<double>;
  CHECK(pooled(Pooling::kMean, 0) == Vector{-1.0 / 3, 8.0 / 3});
  CHECK(pooled(Pooling::kCls, 0) == Vector{1, -2});
  CHECK(pooled(Pooling::kMax, 0) == Vector{3, 6});
  CHECK(pooled(Pooling::kLast, 0) == Vector{-5, 6});
  CHECK(pooled(Pooling::kMeanSqrtLen, 0) == Vector{-1 / std::sqrt(3.0), 8 / std::sqrt(3.0)});
  CHECK(pooled(Pooling::kWeightedMean, 0) == Vector{(1 + 6 - 15) / 6.0, (-2 + 8 + 18) / 6.0});

  // A prompt of one token; [CLS] counts all the same.
  CHECK(pooled(Pooling::kMean, 1) == Vector{-1, 5});
  CHECK(pooled(Pooling::kCls, 1) == Vector{1, -2});
  CHECK(pooled(Pooling::kWeightedMean, 1) == Vector{(6 - 15) / 5.0, (8 + 18) / 5.0});

  // Nothing but a prompt.
  CHECK(pooled(Pooling::kMean, 3) == Vector{0, 0});
  CHECK(pooled(Pooling::kMax, 9) == Vector{0, 0});
}

TEST_CASE("pooling: modes are concatenated") {
  const std::vector<float> rows = {1, 2, 3, 4};
  const std::vector<Pooling> modes = {Pooling::kCls, Pooling::kMean};
  std::vector<double> out(4);
  pool(modes, rows.data(), 2, 2, 0, out.data());
  CHECK(out == std::vector<double>{1, 2, 2, 3});
}

TEST_CASE("normalize_l2 divides by at least 1e-12") {
  std::vector<double> vector = {3, 4};
  normalize_l2(vector);
  CHECK(vector == std::vector<double>{0.6, 0.8});
  vector = {0, 0};
  normalize_l2(vector);
  CHECK(vector == std::vector<double>{0, 0});
  vector = {1e-14, 0};
  normalize_l2(vector);
  CHECK(vector[0] == doctest::Approx(0.01));
}

TEST_CASE("Dense: a linear layer with activation") {
  const TemporaryDirectory folder;
  const auto write_config = [&](const std::string& activation) {
    write_file_atomically(folder.path() / "config.json",
                          R"({"activation_function": "torch.nn.modules.)" + activation + "\"}");
  };
  const std::string header =
      R"({"linear.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("linear.bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";
  std::string file;
  append_number(file, uint64_t{header.size()});
  file += header;
  for (const float x : {2.0f, -1.0f, 0.5f}) append_number(file, x);
  write_config("linear.Identity");
  CHECK(contains(error_of([&] { Dense dense(folder.path()); }), "model.safetensors"));
  write_file_atomically(folder.path() / "model.safetensors", file);

  const std::vector<double> input = {3, 7};
  const Dense identity(folder.path());
  CHECK(identity.inputs() == 2);
  CHECK(identity.outputs() == 1);
  CHECK(identity.apply(input) == std::vector<double>{-0.5});
  write_config("activation.Tanh");
  CHECK(Dense(folder.path()).apply(input)[0] == doctest::Approx(std::tanh(-0.5)));
  write_config("activation.ReLU");
  CHECK(Dense(folder.path()).apply(input)[0] == 0);
  write_config("activation.Mish");
  CHECK(contains(error_of([&] { Dense dense(folder.path()); }), "Mish"));
}

TEST_CASE("pooling_from_name knows the names of the command line") {
  CHECK(pooling_from_name("mean-sqrt-len") == Pooling::kMeanSqrtLen);
  CHECK(contains(error_of([] { pooling_from_name("avg"); }), "weighted-mean"));
}

TEST_CASE("model directory: what the files say") {
  const auto directory = ModelDirectory::read(kTinyBert);
  CHECK(directory.model_type == "bert");
  CHECK(directory.hidden_size == 32);
  CHECK(directory.positions == 40);
  CHECK(directory.labels == std::vector<std::string>{"LABEL_0", "LABEL_1"});
  CHECK(directory.max_sequence_length == 32);
  CHECK(directory.max_length(0) == 32);
  CHECK(directory.max_length(40) == 40);
  CHECK(contains(error_of([&] { directory.max_length(41); }), "40 positions"));
  REQUIRE(directory.modules.size() == 1);
  CHECK(directory.modules[0].pooling == std::vector<Pooling>{Pooling::kMean});
  CHECK(directory.prompt("") == "");
  CHECK(directory.prompt("query") == "query: ");
  CHECK(contains(error_of([&] { directory.prompt("passage"); }), "the model has query"));
}

TEST_CASE("model directory: limits of families with offset positions, and none at all") {
  const TemporaryDirectory folder;
  write_file_atomically(folder.path() / "config.json",
                        R"({"model_type": "roberta", "max_position_embeddings": 514,
                            "pad_token_id": 1})");
  CHECK(ModelDirectory::read(folder.path()).max_length(0) == 512);
  write_file_atomically(folder.path() / "tokenizer_config.json",
                        R"({"model_max_length": 1000000000000000019884624838656})");
  CHECK(ModelDirectory::read(folder.path()).max_length(0) == 512);
  write_file_atomically(folder.path() / "config.json", "{}");
  CHECK(ModelDirectory::read(folder.path()).max_length(0) == 0);
  write_file_atomically(folder.path() / "tokenizer_config.json", R"({"model_max_length": 77})");
  CHECK(ModelDirectory::read(folder.path()).max_length(0) == 77);
}

TEST_CASE("model directory: modules and both spellings of pooling") {
  const TemporaryDirectory folder;
  const auto pooling_of = [&](std::string_view config) {
    fs::create_directories(folder.path() / "1_Pooling");
    write_file_atomically(folder.path() / "1_Pooling" / "config.json", config);
    return ModelDirectory::read(folder.path()).modules.at(0).pooling;
  };
  CHECK(pooling_of(R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true})") ==
        std::vector<Pooling>{Pooling::kCls, Pooling::kMean});
  CHECK(pooling_of(R"({"pooling_mode": "lasttoken"})") == std::vector<Pooling>{Pooling::kLast});
  CHECK(pooling_of(R"({"pooling_mode": ["mean", "max"]})") ==
        std::vector<Pooling>{Pooling::kMax, Pooling::kMean});
  CHECK(contains(error_of([&] { pooling_of(R"({"pooling_mode": "median"})"); }), "median"));
  CHECK(contains(error_of([&] { pooling_of("{}"); }), "no pooling mode"));
  CHECK(contains(error_of([&] { pooling_of("{"); }), "1_Pooling/config.json"));

  write_file_atomically(folder.path() / "modules.json",
                        R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
                            {"path": "1_CNN", "type": "sentence_transformers.models.CNN"}])");
  CHECK(contains(error_of([&] { ModelDirectory::read(folder.path()); }), "models.CNN"));
}

TEST_CASE("model directory: finding the graph") {
  const TemporaryDirectory folder;
  const auto find = [&](const std::string& name) {
    return ModelDirectory::read(folder.path()).onnx_file(name).lexically_relative(folder.path());
  };
  CHECK(contains(error_of([&] { find(""); }), "no .onnx file"));
  fs::create_directories(folder.path() / "a");
  write_file_atomically(folder.path() / "a" / "x.onnx", "");
  CHECK(find("") == "a/x.onnx");
  write_file_atomically(folder.path() / "y.onnx", "");
  CHECK(contains(error_of([&] { find(""); }), "a/x.onnx y.onnx"));
  CHECK(find("a/x.onnx") == "a/x.onnx");
  CHECK(contains(error_of([&] { find("z.onnx"); }), "no file z.onnx; it has"));
  write_file_atomically(folder.path() / "model.onnx", "");
  CHECK(find("") == "model.onnx");
  CHECK(contains(error_of([&] { ModelDirectory::read(folder.path() / "y.onnx"); }), "is a file"));
}

TEST_CASE("find_model: directories, then names below the folder") {
  const TemporaryDirectory folder;
  fs::create_directories(folder.path() / "owner_name");
  CHECK(find_model("owner/name", folder.path()) == folder.path() / "owner_name");
  CHECK(find_model(folder.path(), {}) == folder.path());
  CHECK(contains(error_of([&] { find_model("owner/other", folder.path()); }), "owner_other"));
}

TEST_CASE("convert: a graph that the encoder runs, and no half-made directories") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  const fs::path output = folder.path() / "tiny";
  convert_model(kTinyBert, output, ops);
  CHECK(fs::exists(output / "tokenizer.json"));
  CHECK(fs::exists(output / "1_Pooling" / "config.json"));
  CHECK(!fs::exists(output / "model.safetensors"));

  const auto encoder = Encoder::load(ModelDirectory::read(output).onnx_file(""), ops, {});
  CHECK(encoder->per_token());
  INFO(encoder->why_not_ragged());
  CHECK(encoder->ragged_plan() != nullptr);

  // One row of each text is the row that all of them have among others.
  const std::vector<std::vector<int32_t>> ids = {{3, 1, 2}, {5}, {2, 2, 7, 1, 4}};
  ThreadPool threads(2);
  const auto run = [&](EncoderRows rows) {
    std::vector<std::vector<float>> results(ids.size());
    std::vector<EncoderText> texts;
    for (const auto& text : ids) texts.push_back({text});
    const auto chosen =
        Encoder::load(ModelDirectory::read(output).onnx_file(""), ops, {.rows = rows});
    CHECK(chosen->per_token());
    chosen->run(texts, threads, [&](size_t text, const float* data, int64_t count, int64_t width) {
      CHECK(count == (rows == EncoderRows::kAll ? static_cast<int64_t>(ids[text].size()) : 1));
      results[text].assign(data, data + count * width);
    });
    return results;
  };
  const auto all = run(EncoderRows::kAll);
  const auto first = run(EncoderRows::kFirst), last = run(EncoderRows::kLast);
  for (size_t i = 0; i < ids.size(); ++i) {
    CHECK(std::equal(first[i].begin(), first[i].end(), all[i].begin()));
    CHECK(std::equal(last[i].rbegin(), last[i].rend(), all[i].rbegin()));
  }

  CHECK(contains(error_of([&] { convert_model(kTinyBert, output, ops); }), "--force"));
  write_file_atomically(output / "stale", "");
  convert_model(kTinyBert, output, ops, {.force = true});
  CHECK(!fs::exists(output / "stale"));
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path())) ++entries;
  CHECK(entries == 1);
}

TEST_CASE("convert: weights in fewer bits compute what the precision computes") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  const fs::path full = folder.path() / "full";
  convert_model(kTinyBert, full, ops);
  const std::vector<int32_t> ids = {3, 1, 2, 9, 4};
  ThreadPool threads(1);
  const auto run = [&](const fs::path& directory, Precision precision) {
    const auto encoder =
        Encoder::load(ModelDirectory::read(directory).onnx_file(""), ops, {.precision = precision});
    CHECK(encoder->precision() != Precision::kModel);
    std::vector<float> rows;
    const EncoderText text{ids};
    encoder->run(std::span(&text, 1), threads,
                 [&](size_t, const float* data, int64_t count, int64_t width) {
                   rows.assign(data, data + count * width);
                 });
    return rows;
  };
  for (const Precision precision : {Precision::kBFloat16, Precision::kInt8}) {
    CAPTURE(precision_name(precision));
    // From weights and from a graph.
    for (const fs::path& source : {kTinyBert, full}) {
      const fs::path narrow = folder.path() / (std::string(precision_name(precision)) + "-from-" +
                                               source.filename().string());
      convert_model(source, narrow, ops, {.precision = precision});
      CHECK(fs::file_size(narrow / "onnx/model.onnx") < fs::file_size(full / "onnx/model.onnx"));
      const auto actual = run(narrow, Precision::kModel);
      CHECK(actual != run(full, Precision::kModel));
      CHECK(actual == run(full, precision));
      // Where the processor does not multiply bfloat16 numbers it is computed in float32 anyway.
      const bool same =
          precision == Precision::kBFloat16 && cpu::active_kernels().round_to_bf16 == nullptr;
      CHECK((run(narrow, Precision::kFloat32) == actual) == same);
    }
  }
  CHECK(contains(error_of([&] {
                   convert_model(full, folder.path() / "none", ops,
                                 {.precision = Precision::kInt8, .onnx_filename = "none.onnx"});
                 }),
                 "none.onnx"));
}

TEST_CASE("encoder: lower precision is an error where texts run one by one") {
  const OpRegistry ops = builtin_ops();
  LoadedModel model;
  Node node;
  node.op_type = "Identity";
  node.op = &ops.get("", "Identity", 20);
  node.inputs = {model.graph.add_input("input_ids", Fact::of(DType::kInt64, {1, 4}))};
  node.outputs = {model.graph.add_value("y")};
  model.graph.outputs = node.outputs;
  model.graph.add_node(std::move(node));
  const std::string error =
      error_of([&] { Encoder::load(std::move(model), ops, {.precision = Precision::kInt8}); });
  CHECK(contains(error, "int8"));
  CHECK(contains(error, "input_ids"));
}

// [batch, 2, 4, size] pixels, summed up by a matrix.
LoadedModel image_model(const OpRegistry& ops, const Dim& batch, const Dim& size) {
  LoadedModel model;
  Graph& graph = model.graph;
  const auto add = [&](const char* op_type, std::vector<ValueId> inputs, Attributes attributes) {
    Node node;
    node.op_type = op_type;
    node.opset = 12;
    node.op = &ops.get("", op_type, 12);
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    node.outputs = {graph.add_value(op_type)};
    const ValueId output = node.outputs[0];
    graph.add_node(std::move(node));
    return output;
  };
  const ValueId pixels =
      graph.add_input("pixel_values", Fact::of(DType::kFloat32, {batch, 2, 4, size}));
  const ValueId ids =
      graph.add_input("input_ids", Fact::of(DType::kInt64, {batch, Dim::symbol("s")}));
  const ValueId sums =
      add("ReduceSum", {pixels}, {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", int64_t{0}}});
  Tensor matrix = Tensor::from<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  graph.outputs = {add("MatMul", {sums, graph.add_initializer("w", std::move(matrix))}, {}),
                   add("Cast", {ids}, {{"to", int64_t{1}}})};
  return model;
}

TEST_CASE("image encoder: each image by itself, in batches and one by one") {
  const OpRegistry ops = builtin_ops();
  const Dim free = Dim::symbol("batch"), any = Dim::symbol("width");
  CHECK(takes_images(image_model(ops, free, 3).graph, ""));
  CHECK(takes_images(image_model(ops, free, 3).graph, "MatMul"));
  CHECK(!takes_images(image_model(ops, free, 3).graph, "Cast"));
  std::vector<std::vector<float>> pixels;
  for (int i = 0; i < 7; ++i) pixels.emplace_back(24, static_cast<float>(i));
  const std::vector<std::span<const float>> images(pixels.begin(), pixels.end());
  // A fixed batch does not run raggedly.
  for (const Dim& batch : {free, Dim(1)}) {
    for (const Dim& size : {Dim(3), any}) {
      const auto encoder =
          ImageEncoder::load(image_model(ops, batch, size), ops, {.image = {2, 4, 3}});
      CHECK(encoder->image() == Shape{2, 4, 3});
      CHECK(encoder->ragged_plan() != nullptr);
      for (const int threads : {1, 2}) {
        ThreadPool pool(threads);
        for (const size_t count : {size_t{0}, size_t{1}, images.size()}) {
          std::vector<int> seen(images.size());
          encoder->run(std::span(images).first(count), pool,
                       [&](size_t i, const float* data, int64_t rows, int64_t width) {
                         REQUIRE(rows * width == 3);
                         ++seen[i];
                         const float sum = 12 * static_cast<float>(i);
                         for (int k = 0; k < 3; ++k) {
                           CHECK(data[k] == sum * static_cast<float>(5 + 2 * k));
                         }
                       });
          CHECK(std::count(seen.begin(), seen.end(), 1) == static_cast<int64_t>(count));
        }
      }
      ThreadPool pool(1);
      const std::span<const float> small = images[0].first(5);
      CHECK(contains(error_of([&] { encoder->run(std::span(&small, 1), pool, {}); }), "5 numbers"));
    }
  }
  const auto load = [&](const Dim& batch, const Dim& size, const ImageEncoderOptions& options) {
    return error_of([&] { ImageEncoder::load(image_model(ops, batch, size), ops, options); });
  };
  CHECK(contains(load(free, any, {}), "size has to be given"));
  CHECK(contains(load(free, 3, {.image = {2, 4, 5}}), "[2,4,5]"));
  CHECK(contains(load(free, 3, {.output = "Cast"}), "input_ids"));
  CHECK(contains(load(2, 3, {}), "batch"));
}

TEST_CASE("convert: clear errors") {
  const TemporaryDirectory folder;
  const OpRegistry ops = builtin_ops();
  const fs::path source = folder.path() / "source";
  fs::copy(kTinyBert, source, fs::copy_options::recursive);
  const auto convert = [&] { convert_model(source, folder.path() / "out", ops); };

  fs::resize_file(source / "model.safetensors", 1000);
  CHECK(contains(error_of(convert), "model.safetensors"));
  fs::remove(source / "model.safetensors");
  CHECK(contains(error_of(convert), "no such file"));
  write_file_atomically(source / "config.json", R"({"model_type": "gpt2"})");
  CHECK(contains(error_of(convert), "gpt2"));
  CHECK(contains(error_of([&] { convert_model(source, source, ops, {.force = true}); }),
                 "same directory"));
  CHECK(!fs::exists(folder.path() / "out"));
}

}  // namespace
}  // namespace hugot
