// Constant folding and common subexpressions: rewrites that keep every bit.
#include <algorithm>
#include <map>
#include <set>

#include "graph/passes/passes.h"

namespace hugot {
namespace {

// A folded result may be this much larger than what it was made from: folding an Expand of a scalar
// to a huge tensor would only waste memory.
constexpr size_t kMaxGrowthBytes = size_t{1} << 20;

bool can_evaluate(const Graph& graph, const Node& node) {
  if (node.op == nullptr || node.op->cpu == nullptr || !node.op->deterministic) return false;
  // Loops may take long, and only tensors can be constants.
  const bool plain = !node.has_subgraph() &&
                     std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) {
                       return output == kNoValue || graph.fact(output).is_tensor();
                     });
  return plain && std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
           return input == kNoValue || graph.constant(input) != nullptr;
         });
}

// Weights are dequantized once, not in every run. Chains of such growth are no danger, since the
// next quantization undoes it.
constexpr size_t kMaxDequantizedGrowth = 16;  // from 2 bits to 32

// Bytes that a result of the node may have to be folded.
size_t folded_limit(const Graph& graph, const Node& node) {
  size_t bytes = 0;
  for (const ValueId input : node.inputs) {
    if (const Tensor* constant = graph.constant(input)) bytes += constant->bytes();
  }
  const bool dequantizes = node.op_type == "DequantizeLinear" || node.op_type == "DequantizeBlocks";
  if (dequantizes) bytes *= kMaxDequantizedGrowth;
  return bytes + kMaxGrowthBytes;
}

// The outputs of a node with constant inputs; nothing when they are not to be folded.
std::optional<std::vector<Tensor>> folded(const Graph& graph, const Node& node) {
  if (!can_evaluate(graph, node)) return std::nullopt;
  std::vector<const Tensor*> inputs;
  for (const ValueId input : node.inputs) inputs.push_back(graph.constant(input));
  return evaluate_within(folded_limit(graph, node), node, inputs);
}

// Weights, in contrast to shapes and masks.
constexpr size_t kLargeBytes = size_t{1} << 16;

// The output of a node that makes one large tensor of another, as Transpose and Cast do: computed
// when somebody looks at it, which for a weight whose packed form is at hand is never. Nothing when
// that is not known beforehand.
std::optional<Tensor> folded_later(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!can_evaluate(graph, node) || node.outputs.size() != 1) return std::nullopt;
  std::vector<Tensor> inputs;
  size_t largest = 0;
  for (const ValueId input : node.inputs) {
    inputs.push_back(input == kNoValue ? Tensor() : *graph.constant(input));
    if (inputs.back().defined()) largest = std::max(largest, inputs.back().bytes());
  }
  if (largest < kLargeBytes) return std::nullopt;
  infer_node(graph, id);
  const Fact& fact = graph.fact(node.outputs[0]);
  const auto shape = fact.fixed_shape();
  if (!shape || fact.dtype == DType::kString || fact.dtype == DType::kUndefined) {
    return std::nullopt;
  }
  const size_t bytes = Tensor::byte_size(fact.dtype, *shape);
  if (bytes < kLargeBytes || bytes > folded_limit(graph, node)) return std::nullopt;
  return Tensor::deferred(fact.dtype, *shape, [node, inputs = std::move(inputs)] {
    std::vector<const Tensor*> given;
    for (const Tensor& input : inputs) given.push_back(input.defined() ? &input : nullptr);
    return evaluate(node, given)[0];
  });
}

// The tensor that a fact describes completely, if it does.
std::optional<Tensor> known_tensor(const Fact& fact) {
  if (!fact.is_tensor()) return std::nullopt;
  const auto shape = fact.fixed_shape();
  if (!shape || fact.constant) return std::nullopt;
  const bool whole_bytes = dtype_bits(fact.dtype) >= 8;  // neither strings nor packed types
  if (fact.uniform && whole_bytes && shape->size() <= 4096) {
    Tensor tensor(fact.dtype, *shape);
    fill(tensor, *fact.uniform, tensor.size());
    return tensor;
  }
  const auto integers = fact.symbolic ? fact.integers() : std::nullopt;
  if (!integers || static_cast<int64_t>(integers->size()) != shape->size()) return std::nullopt;
  if (fact.dtype == DType::kInt64) {
    return Tensor::from<int64_t>(*shape, std::span<const int64_t>(*integers));
  }
  if (fact.dtype == DType::kInt32) {
    Tensor tensor(DType::kInt32, *shape);
    std::transform(integers->begin(), integers->end(), tensor.data<int32_t>(),
                   [](int64_t v) { return static_cast<int32_t>(v); });
    return tensor;
  }
  if (fact.dtype == DType::kBool) {
    Tensor tensor(DType::kBool, *shape);
    std::transform(integers->begin(), integers->end(), tensor.data<bool>(),
                   [](int64_t v) { return v != 0; });
    return tensor;
  }
  return std::nullopt;
}

// Attributes in a form that can be compared; tensors by their bytes, subgraphs never equal.
std::string attribute_key(const Attributes& attributes) {
  std::string key;
  for (const auto& [name, attribute] : attributes) {
    key += name;
    key += '\0';
    key += static_cast<char>('a' + attribute.index());
    std::visit(
        [&]<class T>(const T& value) {
          const auto raw = [&](const void* data, size_t bytes) {
            key += std::to_string(bytes) + ':';
            key.append(static_cast<const char*>(data), bytes);
          };
          if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, float>) {
            raw(&value, sizeof(value));
          } else if constexpr (std::is_same_v<T, std::string>) {
            raw(value.data(), value.size());
          } else if constexpr (std::is_same_v<T, std::vector<int64_t>> ||
                               std::is_same_v<T, std::vector<float>>) {
            raw(value.data(), value.size() * sizeof(value[0]));
          } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            for (const std::string& item : value) raw(item.data(), item.size());
          } else if constexpr (std::is_same_v<T, Tensor>) {
            key += std::string(describe(value));
            if (value.dtype() == DType::kString) {
              for (const std::string& item : value.template values<std::string>()) {
                raw(item.data(), item.size());
              }
            } else {
              raw(value.raw(), value.bytes());
            }
          } else if constexpr (std::is_same_v<T, Fact>) {
            key += value.to_string();
          } else {
            const void* identity = &value;
            raw(&identity, sizeof(identity));
          }
        },
        attribute);
  }
  return key;
}

// Small constants with equal contents become one value, so that equal nodes have equal inputs.
size_t merge_constants(Graph& graph) {
  constexpr size_t kMaxBytes = 256;
  std::map<std::string, ValueId> seen;
  std::vector<ValueId> replacement(graph.value_count());
  size_t changes = 0;
  for (ValueId id = 0; id < static_cast<ValueId>(graph.value_count()); ++id) {
    replacement[static_cast<size_t>(id)] = id;
    const Tensor* constant = graph.value(id).initializer ? graph.constant(id) : nullptr;
    if (constant == nullptr || constant->dtype() == DType::kString ||
        constant->bytes() > kMaxBytes) {
      continue;
    }
    std::string key = describe(*constant);
    key.append(static_cast<const char*>(constant->raw()), constant->bytes());
    replacement[static_cast<size_t>(id)] = seen.emplace(std::move(key), id).first->second;
  }
  for (NodeId n = 0; n < static_cast<NodeId>(graph.node_count()); ++n) {
    for (ValueId& input : graph.node(n).inputs) {
      if (input == kNoValue || replacement[static_cast<size_t>(input)] == input) continue;
      input = replacement[static_cast<size_t>(input)];
      ++changes;
    }
  }
  return changes;
}

}  // namespace

size_t inline_branches(Graph& graph, PassContext&) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    if (graph.removed(id) || !graph.node(id).domain.empty() || graph.node(id).op_type != "If") {
      continue;
    }
    const Node node = graph.node(id);
    const Tensor* condition = graph.constant(node.input(0));
    if (condition == nullptr || condition->size() != 1) continue;
    const bool yes = to_int64s(*condition).front() != 0;
    const auto branch = node.at<std::shared_ptr<const Graph>>(yes ? "then_branch" : "else_branch");
    const std::span<const ValueId> captured = std::span(node.inputs).subspan(1);
    // A graph output keeps its name, so a node of the branch has to produce it.
    bool fits = captured.size() == branch->inputs.size();
    for (size_t i = 0; fits && i < node.outputs.size(); ++i) {
      const bool output = std::find(graph.outputs.begin(), graph.outputs.end(), node.outputs[i]) !=
                          graph.outputs.end();
      const ValueId inner = branch->outputs[i];
      const bool once = std::count(branch->outputs.begin(), branch->outputs.end(), inner) == 1;
      fits = !output || (once && branch->value(inner).producer != kNoNode);
    }
    if (!fits) continue;
    graph.remove_node(id);
    Graph::Copied copied = graph.copy_nodes(*branch, captured, node.outputs, node.name + "/");
    for (Node& copy : copied.nodes) infer_node(graph, graph.add_node(std::move(copy)));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId was = node.outputs[i];
      if (was != kNoValue && was != copied.outputs[i]) graph.replace_uses(was, copied.outputs[i]);
    }
    ++changes;
  }
  return changes;
}

size_t fold_constants(Graph& graph, PassContext&) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (graph.removed(id)) continue;
    if (auto tensor = folded_later(graph, id)) {
      graph.make_constant(node.outputs[0], std::move(*tensor));
      ++changes;
      continue;
    }
    if (auto results = folded(graph, node)) {
      const std::vector<ValueId> outputs = node.outputs;
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (outputs[i] != kNoValue) graph.make_constant(outputs[i], std::move((*results)[i]));
      }
      ++changes;
      continue;
    }
    infer_node(graph, id);
    const std::vector<ValueId> outputs = node.outputs;
    for (const ValueId output : outputs) {
      if (output == kNoValue) continue;
      if (auto tensor = known_tensor(graph.fact(output))) {
        graph.make_constant(output, std::move(*tensor));
        ++changes;
      }
    }
  }
  return changes;
}

size_t eliminate_common(Graph& graph, PassContext&) {
  size_t changes = merge_constants(graph);
  std::map<std::string, NodeId> seen;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.op == nullptr || !node.op->deterministic) continue;
    std::string key = str(node.domain, '/', node.op_type, '/', node.op->since_version, '/');
    for (const ValueId input : node.inputs) key += str(input, ',');
    // The shape tells views apart: it is all they have.
    for (const ValueId output : node.outputs) {
      const bool shaped = output != kNoValue && graph.fact(output).shape;
      key += output == kNoValue ? "-" : shaped ? to_string(*graph.fact(output).shape) : "+";
    }
    key += attribute_key(node.attributes);
    const auto [it, inserted] = seen.emplace(std::move(key), id);
    if (inserted) continue;
    const std::vector<ValueId> kept = graph.node(it->second).outputs;
    const std::vector<ValueId> gone = node.outputs;
    // Two graph outputs keep their names, so they stay two values.
    const bool is_output = std::any_of(gone.begin(), gone.end(), [&](ValueId output) {
      return std::find(graph.outputs.begin(), graph.outputs.end(), output) != graph.outputs.end();
    });
    if (is_output) continue;
    for (size_t i = 0; i < gone.size(); ++i) {
      if (gone[i] != kNoValue) graph.replace_uses(gone[i], kept[i]);
    }
    graph.remove_node(id);
    ++changes;
  }
  return changes;
}

size_t optimize_bodies(Graph& graph, PassContext& context) {
  using Body = std::shared_ptr<const Graph>;
  size_t bodies = 0;
  for (const NodeId id : graph.order()) {
    for (auto& [name, attribute] : graph.node(id).attributes) {
      Body* body = std::get_if<Body>(&attribute);
      if (body == nullptr) continue;
      Graph copy = **body;
      // What a file declares of a body's inputs need not hold in every iteration.
      std::vector<Fact> declared;
      for (const ValueId input : copy.inputs) {
        Fact& fact = copy.value(input).fact;
        declared.push_back(fact);
        fact = fact.type();
        fact.shape.reset();
      }
      optimize_exact(copy, context);
      for (size_t i = 0; i < declared.size(); ++i) {
        copy.value(copy.inputs[i]).fact = std::move(declared[i]);
      }
      *body = std::make_shared<const Graph>(std::move(copy));
      ++bodies;
    }
  }
  return bodies;
}

}  // namespace hugot
