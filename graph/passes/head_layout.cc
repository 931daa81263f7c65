#include "graph/passes/head_layout.h"

#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

enum class Axis { kTokens, kHeads, kRepeats, kHeadDim };

struct Atom {
  Axis axis;
  Dim size;
  friend bool operator==(const Atom& a, const Atom& b) {
    return a.axis == b.axis && a.size == b.size;
  }
};
using Atoms = std::vector<Atom>;  // in memory order, without those of size 1

void drop_ones(Atoms& atoms) {
  std::erase_if(atoms, [](const Atom& atom) { return atom.size.is(1); });
}

bool same_order(const Atoms& atoms, Atoms wanted) {
  drop_ones(wanted);
  return atoms == wanted;
}

// The atoms of each dimension; nothing when a dimension is no product of whole atoms.
std::optional<std::vector<Atoms>> group(const Dims& dims, const Atoms& atoms) {
  std::vector<Atoms> groups;
  size_t next = 0;
  for (const Dim& dim : dims) {
    Atoms own;
    Dim product = 1;
    while (!(product == dim)) {
      if (next == atoms.size()) return std::nullopt;
      product = product * atoms[next].size;
      own.push_back(atoms[next++]);
    }
    groups.push_back(std::move(own));
  }
  return next == atoms.size() ? std::optional(std::move(groups)) : std::nullopt;
}

Atoms joined(const std::vector<Atoms>& groups) {
  Atoms result;
  for (const Atoms& own : groups) result.insert(result.end(), own.begin(), own.end());
  return result;
}

bool transpose_atoms(const Dims& dims, const std::vector<int64_t>& perm, Atoms& atoms) {
  const auto groups = group(dims, atoms);
  if (!groups || perm.size() != dims.size()) return false;
  std::vector<Atoms> moved;
  for (const int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(groups->size())) return false;
    moved.push_back((*groups)[static_cast<size_t>(axis)]);
  }
  atoms = joined(moved);
  return true;
}

// Expand and Tile that repeat axes of length 1.
bool repeat_atoms(Dims from, const Dims& to, Atoms& atoms) {
  if (from.size() > to.size()) return false;
  from.insert(from.begin(), to.size() - from.size(), Dim(1));
  auto groups = group(from, atoms);
  if (!groups) return false;
  for (size_t i = 0; i < to.size(); ++i) {
    if (from[i] == to[i]) continue;
    const bool once = std::none_of(atoms.begin(), atoms.end(),
                                   [](const Atom& atom) { return atom.axis == Axis::kRepeats; });
    if (!from[i].is(1) || !once) return false;
    (*groups)[i] = {{Axis::kRepeats, to[i]}};
    atoms = joined(*groups);
  }
  atoms = joined(*groups);
  return true;
}

bool is_view(const Node& node) { return node.domain == "hugot" && node.op_type == "View"; }

bool is_transpose(const Node& node) { return node.domain.empty() && node.op_type == "Transpose"; }

bool repeats(const Node& node) {
  return node.domain.empty() && (node.op_type == "Expand" || node.op_type == "Tile");
}

bool apply(const Graph& graph, const Node& node, Atoms& atoms) {
  if (is_view(node)) return true;
  const Fact &from = graph.fact(node.inputs[0]), &to = graph.fact(node.outputs[0]);
  if (!from.shape || !to.shape) return false;
  if (repeats(node)) return repeat_atoms(*from.shape, *to.shape, atoms);
  std::vector<int64_t> reversed;
  for (size_t i = from.shape->size(); i-- > 0;) reversed.push_back(static_cast<int64_t>(i));
  return transpose_atoms(*from.shape, node.get<std::vector<int64_t>>("perm", reversed), atoms);
}

// Features per token of a value with tokens_lead().
int64_t features_of(const Fact& fact) {
  int64_t features = 1;
  auto it = fact.shape->begin();
  while (it->is(1)) ++it;
  while (++it != fact.shape->end()) features *= *it->number();
  return features;
}

}  // namespace

bool tokens_lead(const Fact& fact, const Dim& tokens) {
  const bool computed = fact.dtype == DType::kFloat32 || fact.dtype == DType::kFloat64;
  if (!fact.shape || !computed) return false;
  auto it = fact.shape->begin();
  while (it != fact.shape->end() && it->is(1)) ++it;
  if (it == fact.shape->end() || !(*it == tokens)) return false;
  return std::all_of(it + 1, fact.shape->end(), [](const Dim& dim) { return dim.is_number(); });
}

std::optional<HeadOperand> trace_heads(const Graph& graph, ValueId operand, int64_t heads,
                                       int64_t head_dim, const Dim& tokens, bool transposed) {
  struct Step {
    ValueId value;     // before `node`
    const Node* node;  // null at the operand itself
    double scale;      // of the operand, as a multiple of `value`
  };
  const auto [last, last_scale] = peel_scale(graph, operand);
  std::vector<Step> steps = {{last, nullptr, last_scale}};
  for (;;) {
    const Node* node = graph.producer(steps.back().value);
    if (node == nullptr || !(is_view(*node) || is_transpose(*node) || repeats(*node))) break;
    const auto [value, scale] = peel_scale(graph, node->inputs[0]);
    steps.push_back({value, node, steps.back().scale * scale});
  }
  const Atom rows{Axis::kTokens, tokens}, features{Axis::kHeadDim, head_dim};
  // From the farthest value on, so that as much as possible is swallowed.
  for (size_t i = steps.size(); i-- > 0;) {
    const Fact& fact = graph.fact(steps[i].value);
    if (!tokens_lead(fact, tokens)) continue;
    const int64_t width = features_of(fact);
    if (width == 0 || width % head_dim != 0 || heads % (width / head_dim) != 0) continue;
    const int64_t own_heads = width / head_dim;
    const Atom groups{Axis::kHeads, own_heads}, repeated{Axis::kRepeats, heads / own_heads};
    Atoms atoms = {rows, groups, features};
    drop_ones(atoms);
    bool fits = true;
    for (size_t k = i; fits && k > 0; --k) fits = apply(graph, *steps[k].node, atoms);
    const Atoms wanted = transposed ? Atoms{groups, repeated, features, rows}
                                    : Atoms{groups, repeated, rows, features};
    if (fits && same_order(atoms, wanted)) {
      return HeadOperand{steps[i].value, own_heads, steps[i].scale};
    }
  }
  return std::nullopt;
}

ValueId join_heads(const Graph& graph, const std::vector<std::vector<NodeId>>& readers, ValueId id,
                   int64_t heads, int64_t head_dim, const Dim& tokens) {
  Atoms atoms = {{Axis::kHeads, heads}, {Axis::kTokens, tokens}, {Axis::kHeadDim, head_dim}};
  const Atoms wanted = {atoms[1], atoms[0], atoms[2]};
  drop_ones(atoms);
  for (;;) {
    if (tokens_lead(graph.fact(id), tokens) && same_order(atoms, wanted)) return id;
    const auto& next = readers[static_cast<size_t>(id)];
    if (next.size() != 1) return kNoValue;
    const Node& node = graph.node(next[0]);
    if (!(is_view(node) || is_transpose(node)) || !apply(graph, node, atoms)) return kNoValue;
    id = node.outputs[0];
  }
}

}  // namespace hugot
