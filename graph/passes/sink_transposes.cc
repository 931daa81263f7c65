// Operators that work on each head of each token alone do not care whether tokens or heads come
// first. Moved in front of the transpose that splits the heads, they meet the token axis as leading
// axis, and so run packed; the transpose ends up at the attention, which swallows it.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

// x [1, tokens, heads, head_dim] when `id` is its transpose [1, heads, tokens, head_dim]; kNoValue
// otherwise.
ValueId before_split(const Graph& graph, ValueId id) {
  const Node* transpose = produced_by(graph, id, "Transpose");
  if (transpose == nullptr ||
      transpose->get<std::vector<int64_t>>("perm", {}) != std::vector<int64_t>{0, 2, 1, 3}) {
    return kNoValue;
  }
  const Fact& x = graph.fact(transpose->inputs[0]);
  const bool fits = x.rank() == 4 && (*x.shape)[0].is(1) &&
                    ((*x.shape)[1] == Dim::symbol(kLengthSymbol) || (*x.shape)[1].is_number()) &&
                    (*x.shape)[2].is_number() && (*x.shape)[3].is_number();
  return fits ? transpose->inputs[0] : kNoValue;
}

// [.., 1, S, n] or [.., 1, 1, n] as [1, S, 1, n] or [1, 1, 1, n]: the same elements. Nothing when
// the heads have tables of their own.
std::optional<Dims> tokens_first(const Fact& table) {
  if (!table.shape || table.rank() < 1 || table.rank() > 4) return std::nullopt;
  Dims dims(static_cast<size_t>(4 - table.rank()), Dim(1));
  dims.insert(dims.end(), table.shape->begin(), table.shape->end());
  if (!dims[0].is(1) || !dims[1].is(1)) return std::nullopt;
  std::swap(dims[1], dims[2]);
  return dims;
}

class Sinking {
 public:
  Sinking(Graph& graph, const OpRegistry& ops) : graph_(graph), ops_(ops) {}

  // Puts the transpose that the node reads behind it, if there is one.
  bool sink(NodeId id) {
    if (!acts_on_head(graph_.node(id))) return false;
    const ValueId x = before_split(graph_, graph_.node(id).input(0));
    if (x == kNoValue) return false;
    Node inner = graph_.node(id);
    inner.inputs[0] = x;
    if (inner.op_type == "Rotary") {
      for (const size_t i : {size_t{1}, size_t{2}}) {
        const auto dims = tokens_first(graph_.fact(inner.inputs[i]));
        if (!dims) return false;
        inner.inputs[i] = view_as(graph_, ops_, inner.inputs[i], *dims);
      }
    }
    const ValueId moved = append(std::move(inner));
    rewrite(graph_.node(id), ops_, "", "Transpose", 13, {moved},
            {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return true;
  }

 private:
  static bool acts_on_head(const Node& node) {
    if (node.outputs.size() != 1) return false;
    if (node.domain == "hugot") return node.op_type == "Rotary";
    if (!node.domain.empty()) return false;
    return (node.op_type == "RMSNormalization" || node.op_type == "LayerNormalization") &&
           node.get<int64_t>("axis", -1) == -1;
  }

  // Adds a copy of a node with an output of its own.
  ValueId append(Node node) {
    const ValueId output = graph_.add_value(graph_.value(node.outputs[0]).name);
    node.outputs = {output};
    infer_node(graph_, graph_.add_node(std::move(node)));
    return output;
  }

  Graph& graph_;
  const OpRegistry& ops_;
};

}  // namespace

size_t sink_transposes(Graph& graph, PassContext& context) {
  size_t changes = 0;
  Sinking sinking(graph, context.ops);
  for (const NodeId id : graph.order()) changes += sinking.sink(id) ? 1 : 0;
  return changes;
}

}  // namespace hugot
