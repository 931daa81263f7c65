// The intermediate representation: a graph of nodes over values with integer ids.
#ifndef HUGOT_GRAPH_GRAPH_H_
#define HUGOT_GRAPH_GRAPH_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"
#include "graph/fact.h"

namespace hugot {

struct OpDef;
class Graph;

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an omitted optional input or output
inline constexpr NodeId kNoNode = -1;

// Attribute values of ONNX; a Fact is a type. Subgraphs are shared because graphs are copied when
// they are specialised and their bodies do not change. A reference to an attribute of the enclosing
// function never gets here: functions are inlined at import.
using Attribute = std::variant<int64_t, float, std::string, Tensor, std::shared_ptr<const Graph>,
                               std::vector<int64_t>, std::vector<float>, std::vector<std::string>,
                               std::vector<Tensor>, Fact>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

struct Node {
  std::string name;           // may be empty
  std::string op_type;        // "MatMul"
  std::string domain;         // "" is ai.onnx
  int opset = 0;              // version of the domain that the node was written for
  const OpDef* op = nullptr;  // null: not implemented, can be inspected but not run
  Attributes attributes;
  std::vector<ValueId> inputs;  // kNoValue where omitted
  std::vector<ValueId> outputs;

  bool has(std::string_view attribute) const {
    return attributes.find(attribute) != attributes.end();
  }

  // The attribute, or `fallback` when it is absent. Throws kInvalidData for another type.
  template <class T>
  T get(std::string_view attribute, T fallback) const;
  // The attribute. Throws kInvalidData when it is absent or of another type.
  template <class T>
  const T& at(std::string_view attribute) const;

  ValueId input(size_t i) const { return i < inputs.size() ? inputs[i] : kNoValue; }
  ValueId output(size_t i) const { return i < outputs.size() ? outputs[i] : kNoValue; }

  // True when an attribute is a graph.
  bool has_subgraph() const;

  // "MatMul '/encoder/query/MatMul'": for messages.
  std::string label() const;

 private:
  [[noreturn]] void bad_attribute(std::string_view attribute) const;
};

struct Value {
  std::string name;  // unique in its graph
  Fact fact;
  NodeId producer = kNoNode;  // none: a graph input, an initializer, or unused
  bool initializer = false;   // fact.constant holds the data
  // A graph input that is the same for every text, but not known yet: a weight under training.
  bool parameter = false;
};

// An attribute of nodes with subgraphs that read values of the graph around them: the names of
// these values, as std::vector<std::string>. The node has them as its last inputs, in this order,
// and each of its subgraphs has them as its last inputs, so that all data flow is explicit.
// Constants of the outer graph are not among them: subgraphs have initializers of their own that
// share the memory.
inline constexpr std::string_view kCapturedAttribute = "hugot.captured";

// Single static assignment: a value has one producer, and nodes() is in topological order. A graph
// is a plain value: copying it shares tensor memory and nothing else. Not thread-safe while it
// changes; const use from many threads is fine.
//
// Passes change graphs through the member functions below and leave dead nodes to remove_dead().
class Graph {
 public:
  // What the file says about itself; kept for messages and for export.
  std::string title;
  std::map<std::string, int, std::less<>> opsets;  // domain -> version
  // Of a subgraph: tells symbols that inference makes up for its values from those of the graphs
  // around it.
  std::string scope;

  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  // What the file declares of the outputs, if it does: a promise, not a proof. Loops without
  // iterations have nothing else.
  std::vector<Fact> declared_outputs;

  // -- values
  ValueId add_value(std::string_view name, Fact fact = {});  // a name in use gets a suffix
  ValueId add_input(std::string_view name, Fact fact);
  ValueId add_initializer(std::string_view name, Tensor data);
  ValueId find(std::string_view name) const;  // kNoValue when there is none
  Value& value(ValueId id) { return values_[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  const Fact& fact(ValueId id) const { return value(id).fact; }
  size_t value_count() const { return values_.size(); }
  // The constant behind an initializer or a folded value; null when it is not known.
  const Tensor* constant(ValueId id) const;
  // True for constants and parameters: what a fusion may take for a weight.
  bool is_weight(ValueId id) const { return constant(id) != nullptr || value(id).parameter; }

  // -- nodes
  NodeId add_node(Node node);  // sets the producer of its outputs; they must not have one
  Node& node(NodeId id) { return nodes_[static_cast<size_t>(id)]; }
  const Node& node(NodeId id) const { return nodes_[static_cast<size_t>(id)]; }
  size_t node_count() const { return nodes_.size(); }  // removed ones included, until compact()
  bool removed(NodeId id) const { return node(id).outputs.empty(); }
  const Node* producer(ValueId id) const;
  // Nodes in an order that respects data flow. Throws kInvalidData naming a node on a cycle.
  std::vector<NodeId> order() const;
  // Readers of each value, by ValueId (a node that reads a value twice is listed twice).
  std::vector<std::vector<NodeId>> readers() const;

  // Takes the node out; its outputs lose their producer.
  void remove_node(NodeId id);
  // Every reader of `from` (graph outputs included) reads `to` instead.
  void replace_uses(ValueId from, ValueId to);
  // The value becomes a constant: its producer no longer has it as output.
  void make_constant(ValueId id, Tensor data);
  // Removes nodes that no output needs, and compacts nodes into topological order. Values stay.
  // Returns the number of nodes removed.
  size_t remove_dead();

  // What copy_nodes() gives.
  struct Copied {
    std::vector<Node> nodes;       // with values of this graph; still to be added
    std::vector<ValueId> outputs;  // what stands for body.outputs
  };
  // The nodes of `body` over values of this graph: its inputs become `inputs` (kNoValue: omitted),
  // its other values get values of their own, named behind `prefix`; `outputs[i]`, where it is not
  // kNoValue, is used for output i of the body if a node of the body produces that. Constants are
  // shared, other facts are left to inference.
  Copied copy_nodes(const Graph& body, std::span<const ValueId> inputs,
                    std::span<const ValueId> outputs, std::string_view prefix);

  // A name not in use yet, derived from `stem`.
  std::string fresh_name(std::string_view stem) const;

  // Checks the invariants: ids in range, one producer each, no cycle, outputs defined, names
  // unique, constants that agree with their facts. Throws kInternal naming the offender and `when`.
  void verify(std::string_view when) const;

  // One line per input, initializer and node with facts; stable, for tests and humans.
  std::string dump() const;

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::unordered_map<std::string, ValueId> by_name_;
};

template <class T>
const T& Node::at(std::string_view attribute) const {
  const auto it = attributes.find(attribute);
  if (it == attributes.end()) bad_attribute(attribute);
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr) bad_attribute(attribute);
  return *value;
}

template <class T>
T Node::get(std::string_view attribute, T fallback) const {
  return has(attribute) ? at<T>(attribute) : std::move(fallback);
}

}  // namespace hugot

#endif  // HUGOT_GRAPH_GRAPH_H_
