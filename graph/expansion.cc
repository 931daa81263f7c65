#include "graph/expansion.h"

#include <map>

namespace hugot {

Term Expansion::scalar(int i) {
  const Term x = this->x(i);
  return rank(i) == 1 && dim(i, 0) == 1 ? reshape(x, writer_.integers({})) : x;
}

std::optional<int64_t> Expansion::dim(int i, int axis) {
  const int known = rank(i);
  if (axis < 0) axis += known;
  if (known < 0 || axis < 0 || axis >= known) return std::nullopt;
  return (*fact(i).shape)[static_cast<size_t>(axis)].number();
}

bool Expansion::ranks_known() {
  for (int i = 0; i < static_cast<int>(node_.inputs.size()); ++i) {
    if (has(i) && rank(i) < 0) return false;
  }
  return true;
}

void Expansion::set(int output, const Term& y) {
  if (wants(output)) results_[static_cast<size_t>(output)] = y;
}

namespace {

// `to` becomes what `from`, a result of one of the nodes from `first` on, was. An Identity where
// something else has made it.
void take_over(GraphWriter& writer, size_t first, ValueId from, ValueId to) {
  Graph& graph = writer.graph();
  const NodeId producer = graph.value(from).producer;
  if (producer == kNoNode || static_cast<size_t>(producer) < first) {
    const Term copy = writer.op("Identity", {writer.value(from)});
    return take_over(writer, first, copy.id(), to);
  }
  graph.replace_uses(from, to);
  for (ValueId& output : graph.node(producer).outputs) {
    if (output == from) output = to;
  }
  graph.value(from).producer = kNoNode;
  graph.value(to).producer = producer;
  infer_node(graph, producer);
}

}  // namespace

bool expand_node(GraphWriter& writer, NodeId id) {
  Graph& graph = writer.graph();
  const Node node = graph.node(id);
  const size_t first = graph.node_count();
  writer.set_scope(node.name.empty() ? node.op_type : node.name);
  Expansion expansion(writer, node);
  const bool done =
      with_context([&] { return node.label(); }, [&] { return node.op->expand(expansion); });
  if (!done) return false;
  graph.remove_node(id);
  std::map<ValueId, ValueId> taken;  // a result that is two outputs is copied
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    const Term& result = expansion.results()[i];
    require(static_cast<bool>(result), ErrorCode::kUnsupported, node.label(), ": output ", i,
            " is not supported");
    const auto [it, added] = taken.emplace(result.id(), node.outputs[i]);
    const ValueId from =
        added ? result.id() : writer.op("Identity", {writer.value(it->second)}).id();
    take_over(writer, first, from, node.outputs[i]);
  }
  return true;
}

}  // namespace hugot
