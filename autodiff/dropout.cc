#include "autodiff/dropout.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "graph/passes/match.h"
#include "graph/writer.h"

namespace hugot {
namespace {

bool is_fused(const Node& node, std::string_view op_type) {
  return node.domain == "hugot" && node.op_type == op_type;
}

// Operators that show their first input in another form.
bool is_view(const Node& node) {
  constexpr std::array<std::string_view, 3> kViews = {"Reshape", "Cast", "Identity"};
  return is_fused(node, "View") || (node.domain.empty() && std::find(kViews.begin(), kViews.end(),
                                                                     node.op_type) != kViews.end());
}

class Inserter {
 public:
  Inserter(Graph& graph, const OpRegistry& ops, double ratio, ValueId ids, ValueId keys)
      : graph_(graph),
        ops_(ops),
        writer_(graph, ops),
        ratio_(static_cast<float>(ratio)),
        keys_(keys) {
    const Fact& fact = graph.fact(ids);
    require(fact.rank() == 2, ErrorCode::kUnsupported, "dropout for tokens ", fact.to_string());
    length_ = (*fact.shape)[1];
    writer_.set_scope("dropout");
  }

  DropoutSites run() {
    for (const NodeId id : graph_.order()) {
      residual(id);
      attention(id);
    }
    require(
        sites_.count() > 0, ErrorCode::kUnsupported,
        "dropout: the graph has neither attention nor a sum of a matrix product and what that was "
        "computed from");
    return sites_;
  }

 private:
  // Places of one kind are numbered in the order of the data, whatever form the graph has.
  Attributes attributes(int64_t kind, int number) const {
    return {{"ratio", ratio_}, {"site", 3 * int64_t{number} + kind}};
  }

  // One row for each token.
  bool has_tokens(ValueId id, int rank, int axis) const {
    const Fact& fact = graph_.fact(id);
    return fact.rank() == rank && (*fact.shape)[static_cast<size_t>(axis)] == length_;
  }

  bool is_product(ValueId id) const {
    const Node* node = graph_.producer(id);
    if (node == nullptr) return false;
    if (is_view(*node)) return is_product(node->inputs[0]);
    if (is_fused(*node, "Linear")) {
      return node->input(3) == kNoValue && !node->has("activation");
    }
    if (!node->domain.empty()) return false;
    if (node->op_type == "MatMul" || node->op_type == "Gemm") {
      return graph_.fact(node->inputs[1]).rank() == 2;
    }
    if (node->op_type != "Add") return false;
    return std::any_of(node->inputs.begin(), node->inputs.end(), [&](ValueId operand) {
      return graph_.fact(other_operand(*node, operand)).rank() == 1 && is_product(operand);
    });
  }

  bool depends(ValueId value, ValueId on) const {
    std::vector<bool> seen(graph_.value_count(), false);
    std::vector<ValueId> work = {value};
    while (!work.empty()) {
      const ValueId id = work.back();
      work.pop_back();
      if (id == on) return true;
      if (id == kNoValue || seen[static_cast<size_t>(id)]) continue;
      seen[static_cast<size_t>(id)] = true;
      if (const Node* node = graph_.producer(id)) {
        work.insert(work.end(), node->inputs.begin(), node->inputs.end());
      }
    }
    return false;
  }

  void residual(NodeId id) {
    const Node node = graph_.node(id);
    if (is_fused(node, "Linear") && node.input(3) != kNoValue && !node.has("activation")) {
      const ValueId x = node.inputs[3], y = node.outputs[0];
      if (!has_tokens(x, 3, 1) || !depends(node.inputs[0], x)) return;
      graph_.node(id).inputs.resize(3);
      const ValueId stream = begin_stream(x);
      replace(y, y, stream);
      return;
    }
    if (!node.domain.empty() || node.op_type != "Add") return;
    for (size_t i = 0; i < 2; ++i) {
      const ValueId y = node.inputs[i], x = node.inputs[1 - i];
      if (x == y || !has_tokens(x, 3, 1) || !has_tokens(y, 3, 1)) continue;
      if (!is_product(y) || !depends(y, x)) continue;
      const ValueId stream = begin_stream(x);
      replace(node.outputs[0], y, stream);
      return;
    }
  }

  // What stands for `x`, the other operand of a sum: with dropout where it is the first.
  ValueId begin_stream(ValueId x) {
    if (sites_.embeddings > 0) return x;
    const Term dropped =
        writer_.op("Dropout", {writer_.value(x), writer_.value(keys_)}, attributes(0, 0), "hugot");
    take_over(x, dropped.id(), {x});
    ++sites_.embeddings;
    return dropped.id();
  }

  // dropout(y) + x takes the place of `sum`.
  void replace(ValueId sum, ValueId y, ValueId x) {
    const Term result =
        writer_.op("Dropout", {writer_.value(y), writer_.value(keys_), writer_.value(x)},
                   attributes(1, sites_.projections), "hugot");
    take_over(sum, result.id(), {y, keys_, x});
    ++sites_.projections;
  }

  // Everybody who reads `old` reads `result` instead, except for the node that gives it.
  void take_over(ValueId old, ValueId result, std::vector<ValueId> inputs) {
    inputs.resize(std::max(inputs.size(), size_t{2}), keys_);
    graph_.replace_uses(old, result);
    graph_.node(graph_.value(result).producer).inputs = std::move(inputs);
  }

  void attention(NodeId id) {
    Node& node = graph_.node(id);
    const Attributes own = attributes(2, sites_.attention);
    if (is_fused(node, "Attention") && !node.has("query_row") && has_tokens(node.inputs[0], 3, 1)) {
      Attributes all = node.attributes;
      all.insert(own.begin(), own.end());
      rewrite(node, ops_, "hugot", "DropoutAttention", 1,
              {node.inputs[0], node.inputs[1], node.inputs[2], node.input(3), keys_},
              std::move(all));
      ++sites_.attention;
      return;
    }
    if (!node.domain.empty() || node.op_type != "Softmax") return;
    const auto axis = node.get<int64_t>("axis", -1);
    const ValueId y = node.outputs[0];
    if ((axis != -1 && axis != 3) || !has_tokens(y, 4, 2) || !has_tokens(y, 4, 3)) return;
    const Term dropped =
        writer_.op("Dropout", {writer_.value(y), writer_.value(keys_)}, own, "hugot");
    take_over(y, dropped.id(), {y});
    ++sites_.attention;
  }

  Graph& graph_;
  const OpRegistry& ops_;
  GraphWriter writer_;
  float ratio_;
  ValueId keys_;
  Dim length_;
  DropoutSites sites_;
};

}  // namespace

std::string DropoutSites::to_string() const {
  return str(count(), " places: ", embeddings, " of embeddings, ", attention,
             " of attention probabilities, ", projections, " in front of residual sums");
}

DropoutSites insert_dropout(Graph& graph, const OpRegistry& ops, double ratio, ValueId ids,
                            ValueId keys) {
  return Inserter(graph, ops, ratio, ids, keys).run();
}

}  // namespace hugot
