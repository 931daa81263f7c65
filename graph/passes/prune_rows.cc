// Rows that no output reads are not computed.
//
// Where only one token of each text is wanted (the first, or the last), taking its row can come
// before everything that treats tokens alone. The selection moves upwards through such nodes and
// into the queries of attention, until it meets a value whose other rows are read as well: the keys
// of the last attention.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

constexpr int kGatherVersion = 13;

// What batching rules ask, answered from facts: everything that is no constant may be ragged.
class FactQuery final : public BatchQuery {
 public:
  FactQuery(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  const Node& node() const override { return node_; }
  const Fact& input_fact(int i) const override { return graph_.fact(input_id(i)); }
  const Fact& output_fact(int i) const override {
    return graph_.fact(node_.outputs[static_cast<size_t>(i)]);
  }
  bool has_input(int i) const override { return node_.input(static_cast<size_t>(i)) != kNoValue; }
  bool ragged(int i) const override { return graph_.constant(input_id(i)) == nullptr; }
  int token_axis(int i) const override { return leading_token_axis(input_fact(i)); }
  int output_token_axis(int i) const override { return leading_token_axis(output_fact(i)); }
  bool row(int i) const override {
    const Fact& fact = input_fact(i);
    return ragged(i) && fact.rank() > 0 && fact.shape->front().is(1) && fact.fixed_shape();
  }

 private:
  ValueId input_id(int i) const { return node_.inputs[static_cast<size_t>(i)]; }

  const Graph& graph_;
  const Node& node_;
};

Batching batching_of(const Graph& graph, const Node& node) {
  if (node.op == nullptr || node.op->batching == nullptr) return Batching::kLoop;
  const bool shaped = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
    return input == kNoValue || graph.fact(input).shape;
  });
  const Fact& out = graph.fact(node.outputs[0]);
  return shaped && out.shape ? node.op->batching(FactQuery(graph, node)) : Batching::kLoop;
}

// The token whose row a Gather takes: 0 or -1; nothing for other nodes.
std::optional<int64_t> selected_row(const Graph& graph, const Node& node) {
  if (!node.domain.empty() || node.op_type != "Gather") return std::nullopt;
  const Fact& data = graph.fact(node.inputs[0]);
  if (graph.constant(node.inputs[0]) != nullptr || data.rank() < 1) return std::nullopt;
  const int64_t axis = normalize_axis(node.get<int64_t>("axis", 0), data.rank());
  const auto indices = graph.fact(node.inputs[1]).integers();
  if (axis != leading_token_axis(data) || !indices || indices->size() != 1) return std::nullopt;
  return indices->front() == 0 || indices->front() == -1 ? std::optional(indices->front())
                                                         : std::nullopt;
}

class Pruning {
 public:
  Pruning(Graph& graph, PassContext& context) : graph_(graph), context_(context) {}

  size_t run() {
    for (const NodeId id : graph_.order()) {
      if (selected_row(graph_, graph_.node(id))) canonicalize(id);
    }
    while (move_one()) {
    }
    return changes_;
  }

 private:
  struct Selection {
    ValueId data;
    int64_t row;
    bool operator<(const Selection& other) const {
      return data != other.data ? data < other.data : row < other.row;
    }
  };

  // The row keeps its axis, so that what reads it keeps its axes; and there is one node for a row.
  void canonicalize(NodeId id) {
    const Node node = graph_.node(id);
    const int64_t row = *selected_row(graph_, node);
    const auto shape = graph_.fact(node.outputs[0]).fixed_shape();
    if (!shape) return;
    const bool keeps_axis = graph_.fact(node.inputs[1]).rank() == 1;
    if (keeps_axis && made_.emplace(Selection{node.inputs[0], row}, node.outputs[0]).second) return;
    const ValueId selected = select(node.inputs[0], row);
    rewrite(graph_.node(id), context_.ops, "hugot", "View", 1, {selected},
            {{"shape", std::vector<int64_t>(shape->begin(), shape->end())}});
  }

  bool is_result(ValueId id) const {
    return std::find(graph_.outputs.begin(), graph_.outputs.end(), id) != graph_.outputs.end();
  }

  // The row of a value along its leading token axis, or along `axis`.
  ValueId select(ValueId data, int64_t row, std::optional<int64_t> axis = {}) {
    const int leading = leading_token_axis(graph_.fact(data));
    const bool canonical = !axis || *axis == leading;
    if (canonical) {
      const auto found = made_.find({data, row});
      if (found != made_.end()) return found->second;
    }
    Node node;
    node.name = graph_.value(data).name;
    const ValueId index = graph_.add_initializer("row", Tensor::from<int64_t>({1}, {row}));
    rewrite(node, context_.ops, "", "Gather", kGatherVersion, {data, index},
            {{"axis", axis ? *axis : int64_t{leading}}});
    const ValueId selected = graph_.add_value(node.name);
    node.outputs = {selected};
    infer_node(graph_, graph_.add_node(std::move(node)));
    if (canonical) made_[{data, row}] = selected;
    return selected;
  }

  // Moves one selection in front of the node that makes its data. False when none can be moved.
  bool move_one() {
    const auto readers = graph_.readers();
    for (const auto& [selection, selected] : made_) {
      const NodeId id = graph_.value(selection.data).producer;
      const int64_t row = selection.row;
      if (id == kNoNode || stuck_.contains({id, row}) || !only_row(graph_.node(id), row, readers)) {
        continue;
      }
      const size_t nodes = graph_.node_count();
      if (!move(id, row)) {
        undo(nodes);
        stuck_.insert({id, row});
      }
      return true;  // made_ has changed: begin anew
    }
    return false;
  }

  // True when nothing reads more than this row of what the node makes.
  bool only_row(const Node& node, int64_t row,
                const std::vector<std::vector<NodeId>>& readers) const {
    return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) {
      if (output == kNoValue || is_result(output)) return output == kNoValue;
      const size_t count = readers[static_cast<size_t>(output)].size();
      return count == 0 || (count == 1 && made_.contains({output, row}));
    });
  }

  // The node for one row; what it makes replaces the selections. False when that is not possible;
  // then nodes may have been added in vain.
  bool move(NodeId id, int64_t row) {
    const Node node = graph_.node(id);
    const bool attends = node.domain == "hugot" &&
                         (node.op_type == "Attention" || node.op_type == "RelativeAttention");
    Node small = node;
    if (!(attends ? attend(node, row, small) : shrink(node, row, small))) return false;
    const auto selected = [&](size_t i) {
      const auto found = made_.find({node.outputs[i], row});
      return found == made_.end() ? kNoValue : found->second;
    };
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      small.outputs[i] = graph_.add_value(graph_.value(node.outputs[i]).name);
      if (node.domain != "hugot" || node.op_type != "View") continue;
      const auto shape = graph_.fact(selected(i)).fixed_shape();
      small.attributes["shape"] = std::vector<int64_t>(shape->begin(), shape->end());
    }
    const std::vector<ValueId> outputs = small.outputs;
    const NodeId added = graph_.add_node(std::move(small));
    infer_node(graph_, added);
    const Batching wanted = attends ? Batching::kSegments : Batching::kRows;
    if (batching_of(graph_, graph_.node(added)) != wanted) return false;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (selected(i) != kNoValue &&
          graph_.fact(outputs[i]).shape != graph_.fact(selected(i)).shape) {
        return false;
      }
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const ValueId old = selected(i);
      if (old == kNoValue) continue;
      graph_.replace_uses(old, outputs[i]);
      graph_.remove_node(graph_.value(old).producer);
      made_.erase({node.outputs[i], row});
    }
    graph_.remove_node(id);
    context_.log.push_back("one_row: " + node.label());
    ++changes_;
    return true;
  }

  // A node that treats tokens alone gets the row of each of its operands.
  bool shrink(const Node& node, int64_t row, Node& result) {
    if (batching_of(graph_, node) != Batching::kPacked) return false;
    for (ValueId& input : result.inputs) {
      if (input == kNoValue || graph_.constant(input) != nullptr) continue;
      if (leading_token_axis(graph_.fact(input)) < 0) return false;
      input = select(input, row);
    }
    return true;
  }

  // The queries of one row; keys and values stay.
  bool attend(const Node& node, int64_t row, Node& result) {
    const Dim length = Dim::symbol(kLengthSymbol);
    if (node.has("query_row") || leading_token_axis(graph_.fact(node.inputs[0])) != 1) return false;
    // Biases and indices that have the queries on an axis.
    const auto on_axis = [&](size_t i, int from_back) {
      const ValueId id = node.input(i);
      if (id == kNoValue) return true;
      const Fact& fact = graph_.fact(id);
      const int axis = fact.rank() - from_back;
      if (axis < 0 || !((*fact.shape)[static_cast<size_t>(axis)] == length)) return true;
      if (graph_.constant(id) != nullptr) return false;
      result.inputs[i] = select(id, row, axis);
      return true;
    };
    if (!on_axis(3, 2) || !on_axis(5, 2) || !on_axis(7, 1)) return false;
    result.inputs[0] = select(node.inputs[0], row);
    result.attributes["query_row"] = row;
    return true;
  }

  // Takes the nodes back that were added after there were `count`.
  void undo(size_t count) {
    for (size_t id = graph_.node_count(); id-- > count;) {
      const ValueId output = graph_.node(static_cast<NodeId>(id)).outputs[0];
      std::erase_if(made_, [&](const auto& entry) { return entry.second == output; });
      graph_.remove_node(static_cast<NodeId>(id));
    }
  }

  Graph& graph_;
  PassContext& context_;
  std::map<Selection, ValueId> made_;  // with the axis of tokens kept, of length 1
  std::set<std::pair<NodeId, int64_t>> stuck_;
  size_t changes_ = 0;
};

}  // namespace

size_t keep_row(Graph& graph, PassContext& context) {
  if (!context.wanted_row) return 0;
  size_t changes = 0;
  for (ValueId& output : graph.outputs) {
    const int axis = leading_token_axis(graph.fact(output));
    if (axis < 0) continue;
    Node node;
    node.name = graph.value(output).name;
    const ValueId index =
        graph.add_initializer("row", Tensor::from<int64_t>({1}, {*context.wanted_row}));
    rewrite(node, context.ops, "", "Gather", kGatherVersion, {output, index},
            {{"axis", int64_t{axis}}});
    const ValueId row = graph.add_value(node.name);
    node.outputs = {row};
    infer_node(graph, graph.add_node(std::move(node)));
    output = row;
    ++changes;
  }
  context.row_kept = changes > 0;
  return changes;
}

size_t prune_rows(Graph& graph, PassContext& context) { return Pruning(graph, context).run(); }

}  // namespace hugot
