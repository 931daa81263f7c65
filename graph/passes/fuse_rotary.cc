// hugot.Rotary: rotary position embeddings from slices, negations, concatenations and products.
//
// Exporters write x * cos + turned(x) * sin, with turned(x) = (-x2, x1) for the halves of x or for
// neighbours; or (x1 * cos - x2 * sin, x2 * cos + x1 * sin) with a table entry per pair. Only a
// part of the features may be rotated, and joined with the rest.
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

bool is_last(int64_t axis, int rank) { return axis == -1 || axis == rank - 1; }

// Entries begin, begin + step, .. < end of the last axis of a value.
struct Part {
  ValueId whole = kNoValue;
  int64_t begin = 0, end = 0, step = 1;
};

std::optional<int64_t> last_dim(const Graph& graph, ValueId id) {
  const Fact& fact = graph.fact(id);
  return fact.rank() > 0 ? fact.shape->back().number() : std::nullopt;
}

std::optional<Part> slice_part(const Graph& graph, const Node& slice) {
  const auto size = last_dim(graph, slice.inputs[0]);
  if (!size) return std::nullopt;
  const auto list = [&](const char* attribute, size_t input) {
    if (slice.has(attribute)) {
      return std::optional(slice.at<std::vector<int64_t>>(attribute));
    }
    if (slice.input(input) == kNoValue) return std::optional<std::vector<int64_t>>();
    return graph.fact(slice.inputs[input]).integers();
  };
  const auto starts = list("starts", 1), ends = list("ends", 2), axes = list("axes", 3);
  const auto steps = slice.input(4) != kNoValue ? list("steps", 4) : std::vector<int64_t>{1};
  if (!starts || !ends || !axes || !steps || starts->size() != 1 || ends->size() != 1 ||
      axes->size() != 1 || steps->size() != 1 || (*steps)[0] < 1 ||
      !is_last((*axes)[0], graph.fact(slice.inputs[0]).rank())) {
    return std::nullopt;
  }
  const auto clamp = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + *size : at, 0, *size);
  };
  return Part{slice.inputs[0], clamp((*starts)[0]), clamp((*ends)[0]), (*steps)[0]};
}

std::optional<Part> part_of(const Graph& graph, ValueId id) {
  if (const Node* slice = produced_by(graph, id, "Slice")) return slice_part(graph, *slice);
  const Node* split = produced_by(graph, id, "Split");
  if (split == nullptr ||
      !is_last(split->get<int64_t>("axis", 0), graph.fact(split->inputs[0]).rank())) {
    return std::nullopt;
  }
  int64_t begin = 0;
  for (const ValueId output : split->outputs) {
    const auto size = output != kNoValue ? last_dim(graph, output) : std::nullopt;
    if (!size) return std::nullopt;
    if (output == id) return Part{split->inputs[0], begin, begin + *size, 1};
    begin += *size;
  }
  return std::nullopt;
}

ValueId negated(const Graph& graph, ValueId id) {
  if (const Node* neg = produced_by(graph, id, "Neg")) return neg->inputs[0];
  const Node* mul = produced_by(graph, id, "Mul");
  const auto parts = mul != nullptr ? value_and_number(graph, *mul) : std::nullopt;
  return parts && parts->second == -1 ? parts->first : kNoValue;
}

ValueId behind_view(const Graph& graph, ValueId id) {
  const Node* view = graph.producer(id);
  const bool is = view != nullptr && view->domain == "hugot" && view->op_type == "View";
  return is ? view->inputs[0] : kNoValue;
}

// A concatenation of two values along the last axis.
const Node* concat_of_two(const Graph& graph, ValueId id) {
  const Node* concat = produced_by(graph, id, "Concat");
  const bool fits = concat != nullptr && concat->inputs.size() == 2 && graph.fact(id).shape &&
                    is_last(concat->get<int64_t>("axis", 1), graph.fact(id).rank());
  return fits ? concat : nullptr;
}

// True when `a` and `b` are the first and second members of the pairs of `x`, in either form.
bool are_pairs(const Graph& graph, ValueId a, ValueId b, ValueId& x, bool& interleaved) {
  const auto first = part_of(graph, a), second = part_of(graph, b);
  if (!first || !second || first->whole != second->whole) return false;
  x = first->whole;
  const int64_t size = *last_dim(graph, x);
  if (size % 2 != 0) return false;
  interleaved = first->step == 2;
  if (interleaved) {
    return second->step == 2 && first->begin == 0 && second->begin == 1 && first->end >= size - 1 &&
           second->end == size;
  }
  return first->step == 1 && second->step == 1 && first->begin == 0 && first->end == size / 2 &&
         second->begin == size / 2 && second->end == size;
}

struct Rotary {
  ValueId x = kNoValue, cos = kNoValue, sin = kNoValue;
  bool interleaved = false;
};

// x when `id` is turned(x).
bool match_turned(const Graph& graph, ValueId id, Rotary& rotary) {
  const ValueId stacked = behind_view(graph, id);
  const Node* concat = concat_of_two(graph, stacked != kNoValue ? stacked : id);
  if (concat == nullptr) return false;
  ValueId second = concat->inputs[0], first = concat->inputs[1];
  if (stacked != kNoValue) {  // [.., n, 1] and [.., n, 1]
    if (last_dim(graph, first) != 1 || last_dim(graph, second) != 1) return false;
    first = behind_view(graph, first);
    const ValueId positive = negated(graph, second);
    second = positive != kNoValue ? behind_view(graph, positive)
                                  : negated(graph, behind_view(graph, second));
  } else {
    second = negated(graph, second);
  }
  if (first == kNoValue || second == kNoValue) return false;
  return are_pairs(graph, first, second, rotary.x, rotary.interleaved) &&
         rotary.interleaved == (stacked != kNoValue);
}

// The table has `entries` per row and x keeps its shape when multiplied by it.
bool is_table(const Graph& graph, ValueId table, ValueId x, int64_t entries) {
  const Fact &own = graph.fact(table), &whole = graph.fact(x);
  if (own.dtype != whole.dtype || own.rank() < 1 || own.rank() > whole.rank() ||
      !own.shape->back().is(entries)) {
    return false;
  }
  for (int i = 2; i <= own.rank(); ++i) {
    const Dim& dim = (*own.shape)[static_cast<size_t>(own.rank() - i)];
    if (!dim.is(1) && !(dim == (*whole.shape)[static_cast<size_t>(whole.rank() - i)])) return false;
  }
  return true;
}

// x * cos + turned(x) * sin
std::optional<Rotary> match_sum(const Graph& graph, const Node& add) {
  for (size_t side = 0; side < 2; ++side) {
    const Node* straight = produced_by(graph, add.inputs[side], "Mul");
    const Node* across = produced_by(graph, add.inputs[1 - side], "Mul");
    if (straight == nullptr || across == nullptr) return std::nullopt;
    for (const ValueId factor : across->inputs) {
      Rotary rotary;
      if (!match_turned(graph, factor, rotary)) continue;
      rotary.sin = other_operand(*across, factor);
      rotary.cos = other_operand(*straight, rotary.x);
      const int64_t entries = *last_dim(graph, rotary.x);
      if (rotary.sin != kNoValue && rotary.cos != kNoValue &&
          is_table(graph, rotary.cos, rotary.x, entries) &&
          is_table(graph, rotary.sin, rotary.x, entries)) {
        return rotary;
      }
    }
  }
  return std::nullopt;
}

// (x1 * cos - x2 * sin, x2 * cos + x1 * sin) for the halves of x
std::optional<Rotary> match_halves(const Graph& graph, const Node& concat) {
  if (concat_of_two(graph, concat.outputs[0]) != &concat) return std::nullopt;
  const Node* sub = produced_by(graph, concat.inputs[0], "Sub");
  const Node* add = produced_by(graph, concat.inputs[1], "Add");
  if (sub == nullptr || add == nullptr) return std::nullopt;
  const Node* first = produced_by(graph, sub->inputs[0], "Mul");
  const Node* second = produced_by(graph, sub->inputs[1], "Mul");
  if (first == nullptr || second == nullptr) return std::nullopt;
  for (const ValueId x1 : first->inputs) {
    for (const ValueId x2 : second->inputs) {
      Rotary rotary;
      if (!are_pairs(graph, x1, x2, rotary.x, rotary.interleaved) || rotary.interleaved) continue;
      rotary.cos = other_operand(*first, x1);
      rotary.sin = other_operand(*second, x2);
      const auto is_product = [&](ValueId id, ValueId a, ValueId b) {
        const Node* mul = produced_by(graph, id, "Mul");
        return mul != nullptr && other_operand(*mul, a) == b;
      };
      const bool ordered =
          is_product(add->inputs[0], x2, rotary.cos) && is_product(add->inputs[1], x1, rotary.sin);
      const bool swapped =
          is_product(add->inputs[1], x2, rotary.cos) && is_product(add->inputs[0], x1, rotary.sin);
      const int64_t entries = *last_dim(graph, rotary.x) / 2;
      if ((ordered || swapped) && is_table(graph, rotary.cos, rotary.x, entries) &&
          is_table(graph, rotary.sin, rotary.x, entries)) {
        return rotary;
      }
    }
  }
  return std::nullopt;
}

bool is_rotary(const Node* node) {
  return node != nullptr && node->domain == "hugot" && node->op_type == "Rotary";
}

// Concat(Rotary(x[.. : R]), x[R : ..]) becomes one rotation of R features of x.
bool absorb_rest(const Graph& graph, Node& concat, PassContext& context) {
  if (concat_of_two(graph, concat.outputs[0]) != &concat) return false;
  const Node* rotary = graph.producer(concat.inputs[0]);
  if (!is_rotary(rotary) || rotary->get<int64_t>("rotary_dim", 0) != 0) return false;
  const auto head = part_of(graph, rotary->inputs[0]), rest = part_of(graph, concat.inputs[1]);
  if (!head || !rest || head->whole != rest->whole || head->step != 1 || rest->step != 1 ||
      head->begin != 0 || rest->begin != head->end ||
      last_dim(graph, head->whole) != std::optional(rest->end)) {
    return false;
  }
  Attributes attributes = rotary->attributes;
  attributes["rotary_dim"] = head->end;
  std::vector<ValueId> inputs = rotary->inputs;
  inputs[0] = head->whole;
  rewrite(concat, context.ops, "hugot", "Rotary", 1, std::move(inputs), std::move(attributes));
  return true;
}

// A table of RotaryEmbedding with an axis for the heads at `heads_axis`.
ValueId table_rows(Graph& graph, const OpRegistry& ops, ValueId table, ValueId positions,
                   size_t heads_axis) {
  if (positions != kNoValue) {
    Node gather;
    gather.name = graph.value(table).name;
    rewrite(gather, ops, "", "Gather", 13, {table, positions}, {});
    table = graph.add_value(gather.name);
    gather.outputs = {table};
    infer_node(graph, graph.add_node(std::move(gather)));
  }
  const Fact& fact = graph.fact(table);
  if (fact.rank() != 3 || !known_for_text(fact)) return kNoValue;
  Dims dims = *fact.shape;
  dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(heads_axis), Dim(1));
  return view_as(graph, ops, table, dims);
}

// ai.onnx RotaryEmbedding as hugot.Rotary.
bool convert_operator(Graph& graph, NodeId id, PassContext& context) {
  const Node node = graph.node(id);
  const Fact x = graph.fact(node.inputs[0]);
  if (x.dtype != DType::kFloat32 || !known_for_text(x)) return false;
  const bool packed = x.rank() == 3;
  const auto heads = node.get<int64_t>("num_heads", 0);
  const auto width = x.shape->back().number();
  if (!width || (packed ? heads <= 0 || *width % heads != 0 : x.rank() != 4)) return false;
  const size_t heads_axis = packed ? 2 : 1;
  const ValueId cos = table_rows(graph, context.ops, node.inputs[1], node.input(3), heads_axis);
  const ValueId sin = table_rows(graph, context.ops, node.inputs[2], node.input(3), heads_axis);
  if (cos == kNoValue || sin == kNoValue) return false;
  const Attributes attributes = {{"rotary_dim", node.get<int64_t>("rotary_embedding_dim", 0)},
                                 {"interleaved", node.get<int64_t>("interleaved", 0)}};
  if (!packed) {
    rewrite(graph.node(id), context.ops, "hugot", "Rotary", 1, {node.inputs[0], cos, sin},
            attributes);
    return true;
  }
  const Dims dims = {(*x.shape)[0], (*x.shape)[1], heads, *width / heads};
  Node rotary;
  rotary.name = node.name;
  const ValueId split = view_as(graph, context.ops, node.inputs[0], dims);
  rewrite(rotary, context.ops, "hugot", "Rotary", 1, {split, cos, sin}, attributes);
  const ValueId rotated = graph.add_value(node.name);
  rotary.outputs = {rotated};
  infer_node(graph, graph.add_node(std::move(rotary)));
  rewrite(graph.node(id), context.ops, "hugot", "View", 1, {rotated}, {});
  return true;
}

}  // namespace

size_t fuse_rotary(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    Node& node = graph.node(id);
    if (!node.domain.empty()) continue;
    if (node.op_type == "RotaryEmbedding") {
      const std::string label = node.label();
      if (convert_operator(graph, id, context)) {
        context.log.push_back("rotary: " + label);
        ++changes;
      }
      continue;
    }
    std::optional<Rotary> rotary;
    if (node.op_type == "Add") rotary = match_sum(graph, node);
    if (node.op_type == "Concat") {
      if (absorb_rest(graph, node, context)) {
        ++changes;
        continue;
      }
      rotary = match_halves(graph, node);
    }
    if (!rotary || graph.fact(rotary->x).dtype != DType::kFloat32 ||
        graph.fact(rotary->cos).shape != graph.fact(rotary->sin).shape) {
      continue;
    }
    context.log.push_back(str("rotary: ", node.label()));
    rewrite(node, context.ops, "hugot", "Rotary", 1, {rotary->x, rotary->cos, rotary->sin},
            {{"interleaved", int64_t{rotary->interleaved}}});
    ++changes;
  }
  return changes;
}

}  // namespace hugot
