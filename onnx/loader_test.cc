#include "onnx/loader.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "base/testing.h"
#include "onnx/datum_reader.h"
#include "onnx/proto.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using onnx_proto::AttributeProto;
using onnx_proto::GraphProto;
using onnx_proto::ModelProto;
using onnx_proto::NodeProto;
using onnx_proto::TensorProto;

const fs::path kData = "tests/data/onnx";

LoadedModel load_bytes(const std::string& bytes, const OpRegistry& ops = {},
                       const LoadOptions& options = {}) {
  const auto copy = std::make_shared<const std::string>(bytes);
  return load_model(as_bytes(*copy), copy, ops, options);
}

// A graph that is nothing but y = Relu(x).
ModelProto small_model() {
  ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  GraphProto& graph = *model.mutable_graph();
  graph.set_name("small");
  graph.add_input()->set_name("x");
  graph.add_output()->set_name("y");
  NodeProto& node = *graph.add_node();
  node.set_op_type("Relu");
  node.set_name("relu");
  node.add_input("x");
  node.add_output("y");
  return model;
}

TensorProto& add_float_initializer(ModelProto& model, const std::string& name,
                                   std::vector<int64_t> dims, const std::string& raw) {
  TensorProto& tensor = *model.mutable_graph()->add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(TensorProto::FLOAT);
  for (const int64_t dim : dims) tensor.add_dims(dim);
  tensor.set_raw_data(raw);
  return tensor;
}

void add_external(TensorProto& tensor, const std::string& key, const std::string& value) {
  tensor.set_data_location(TensorProto::EXTERNAL);
  auto& entry = *tensor.add_external_data();
  entry.set_key(key);
  entry.set_value(value);
}

std::optional<ErrorCode> error_of_model(const ModelProto& model, std::string* message = nullptr) {
  return error_of([&] { load_bytes(model.SerializeAsString()); }, message);
}

}  // namespace

TEST_CASE("onnx: a model's graph, ports and description") {
  OpRegistry ops;
  ops.add({.name = "MatMul", .domain = "", .since_version = 13});
  const LoadedModel model = load_model(kData / "mlp.onnx", ops);
  CHECK(model.graph_name == "mlp");
  CHECK(model.ir_version == 8);
  CHECK(model.producer_name == "fixtures");
  CHECK(model.doc_string == "a test");
  CHECK(model.metadata.at("author") == "hugot");
  CHECK(model.graph.opsets.at("") == 17);
  CHECK(model.graph.opsets.at("unused.domain") == 3);

  REQUIRE(model.inputs.size() == 1);  // "bias" is an initializer too
  CHECK(model.inputs[0].name == "x");
  CHECK(model.inputs[0].type == "tensor(float32)");
  CHECK(model.inputs[0].fact.to_string() == "float32[batch,3,x:2,4]");
  REQUIRE(model.outputs.size() == 1);
  CHECK(model.outputs[0].name == "y");

  const Graph& graph = model.graph;
  REQUIRE(graph.node_count() == 4);
  CHECK(graph.node(0).op != nullptr);
  CHECK(graph.node(0).name == "product_node");
  CHECK(graph.node(1).op == nullptr);
  CHECK(graph.node(3).op_type == "Clip");
  CHECK(graph.node(3).opset == 17);
  CHECK(graph.node(3).inputs[1] == kNoValue);
  CHECK(graph.node(2).at<Tensor>("value").values<float>()[0] == 6.0f);
  CHECK(describe(*graph.constant(graph.find("weight"))) == "float32[4,8]");
  CHECK(graph.constant(graph.find("bias"))->values<float>()[7] == 0.875f);
  CHECK(graph.fact(graph.find("product")).dtype == DType::kUndefined);
  graph.verify("loading");
}

TEST_CASE("onnx: every element type, raw and in typed fields") {
  const LoadedModel model = load_model(kData / "dtypes.onnx", {});
  int pairs = 0;
  for (ValueId id = 0; id < static_cast<ValueId>(model.graph.value_count()); ++id) {
    const std::string& name = model.graph.value(id).name;
    if (!name.starts_with("raw_")) continue;
    CAPTURE(name);
    const Tensor* raw = model.graph.constant(id);
    const Tensor* typed = model.graph.constant(model.graph.find("typed_" + name.substr(4)));
    REQUIRE(raw != nullptr);
    REQUIRE(typed != nullptr);
    CHECK(dtype_name(raw->dtype()) == name.substr(4));
    CHECK(identical(*raw, *typed));
    CHECK(reinterpret_cast<uintptr_t>(raw->raw()) % std::max(dtype_bits(raw->dtype()) / 8, 1) == 0);
    ++pairs;
  }
  CHECK(pairs == kDTypeCount - 2);  // all but undefined and string
  const auto constant = [&](const char* name) {
    return *model.graph.constant(model.graph.find(name));
  };
  CHECK(identical(constant("raw_int16"), Tensor::from<int16_t>({5}, {0, 1, 100, -5, 127})));
  CHECK(identical(constant("typed_int8"), Tensor::from<int8_t>({5}, {0, 1, 100, -5, 127})));
  CHECK(
      identical(constant("typed_bool"), Tensor::from<bool>({5}, {false, true, true, false, true})));
  CHECK(identical(constant("typed_string"), Tensor::from<std::string>({2}, {"grün", ""})));
  CHECK(describe(constant("empty")) == "float32[0,3]");
  CHECK(identical(constant("scalar"), Tensor::scalar(2.5f)));
}

TEST_CASE("onnx: aligned weights are views on the file, others are copies") {
  const TemporaryDirectory directory;
  bool seen_view = false;
  bool seen_copy = false;
  for (size_t shift = 0; shift < 4; ++shift) {
    ModelProto proto = small_model();
    proto.set_producer_name(std::string(shift, 'p'));
    add_float_initializer(proto, "w", {2}, std::string("\0\0\x80\x3f\0\0\0\x40", 8));
    write_file_atomically(directory / "m.onnx", proto.SerializeAsString());
    const LoadedModel model = load_model(directory / "m.onnx", {});
    const Tensor& weight = *model.graph.constant(model.graph.find("w"));
    CHECK(identical(weight, Tensor::from<float>({2}, {1.0f, 2.0f})));
    const auto* begin = model.bytes.data();
    const auto* data = static_cast<const std::byte*>(weight.raw());
    const bool view = data >= begin && data < begin + model.bytes.size();
    seen_view = seen_view || view;
    seen_copy = seen_copy || !view;
  }
  CHECK(seen_view);
  CHECK(seen_copy);
}

TEST_CASE("onnx: booleans that are neither 0 nor 1 count as true") {
  ModelProto proto = small_model();
  add_float_initializer(proto, "flags", {3}, std::string("\0\1\x07", 3))
      .set_data_type(TensorProto::BOOL);
  const LoadedModel model = load_bytes(proto.SerializeAsString());
  CHECK(identical(*model.graph.constant(model.graph.find("flags")),
                  Tensor::from<bool>({3}, {false, true, true})));
}

TEST_CASE("onnx: nodes get a topological order, subgraphs explicit inputs") {
  const LoadedModel model = load_model(kData / "control.onnx", {});
  const Graph& graph = model.graph;
  graph.verify("loading");
  REQUIRE(graph.node_count() == 3);
  const Node& choice = graph.node(2);
  CHECK(choice.op_type == "If");
  const auto& captured = choice.at<std::vector<std::string>>(kCapturedAttribute);
  CHECK(captured == std::vector<std::string>{"y0", "flag", "early", "x"});
  REQUIRE(choice.inputs.size() == 1 + captured.size());
  for (const char* branch : {"then_branch", "else_branch"}) {
    const Graph& body = *choice.at<std::shared_ptr<const Graph>>(branch);
    body.verify("loading");
    REQUIRE(body.inputs.size() == captured.size());
    for (size_t i = 0; i < captured.size(); ++i) {
      CHECK(graph.value(choice.inputs[1 + i]).name == captured[i]);
      CHECK(body.value(body.inputs[i]).name == captured[i]);
    }
  }
  const Graph& otherwise = *choice.at<std::shared_ptr<const Graph>>("else_branch");
  CHECK(otherwise.constant(otherwise.find("weight"))->raw() ==
        graph.constant(graph.find("weight"))->raw());
  CHECK(otherwise.fact(otherwise.find("x")).dtype == DType::kFloat32);
}

TEST_CASE("onnx: sparse tensors, functions, unknown operators and types") {
  const LoadedModel model = load_model(kData / "features.onnx", {});
  const Graph& graph = model.graph;
  CHECK(identical(*graph.constant(graph.find("sparse")),
                  Tensor::from<float>({3, 2}, {0, 3, 0, 0, 4, 0})));
  CHECK(graph.node(0).op_type == "Add");  // the body of a function of the model
  CHECK(graph.node(0).outputs[0] == graph.node(1).inputs[0]);
  CHECK(graph.node(1).domain == "unknown.domain");
  CHECK(graph.node(1).opset == 1);
  CHECK(graph.node(1).outputs[1] == kNoValue);
  CHECK(graph.node(1).at<int64_t>("level") == 3);
  CHECK(graph.fact(graph.find("m")).to_string() == "float32[m:0,m:1]");
  CHECK(graph.node(3).at<Fact>("type").to_string() == "int64[1]");
  CHECK(model.outputs[0].type == "seq(tensor(float32))");
  CHECK(model.outputs[0].fact.kind == Kind::kSequence);
  CHECK(model.outputs[0].fact.item().dtype == DType::kFloat32);
}

TEST_CASE("onnx: external data are mapped") {
  const LoadedModel model = load_model(kData / "external.onnx", {});
  const Graph& graph = model.graph;
  CHECK(graph.constant(graph.find("w"))->values<float>()[0] == 0.0f);
  CHECK(graph.constant(graph.find("v"))->values<float>()[15] == 31.0f);
  CHECK(graph.node(0).at<Tensor>("value").values<float>()[0] == 32.0f);
  const auto* w = static_cast<const float*>(graph.constant(graph.find("w"))->raw());
  CHECK(static_cast<const float*>(graph.constant(graph.find("v"))->raw()) == w + 16);
  const std::string bytes = read_file(kData / "external.onnx");
  CHECK(error_of([&] { load_bytes(bytes); }) == ErrorCode::kInvalidData);
  CHECK_NOTHROW(load_bytes(bytes, {}, {.external_data_directory = kData}));
}

TEST_CASE("onnx: external data must lie with the model") {
  const TemporaryDirectory directory;
  const fs::path root = directory / "models" / "a";
  fs::create_directories(root / "sub");
  fs::create_directories(directory / "store");
  const auto write = [](const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  };
  write(root / "ok.bin", std::string(8, '\0'));
  write(root / "sub" / "ok.bin", std::string(8, '\0'));
  write(directory / "secret.bin", std::string(8, '\0'));
  fs::create_symlink(directory / "secret.bin", root / "link.bin");
  fs::create_directory_symlink(directory.path(), root / "link");
  fs::create_symlink(root / "ok.bin", root / "good_link.bin");

  const auto load = [&](const std::string& location, const std::string& offset,
                        const std::string& length, std::string* message = nullptr) {
    ModelProto proto = small_model();
    TensorProto& tensor = add_float_initializer(proto, "w", {2}, "");
    tensor.clear_raw_data();
    add_external(tensor, "location", location);
    if (!offset.empty()) add_external(tensor, "offset", offset);
    if (!length.empty()) add_external(tensor, "length", length);
    write(root / "m.onnx", proto.SerializeAsString());
    return error_of([&] { load_model(root / "m.onnx", {}); }, message);
  };
  CHECK(load("ok.bin", "", "") == std::nullopt);
  CHECK(load("sub/ok.bin", "0", "8") == std::nullopt);
  CHECK(load("sub/../ok.bin", "0", "8") == std::nullopt);
  CHECK(load("good_link.bin", "0", "8") == std::nullopt);
  std::string message;
  CHECK(load("../../secret.bin", "", "", &message) == ErrorCode::kInvalidData);
  CHECK(message.find("m.onnx: graph 'small': initializer 'w': external data") != std::string::npos);
  CHECK(load("link.bin", "", "") == ErrorCode::kInvalidData);
  CHECK(load("link/secret.bin", "", "") == ErrorCode::kInvalidData);
  CHECK(load("sub/../../../secret.bin", "", "") == ErrorCode::kInvalidData);
  CHECK(load((directory / "secret.bin").string(), "", "") == ErrorCode::kInvalidData);
  CHECK(load("/dev/zero", "", "") == ErrorCode::kInvalidData);
  CHECK(load("sub", "", "") == ErrorCode::kIo);
  CHECK(load("none.bin", "", "") == ErrorCode::kNotFound);
  CHECK(load("", "", "") == ErrorCode::kInvalidData);
  CHECK(load(".", "", "") == ErrorCode::kInvalidData);
  CHECK(load(std::string("ok.bin\0x", 8), "", "") == ErrorCode::kInvalidData);
  CHECK(load("ok.bin", "4", "8") == ErrorCode::kInvalidData);
  CHECK(load("ok.bin", "-1", "8") == ErrorCode::kInvalidData);
  CHECK(load("ok.bin", "9", "") == ErrorCode::kInvalidData);
  CHECK(load("ok.bin", "0", "4") == ErrorCode::kInvalidData);
  CHECK(load("ok.bin", "18446744073709551615", "8") == ErrorCode::kInvalidData);
  CHECK(load("ok.bin", "9223372036854775807", "9223372036854775807") == ErrorCode::kInvalidData);

  // A hub's cache: the snapshot's files are links into a store of blobs.
  CHECK(load("ok.bin", "", "") == std::nullopt);
  fs::rename(root / "m.onnx", directory / "store" / "blob1");
  fs::rename(root / "ok.bin", directory / "store" / "blob2");
  fs::create_symlink("../../store/blob1", root / "m.onnx");
  fs::create_symlink("../../store/blob2", root / "ok.bin");
  CHECK_NOTHROW(load_model(root / "m.onnx", {}));
}

TEST_CASE("onnx: malformed models give errors that say where") {
  std::string message;
  const auto check = [&](const ModelProto& model, ErrorCode code, const std::string& part) {
    CHECK(error_of_model(model, &message) == code);
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
  };
  CHECK(error_of_model(small_model()) == std::nullopt);
  check(ModelProto(), ErrorCode::kInvalidData, "no graph");

  ModelProto model = small_model();
  *model.mutable_graph()->add_node() = model.graph().node(0);
  check(model, ErrorCode::kInvalidData, "node 1 (Relu 'relu'): value 'y' is defined twice");

  model = small_model();
  model.mutable_graph()->mutable_node(0)->set_input(0, "nowhere");
  check(model, ErrorCode::kInvalidData, "node 0 (Relu 'relu'): nothing produces input 'nowhere'");

  model = small_model();
  model.mutable_graph()->mutable_node(0)->set_input(0, "y");
  check(model, ErrorCode::kInvalidData, "cycle");

  model = small_model();
  model.mutable_graph()->mutable_output(0)->set_name("z");
  check(model, ErrorCode::kInvalidData, "nothing produces output 'z'");

  model = small_model();
  *model.mutable_graph()->add_input() = model.graph().input(0);
  check(model, ErrorCode::kInvalidData, "input 'x' is declared twice");

  model = small_model();
  add_float_initializer(model, "w", {3}, std::string(8, '\0'));
  check(model, ErrorCode::kInvalidData,
        "initializer 'w': 8 bytes of data for float32[3], which needs 12");

  model = small_model();
  add_float_initializer(model, "w", {int64_t{1} << 40, int64_t{1} << 40}, "");
  check(model, ErrorCode::kInvalidData, "overflows");

  model = small_model();
  add_float_initializer(model, "w", {int64_t{1} << 60}, "");
  CHECK(error_of_model(model).has_value());

  model = small_model();
  add_float_initializer(model, "w", {-1}, "");
  check(model, ErrorCode::kInvalidData, "negative");

  model = small_model();
  add_float_initializer(model, "w", {1}, std::string(4, '\0')).set_data_type(77);
  check(model, ErrorCode::kInvalidData, "element type 77");

  model = small_model();
  add_float_initializer(model, "w", {1}, std::string(4, '\0')).set_data_type(TensorProto::STRING);
  check(model, ErrorCode::kInvalidData, "strings cannot be raw");

  model = small_model();
  AttributeProto& attribute = *model.mutable_graph()->mutable_node(0)->add_attribute();
  attribute.set_name("a");
  check(model, ErrorCode::kInvalidData, "attribute 'a': it has no value");
  attribute.set_type(AttributeProto::INT);
  attribute.set_ref_attr_name("b");
  check(model, ErrorCode::kInvalidData, "outside of one");

  model = small_model();
  auto* sparse = model.mutable_graph()->add_sparse_initializer();
  sparse->mutable_values()->set_name("s");
  sparse->mutable_values()->set_data_type(TensorProto::FLOAT);
  sparse->mutable_values()->add_dims(0);
  sparse->mutable_indices()->set_data_type(TensorProto::INT64);
  sparse->mutable_indices()->add_dims(0);
  sparse->add_dims(int64_t{1} << 40);
  check(model, ErrorCode::kUnsupported, "too large");

  model = small_model();
  model.add_opset_import()->set_version(18);
  check(model, ErrorCode::kInvalidData, "two versions");

  std::string nested;
  for (int i = 0; i < 200; ++i) {
    std::string outer;
    append_number(outer, '\x32');  // AttributeProto.g
    std::string length;
    for (size_t n = nested.size();; n >>= 7) {
      length += static_cast<char>(n < 0x80 ? n : (n & 0x7f) | 0x80);
      if (n < 0x80) break;
    }
    nested = outer + length + nested;
    if (i % 3 == 1) nested[0] = '\x0a';  // GraphProto.node
    if (i % 3 == 2) nested[0] = '\x2a';  // NodeProto.attribute
  }
  CHECK(error_of([&] { load_bytes(nested); }) == ErrorCode::kInvalidData);
  CHECK(error_of([&] { load_bytes(""); }) == ErrorCode::kInvalidData);
  CHECK(error_of([&] { load_bytes("this is not a model"); }) == ErrorCode::kInvalidData);
  CHECK(error_of([&] { load_model("tests/data/onnx/none.onnx", {}); }) == ErrorCode::kNotFound);
}

TEST_CASE("onnx: damaged models load or give errors") {
  for (const char* name : {"mlp.onnx", "control.onnx", "features.onnx", "external.onnx"}) {
    CAPTURE(name);
    const std::string original = read_file(kData / name);
    parse_damaged(original, 1, [](const std::string& bytes) {
      load_bytes(bytes, {}, {.external_data_directory = kData}).graph.verify("loading");
    });
  }
  parse_damaged(read_file(kData / "dtypes.onnx"), 7,
                [](const std::string& bytes) { load_bytes(bytes); });
}

TEST_CASE("onnx: values in files of their own") {
  const Tensor numbers = Tensor::from<int64_t>({2, 3}, {0, 1, 2, 3, 4, 5});
  CHECK(identical(read_datum_pb(kData / "tensor.pb", Kind::kTensor).tensor(), numbers));
  const Datum sequence = read_datum_pb(kData / "sequence.pb", Kind::kSequence);
  REQUIRE(sequence.items().size() == 2);
  CHECK(identical(sequence.items()[1].tensor(), numbers));
  CHECK(error_of([] { read_datum_pb(kData / "sequence.pb", Kind::kTensor); }).has_value());
  for (const Kind kind : {Kind::kTensor, Kind::kSequence, Kind::kOptional, Kind::kMap}) {
    CHECK(error_of([&] { read_datum_pb(kData / "control.onnx", kind); }).has_value());
  }
}

}  // namespace hugot
