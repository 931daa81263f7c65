// Identities that facts prove.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

bool same_type(const Fact& a, const Fact& b) {
  return a.dtype == b.dtype && a.shape && b.shape && *a.shape == *b.shape;
}

bool is_view(const Node& node) { return node.domain == "hugot" && node.op_type == "View"; }

// True when the transpose only moves axes of length 1: the elements stay in order.
bool keeps_order(const Graph& graph, const Node& node) {
  const Fact& fact = graph.fact(node.inputs[0]);
  if (!fact.shape) return false;
  std::vector<int64_t> perm;
  if (node.has("perm")) {
    perm = node.at<std::vector<int64_t>>("perm");
  } else {
    for (int i = fact.rank(); i-- > 0;) perm.push_back(i);
  }
  int64_t last = -1;
  for (const int64_t axis : perm) {
    if (axis < 0 || axis >= fact.rank()) return false;
    if ((*fact.shape)[static_cast<size_t>(axis)].is(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

// The value that output 0 of the node equals, if one of its inputs does; kNoValue otherwise.
ValueId identity(const Graph& graph, const Node& node) {
  const ValueId x = node.input(0);
  const ValueId y = node.input(1);
  const std::string& op = node.op_type;
  const auto is = [&](ValueId id, double number) { return number_of(graph, id) == number; };
  if (!node.domain.empty()) return kNoValue;
  if (op == "Identity" || op == "Cast" || op == "CastLike" || op == "Expand" || op == "Tile")
    return x;
  if (op == "Dropout") {
    const bool trains = node.op->since_version < 7 && node.get<int64_t>("is_test", 0) == 0;
    return !trains && (node.input(2) == kNoValue || is(node.input(2), 0)) ? x : kNoValue;
  }
  if (op == "Add") return is(y, 0) ? x : is(x, 0) ? y : kNoValue;
  if (op == "Sub") return is(y, 0) ? x : kNoValue;
  if (op == "Mul") return is(y, 1) ? x : is(x, 1) ? y : kNoValue;
  if (op == "Div" || op == "Pow") return is(y, 1) ? x : kNoValue;
  if (op == "And") return is(y, 1) ? x : is(x, 1) ? y : kNoValue;
  if (op == "Or") return is(y, 0) ? x : is(x, 0) ? y : kNoValue;
  if (op == "Where") return is(x, 1) ? y : is(x, 0) ? node.input(2) : kNoValue;
  if ((op == "Concat" || op == "Sum" || op == "Max" || op == "Min") && node.inputs.size() == 1)
    return x;
  if (op == "Slice") return x;  // the shapes tell whether anything is cut off
  return kNoValue;
}

// Slice with negative steps reverses without changing the shape.
bool reverses(const Graph& graph, const Node& node) {
  if (node.op_type != "Slice" || node.input(4) == kNoValue) return false;
  const auto steps = graph.fact(node.inputs[4]).integers();
  return !steps || std::any_of(steps->begin(), steps->end(), [](int64_t s) { return s < 0; });
}

Dims without_ones(const Dims& dims) {
  Dims rest;
  for (const Dim& dim : dims) {
    if (!dim.is(1)) rest.push_back(dim);
  }
  return rest;
}

bool reinterprets(const Graph& graph, const Node& node) {
  const std::string& op = node.op_type;
  if (node.domain == "hugot" && op == "SumTo") {
    // Nothing was repeated: the shapes differ by axes of length 1.
    const Fact &x = graph.fact(node.inputs[0]), &y = graph.fact(node.outputs[0]);
    return x.shape && y.shape && without_ones(*x.shape) == without_ones(*y.shape);
  }
  if (!node.domain.empty()) return false;
  return op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten" ||
         (op == "Transpose" && keeps_order(graph, node));
}

void make_view(Graph& graph, Node& node, ValueId source, const OpRegistry& ops) {
  Attributes attributes;
  if (const auto shape = graph.fact(node.outputs[0]).fixed_shape()) {
    attributes["shape"] = std::vector<int64_t>(shape->begin(), shape->end());
  }
  rewrite(node, ops, "hugot", "View", 1, {source}, std::move(attributes));
}

}  // namespace

size_t simplify(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    Node& node = graph.node(id);
    if (graph.removed(id) || node.output(0) == kNoValue || node.input(0) == kNoValue) continue;
    const ValueId output = node.outputs[0];
    const Fact& fact = graph.fact(output);

    if (node.domain == "hugot" && node.op_type == "Attention" && node.inputs.size() == 4 &&
        number_of(graph, node.inputs[3]) == 0.0) {
      node.inputs.pop_back();  // a mask that hides nothing
      ++changes;
    }

    ValueId same = identity(graph, node);
    const bool view = is_view(node) || reinterprets(graph, node);
    if (view) same = node.inputs[0];
    if (same != kNoValue && same_type(graph.fact(same), fact) && !reverses(graph, node)) {
      graph.replace_uses(output, same);
      ++changes;
      continue;
    }
    if (!view || !known_for_text(fact)) continue;
    const Node* before = graph.producer(node.inputs[0]);
    if (before != nullptr && is_view(*before)) {
      make_view(graph, node, before->inputs[0], context.ops);
      ++changes;
    } else if (!is_view(node)) {
      make_view(graph, node, node.inputs[0], context.ops);
      ++changes;
    }
  }
  return changes;
}

}  // namespace hugot
