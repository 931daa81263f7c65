// hugot.LinearGroup: projections of the same value, as those to queries, keys and values.
#include <algorithm>
#include <map>
#include <tuple>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

// The operator takes as many; a limit keeps what its kernel needs for them off the heap.
constexpr size_t kMaxGroup = 8;

// y = x W + bias with a constant W, and nothing after it.
bool is_projection(const Graph& graph, const Node& node) {
  if (node.domain != "hugot" || node.op_type != "Linear" || node.input(3) != kNoValue ||
      node.has("activation") || node.has("precision")) {
    return false;
  }
  const Tensor* weight = graph.constant(node.inputs[1]);
  return weight != nullptr && weight->dtype() == DType::kFloat32;
}

void merge(Graph& graph, const std::vector<NodeId>& members, PassContext& context) {
  Node group;
  std::vector<ValueId> inputs = {graph.node(members[0]).inputs[0]};
  Attributes attributes = graph.node(members[0]).attributes;
  std::string labels;
  for (const NodeId id : members) {
    const Node node = graph.node(id);
    inputs.push_back(node.inputs[1]);
    inputs.push_back(node.input(2));
    group.outputs.push_back(node.outputs[0]);
    if (group.name.empty()) group.name = node.name;
    labels += (labels.empty() ? "" : ", ") + node.label();
    graph.remove_node(id);
  }
  rewrite(group, context.ops, "hugot", "LinearGroup", 1, std::move(inputs), std::move(attributes));
  graph.add_node(std::move(group));
  context.log.push_back("linear_group: " + labels);
}

}  // namespace

size_t merge_linear(Graph& graph, PassContext& context) {
  using Key = std::tuple<ValueId, int64_t>;  // x, trans_w
  std::map<Key, std::vector<NodeId>> groups;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!is_projection(graph, node)) continue;
    groups[{node.inputs[0], node.get<int64_t>("trans_w", 0)}].push_back(id);
  }
  size_t changes = 0;
  for (const auto& [key, members] : groups) {
    for (size_t begin = 0; begin + 1 < members.size(); begin += kMaxGroup) {
      const size_t end = std::min(begin + kMaxGroup, members.size());
      if (end - begin < 2) break;
      merge(graph,
            {members.begin() + static_cast<std::ptrdiff_t>(begin),
             members.begin() + static_cast<std::ptrdiff_t>(end)},
            context);
      ++changes;
    }
  }
  return changes;
}

}  // namespace hugot
