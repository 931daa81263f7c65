#include "onnx/exporter.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "base/testing.h"
#include "onnx/loader.h"
#include "onnx/proto.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using onnx_proto::ModelProto;

const fs::path kData = "tests/data/onnx";

ModelProto parse(const fs::path& path) {
  ModelProto proto;
  REQUIRE(proto.ParseFromString(read_file(path)));
  return proto;
}

const Tensor& weight_of(const LoadedModel& model, const char* name) {
  return *model.graph.constant(model.graph.find(name));
}

}  // namespace

TEST_CASE("onnx: a model without changes is written back byte for byte") {
  const TemporaryDirectory directory;
  for (const char* name :
       {"mlp.onnx", "dtypes.onnx", "control.onnx", "features.onnx", "external.onnx"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(kData / name, {});
    write_updated_model(model, {}, directory / name);
    CHECK(read_file(directory / name) == read_file(kData / name));
  }
  CHECK(read_file(directory / "external.bin") == read_file(kData / "external.bin"));
}

TEST_CASE("onnx: changed weights replace their own bytes only") {
  const TemporaryDirectory directory;
  const LoadedModel model = load_model(kData / "mlp.onnx", {});
  Tensor weight = weight_of(model, "weight").clone();
  weight.data<float>()[5] = 42.0f;
  write_updated_model(model, {{"weight", weight}}, directory / "a.onnx");
  const std::string before = read_file(kData / "mlp.onnx");
  const std::string after = read_file(directory / "a.onnx");
  REQUIRE(after.size() == before.size());
  int different = 0;
  for (size_t i = 0; i < after.size(); ++i) different += after[i] != before[i] ? 1 : 0;
  CHECK(different <= 4);
  CHECK(identical(weight_of(load_model(directory / "a.onnx", {}), "weight"), weight));

  // float_data become raw_data, a message of another size; Constant nodes count as weights.
  const Tensor bias = Tensor::from<float>({8}, {8, 7, 6, 5, 4, 3, 2, 1});
  write_updated_model(model, {{"bias", bias}, {"limit", Tensor::scalar(3.0f)}},
                      directory / "b.onnx");
  const LoadedModel again = load_model(directory / "b.onnx", {});
  CHECK(identical(weight_of(again, "bias"), bias));
  CHECK(again.graph.node(2).at<Tensor>("value").values<float>()[0] == 3.0f);
  CHECK(again.graph.dump() == model.graph.dump());
  ModelProto expected = parse(kData / "mlp.onnx");
  auto* changed = expected.mutable_graph()->mutable_initializer(1);
  changed->clear_float_data();
  changed->set_raw_data(bias.raw(), bias.bytes());
  auto* limit = expected.mutable_graph()->mutable_node(2)->mutable_attribute(0)->mutable_t();
  limit->clear_float_data();
  const float three = 3.0f;
  limit->set_raw_data(&three, sizeof(three));
  CHECK(parse(directory / "b.onnx").SerializeAsString() == expected.SerializeAsString());

  // Over the file that is open.
  const LoadedModel own = load_model(directory / "b.onnx", {});
  write_updated_model(own, {{"weight", weight}}, directory / "b.onnx");
  CHECK(identical(weight_of(own, "weight"), weight_of(model, "weight")));
  CHECK(identical(weight_of(load_model(directory / "b.onnx", {}), "weight"), weight));
}

TEST_CASE("onnx: every element type can be changed") {
  const TemporaryDirectory directory;
  const LoadedModel model = load_model(kData / "dtypes.onnx", {});
  std::map<std::string, Tensor, std::less<>> changed;
  for (ValueId id = 0; id < static_cast<ValueId>(model.graph.value_count()); ++id) {
    const Value& value = model.graph.value(id);
    if (!value.initializer || value.fact.constant->bytes() == 0) continue;
    Tensor tensor = value.fact.constant->clone();
    if (tensor.dtype() == DType::kString) {
      tensor.data<std::string>()[1] = "another";
    } else {
      static_cast<uint8_t*>(tensor.raw())[0] ^= 1;
    }
    changed.emplace(value.name, tensor);
  }
  CHECK(changed.size() > 50);
  write_updated_model(model, changed, directory / "m.onnx");
  const LoadedModel again = load_model(directory / "m.onnx", {});
  for (const auto& item : changed) {
    CAPTURE(item.first);
    CHECK(identical(weight_of(again, item.first.c_str()), item.second));
  }
}

TEST_CASE("onnx: changed external weights") {
  const TemporaryDirectory directory;
  fs::copy(kData / "external.onnx", directory / "m.onnx");
  fs::copy(kData / "external.bin", directory / "external.bin");
  const LoadedModel model = load_model(directory / "m.onnx", {});
  Tensor v = weight_of(model, "v").clone();
  v.data<float>()[3] = -1.0f;
  // To another directory, and then in place.
  fs::create_directory(directory / "other");
  for (const fs::path& target : {directory / "other" / "n.onnx", directory / "m.onnx"}) {
    write_updated_model(model, {{"v", v}}, target);
    const LoadedModel again = load_model(target, {});
    CHECK(identical(weight_of(again, "v"), v));
    CHECK(identical(weight_of(again, "w"), weight_of(model, "w")));
    CHECK(read_file(target.parent_path() / "external.bin").size() == 323);
  }
  CHECK(weight_of(model, "v").values<float>()[3] == 19.0f);
}

TEST_CASE("onnx: updates that do not fit are refused") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "m.onnx";
  const LoadedModel model = load_model(kData / "mlp.onnx", {});
  const auto code = [&](const char* name, const Tensor& tensor) {
    return error_of([&] { write_updated_model(model, {{name, tensor}}, path); });
  };
  CHECK(code("nothing", Tensor::scalar(1.0f)) == ErrorCode::kInvalidArgument);
  CHECK(code("bias", Tensor::scalar(1.0f)) == ErrorCode::kInvalidArgument);
  CHECK(code("bias", Tensor(DType::kInt32, {8})) == ErrorCode::kInvalidArgument);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("onnx: loaded graphs can be built anew") {
  const TemporaryDirectory directory;
  for (const char* name : {"mlp.onnx", "dtypes.onnx", "control.onnx"}) {
    CAPTURE(name);
    const LoadedModel model = load_model(kData / name, {});
    Graph graph = model.graph;
    for (size_t i = 0; i < graph.outputs.size(); ++i) {
      graph.value(graph.outputs[i]).fact = model.outputs[i].fact;
    }
    const fs::path path = directory / name;
    ExportOptions options;
    options.graph_name = model.graph_name;
    options.metadata = {{"key", "value"}};
    write_model(graph, path, options);
    const LoadedModel again = load_model(path, {});
    CHECK(again.producer_name == "hugot");
    CHECK(again.metadata.at("key") == "value");
    CHECK(again.ir_version >= 8);
    REQUIRE(again.inputs.size() == model.inputs.size());
    REQUIRE(again.outputs.size() == model.outputs.size());
    for (size_t i = 0; i < again.inputs.size(); ++i) {
      CHECK(again.inputs[i].name == model.inputs[i].name);
      CHECK(again.inputs[i].fact.to_string() == model.inputs[i].fact.to_string());
    }
    CHECK(again.graph.node_count() == model.graph.node_count());
    for (ValueId id = 0; id < static_cast<ValueId>(model.graph.value_count()); ++id) {
      const Value& value = model.graph.value(id);
      if (!value.initializer) continue;
      CAPTURE(value.name);
      REQUIRE(again.graph.find(value.name) != kNoValue);
      CHECK(identical(*again.graph.constant(again.graph.find(value.name)), *value.fact.constant));
    }
  }
  // The subgraphs read outer values by name again, the weight without a copy of its own.
  const ModelProto control = parse(directory / "control.onnx");
  const auto& choice = control.graph().node(2);
  CHECK(choice.input_size() == 1);
  REQUIRE(choice.attribute_size() == 2);
  for (const auto& attribute : choice.attribute()) {
    CHECK(attribute.g().input_size() == 0);
    CHECK(attribute.g().initializer_size() == 0);
  }
}

TEST_CASE("onnx: large models get a data file") {
  const TemporaryDirectory directory;
  Graph graph;
  graph.opsets[""] = 17;
  const ValueId x = graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n"), 512}));
  Tensor big(DType::kFloat32, {512});
  std::fill_n(big.data<float>(), 512, 0.5f);
  const auto apply = [&graph](const char* op_type, ValueId input, const char* name, Tensor weight,
                              const char* output) {
    Node node;
    node.op_type = op_type;
    node.opset = 17;
    node.inputs = {input, graph.add_initializer(name, std::move(weight))};
    node.outputs = {graph.add_value(output, graph.fact(input))};
    graph.add_node(node);
    return node.outputs[0];
  };
  const ValueId s = apply("Add", x, "a", big, "s");
  const ValueId m = apply("Mul", s, "b", big.clone(), "m");
  graph.outputs = {apply("Sub", m, "c", Tensor::scalar(1.0f), "y")};

  ExportOptions options;
  options.max_inline_bytes = 4000;
  write_model(graph, directory / "m.onnx", options);
  CHECK(fs::file_size(directory / "m.onnx.data") == 4096 + 2048);
  const ModelProto proto = parse(directory / "m.onnx");
  CHECK(proto.graph().initializer(1).external_data(1).value() == "4096");
  CHECK(proto.graph().initializer(2).has_raw_data());
  const LoadedModel model = load_model(directory / "m.onnx", {});
  CHECK(identical(weight_of(model, "a"), big));
  CHECK(identical(weight_of(model, "b"), big));
  CHECK(model.inputs[0].fact.to_string() == "float32[n,512]");

  graph.node(1).opset = 18;
  CHECK(error_of([&] { write_model(graph, directory / "n.onnx"); }) == ErrorCode::kInvalidArgument);
  graph.node(1).opset = 17;
  graph.node(1).inputs[1] = graph.add_value("unknown");
  CHECK(error_of([&] { write_model(graph, directory / "n.onnx"); }) == ErrorCode::kInvalidArgument);
  CHECK_FALSE(fs::exists(directory / "n.onnx"));
}

}  // namespace hugot
