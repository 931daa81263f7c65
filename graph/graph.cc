#include "graph/graph.h"

#include <algorithm>
#include <sstream>
#include <unordered_set>

#include "graph/op.h"

namespace hugot {

std::string Node::label() const {
  const std::string type = domain.empty() ? op_type : domain + "." + op_type;
  return name.empty() ? type : type + " '" + name + "'";
}

bool Node::has_subgraph() const {
  return std::any_of(attributes.begin(), attributes.end(), [](const auto& entry) {
    return std::holds_alternative<std::shared_ptr<const Graph>>(entry.second);
  });
}

void Node::bad_attribute(std::string_view attribute) const {
  fail(ErrorCode::kInvalidData, label(), ": attribute '", attribute,
       has(attribute) ? "' has the wrong type" : "' is missing");
}

ValueId Graph::add_value(std::string_view name, Fact fact) {
  const auto id = static_cast<ValueId>(values_.size());
  std::string unique = by_name_.contains(std::string(name)) || name.empty()
                           ? fresh_name(name.empty() ? "value" : name)
                           : std::string(name);
  by_name_.emplace(unique, id);
  values_.push_back({.name = std::move(unique), .fact = std::move(fact)});
  return id;
}

ValueId Graph::add_input(std::string_view name, Fact fact) {
  const ValueId id = add_value(name, std::move(fact));
  inputs.push_back(id);
  return id;
}

ValueId Graph::add_initializer(std::string_view name, Tensor data) {
  const ValueId id = add_value(name, Fact::of(data));
  value(id).initializer = true;
  return id;
}

ValueId Graph::find(std::string_view name) const {
  const auto it = by_name_.find(std::string(name));
  return it == by_name_.end() ? kNoValue : it->second;
}

const Tensor* Graph::constant(ValueId id) const {
  if (id == kNoValue || !fact(id).constant) return nullptr;
  return &*fact(id).constant;
}

NodeId Graph::add_node(Node node) {
  const auto id = static_cast<NodeId>(nodes_.size());
  for (const ValueId output : node.outputs) {
    if (output == kNoValue) continue;
    Value& result = value(output);
    require(result.producer == kNoNode && !result.initializer, ErrorCode::kInvalidData,
            node.label(), ": value '", result.name, "' is produced twice");
    result.producer = id;
  }
  nodes_.push_back(std::move(node));
  return id;
}

const Node* Graph::producer(ValueId id) const {
  if (id == kNoValue || value(id).producer == kNoNode) return nullptr;
  return &node(value(id).producer);
}

std::vector<NodeId> Graph::order() const {
  std::vector<NodeId> order;
  order.reserve(nodes_.size());
  // 0: new, 1: on the stack, 2: done. Iterative, because graphs are deep.
  std::vector<uint8_t> state(nodes_.size(), 0);
  std::vector<std::pair<NodeId, size_t>> stack;
  for (NodeId root = 0; root < static_cast<NodeId>(nodes_.size()); ++root) {
    if (state[static_cast<size_t>(root)] != 0 || removed(root)) continue;
    stack.emplace_back(root, 0);
    state[static_cast<size_t>(root)] = 1;
    while (!stack.empty()) {
      auto& [id, next] = stack.back();
      const Node& current = node(id);
      if (next == current.inputs.size()) {
        state[static_cast<size_t>(id)] = 2;
        order.push_back(id);
        stack.pop_back();
        continue;
      }
      const ValueId input = current.inputs[next++];
      const NodeId before = input == kNoValue ? kNoNode : value(input).producer;
      if (before == kNoNode || state[static_cast<size_t>(before)] == 2) continue;
      require(state[static_cast<size_t>(before)] == 0, ErrorCode::kInvalidData, current.label(),
              " is on a cycle");
      state[static_cast<size_t>(before)] = 1;
      stack.emplace_back(before, 0);
    }
  }
  return order;
}

std::vector<std::vector<NodeId>> Graph::readers() const {
  std::vector<std::vector<NodeId>> result(values_.size());
  for (NodeId id = 0; id < static_cast<NodeId>(nodes_.size()); ++id) {
    if (removed(id)) continue;
    for (const ValueId input : node(id).inputs) {
      if (input != kNoValue) result[static_cast<size_t>(input)].push_back(id);
    }
  }
  return result;
}

void Graph::remove_node(NodeId id) {
  Node& gone = node(id);
  for (const ValueId output : gone.outputs) {
    if (output != kNoValue) value(output).producer = kNoNode;
  }
  gone.outputs.clear();
  gone.inputs.clear();
  gone.attributes.clear();
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& reader : nodes_) std::replace(reader.inputs.begin(), reader.inputs.end(), from, to);
  std::replace(outputs.begin(), outputs.end(), from, to);
}

void Graph::make_constant(ValueId id, Tensor data) {
  Value& target = value(id);
  if (target.producer != kNoNode) {
    Node& before = node(target.producer);
    std::replace(before.outputs.begin(), before.outputs.end(), id, kNoValue);
    if (std::all_of(before.outputs.begin(), before.outputs.end(),
                    [](ValueId output) { return output == kNoValue; })) {
      remove_node(target.producer);
    }
    target.producer = kNoNode;
  }
  target.fact = Fact::of(data);
  target.initializer = true;
}

size_t Graph::remove_dead() {
  std::vector<bool> needed(nodes_.size(), false);
  std::vector<NodeId> work;
  const auto need = [&](ValueId id) {
    if (id == kNoValue) return;
    const NodeId before = value(id).producer;
    if (before != kNoNode && !needed[static_cast<size_t>(before)]) {
      needed[static_cast<size_t>(before)] = true;
      work.push_back(before);
    }
  };
  for (const ValueId output : outputs) need(output);
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    for (const ValueId input : node(id).inputs) need(input);
  }

  size_t dead = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(nodes_.size()); ++id) {
    if (needed[static_cast<size_t>(id)] || removed(id)) continue;
    remove_node(id);
    ++dead;
  }
  std::vector<Node> compact;
  for (const NodeId id : order()) {
    for (const ValueId output : node(id).outputs) {
      if (output != kNoValue) value(output).producer = static_cast<NodeId>(compact.size());
    }
    compact.push_back(std::move(node(id)));
  }
  nodes_ = std::move(compact);
  return dead;
}

Graph::Copied Graph::copy_nodes(const Graph& body, std::span<const ValueId> inputs_here,
                                std::span<const ValueId> outputs_here, std::string_view prefix) {
  require(inputs_here.size() == body.inputs.size(), ErrorCode::kInternal, "a body of ",
          body.inputs.size(), " inputs is given ", inputs_here.size());
  constexpr ValueId kNew = -2;
  std::vector<ValueId> here(body.value_count(), kNew);
  for (size_t i = 0; i < inputs_here.size(); ++i) {
    here[static_cast<size_t>(body.inputs[i])] = inputs_here[i];
  }
  for (size_t i = 0; i < outputs_here.size(); ++i) {
    ValueId& place = here[static_cast<size_t>(body.outputs[i])];
    const bool produced = body.value(body.outputs[i]).producer != kNoNode;
    if (place == kNew && produced && outputs_here[i] != kNoValue) place = outputs_here[i];
  }
  const auto map = [&](ValueId id) {
    if (id == kNoValue) return kNoValue;
    ValueId& place = here[static_cast<size_t>(id)];
    if (place == kNew) {
      const Value& original = body.value(id);
      const std::string name = str(prefix, original.name);
      place =
          original.initializer ? add_initializer(name, *original.fact.constant) : add_value(name);
    }
    return place;
  };
  Copied copied;
  for (const NodeId id : body.order()) {
    Node copy = body.node(id);
    if (!copy.name.empty()) copy.name = str(prefix, copy.name);
    for (ValueId& input : copy.inputs) input = map(input);
    for (ValueId& output : copy.outputs) output = map(output);
    copied.nodes.push_back(std::move(copy));
  }
  for (const ValueId output : body.outputs) copied.outputs.push_back(map(output));
  return copied;
}

std::string Graph::fresh_name(std::string_view stem) const {
  for (size_t i = values_.size();; ++i) {
    std::string name = str(stem, "_", i);
    if (!by_name_.contains(name)) return name;
  }
}

void Graph::verify(std::string_view when) const {
  const auto check = [&](bool ok, const auto&... what) {
    require(ok, ErrorCode::kInternal, "graph is broken after ", when, ": ", what...);
  };
  const auto known = [&](ValueId id) {
    return id >= 0 && id < static_cast<ValueId>(values_.size());
  };
  for (const ValueId id : inputs) check(known(id), "unknown input ", id);
  std::unordered_set<ValueId> sources(inputs.begin(), inputs.end());
  for (NodeId id = 0; id < static_cast<NodeId>(nodes_.size()); ++id) {
    const Node& current = node(id);
    for (const ValueId input : current.inputs) {
      check(input == kNoValue || known(input), current.label(), " reads unknown value ", input);
      if (input == kNoValue) continue;
      const Value& source = value(input);
      check(source.producer != kNoNode || source.initializer || sources.contains(input),
            current.label(), " reads '", source.name, "', which nothing produces");
    }
    for (const ValueId output : current.outputs) {
      check(output == kNoValue || (known(output) && value(output).producer == id), current.label(),
            " does not own its output ", output);
    }
  }
  for (const Value& v : values_) {
    check(v.producer == kNoNode ||
              (v.producer < static_cast<NodeId>(nodes_.size()) && !removed(v.producer)),
          "value '", v.name, "' has no such producer");
    check(!v.initializer || v.fact.constant, "initializer '", v.name, "' has no data");
    const bool agrees = !v.fact.constant || (v.fact.dtype == v.fact.constant->dtype() &&
                                             v.fact.fixed_shape() == v.fact.constant->shape());
    check(agrees, "the constant of '", v.name, "' disagrees with its fact");
  }
  for (const ValueId id : outputs) {
    check(known(id), "unknown output ", id);
    const Value& v = value(id);
    check(v.producer != kNoNode || v.initializer || sources.contains(id), "output '", v.name,
          "' has no producer");
  }
  (void)order();
}

std::string Graph::dump() const {
  std::ostringstream out;
  const auto name = [&](ValueId id) { return id == kNoValue ? "-" : value(id).name; };
  for (const ValueId id : inputs) {
    out << "input " << name(id) << ": " << fact(id).to_string() << '\n';
  }
  for (NodeId id = 0; id < static_cast<NodeId>(nodes_.size()); ++id) {
    if (removed(id)) continue;
    const Node& current = node(id);
    const char* separator = "";
    for (const ValueId output : current.outputs) {
      out << separator << name(output);
      separator = ", ";
    }
    out << " = " << (current.domain.empty() ? "" : current.domain + ".") << current.op_type << '(';
    separator = "";
    for (const ValueId input : current.inputs) {
      out << separator << name(input);
      separator = ", ";
    }
    out << ')';
    for (const ValueId output : current.outputs) {
      if (output != kNoValue) out << " : " << fact(output).to_string();
    }
    out << '\n';
  }
  for (const ValueId id : outputs) out << "output " << name(id) << '\n';
  return out.str();
}

}  // namespace hugot
