#include "autodiff/gradient_node.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "graph/gradient.h"

namespace hugot {
namespace {

// Gradients of gradients grow with every order.
constexpr size_t kMaxNodes = size_t{1} << 20;

bool is_gradient_node(const Node& node) {
  return node.op_type == "Gradient" && node.domain == "ai.onnx.preview.training";
}

using Names = std::vector<std::string>;
// What stands for a value in the copy.
using StandIns = std::unordered_map<ValueId, ValueId>;

// The nodes that `y` depends on, in order, as far as they depend on values that have a stand-in.
std::vector<NodeId> nodes_between(const Graph& graph, const StandIns& from, ValueId y) {
  std::vector<bool> depends(graph.value_count(), false), needed(graph.value_count(), false);
  for (const auto& [id, stand_in] : from) depends[static_cast<size_t>(id)] = true;
  const std::vector<NodeId> order = graph.order();
  std::vector<NodeId> candidates;
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    const bool reached = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
      return input != kNoValue && depends[static_cast<size_t>(input)];
    });
    if (!reached) continue;
    candidates.push_back(id);
    for (const ValueId output : node.outputs) {
      if (output != kNoValue) depends[static_cast<size_t>(output)] = true;
    }
  }
  needed[static_cast<size_t>(y)] = true;
  std::vector<NodeId> result;
  for (auto id = candidates.rbegin(); id != candidates.rend(); ++id) {
    const Node& node = graph.node(*id);
    // Where a named value is computed, the walk ends.
    const bool wanted = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) {
      return output != kNoValue && needed[static_cast<size_t>(output)] && !from.contains(output);
    });
    if (!wanted) continue;
    result.push_back(*id);
    for (const ValueId input : node.inputs) {
      if (input != kNoValue) needed[static_cast<size_t>(input)] = true;
    }
  }
  std::reverse(result.begin(), result.end());
  return result;
}

// Appends copies of the nodes, which compute stand-ins for their outputs.
std::vector<NodeId> copy_nodes(Graph& graph, const std::vector<NodeId>& nodes, StandIns& stand_in) {
  std::vector<NodeId> copies;
  for (const NodeId id : nodes) {
    Node copy = graph.node(id);
    for (ValueId& input : copy.inputs) {
      const auto found = stand_in.find(input);
      if (found != stand_in.end()) input = found->second;
    }
    for (ValueId& output : copy.outputs) {
      if (output == kNoValue) continue;
      const ValueId fresh = graph.add_value(graph.value(output).name);
      stand_in.try_emplace(output, fresh);
      output = fresh;
    }
    copies.push_back(graph.add_node(std::move(copy)));
    infer_node(graph, copies.back());
  }
  return copies;
}

// Makes `value`, which has no producer, a copy of `source`.
void define_as(Graph& graph, const OpRegistry& ops, ValueId value, ValueId source) {
  Node node;
  node.op_type = "Identity";
  node.op = &ops.get("", node.op_type, OpDef::kNewest);
  node.opset = node.op->since_version;
  node.inputs = {source};
  node.outputs = {value};
  infer_node(graph, graph.add_node(std::move(node)));
}

void expand(Graph& graph, const OpRegistry& ops, NodeId id) {
  const Node node = graph.node(id);
  const Names xs = node.at<Names>("xs"), zs = node.get<Names>("zs", {});
  require(node.inputs.size() == xs.size() + zs.size() && node.outputs.size() <= xs.size(),
          ErrorCode::kInvalidData, node.inputs.size(), " inputs and ", node.outputs.size(),
          " outputs do not belong to ", xs.size(), " xs and ", zs.size(), " zs");
  const auto find = [&](const std::string& name) {
    const ValueId found = graph.find(name);
    require(found != kNoValue, ErrorCode::kInvalidData, "the graph has no value '", name, "'");
    return found;
  };
  GraphWriter writer(graph, ops);
  writer.set_scope("gradient");
  StandIns stand_in;
  std::vector<ValueId> wrt;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const std::string& name = i < xs.size() ? xs[i] : zs[i - xs.size()];
    require(node.inputs[i] != kNoValue, ErrorCode::kInvalidData, "input ", i, " is missing");
    const ValueId value = writer.op("Identity", {writer.value(node.inputs[i])}).id();
    require(stand_in.try_emplace(find(name), value).second, ErrorCode::kInvalidData, "'", name,
            "' is named twice");
    if (i < xs.size()) wrt.push_back(value);
  }
  const ValueId y = find(node.at<std::string>("y"));
  const std::vector<NodeId> copies = copy_nodes(graph, nodes_between(graph, stand_in, y), stand_in);
  const auto found = stand_in.find(y);
  const Term target = writer.value(found == stand_in.end() ? y : found->second);
  const Term one = writer.number(1, target.dtype());
  const Seed seed = {target.id(), writer.op("Expand", {one, shape_of(target)}).id()};
  const std::vector<ValueId> gradients =
      propagate_gradients(writer, copies, std::span(&seed, 1), wrt);
  require(graph.node_count() < kMaxNodes, ErrorCode::kUnsupported,
          "the derivatives take too many nodes");
  graph.remove_node(id);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    const ValueId gradient =
        gradients[i] != kNoValue ? gradients[i] : zeros_like(writer.value(wrt[i])).id();
    define_as(graph, ops, node.outputs[i], gradient);
  }
}

}  // namespace

void expand_gradient_nodes(Graph& graph, const OpRegistry& ops) {
  const std::vector<NodeId> order = graph.order();
  if (std::none_of(order.begin(), order.end(),
                   [&](NodeId id) { return is_gradient_node(graph.node(id)); })) {
    return;
  }
  for (const NodeId id : order) {
    if (!is_gradient_node(graph.node(id))) {
      infer_node(graph, id);
      continue;
    }
    const std::string label = graph.node(id).label();
    with_context([&] { return label; }, [&] { expand(graph, ops, id); });
  }
}

}  // namespace hugot
