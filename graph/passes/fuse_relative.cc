// hugot.RelativeAttention from hugot.Attention with a bias that depends on queries and keys.
//
// Disentangled attention adds to the scores what queries have in common with the relative positions
// of keys, and keys with those of queries: products with a table that has a column per relative
// position, from which GatherElements takes the column that belongs to each pair.
#include <algorithm>
#include <cmath>

#include "graph/passes/head_layout.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

bool is_view(const Node& node) { return node.domain == "hugot" && node.op_type == "View"; }

// The dimensions without leading ones.
Dims inner_dims(const Fact& fact) {
  if (!fact.shape) return {};
  return Dims(std::find_if(fact.shape->begin(), fact.shape->end(),
                           [](const Dim& dim) { return !dim.is(1); }),
              fact.shape->end());
}

ValueId without_views(const Graph& graph, ValueId id) {
  for (const Node* node = graph.producer(id); node != nullptr && is_view(*node);
       node = graph.producer(id)) {
    id = node->inputs[0];
  }
  return id;
}

// One product that positions pick from, or what is left of the bias.
struct Term {
  ValueId heads_first = kNoValue;  // the left operand of the product
  ValueId table = kNoValue;
  ValueId index = kNoValue;
  double scale = 1;
  bool transposed = false;
};

// Swaps the last two axes and no others.
bool swaps_last(const Node& node, int rank) {
  const auto perm = node.get<std::vector<int64_t>>("perm", {});
  if (rank < 2 || static_cast<int>(perm.size()) != rank) return false;
  for (int i = 0; i + 2 < rank; ++i) {
    if (perm[static_cast<size_t>(i)] != i) return false;
  }
  return perm.back() == rank - 2;
}

// The index of a GatherElements without its repetition for every head.
ValueId narrow_index(const Graph& graph, ValueId index) {
  const Node* expand = produced_by(graph, index, "Expand");
  if (expand == nullptr) return index;
  const Dims inner = inner_dims(graph.fact(expand->inputs[0]));
  const Dims all = inner_dims(graph.fact(index));
  const bool per_head = inner.size() == 2 && all.size() == 3 &&
                        std::equal(inner.begin(), inner.end(), all.begin() + 1);
  return per_head ? expand->inputs[0] : index;
}

// Takes a bias apart into terms; `rest` gets what is none. False when that is more than one value.
bool collect(const Graph& graph, ValueId id, double scale, bool transposed,
             std::vector<Term>& terms, ValueId& rest) {
  const auto [value, factor] = peel_scale(graph, id);
  const double all = scale * factor;
  const Node* node = graph.producer(value);
  const int rank = graph.fact(value).rank();
  if (node != nullptr && is_view(*node) &&
      inner_dims(graph.fact(node->inputs[0])) == inner_dims(graph.fact(value))) {
    return collect(graph, node->inputs[0], all, transposed, terms, rest);
  }
  if (node != nullptr && node->domain.empty()) {
    if (node->op_type == "Transpose" && swaps_last(*node, rank)) {
      return collect(graph, node->inputs[0], all, !transposed, terms, rest);
    }
    if (node->op_type == "Add") {
      return collect(graph, node->inputs[0], all, transposed, terms, rest) &&
             collect(graph, node->inputs[1], all, transposed, terms, rest);
    }
    const bool gathers = node->op_type == "GatherElements" &&
                         normalize_axis(node->get<int64_t>("axis", 0), rank) == rank - 1;
    const auto [data, inner_scale] = peel_scale(graph, gathers ? node->inputs[0] : kNoValue);
    const Node* product = gathers ? produced_by(graph, data, "MatMul") : nullptr;
    if (product != nullptr && graph.constant(product->inputs[1]) != nullptr) {
      terms.push_back({product->inputs[0], product->inputs[1], narrow_index(graph, node->inputs[1]),
                       all * inner_scale, transposed});
      return true;
    }
  }
  const bool untouched = rest == kNoValue && !transposed && all == 1 && value == id;
  rest = id;
  return untouched;
}

// True when the term is made from the rows that `operand` of the attention holds.
bool belongs(const Graph& graph, Term& term, ValueId operand, int64_t heads, int64_t head_dim) {
  const Tensor& table = *graph.constant(term.table);
  const int rank = table.rank();
  if (rank < 3 || table.dtype() != DType::kFloat32 || table.shape()[rank - 2] != head_dim ||
      table.shape().product(0, rank - 2) != heads) {
    return false;
  }
  const Dim length = Dim::symbol(kLengthSymbol);
  Dims index = inner_dims(graph.fact(term.index));
  if (index.size() == 3 && index.front().is(heads)) index.erase(index.begin());
  if (graph.fact(term.index).dtype != DType::kInt64 || index != Dims{length, length}) return false;
  const auto traced = trace_heads(graph, term.heads_first, heads, head_dim, length, false);
  if (!traced || traced->heads != heads ||
      without_views(graph, traced->source) != without_views(graph, operand)) {
    return false;
  }
  term.scale *= traced->scale;
  return true;
}

// Rewrites one attention; false when its bias is something else.
bool fuse(Graph& graph, NodeId id, const OpRegistry& ops) {
  const Node& node = graph.node(id);
  const auto heads = node.at<int64_t>("num_heads");
  const auto width = graph.fact(node.inputs[0]).shape->back().number();
  if (node.get<int64_t>("kv_num_heads", heads) != heads || !width || *width % heads != 0) {
    return false;
  }
  std::vector<Term> terms;
  ValueId rest = kNoValue;
  if (!collect(graph, node.inputs[3], 1, false, terms, rest) || terms.empty()) return false;
  std::vector<ValueId> inputs = {node.inputs[0], node.inputs[1], node.inputs[2], rest};
  inputs.resize(8, kNoValue);
  Attributes attributes = node.attributes;
  for (Term& term : terms) {
    const size_t place = term.transposed ? 6 : 4;
    if (inputs[place] != kNoValue ||
        !belongs(graph, term, node.inputs[term.transposed ? 1 : 0], heads, *width / heads)) {
      return false;
    }
    inputs[place] = term.table;
    inputs[place + 1] = term.index;
    attributes[term.transposed ? "key_scale" : "query_scale"] = static_cast<float>(term.scale);
  }
  rewrite(graph.node(id), ops, "hugot", "RelativeAttention", 1, std::move(inputs),
          std::move(attributes));
  return true;
}

}  // namespace

size_t hoist_views(Graph& graph, PassContext& context) {
  size_t changes = 0;
  const auto readers = graph.readers();
  for (const NodeId id : graph.order()) {
    const Node& view = graph.node(id);
    if (!is_view(view)) continue;
    const Node* softmax = produced_by(graph, view.inputs[0], "Softmax");
    if (softmax == nullptr || readers[static_cast<size_t>(view.inputs[0])].size() != 1 ||
        std::find(graph.outputs.begin(), graph.outputs.end(), view.inputs[0]) !=
            graph.outputs.end()) {
      continue;
    }
    const Fact& before = graph.fact(softmax->inputs[0]);
    const Fact& after = graph.fact(view.outputs[0]);
    const int64_t axis = softmax->get<int64_t>("axis", softmax->opset >= 13 ? -1 : 1);
    const bool last = axis == -1 || axis == before.rank() - 1;
    if (!last || inner_dims(before) != inner_dims(after) || inner_dims(after).empty()) continue;
    const int version = softmax->opset;
    const int64_t rank = after.rank();
    const Dims dims = *after.shape;  // adding a node moves the others
    const ValueId moved = view_as(graph, context.ops, softmax->inputs[0], dims);
    rewrite(graph.node(id), context.ops, "", "Softmax", version, {moved}, {{"axis", rank - 1}});
    ++changes;
  }
  return changes;
}

size_t fuse_relative_attention(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.domain != "hugot" || node.op_type != "Attention" || node.input(3) == kNoValue) {
      continue;
    }
    const std::string label = node.label();
    if (!fuse(graph, id, context.ops)) continue;
    context.log.push_back("relative_attention: " + label);
    ++changes;
  }
  return changes;
}

}  // namespace hugot
