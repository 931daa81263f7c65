#include "onnx/graph_reader.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "onnx/type_reader.h"

namespace hugot {
namespace {

using onnx_proto::AttributeProto;
using onnx_proto::FunctionProto;
using onnx_proto::GraphProto;
using onnx_proto::NodeProto;
using onnx_proto::ValueInfoProto;

// Operators have at most two subgraphs; the limit keeps the work of joining what they capture
// small.
constexpr size_t kMaxSubgraphs = 16;
// Bodies in bodies, and functions that call functions.
constexpr int kMaxNesting = 16;
// Nodes that calls of functions may make altogether: each function may call others twice.
constexpr size_t kMaxInlinedNodes = size_t{1} << 20;

// ---------------------------------------------------------------------------------------------
// Graphs

// The attributes of a call, for the nodes of the function: defaults where the call has none.
using Arguments = std::map<std::string_view, const AttributeProto*>;

// Reads one graph; graphs inside its nodes have readers of their own that look up names here.
// Bodies of functions have readers of their own, too, that see nothing but `arguments`.
class GraphReader {
 public:
  GraphReader(const GraphProto& proto, const ModelContext& context, GraphReader* outer,
              const Arguments& arguments, int depth)
      : proto_(proto), context_(context), outer_(outer), arguments_(arguments), depth_(depth) {
    require(depth <= kMaxNesting, ErrorCode::kUnsupported, "subgraphs and functions are nested ",
            "more than ", kMaxNesting, " deep (or a function calls itself)");
  }

  Graph run() {
    graph_.opsets = context_.opsets;
    if (outer_ != nullptr) {
      graph_.scope = str(outer_->graph_.scope, ++outer_->subgraphs_, "/");
    }
    read_initializers();
    read_inputs();
    declare_outputs_of_nodes();
    for (int i = 0; i < proto_.node_size(); ++i) {
      with_context([&] { return node_label(i); }, [&] { read_node(proto_.node(i)); });
    }
    for (const ValueInfoProto& output : proto_.output()) {
      const ValueId id = resolve(output.name());
      require(id != kNoValue, ErrorCode::kInvalidData, "nothing produces output '", output.name(),
              "'");
      graph_.outputs.push_back(id);
      graph_.declared_outputs.push_back(read_port(output).fact);
    }
    add_nodes_in_order();
    return std::move(graph_);
  }

  // Values of the outer graph that this one reads, as ids there.
  const std::vector<ValueId>& captured() const { return captured_; }

 private:
  struct Subgraph {
    std::shared_ptr<Graph> graph;
    std::vector<ValueId> captured;  // ids of this graph's values
  };

  void declare(std::string_view name) const {
    require(!name.empty(), ErrorCode::kInvalidData, "a value without name");
    require(graph_.find(name) == kNoValue, ErrorCode::kInvalidData, "value '", name,
            "' is defined twice");
  }

  template <class Proto>
  void add_initializer(const std::string& name, const Proto& tensor) {
    with_context([&] { return str("initializer '", name, "'"); },
                 [&] {
                   declare(name);
                   graph_.add_initializer(name, context_.tensors.read(tensor));
                 });
  }

  void read_initializers() {
    for (const auto& tensor : proto_.initializer()) add_initializer(tensor.name(), tensor);
    for (const auto& tensor : proto_.sparse_initializer()) {
      add_initializer(tensor.values().name(), tensor);
    }
  }

  void read_inputs() {
    std::set<std::string_view> names;
    for (const ValueInfoProto& input : proto_.input()) {
      require(names.insert(input.name()).second, ErrorCode::kInvalidData, "input '", input.name(),
              "' is declared twice");
      const ValueId known = graph_.find(input.name());
      if (known != kNoValue && graph_.value(known).initializer) {
        // The inputs of a subgraph are known by their positions.
        require(outer_ == nullptr, ErrorCode::kUnsupported, "input '", input.name(),
                "' of a subgraph is an initializer too");
        continue;
      }
      declare(input.name());
      graph_.add_input(input.name(), read_port(input).fact);
    }
  }

  std::string node_label(int index) const {
    const NodeProto& node = proto_.node(index);
    return str("node ", index, " (", node.op_type(), node.name().empty() ? "" : " '", node.name(),
               node.name().empty() ? ")" : "')");
  }

  void declare_outputs_of_nodes() {
    for (int i = 0; i < proto_.node_size(); ++i) {
      for (const std::string& name : proto_.node(i).output()) {
        if (name.empty()) continue;
        with_context([&] { return node_label(i); }, [&] { declare(name); });
        graph_.add_value(name);
      }
    }
  }

  // A value of this graph, perhaps a new one that stands for a value of an outer graph; kNoValue
  // when no graph has the name.
  ValueId resolve(const std::string& name) {
    const ValueId id = graph_.find(name);
    if (id != kNoValue || outer_ == nullptr) return id;
    const ValueId outer = outer_->resolve(name);
    if (outer == kNoValue) return kNoValue;
    const Value& value = outer_->graph_.value(outer);
    if (value.initializer) return graph_.add_initializer(name, *value.fact.constant);
    captured_.push_back(outer);
    captured_inputs_.push_back(graph_.add_value(name, captured_fact(value)));
    return captured_inputs_.back();
  }

  // What a subgraph knows of a value of the graph around it. The shape may come to be known
  // differently there.
  static Fact captured_fact(const Value& outer) {
    Fact fact = outer.fact.type();
    fact.shape.reset();
    return fact;
  }

  void read_node(const NodeProto& proto) {
    require(!proto.op_type().empty(), ErrorCode::kInvalidData, "it has no op_type");
    Node node;
    node.name = proto.name();
    node.op_type = proto.op_type();
    node.domain = normalized_domain(proto.domain());
    node.opset = opset_of(node.domain);
    const ModelFunction* function = context_.find_function(proto);
    if (function == nullptr) {
      node.op = context_.ops.find(node.domain, node.op_type, node.opset);
    }
    for (const std::string& name : proto.input()) {
      const ValueId id = name.empty() ? kNoValue : resolve(name);
      require(name.empty() || id != kNoValue, ErrorCode::kInvalidData, "nothing produces input '",
              name, "'");
      node.inputs.push_back(id);
    }
    for (const std::string& name : proto.output()) {
      node.outputs.push_back(name.empty() ? kNoValue : graph_.find(name));
    }
    if (function != nullptr) {
      inline_call(proto, node, *function);
      return;
    }
    std::vector<Subgraph> subgraphs;
    for (const AttributeProto& attribute : proto.attribute()) {
      with_context([&] { return str("attribute '", attribute.name(), "'"); },
                   [&] { add_attribute(node, attribute, subgraphs); });
    }
    join_captures(node, subgraphs);
    if (node.op == nullptr) take_declared_types(node);
    // A node without outputs has no effect, and the graph takes such nodes for removed ones.
    const bool wanted = std::any_of(node.outputs.begin(), node.outputs.end(),
                                    [](ValueId id) { return id != kNoValue; });
    if (wanted) nodes_.push_back(std::move(node));
  }

  // Operators of domains that the file forgot to import are read as version 1; ai.onnx had no other
  // before imports were introduced.
  int opset_of(const std::string& domain) const {
    const auto it = context_.opsets.find(domain);
    return it == context_.opsets.end() ? 1 : it->second;
  }

  void add_attribute(Node& node, const AttributeProto& proto, std::vector<Subgraph>& subgraphs) {
    require(!proto.name().empty(), ErrorCode::kInvalidData, "an attribute without name");
    require(!node.has(proto.name()), ErrorCode::kInvalidData, "it is there twice");
    const AttributeProto* source = resolved(proto);
    if (source == nullptr) return;  // the call has left it out
    std::optional<Attribute> value = read_attribute(*source, subgraphs);
    if (value) {
      node.attributes.emplace(proto.name(), std::move(*value));
    } else {
      node.op = nullptr;  // without the attribute it would be another operation
    }
  }

  // The attribute itself or what it refers to; null when the call does not give that.
  const AttributeProto* resolved(const AttributeProto& proto) const {
    if (proto.ref_attr_name().empty()) return &proto;
    require(context_.in_function, ErrorCode::kInvalidData,
            "it refers to an attribute of a function, outside of one");
    const auto it = arguments_.find(proto.ref_attr_name());
    return it == arguments_.end() ? nullptr : it->second;
  }

  // Replaces the call of a function by the function's nodes.
  void inline_call(const NodeProto& call, const Node& node, const ModelFunction& function) {
    Arguments arguments;
    for (const AttributeProto& attribute : function.proto->attribute_proto()) {
      arguments[attribute.name()] = &attribute;
    }
    for (const AttributeProto& attribute : call.attribute()) {
      const AttributeProto* source = resolved(attribute);
      if (source == nullptr) continue;
      // A graph would have to see names of the caller.
      require(!source->has_g() && source->graphs_size() == 0, ErrorCode::kUnsupported,
              "attribute '", attribute.name(), "' of a function is a graph");
      arguments[attribute.name()] = source;
    }
    ModelContext context = context_.inside(function);
    Graph body = with_context(
        [&] { return str("function '", function.proto->name(), "'"); },
        [&] { return GraphReader(function.body, context, nullptr, arguments, depth_ + 1).run(); });
    *context_.inlined_nodes += body.node_count();
    require(*context_.inlined_nodes <= kMaxInlinedNodes, ErrorCode::kUnsupported,
            "functions make more than ", kMaxInlinedNodes, " nodes");
    std::vector<ValueId> inputs = node.inputs;
    require(inputs.size() <= body.inputs.size() && node.outputs.size() <= body.outputs.size(),
            ErrorCode::kInvalidData, "function '", function.proto->name(), "' has ",
            body.inputs.size(), " inputs and ", body.outputs.size(), " outputs, the call ",
            inputs.size(), " and ", node.outputs.size());
    inputs.resize(body.inputs.size(), kNoValue);
    const std::string prefix =
        (node.name.empty() ? str(node.op_type, "_", nodes_.size()) : node.name) + "/";
    Graph::Copied copied = graph_.copy_nodes(body, inputs, node.outputs, prefix);
    for (Node& copy : copied.nodes) nodes_.push_back(std::move(copy));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue || node.outputs[i] == copied.outputs[i]) continue;
      // The function hands an input or a constant through, or one value twice.
      require(copied.outputs[i] != kNoValue, ErrorCode::kInvalidData, "output ", i,
              " of function '", function.proto->name(), "' is an omitted input");
      Node identity;
      identity.op_type = "Identity";
      identity.opset = std::max(opset_of(""), 1);
      identity.op = context_.ops.find("", identity.op_type, identity.opset);
      identity.inputs = {copied.outputs[i]};
      identity.outputs = {node.outputs[i]};
      nodes_.push_back(std::move(identity));
    }
  }

  // Empty for a kind of attribute that the IR cannot hold.
  std::optional<Attribute> read_attribute(const AttributeProto& proto,
                                          std::vector<Subgraph>& subgraphs) {
    const TensorReader& tensors = context_.tensors;
    switch (attribute_type(proto)) {
      case AttributeProto::FLOAT:
        return proto.f();
      case AttributeProto::INT:
        return int64_t{proto.i()};
      case AttributeProto::STRING:
        return proto.s();
      case AttributeProto::TENSOR:
        return tensors.read(proto.t());
      case AttributeProto::SPARSE_TENSOR:
        return tensors.read(proto.sparse_tensor());
      case AttributeProto::TYPE_PROTO:
        return read_fact(proto.tp(), "");
      case AttributeProto::FLOATS:
        return std::vector<float>(proto.floats().begin(), proto.floats().end());
      case AttributeProto::INTS:
        return std::vector<int64_t>(proto.ints().begin(), proto.ints().end());
      case AttributeProto::STRINGS:
        return std::vector<std::string>(proto.strings().begin(), proto.strings().end());
      case AttributeProto::TENSORS: {
        std::vector<Tensor> list;
        for (const auto& tensor : proto.tensors()) list.push_back(tensors.read(tensor));
        return list;
      }
      case AttributeProto::GRAPH:
        return read_subgraph(proto.g(), subgraphs);
      default:
        return std::nullopt;
    }
  }

  // Files before IR version 2 leave the type to the field that is set.
  static AttributeProto::AttributeType attribute_type(const AttributeProto& proto) {
    if (proto.type() != AttributeProto::UNDEFINED) return proto.type();
    if (proto.has_f()) return AttributeProto::FLOAT;
    if (proto.has_i()) return AttributeProto::INT;
    if (proto.has_s()) return AttributeProto::STRING;
    if (proto.has_t()) return AttributeProto::TENSOR;
    if (proto.has_g()) return AttributeProto::GRAPH;
    if (proto.floats_size() > 0) return AttributeProto::FLOATS;
    if (proto.ints_size() > 0) return AttributeProto::INTS;
    if (proto.strings_size() > 0) return AttributeProto::STRINGS;
    if (proto.tensors_size() > 0) return AttributeProto::TENSORS;
    fail(ErrorCode::kInvalidData, "it has no value");
  }

  Attribute read_subgraph(const GraphProto& proto, std::vector<Subgraph>& subgraphs) {
    require(subgraphs.size() < kMaxSubgraphs, ErrorCode::kUnsupported, "more than ", kMaxSubgraphs,
            " subgraphs in a node");
    return with_context([&] { return str("graph '", proto.name(), "'"); },
                        [&] {
                          GraphReader reader(proto, context_, this, arguments_, depth_ + 1);
                          auto graph = std::make_shared<Graph>(reader.run());
                          const auto& inputs = reader.captured_inputs_;
                          graph->inputs.insert(graph->inputs.end(), inputs.begin(), inputs.end());
                          subgraphs.push_back({graph, reader.captured()});
                          return Attribute(std::shared_ptr<const Graph>(graph));
                        });
  }

  // Gives the node and all of its subgraphs the same list of captured values as last inputs.
  void join_captures(Node& node, std::vector<Subgraph>& subgraphs) {
    std::vector<ValueId> all;
    std::unordered_map<ValueId, size_t> position;
    for (const Subgraph& subgraph : subgraphs) {
      for (const ValueId id : subgraph.captured) {
        if (position.emplace(id, all.size()).second) all.push_back(id);
      }
    }
    if (all.empty()) return;
    for (Subgraph& subgraph : subgraphs) {
      Graph& body = *subgraph.graph;
      const size_t own = body.inputs.size() - subgraph.captured.size();
      std::vector<ValueId> inputs(all.size(), kNoValue);
      for (size_t i = 0; i < subgraph.captured.size(); ++i) {
        inputs[position.at(subgraph.captured[i])] = body.inputs[own + i];
      }
      for (size_t i = 0; i < all.size(); ++i) {
        if (inputs[i] != kNoValue) continue;
        const Value& value = graph_.value(all[i]);
        inputs[i] = body.add_value(value.name, captured_fact(value));
      }
      body.inputs.resize(own);
      body.inputs.insert(body.inputs.end(), inputs.begin(), inputs.end());
    }
    std::vector<std::string> names;
    for (const ValueId id : all) names.push_back(graph_.value(id).name);
    node.inputs.insert(node.inputs.end(), all.begin(), all.end());
    node.attributes[std::string(kCapturedAttribute)] = std::move(names);
  }

  // Without an operator nothing else can tell the types of its outputs. Declared dimensions are
  // not believed, only their number.
  void take_declared_types(const Node& node) {
    if (declared_.empty()) {
      for (const ValueInfoProto& info : proto_.value_info()) declared_.emplace(info.name(), &info);
      for (const ValueInfoProto& info : proto_.output()) declared_.emplace(info.name(), &info);
    }
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      Value& value = graph_.value(id);
      const auto it = declared_.find(value.name);
      if (it == declared_.end()) continue;
      value.fact = read_port(*it->second).fact;
      if (!value.fact.shape) continue;
      for (size_t axis = 0; axis < value.fact.shape->size(); ++axis) {
        (*value.fact.shape)[axis] = Dim::symbol(str(value.name, ":", axis));
      }
    }
  }

  // Adds the nodes in the order of the file as far as data flow allows.
  void add_nodes_in_order() {
    std::vector<int32_t> producer(graph_.value_count(), -1);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const ValueId id : nodes_[i].outputs) {
        if (id != kNoValue) producer[static_cast<size_t>(id)] = static_cast<int32_t>(i);
      }
    }
    std::vector<std::vector<size_t>> readers(nodes_.size());
    std::vector<int> waiting(nodes_.size(), 0);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const ValueId id : nodes_[i].inputs) {
        if (id == kNoValue || producer[static_cast<size_t>(id)] < 0) continue;
        readers[static_cast<size_t>(producer[static_cast<size_t>(id)])].push_back(i);
        ++waiting[i];
      }
    }
    std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (waiting[i] == 0) ready.push(i);
    }
    size_t added = 0;
    while (!ready.empty()) {
      const size_t i = ready.top();
      ready.pop();
      for (const size_t reader : readers[i]) {
        if (--waiting[reader] == 0) ready.push(reader);
      }
      graph_.add_node(std::move(nodes_[i]));
      ++added;
    }
    if (added == nodes_.size()) return;
    const auto stuck = std::find_if(waiting.begin(), waiting.end(), [](int n) { return n > 0; });
    fail(ErrorCode::kInvalidData, "the nodes form a cycle, at or before ",
         nodes_[static_cast<size_t>(stuck - waiting.begin())].label());
  }

  const GraphProto& proto_;
  const ModelContext& context_;
  GraphReader* outer_;
  const Arguments& arguments_;
  const int depth_;
  int subgraphs_ = 0;  // read so far
  Graph graph_;
  std::vector<Node> nodes_;
  std::vector<ValueId> captured_;         // ids of the outer graph
  std::vector<ValueId> captured_inputs_;  // what stands for them here
  std::unordered_map<std::string_view, const ValueInfoProto*> declared_;
};

}  // namespace

std::string_view normalized_domain(std::string_view domain) {
  return domain == "ai.onnx" ? "" : domain;
}

ModelFunction::ModelFunction(const FunctionProto& function) : proto(&function) {
  for (const std::string& name : function.input()) body.add_input()->set_name(name);
  for (const std::string& name : function.output()) body.add_output()->set_name(name);
  *body.mutable_node() = function.node();
  *body.mutable_value_info() = function.value_info();
  opsets = read_opsets(function.opset_import());
}

ModelFunctions read_functions(const onnx_proto::ModelProto& proto) {
  ModelFunctions functions;
  for (const FunctionProto& function : proto.functions()) {
    const std::string domain(normalized_domain(function.domain()));
    const bool added =
        functions.try_emplace({domain, function.name(), function.overload()}, function).second;
    require(added, ErrorCode::kInvalidData, "function '", function.name(), "' is defined twice");
  }
  return functions;
}

const ModelFunction* ModelContext::find_function(const NodeProto& node) const {
  if (functions.empty()) return nullptr;
  const auto it = functions.find(
      {std::string(normalized_domain(node.domain())), node.op_type(), node.overload()});
  return it == functions.end() ? nullptr : &it->second;
}

ModelContext ModelContext::inside(const ModelFunction& function) const {
  // Domains that the function does not import are those of the model.
  auto merged = function.opsets;
  merged.insert(opsets.begin(), opsets.end());
  return {ops, tensors, functions, inlined_nodes, std::move(merged), true};
}

OpsetMap read_opsets(
    const google::protobuf::RepeatedPtrField<onnx_proto::OperatorSetIdProto>& imports) {
  OpsetMap opsets;
  for (const auto& import : imports) {
    const std::string domain(normalized_domain(import.domain()));
    require(import.version() >= 0 && import.version() <= INT32_MAX, ErrorCode::kInvalidData,
            "opset version ", import.version(), " of domain '", domain, "' is out of range");
    const auto version = static_cast<int>(import.version());
    const auto [it, inserted] = opsets.emplace(domain, version);
    require(inserted || it->second == version, ErrorCode::kInvalidData, "domain '", domain,
            "' is imported in two versions");
  }
  return opsets;
}

Graph read_graph(const GraphProto& proto, const ModelContext& context) {
  return with_context([&] { return str("graph '", proto.name(), "'"); },
                      [&] { return GraphReader(proto, context, nullptr, {}, 0).run(); });
}

}  // namespace hugot
