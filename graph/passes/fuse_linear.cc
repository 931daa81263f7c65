// hugot.Linear: y = activation(x W + bias) + residual; the same for hugot.QuantizedLinear.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

bool is_linear(const Node* node) {
  return node != nullptr && node->domain == "hugot" &&
         (node->op_type == "Linear" || node->op_type == "QuantizedLinear");
}

// Which input is the bias; the residual follows.
size_t bias_slot(const Node& linear) { return linear.op_type == "Linear" ? 2 : 6; }

// The operands of a linear node with another one at `slot`.
std::vector<ValueId> with_operand(const Node& linear, size_t slot, ValueId operand) {
  std::vector<ValueId> inputs = linear.inputs;
  inputs.resize(std::max(inputs.size(), slot + 1), kNoValue);
  inputs[slot] = operand;
  return inputs;
}

bool make_from_matmul(Graph& graph, Node& node, PassContext& context) {
  const Fact& x = graph.fact(node.inputs[0]);
  if (x.rank() < 2) return false;
  ValueId weight = node.inputs[1];
  Attributes attributes;
  // Constants have been transposed already, parameters cannot be.
  if (const Node* transpose = produced_by(graph, weight, "Transpose")) {
    weight = transpose->inputs[0];
    attributes["trans_w"] = int64_t{1};
  }
  if (!weight_shape(graph, weight, 2)) return false;
  rewrite(node, context.ops, "hugot", "Linear", 1, {node.inputs[0], weight}, std::move(attributes));
  return true;
}

bool make_from_gemm(Graph& graph, Node& node, PassContext& context) {
  const auto weights = weight_shape(graph, node.inputs[1], 2);
  if (!weights || node.get<float>("alpha", 1) != 1 || node.get<float>("beta", 1) != 1 ||
      node.get<int64_t>("transA", 0) != 0) {
    return false;
  }
  const int64_t transposed = node.get<int64_t>("transB", 0);
  const int64_t width = (*weights)[transposed != 0 ? 0 : 1];
  std::vector<ValueId> inputs = {node.inputs[0], node.inputs[1]};
  if (node.input(2) != kNoValue) {
    if (!is_weight_vector(graph, node.inputs[2], width)) return false;
    inputs.push_back(node.inputs[2]);
  }
  rewrite(node, context.ops, "hugot", "Linear", 1, std::move(inputs), {{"trans_w", transposed}});
  return true;
}

// The activation attribute of Linear for a unary node, or null.
const char* activation_name(const Node& node) {
  if (!node.domain.empty()) return nullptr;
  if (node.op_type == "Relu") return "relu";
  if (node.op_type == "Tanh") return "tanh";
  if (node.op_type == "Sigmoid") return "sigmoid";
  if (node.op_type != "Gelu") return nullptr;
  return node.get<std::string>("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu";
}

// Absorbs linear nodes into the nodes that read them.
class Absorb {
 public:
  Absorb(Graph& graph, PassContext& context)
      : graph_(graph), context_(context), uses_(graph.value_count(), 0) {
    for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
      for (const ValueId input : graph.node(id).inputs) count(input);
    }
    for (const ValueId output : graph.outputs) count(output);
  }

  bool into(Node& reader) {
    if (const char* activation = activation_name(reader)) {
      return into_activation(reader, activation);
    }
    if (!reader.domain.empty() || reader.op_type != "Add") return false;
    for (const ValueId operand : std::vector<ValueId>(reader.inputs)) {
      if (into_bias(reader, operand) || into_residual(reader, operand)) return true;
    }
    return false;
  }

 private:
  void count(ValueId id) {
    if (id != kNoValue) ++uses_[static_cast<size_t>(id)];
  }

  // The linear node behind `id`, when nothing else reads it.
  const Node* sole_linear(ValueId id) const {
    const Node* linear = graph_.producer(id);
    return is_linear(linear) && uses_[static_cast<size_t>(id)] == 1 ? linear : nullptr;
  }

  bool into_bias(Node& add, ValueId operand) {
    const Node* linear = sole_linear(operand);
    const ValueId bias = other_operand(add, operand);
    if (linear == nullptr || linear->input(bias_slot(*linear)) != kNoValue ||
        linear->input(bias_slot(*linear) + 1) != kNoValue || linear->has("activation")) {
      return false;
    }
    const auto width = graph_.fact(operand).shape->back().number();
    if (!width || !is_weight_vector(graph_, bias, *width)) return false;
    become(add, *linear, with_operand(*linear, bias_slot(*linear), bias), linear->attributes);
    return true;
  }

  bool into_residual(Node& add, ValueId operand) {
    const Node* linear = sole_linear(operand);
    const ValueId residual = other_operand(add, operand);
    if (linear == nullptr || linear->input(bias_slot(*linear) + 1) != kNoValue ||
        residual == operand) {
      return false;
    }
    const Fact& out = graph_.fact(operand);
    const Fact& other = graph_.fact(residual);
    if (other.constant || other.dtype != out.dtype || !other.shape || *other.shape != *out.shape) {
      return false;
    }
    become(add, *linear, with_operand(*linear, bias_slot(*linear) + 1, residual),
           linear->attributes);
    return true;
  }

  bool into_activation(Node& node, const char* activation) {
    const Node* linear = sole_linear(node.inputs[0]);
    // Training needs what goes into the activation.
    if (linear == nullptr || linear->has("activation") || context_.training ||
        linear->input(bias_slot(*linear) + 1) != kNoValue) {
      return false;
    }
    Attributes attributes = linear->attributes;
    attributes["activation"] = std::string(activation);
    become(node, *linear, linear->inputs, std::move(attributes));
    return true;
  }

  void become(Node& node, const Node& linear, std::vector<ValueId> inputs, Attributes attributes) {
    node.name = linear.name;
    rewrite(node, context_.ops, "hugot", linear.op_type, 1, std::move(inputs),
            std::move(attributes));
  }

  Graph& graph_;
  PassContext& context_;
  std::vector<int> uses_;
};

}  // namespace

size_t fuse_linear(Graph& graph, PassContext& context) {
  size_t changes = 0;
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    Node& node = graph.node(id);
    if (!node.domain.empty()) continue;
    const bool made = (node.op_type == "MatMul" && make_from_matmul(graph, node, context)) ||
                      (node.op_type == "Gemm" && make_from_gemm(graph, node, context));
    if (!made) continue;
    context.log.push_back(str("linear: ", node.label()));
    ++changes;
  }
  // In order, so that a chain bias, activation, residual is absorbed in one walk. Absorbed nodes
  // stay in the graph until they are swept; their readers are counted once, before.
  Absorb absorb(graph, context);
  for (const NodeId id : order) {
    if (absorb.into(graph.node(id))) ++changes;
  }
  return changes;
}

}  // namespace hugot
