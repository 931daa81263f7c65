// hugot.Attention from softmax(scale * Q K^T + bias) V.
//
// Exporters split heads with any sequence of reshapes and transposes, on either side of the
// scaling, over three or four dimensions. Here a chain of views and transposes is just a reordering
// of three atoms, tokens x heads x head_dim; only the order at its end matters.
#include <algorithm>
#include <cmath>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

enum class Axis { kTokens, kHeads, kHeadDim };

struct Atom {
  Axis axis;
  Dim size;
};
using Atoms = std::vector<Atom>;  // in memory order, without those of size 1

bool is_view(const Node& node) { return node.domain == "hugot" && node.op_type == "View"; }

bool is_transpose(const Node& node) { return node.domain.empty() && node.op_type == "Transpose"; }

void drop_ones(Atoms& atoms) {
  std::erase_if(atoms, [](const Atom& atom) { return atom.size.is(1); });
}

bool same_order(const Atoms& atoms, Atoms wanted) {
  drop_ones(wanted);
  return std::equal(
      atoms.begin(), atoms.end(), wanted.begin(), wanted.end(),
      [](const Atom& a, const Atom& b) { return a.axis == b.axis && a.size == b.size; });
}

// Reorders the atoms of a tensor of shape `dims` as Transpose does. False when a dimension is no
// product of whole atoms.
bool transpose_atoms(const Dims& dims, const std::vector<int64_t>& perm, Atoms& atoms) {
  if (perm.size() != dims.size()) return false;
  std::vector<Atoms> groups;
  size_t next = 0;
  for (const Dim& dim : dims) {
    Atoms group;
    Dim product = 1;
    while (!(product == dim)) {
      if (next == atoms.size()) return false;
      product = product * atoms[next].size;
      group.push_back(atoms[next++]);
    }
    groups.push_back(std::move(group));
  }
  if (next != atoms.size()) return false;
  Atoms result;
  for (const int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(groups.size())) return false;
    const Atoms& group = groups[static_cast<size_t>(axis)];
    result.insert(result.end(), group.begin(), group.end());
  }
  atoms = std::move(result);
  return true;
}

bool apply(const Graph& graph, const Node& node, Atoms& atoms) {
  if (is_view(node)) return true;
  const Dims& dims = *graph.fact(node.inputs[0]).shape;
  std::vector<int64_t> reversed;
  for (size_t i = dims.size(); i-- > 0;) reversed.push_back(static_cast<int64_t>(i));
  return transpose_atoms(dims, node.get<std::vector<int64_t>>("perm", reversed), atoms);
}

bool is_token_matrix(const Fact& fact) {
  return fact.rank() == 3 && fact.dtype == DType::kFloat32 && (*fact.shape)[0].is(1) &&
         (*fact.shape)[1] == Dim::symbol(kLengthSymbol) && (*fact.shape)[2].is_number();
}

struct Operand {
  ValueId source = kNoValue;  // [1, S, heads * head_dim]
  double scale = 1;
};

// Walks from a heads-first operand back to the token matrix it was made from; `wanted` is the order
// of atoms that the operand must have.
std::optional<Operand> trace_operand(const Graph& graph, ValueId id, const Atoms& wanted) {
  Operand operand;
  std::vector<const Node*> chain;
  for (;;) {
    const auto [value, scale] = peel_scale(graph, id);
    operand.scale *= scale;
    const Node* node = graph.producer(value);
    if (node == nullptr || !(is_view(*node) || is_transpose(*node)) ||
        (is_token_matrix(graph.fact(value)) && chain.size() > 1)) {
      operand.source = value;
      break;
    }
    chain.push_back(node);
    id = node->inputs[0];
  }
  if (!is_token_matrix(graph.fact(operand.source))) return std::nullopt;
  Atoms atoms;
  for (const Axis axis : {Axis::kTokens, Axis::kHeads, Axis::kHeadDim}) {
    const auto it = std::find_if(wanted.begin(), wanted.end(),
                                 [&](const Atom& atom) { return atom.axis == axis; });
    atoms.push_back(*it);
  }
  if (!(atoms[1].size * atoms[2].size == (*graph.fact(operand.source).shape)[2]))
    return std::nullopt;
  drop_ones(atoms);
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    if (!apply(graph, **it, atoms)) return std::nullopt;
  }
  return same_order(atoms, wanted) ? std::optional(operand) : std::nullopt;
}

// The last value of a chain of views and transposes that starts at `id` and joins the heads again.
ValueId join_heads(const Graph& graph, const std::vector<std::vector<NodeId>>& readers, ValueId id,
                   Atoms atoms, const Atoms& wanted) {
  drop_ones(atoms);
  for (;;) {
    const auto& next = readers[static_cast<size_t>(id)];
    if (next.size() != 1) return kNoValue;
    const Node& node = graph.node(next[0]);
    if (!(is_view(node) || is_transpose(node)) || !apply(graph, node, atoms)) return kNoValue;
    id = node.outputs[0];
    if (is_token_matrix(graph.fact(id)) && same_order(atoms, wanted)) return id;
  }
}

struct Scores {
  const Node* product = nullptr;  // Q K^T
  double scale = 1;
  ValueId bias = kNoValue;
};

// Takes scale * (Q K^T) [+ bias] apart.
std::optional<Scores> match_scores(const Graph& graph, ValueId id) {
  const auto [value, scale] = peel_scale(graph, id);
  const Node* node = graph.producer(value);
  if (node == nullptr) return std::nullopt;
  if (is_view(*node)) {
    auto scores = match_scores(graph, node->inputs[0]);
    if (scores) scores->scale *= scale;
    return scores && scores->bias == kNoValue ? scores : std::nullopt;
  }
  if (!node->domain.empty()) return std::nullopt;
  if (node->op_type == "MatMul") return Scores{node, scale, kNoValue};
  if (node->op_type != "Add" || scale != 1) return std::nullopt;
  for (const ValueId operand : node->inputs) {
    auto scores = match_scores(graph, operand);
    if (!scores || scores->bias != kNoValue) continue;
    scores->bias = other_operand(*node, operand);
    return scores;
  }
  return std::nullopt;
}

// The softmax behind `id`, seen through Where(IsNaN(p), 0, p): a row of scores without a mask has a
// finite maximum, so the guard never acts.
const Node* match_softmax(const Graph& graph, ValueId id) {
  if (const Node* where = produced_by(graph, id, "Where")) {
    const Node* is_nan = produced_by(graph, where->inputs[0], "IsNaN");
    if (is_nan == nullptr || is_nan->inputs[0] != where->inputs[2]) return nullptr;
    id = where->inputs[2];
  }
  const Node* softmax = produced_by(graph, id, "Softmax");
  if (softmax == nullptr) return nullptr;
  const int rank = graph.fact(softmax->inputs[0]).rank();
  const int64_t axis = softmax->get<int64_t>("axis", softmax->opset >= 13 ? -1 : 1);
  return axis == -1 || axis == rank - 1 ? softmax : nullptr;
}

struct Pattern {
  Operand q, k, v;
  Dim heads;
  Dim head_dim;
  Dim value_dim;
  double scale = 1;
  ValueId bias = kNoValue;
  bool causal = false;
  ValueId heads_first = kNoValue;  // the result before the heads are joined
};

// Heads, tokens and head size of an operand [.., heads, rows, columns] with leading ones.
bool split_dims(const Fact& fact, Dim& heads, Dim& rows, Dim& columns) {
  if (!fact.shape || fact.rank() < 3) return false;
  const Dims& dims = *fact.shape;
  heads = 1;
  for (size_t i = 0; i + 2 < dims.size(); ++i) heads = heads * dims[i];
  rows = dims[dims.size() - 2];
  columns = dims.back();
  return heads.is_number();
}

bool trace_all(const Graph& graph, ValueId q, ValueId k, bool k_transposed, ValueId v, Pattern& p) {
  const Dim tokens = Dim::symbol(kLengthSymbol);
  Dim heads, rows, columns;
  if (!split_dims(graph.fact(q), p.heads, rows, p.head_dim) || !(rows == tokens)) return false;
  if (!split_dims(graph.fact(v), heads, rows, p.value_dim) || !(rows == tokens)) return false;
  if (!(heads == p.heads)) return false;
  if (!split_dims(graph.fact(k), heads, rows, columns) || !(heads == p.heads)) return false;
  const Atom t{Axis::kTokens, tokens};
  const Atom h{Axis::kHeads, p.heads};
  const Atom d{Axis::kHeadDim, p.head_dim};
  const auto traced_q = trace_operand(graph, q, {h, t, d});
  const auto traced_k = trace_operand(graph, k, k_transposed ? Atoms{h, d, t} : Atoms{h, t, d});
  const auto traced_v = trace_operand(graph, v, {h, t, {Axis::kHeadDim, p.value_dim}});
  if (!traced_q || !traced_k || !traced_v || traced_v->scale != 1) return false;
  p.q = *traced_q;
  p.k = *traced_k;
  p.v = *traced_v;
  p.scale *= p.q.scale * p.k.scale;
  return true;
}

std::optional<Pattern> match_decomposed(const Graph& graph, const Node& matmul) {
  const Node* softmax = match_softmax(graph, matmul.inputs[0]);
  const auto scores = softmax != nullptr ? match_scores(graph, softmax->inputs[0]) : std::nullopt;
  if (!scores) return std::nullopt;
  Pattern p;
  p.scale = scores->scale;
  p.bias = scores->bias;
  p.heads_first = matmul.outputs[0];
  const bool found = trace_all(graph, scores->product->inputs[0], scores->product->inputs[1], true,
                               matmul.inputs[1], p);
  return found ? std::optional(p) : std::nullopt;
}

// ai.onnx Attention with four-dimensional operands and no cache.
std::optional<Pattern> match_operator(const Graph& graph, const Node& node) {
  const bool only_first = node.outputs.size() == 1;
  if (!only_first || node.input(4) != kNoValue || node.input(5) != kNoValue ||
      node.input(6) != kNoValue || node.get<float>("softcap", 0) != 0 ||
      node.has("left_window_size") || node.has("right_window_size")) {
    return std::nullopt;
  }
  Pattern p;
  p.heads_first = node.outputs[0];
  p.causal = node.get<int64_t>("is_causal", 0) != 0;
  if (const ValueId mask = node.input(3); mask != kNoValue) {
    const auto number = number_of(graph, mask);
    const bool keeps_all = number == (graph.fact(mask).dtype == DType::kBool ? 1.0 : 0.0);
    if (!keeps_all) {
      if (graph.fact(mask).dtype != DType::kFloat32) return std::nullopt;
      p.bias = mask;
    }
  }
  if (!trace_all(graph, node.inputs[0], node.inputs[1], false, node.inputs[2], p))
    return std::nullopt;
  const double standard = 1.0 / std::sqrt(static_cast<double>(*p.head_dim.number()));
  const double given = static_cast<double>(node.get<float>("scale", 0));
  p.scale *= given != 0 ? given : standard;
  return p;
}

}  // namespace

size_t fuse_attention(Graph& graph, PassContext& context) {
  size_t changes = 0;
  const auto readers = graph.readers();
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!node.domain.empty()) continue;
    std::optional<Pattern> p;
    if (node.op_type == "MatMul") p = match_decomposed(graph, node);
    if (node.op_type == "Attention") p = match_operator(graph, node);
    if (!p || !p->head_dim.is_number() || !p->value_dim.is_number()) continue;
    if (p->bias != kNoValue && graph.fact(p->bias).rank() > 4) continue;

    const Atom t{Axis::kTokens, Dim::symbol(kLengthSymbol)};
    const Atom h{Axis::kHeads, p->heads};
    const Atom d{Axis::kHeadDim, p->value_dim};
    const ValueId joined = join_heads(graph, readers, p->heads_first, {h, t, d}, {t, h, d});
    if (joined == kNoValue) continue;
    context.log.push_back(str("attention: ", node.label()));
    std::vector<ValueId> inputs = {p->q.source, p->k.source, p->v.source};
    if (p->bias != kNoValue) inputs.push_back(p->bias);
    Node& last = graph.node(graph.value(joined).producer);
    last.name = node.name;
    rewrite(last, context.ops, "hugot", "Attention", 1, std::move(inputs),
            {{"num_heads", *p->heads.number()},
             {"scale", static_cast<float>(p->scale)},
             {"causal", int64_t{p->causal}}});
    ++changes;
  }
  return changes;
}

}  // namespace hugot
