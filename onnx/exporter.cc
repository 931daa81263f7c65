#include "onnx/exporter.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "graph/op.h"
#include "onnx/proto.h"
#include "onnx/tensor_writer.h"
#include "onnx/wire.h"

namespace hugot {
namespace {

using onnx_proto::AttributeProto;
using onnx_proto::GraphProto;
using onnx_proto::ModelProto;
using onnx_proto::NodeProto;
using onnx_proto::TensorProto;
using onnx_proto::ValueInfoProto;

constexpr int kMinIrVersion = 8;
constexpr size_t kPage = 4096;         // alignment of external data, so that it can be mapped
constexpr size_t kMinExternal = 1024;  // shape inference of other runtimes needs the small ones
constexpr size_t kMaxMessage = size_t{1} << 31;

// The first IR version that has an element type.
int ir_version_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat8E4M3FN:
    case DType::kFloat8E4M3FNUZ:
    case DType::kFloat8E5M2:
    case DType::kFloat8E5M2FNUZ:
      return 9;
    case DType::kUInt4:
    case DType::kInt4:
      return 10;
    case DType::kFloat4E2M1:
      return 11;
    case DType::kFloat8E8M0:
      return 12;
    case DType::kUInt2:
    case DType::kInt2:
      return 13;
    default:
      return kMinIrVersion;
  }
}

// What the graphs of a model need together.
struct Requirements {
  int ir_version = kMinIrVersion;
  // By domain, the versions in which all nodes mean what they mean.
  struct Versions {
    int oldest = 1;
    int newest = OpDef::kNewest;
    int written = 0;  // the newest that a node was written for
  };
  std::map<std::string, Versions> domains;

  void use(DType dtype) { ir_version = std::max(ir_version, ir_version_of(dtype)); }
  void use(const Node& node) {
    Versions& versions = domains[node.domain];
    const Versions own = node.op == nullptr
                             ? Versions{node.opset, node.opset, node.opset}
                             : Versions{node.op->since_version, node.op->until_version, node.opset};
    versions.written = std::max(versions.written, own.written);
    require(own.oldest <= versions.newest && own.newest >= versions.oldest,
            ErrorCode::kInvalidArgument, node.label(), " needs a version from ", own.oldest, " to ",
            own.newest, " of its domain, other nodes one from ", versions.oldest, " to ",
            versions.newest);
    versions.oldest = std::max(versions.oldest, own.oldest);
    versions.newest = std::min(versions.newest, own.newest);
  }
  // The version to import: `wanted` if it fits.
  int opset(const std::string& domain, int wanted) const {
    const Versions& versions = domains.at(domain);
    return std::clamp(std::max(wanted, versions.written), versions.oldest, versions.newest);
  }
};

class GraphWriter {
 public:
  GraphWriter(const Graph& graph, Requirements& requirements, GraphWriter* outer)
      : graph_(graph),
        requirements_(requirements),
        outer_(outer),
        inputs_(graph.inputs.begin(), graph.inputs.end()),
        names_(graph.value_count()) {}

  // Everything but initializers. The last inputs of a subgraph are values of the graph around it,
  // `captured` by these names.
  GraphProto write(const std::string& name, const std::vector<std::string>& captured) {
    choose_names(captured);
    GraphProto proto;
    proto.set_name(name);
    for (size_t i = 0; i + captured.size() < graph_.inputs.size(); ++i) {
      const ValueId id = graph_.inputs[i];
      write_port(id, graph_.fact(id), outer_ == nullptr, *proto.add_input());
    }
    for (const NodeId id : graph_.order()) {
      const Node& node = graph_.node(id);
      with_context([&] { return node.label(); }, [&] { write_node(node, *proto.add_node()); });
    }
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      const ValueId id = graph_.outputs[i];
      const bool inferred =
          !graph_.fact(id).is_tensor() || graph_.fact(id).dtype != DType::kUndefined;
      const bool declared = !inferred && i < graph_.declared_outputs.size();
      write_port(id, declared ? graph_.declared_outputs[i] : graph_.fact(id), outer_ == nullptr,
                 *proto.add_output());
      (void)use(id);
    }
    return proto;
  }

  // The constants that nodes and outputs read, in the order of their ids.
  std::vector<ValueId> initializers() const { return {initializers_.begin(), initializers_.end()}; }
  const std::string& name(ValueId id) const { return names_[static_cast<size_t>(id)]; }

 private:
  // A name inside a subgraph must not be one of the graphs around it.
  void choose_names(const std::vector<std::string>& captured) {
    const size_t own = graph_.inputs.size() - captured.size();
    std::set<ValueId> done;
    for (size_t i = 0; i < captured.size(); ++i) {
      const ValueId id = graph_.inputs[own + i];
      names_[static_cast<size_t>(id)] = captured[i];
      done.insert(id);
    }
    for (ValueId id = 0; id < static_cast<ValueId>(names_.size()); ++id) {
      if (done.contains(id)) continue;
      const std::string& wanted = graph_.value(id).name;
      std::string name = wanted;
      for (int n = 1; taken(name); ++n) name = str(wanted, "_inner", n);
      names_[static_cast<size_t>(id)] = name;
      taken_.insert(std::move(name));
    }
  }

  bool taken(const std::string& name) const {
    return taken_.contains(name) || (outer_ != nullptr && outer_->taken(name));
  }

  void write_port(ValueId id, const Fact& fact, bool typed, ValueInfoProto& proto) {
    proto.set_name(name(id));
    require(!typed || !fact.is_tensor() || fact.dtype != DType::kUndefined,
            ErrorCode::kInvalidArgument, "value '", name(id), "' has no element type");
    if (fact.is_tensor() && fact.dtype == DType::kUndefined) return;
    write_type(fact, *proto.mutable_type());
  }

  void write_type(const Fact& fact, onnx_proto::TypeProto& type) {
    switch (fact.kind) {
      case Kind::kSequence:
        return write_type(fact.item(), *type.mutable_sequence_type()->mutable_elem_type());
      case Kind::kOptional:
        return write_type(fact.item(), *type.mutable_optional_type()->mutable_elem_type());
      case Kind::kMap:
        type.mutable_map_type()->set_key_type(static_cast<int32_t>(fact.dtype));
        return write_type(fact.item(), *type.mutable_map_type()->mutable_value_type());
      case Kind::kTensor:
        break;
    }
    requirements_.use(fact.dtype);
    auto& tensor = *type.mutable_tensor_type();
    tensor.set_elem_type(static_cast<int32_t>(fact.dtype));
    if (!fact.shape) return;
    auto& shape = *tensor.mutable_shape();
    for (const Dim& dim : *fact.shape) {
      auto& out = *shape.add_dim();
      if (const auto number = dim.number()) {
        out.set_dim_value(*number);
      } else {
        out.set_dim_param(dim.to_string());
      }
    }
  }

  // The name under which a node reads a value; makes sure that the file has it.
  const std::string& use(ValueId id) {
    const Value& value = graph_.value(id);
    if (value.producer != kNoNode || inputs_.contains(id)) return name(id);
    require(value.fact.constant.has_value(), ErrorCode::kInvalidArgument, "nothing produces '",
            value.name, "'");
    const auto shared = outer_constant(value.name, *value.fact.constant);
    if (shared) return *shared;
    requirements_.use(value.fact.dtype);
    initializers_.insert(id);
    return name(id);
  }

  // Subgraphs read the weights of the graphs around them; in the IR they share the memory.
  const std::string* outer_constant(const std::string& name, const Tensor& data) {
    if (outer_ == nullptr) return nullptr;
    const ValueId id = outer_->graph_.find(name);
    const Tensor* theirs = outer_->graph_.constant(id);
    if (theirs != nullptr && theirs->raw() == data.raw() && data.size() > 0 &&
        theirs->shape() == data.shape() && outer_->graph_.value(id).producer == kNoNode) {
      return &outer_->use(id);
    }
    return outer_->outer_constant(name, data);
  }

  void write_node(const Node& node, NodeProto& proto) {
    requirements_.use(node);
    const auto captured = node.get<std::vector<std::string>>(kCapturedAttribute, {});
    const size_t own_inputs = node.inputs.size() - captured.size();
    for (size_t i = 0; i < own_inputs; ++i) {
      proto.add_input(node.inputs[i] == kNoValue ? "" : use(node.inputs[i]));
    }
    for (const ValueId id : node.outputs) proto.add_output(id == kNoValue ? "" : name(id));
    proto.set_name(node.name);
    proto.set_op_type(node.op_type);
    proto.set_domain(node.domain);
    std::vector<std::string> captured_names;
    for (size_t i = own_inputs; i < node.inputs.size(); ++i) {
      captured_names.push_back(use(node.inputs[i]));
    }
    for (const auto& [key, value] : node.attributes) {
      if (key == kCapturedAttribute) continue;
      write_attribute(key, value, captured_names, *proto.add_attribute());
    }
  }

  void write_attribute(const std::string& key, const Attribute& value,
                       const std::vector<std::string>& captured, AttributeProto& proto) {
    proto.set_name(key);
    std::visit([&](const auto& v) { set(v, captured, proto); }, value);
  }

  void set(int64_t v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::INT);
    proto.set_i(v);
  }
  void set(float v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::FLOAT);
    proto.set_f(v);
  }
  void set(const std::string& v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::STRING);
    proto.set_s(v);
  }
  void set(const Tensor& v, const std::vector<std::string>&, AttributeProto& proto) {
    // The loader turns sparse tensors into dense ones; only Constant has such an attribute.
    if (proto.name() == "sparse_value") proto.set_name("value");
    requirements_.use(v.dtype());
    proto.set_type(AttributeProto::TENSOR);
    *proto.mutable_t() = tensor_proto("", v);
  }
  void set(const std::vector<int64_t>& v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::INTS);
    proto.mutable_ints()->Add(v.begin(), v.end());
  }
  void set(const std::vector<float>& v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::FLOATS);
    proto.mutable_floats()->Add(v.begin(), v.end());
  }
  void set(const std::vector<std::string>& v, const std::vector<std::string>&,
           AttributeProto& proto) {
    proto.set_type(AttributeProto::STRINGS);
    for (const std::string& text : v) proto.add_strings(text);
  }
  void set(const std::vector<Tensor>& v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::TENSORS);
    for (const Tensor& tensor : v) {
      requirements_.use(tensor.dtype());
      *proto.add_tensors() = tensor_proto("", tensor);
    }
  }
  void set(const Fact& v, const std::vector<std::string>&, AttributeProto& proto) {
    proto.set_type(AttributeProto::TYPE_PROTO);
    write_type(v, *proto.mutable_tp());
  }
  void set(const std::shared_ptr<const Graph>& v, const std::vector<std::string>& captured,
           AttributeProto& proto) {
    proto.set_type(AttributeProto::GRAPH);
    GraphWriter body(*v, requirements_, this);
    *proto.mutable_g() = body.write(proto.name(), captured);
    for (const ValueId id : body.initializers()) {
      *proto.mutable_g()->add_initializer() = tensor_proto(body.name(id), *v->fact(id).constant);
    }
  }

  const Graph& graph_;
  Requirements& requirements_;
  GraphWriter* outer_;
  std::set<ValueId> inputs_;
  std::vector<std::string> names_;  // by ValueId
  std::set<std::string> taken_;
  std::set<ValueId> initializers_;
};

// An initializer of the main graph on its way into the file.
struct Weight {
  std::string header;  // the TensorProto without its data, or all of it for external ones
  std::span<const std::byte> data;
  bool external = false;
  size_t offset = 0;  // in the data file
};

size_t message_size(const Weight& weight) {
  if (weight.external || weight.data.empty()) return weight.header.size();
  std::string field;
  append_field_header(field, TensorProto::kRawDataFieldNumber, weight.data.size());
  return weight.header.size() + field.size() + weight.data.size();
}

std::vector<Weight> lay_out(const Graph& graph, const GraphWriter& writer,
                            const std::string& data_name, int64_t max_inline_bytes) {
  size_t total = 0;
  for (const ValueId id : writer.initializers()) total += graph.constant(id)->bytes();
  const bool external = total > static_cast<size_t>(std::max<int64_t>(max_inline_bytes, 0));
  std::vector<Weight> weights;
  size_t end = 0;
  for (const ValueId id : writer.initializers()) {
    const Tensor& tensor = *graph.constant(id);
    TensorProto proto = tensor_header(writer.name(id), tensor);
    Weight weight;
    weight.data = tensor_bytes(tensor);
    if (external && weight.data.size() >= kMinExternal) {
      weight.external = true;
      weight.offset = (end + kPage - 1) / kPage * kPage;
      end = weight.offset + weight.data.size();
      proto.set_data_location(TensorProto::EXTERNAL);
      const auto add = [&proto](const char* key, const std::string& value) {
        auto& entry = *proto.add_external_data();
        entry.set_key(key);
        entry.set_value(value);
      };
      add("location", data_name);
      add("offset", std::to_string(weight.offset));
      add("length", std::to_string(weight.data.size()));
    }
    weight.header = proto.SerializeAsString();
    weights.push_back(std::move(weight));
  }
  return weights;
}

void write_data_file(const std::vector<Weight>& weights, const std::filesystem::path& path) {
  const std::string zeros(kPage, '\0');
  write_file_atomically(path, [&](const auto& sink) {
    size_t at = 0;
    for (const Weight& weight : weights) {
      if (!weight.external) continue;
      sink(as_bytes(std::string_view(zeros).substr(0, weight.offset - at)));
      sink(weight.data);
      at = weight.offset + weight.data.size();
    }
  });
}

ModelProto describe_model(const Graph& graph, const Requirements& requirements,
                          const ExportOptions& options) {
  ModelProto model;
  model.set_ir_version(requirements.ir_version);
  model.set_producer_name("hugot");
  if (!options.producer_version.empty()) model.set_producer_version(options.producer_version);
  if (!options.doc_string.empty()) model.set_doc_string(options.doc_string);
  const auto add_import = [&](const std::string& domain, int version) {
    auto& import = *model.add_opset_import();
    import.set_domain(domain);
    import.set_version(version);
  };
  for (const auto& [domain, versions] : requirements.domains) {
    const auto it = graph.opsets.find(domain);
    add_import(domain, requirements.opset(domain, it == graph.opsets.end() ? 0 : it->second));
  }
  // A graph without nodes of ai.onnx keeps its version.
  if (const auto it = graph.opsets.find("");
      it != graph.opsets.end() && !requirements.domains.contains("")) {
    add_import("", it->second);
  }
  for (const auto& [key, value] : options.metadata) {
    auto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  return model;
}

}  // namespace

void write_model(const Graph& graph, const std::filesystem::path& path,
                 const ExportOptions& options) {
  Requirements requirements;
  GraphWriter writer(graph, requirements, nullptr);
  const std::string graph_head = writer.write(options.graph_name, {}).SerializeAsString();
  const std::string data_name = path.filename().string() + ".data";
  const auto weights = lay_out(graph, writer, data_name, options.max_inline_bytes);

  size_t graph_size = graph_head.size();
  bool any_external = false;
  std::vector<std::string> fields(weights.size());  // tag and length of each initializer
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t size = message_size(weights[i]);
    append_field_header(fields[i], GraphProto::kInitializerFieldNumber, size);
    graph_size += fields[i].size() + size;
    any_external = any_external || weights[i].external;
  }
  std::string head = describe_model(graph, requirements, options).SerializeAsString();
  append_field_header(head, ModelProto::kGraphFieldNumber, graph_size);
  require(head.size() + graph_size < kMaxMessage, ErrorCode::kUnsupported, "cannot write ",
          path.string(), ": more than 2 GiB in one file");

  if (any_external) write_data_file(weights, path.parent_path() / data_name);
  write_file_atomically(path, [&](const auto& sink) {
    sink(as_bytes(head));
    sink(as_bytes(graph_head));
    for (size_t i = 0; i < weights.size(); ++i) {
      const Weight& weight = weights[i];
      std::string header = fields[i] + weight.header;
      const bool raw = !weight.external && !weight.data.empty();
      if (raw) append_field_header(header, TensorProto::kRawDataFieldNumber, weight.data.size());
      sink(as_bytes(header));
      if (raw) sink(weight.data);
    }
  });
}

}  // namespace hugot
