// Where gradients of weights are summed over texts.
#include <algorithm>
#include <array>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

class Sums {
 public:
  Sums(Graph& graph, const OpRegistry& ops) : graph_(graph), ops_(ops), uses_(graph.value_count()) {
    for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
      for (const ValueId input : graph.node(id).inputs) {
        if (input != kNoValue) ++uses_[static_cast<size_t>(input)];
      }
    }
    for (const ValueId output : graph.outputs) ++uses_[static_cast<size_t>(output)];
  }

  // What stands for the sum of `id` over all texts: itself, unless others read it, too.
  ValueId sum(ValueId id) {
    const NodeId producer = graph_.value(id).producer;
    if (producer == kNoNode || uses_[static_cast<size_t>(id)] > 1) return summed_copy(id);
    const std::vector<size_t> operands = linear_operands(graph_.node(producer));
    if (operands.empty()) {
      mark(graph_.node(producer), id);
      return id;
    }
    for (const size_t i : operands) {
      const ValueId operand = sum(graph_.node(producer).inputs[i]);
      graph_.node(producer).inputs[i] = operand;
    }
    return id;
  }

 private:
  static void mark(Node& node, ValueId output) {
    const auto place = std::find(node.outputs.begin(), node.outputs.end(), output);
    auto summed = node.get<std::vector<int64_t>>(kSummedAttribute, {});
    summed.push_back(place - node.outputs.begin());
    node.attributes[std::string(kSummedAttribute)] = std::move(summed);
  }

  ValueId summed_copy(ValueId id) {
    Node copy;
    copy.name = graph_.value(id).name + "/sum";
    rewrite(copy, ops_, "", "Identity", 14, {id}, {});
    const ValueId result =
        graph_.add_value(copy.name, Fact::of(graph_.fact(id).dtype, *graph_.fact(id).shape));
    copy.outputs = {result};
    mark(copy, result);
    graph_.add_node(std::move(copy));
    return result;
  }

  // The inputs of which the node is a linear function, if it is one of values of fixed shape and of
  // weights: the sum of its results is its result for the sums.
  std::vector<size_t> linear_operands(const Node& node) const {
    constexpr std::array kMoves = {"Identity", "Reshape",   "Transpose", "Flatten",
                                   "Squeeze",  "Unsqueeze", "Cast",      "Neg"};
    const auto fixed = [&](ValueId id) { return graph_.fact(id).fixed_shape().has_value(); };
    const auto fixed_number = [&](size_t i) {
      const ValueId id = node.input(i);
      return id != kNoValue && is_float(graph_.fact(id).dtype) && fixed(id) &&
             !graph_.is_weight(id);
    };
    const bool view = node.domain == "hugot" && node.op_type == "View";
    if (!node.domain.empty() && !view) return {};
    if (view || std::find(kMoves.begin(), kMoves.end(), node.op_type) != kMoves.end()) {
      return fixed_number(0) ? std::vector<size_t>{0} : std::vector<size_t>{};
    }
    const bool add = node.op_type == "Add" || node.op_type == "Sub";
    if (add && fixed_number(0) && fixed_number(1)) return {0, 1};
    const bool scale = node.op_type == "Mul" || node.op_type == "Div";
    if (scale && fixed_number(0) && graph_.is_weight(node.inputs[1])) return {0};
    if (node.op_type == "Mul" && fixed_number(1) && graph_.is_weight(node.inputs[0])) return {1};
    return {};
  }

  Graph& graph_;
  const OpRegistry& ops_;
  std::vector<int> uses_;
};

}  // namespace

size_t sum_over_texts(Graph& graph, PassContext& context, std::span<const size_t> outputs) {
  Sums sums(graph, context.ops);
  for (const size_t i : outputs) graph.outputs[i] = sums.sum(graph.outputs[i]);
  graph.remove_dead();
  return outputs.size();
}

}  // namespace hugot
