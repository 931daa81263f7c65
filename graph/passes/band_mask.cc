#include "graph/passes/band_mask.h"

#include <algorithm>
#include <numeric>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

constexpr int kMaxDepth = 32;  // of nested conditions; masks have about ten

// offset + sum of coefficient * index over the axes of a value, in integers. With `absolute`, its
// absolute value.
struct Linear {
  std::vector<int64_t> coefficients;
  Dim offset = 0;
  bool absolute = false;

  bool constant() const {
    return std::all_of(coefficients.begin(), coefficients.end(), [](int64_t c) { return c == 0; });
  }
};

Linear operator*(Linear a, int64_t factor) {
  for (int64_t& c : a.coefficients) c *= factor;
  a.offset = a.offset * factor;
  return a;
}

// a + factor * b, broadcast.
Linear add(const Linear& a, const Linear& b, int64_t factor) {
  Linear sum;
  const size_t rank = std::max(a.coefficients.size(), b.coefficients.size());
  sum.coefficients.assign(rank, 0);
  for (const auto& [part, times] : {std::pair(&a, int64_t{1}), std::pair(&b, factor)}) {
    const size_t missing = rank - part->coefficients.size();
    for (size_t i = 0; i < part->coefficients.size(); ++i) {
      sum.coefficients[missing + i] += times * part->coefficients[i];
    }
  }
  sum.offset = a.offset + b.offset * factor;
  return sum;
}

// For each axis of `from` that is not 1, the axis of `to` it becomes in a view; nothing when the
// view merges or splits axes.
std::optional<std::vector<size_t>> axes_of_view(const Dims& from, const Dims& to) {
  std::vector<size_t> axes;
  size_t next = 0;
  for (const Dim& dim : from) {
    if (dim.is(1)) {
      axes.push_back(0);
      continue;
    }
    while (next < to.size() && to[next].is(1)) ++next;
    if (next == to.size() || !(to[next] == dim)) return std::nullopt;
    axes.push_back(next++);
  }
  const bool all = std::all_of(to.begin() + static_cast<std::ptrdiff_t>(next), to.end(),
                               [](const Dim& dim) { return dim.is(1); });
  return all ? std::optional(axes) : std::nullopt;
}

bool is_view(const Node& node) { return node.domain == "hugot" && node.op_type == "View"; }

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }  // b > 0

std::optional<int64_t> larger(std::optional<int64_t> a, std::optional<int64_t> b) {
  return a && b ? std::max(*a, *b) : a ? a : b;
}
std::optional<int64_t> smaller(std::optional<int64_t> a, std::optional<int64_t> b) {
  return a && b ? std::min(*a, *b) : a ? a : b;
}

Band intersection(const Band& a, const Band& b) {
  return {larger(a.low, b.low), smaller(a.high, b.high)};
}

// The union, when it has no gap.
std::optional<Band> united(const Band& a, const Band& b) {
  const auto low = larger(a.low, b.low), high = smaller(a.high, b.high);
  if (low && high && *low > *high + 1) return std::nullopt;
  return Band{a.low && b.low ? smaller(a.low, b.low) : std::nullopt,
              a.high && b.high ? larger(a.high, b.high) : std::nullopt};
}

class Reader {
 public:
  explicit Reader(const Graph& graph) : graph_(graph) {}

  std::optional<Band> condition(ValueId id, int depth = 0) const {
    if (id == kNoValue || depth > kMaxDepth || !graph_.fact(id).shape) return std::nullopt;
    if (const auto number = number_of(graph_, id)) {
      return *number != 0 ? std::optional(Band()) : std::nullopt;
    }
    const Node* node = graph_.producer(id);
    if (node == nullptr) return std::nullopt;
    const auto operand = [&](size_t i) { return condition(node->inputs[i], depth + 1); };
    if (is_view(*node) || (node->domain.empty() && node->op_type == "Expand")) {
      const auto band = operand(0);
      return band && (everything(*band) || (is_square(node->inputs[0]) && is_square(id)))
                 ? band
                 : std::nullopt;
    }
    if (!node->domain.empty()) return std::nullopt;
    const std::string& op = node->op_type;
    if (op == "And" || op == "Or") {
      const auto a = operand(0), b = operand(1);
      if (!a || !b || !(everything(*a) || is_square(node->inputs[0])) ||
          !(everything(*b) || is_square(node->inputs[1]))) {
        return std::nullopt;
      }
      return op == "And" ? std::optional(intersection(*a, *b)) : united(*a, *b);
    }
    if (op == "Not") {
      const auto a = operand(0);
      if (a && a->low && !a->high) return Band{std::nullopt, *a->low - 1};
      if (a && a->high && !a->low) return Band{*a->high + 1, std::nullopt};
      return std::nullopt;
    }
    if (op == "Cast") return operand(0);
    if (op == "Trilu") {  // of ones
      const auto diagonal = offset_of_trilu(*node);
      if (number_of(graph_, node->inputs[0]) != 1.0 || !diagonal || !is_square(id)) {
        return std::nullopt;
      }
      const bool upper = node->get<int64_t>("upper", 1) != 0;
      return upper ? Band{*diagonal, std::nullopt} : Band{std::nullopt, *diagonal};
    }
    return comparison(*node, depth);
  }

  std::optional<Band> bias(ValueId id, int depth = 0) const {
    if (id == kNoValue || depth > kMaxDepth) return std::nullopt;
    if (number_of(graph_, id) == 0.0) return Band();
    const Node* node = graph_.producer(id);
    if (node == nullptr) return std::nullopt;
    if (is_view(*node) || (node->domain.empty() && node->op_type == "Expand")) {
      return is_square(node->inputs[0]) && is_square(id) ? bias(node->inputs[0], depth + 1)
                                                         : std::nullopt;
    }
    if (!node->domain.empty()) return std::nullopt;
    if (node->op_type == "Where") {
      const auto yes = number_of(graph_, node->inputs[1]), no = number_of(graph_, node->inputs[2]);
      if (!yes || !no || !is_square(id)) return std::nullopt;
      const auto band = condition(node->inputs[0]);
      if (!band || !(everything(*band) || is_square(node->inputs[0]))) return std::nullopt;
      if (*yes == 0 && hides(*no)) return band;
      return *no == 0 && hides(*yes) ? complement(*band) : std::nullopt;
    }
    if (node->op_type == "Trilu") {  // of a number that hides: what is cut off is visible
      const auto number = number_of(graph_, node->inputs[0]);
      const auto diagonal = offset_of_trilu(*node);
      if (!number || !hides(*number) || !diagonal || !is_square(id)) return std::nullopt;
      const bool upper = node->get<int64_t>("upper", 1) != 0;
      return upper ? Band{std::nullopt, *diagonal - 1} : Band{*diagonal + 1, std::nullopt};
    }
    return std::nullopt;
  }

 private:
  static bool everything(const Band& band) { return !band.low && !band.high; }

  static std::optional<Band> complement(const Band& band) {
    if (band.low && !band.high) return Band{std::nullopt, *band.low - 1};
    if (band.high && !band.low) return Band{*band.high + 1, std::nullopt};
    return std::nullopt;
  }

  // [1, .., 1, S, S]
  bool is_square(ValueId id) const {
    const Fact& fact = graph_.fact(id);
    if (fact.rank() < 2) return false;
    const Dim length = Dim::symbol(kLengthSymbol);
    const auto tail = fact.shape->end() - 2;
    return tail[0] == length && tail[1] == length &&
           std::all_of(fact.shape->begin(), tail, [](const Dim& dim) { return dim.is(1); });
  }

  std::optional<int64_t> offset_of_trilu(const Node& node) const {
    if (node.input(1) == kNoValue) return 0;
    const auto number = number_of(graph_, node.inputs[1]);
    return number ? std::optional(static_cast<int64_t>(*number)) : std::nullopt;
  }

  std::optional<Linear> linear(ValueId id, int depth) const {
    if (id == kNoValue || depth > kMaxDepth) return std::nullopt;
    const Fact& fact = graph_.fact(id);
    if (!fact.shape || !is_integer(fact.dtype)) return std::nullopt;
    const size_t rank = fact.shape->size();
    if (const auto number = number_of(graph_, id)) {
      return Linear{std::vector<int64_t>(rank, 0), Dim(static_cast<int64_t>(*number))};
    }
    if (const auto dims = fact.dimensions(); dims && dims->size() == 1) {
      return Linear{std::vector<int64_t>(rank, 0), (*dims)[0]};
    }
    const Node* node = graph_.producer(id);
    if (node == nullptr) return std::nullopt;
    const auto operand = [&](size_t i) { return linear(node->inputs[i], depth + 1); };
    if (is_view(*node)) {
      const auto inner = operand(0);
      const auto axes =
          inner ? axes_of_view(*graph_.fact(node->inputs[0]).shape, *fact.shape) : std::nullopt;
      if (!axes) return std::nullopt;
      Linear moved = *inner;
      moved.coefficients.assign(rank, 0);
      for (size_t i = 0; i < axes->size(); ++i) {
        if (inner->coefficients[i] != 0) moved.coefficients[(*axes)[i]] = inner->coefficients[i];
      }
      return moved;
    }
    if (!node->domain.empty()) return std::nullopt;
    const std::string& op = node->op_type;
    if (op == "Range") {
      const auto start = operand(0), step = operand(2);
      const auto by = step ? step->offset.number() : std::nullopt;
      return start && by ? std::optional(Linear{{*by}, start->offset}) : std::nullopt;
    }
    if (op == "Cast" || op == "Identity") return operand(0);
    if (op == "Abs" || op == "Neg") {
      auto a = operand(0);
      if (!a || a->absolute) return std::nullopt;
      if (op == "Neg") return *a * -1;
      a->absolute = true;
      return a;
    }
    if (op == "Add" || op == "Sub") {
      const auto a = operand(0), b = operand(1);
      if (!a || !b || a->absolute || b->absolute) return std::nullopt;
      return add(*a, *b, op == "Add" ? 1 : -1);
    }
    return std::nullopt;
  }

  std::optional<Band> comparison(const Node& node, int depth) const {
    const std::string& op = node.op_type;
    const bool less = op == "Less" || op == "LessOrEqual";
    const bool strict = op == "Less" || op == "Greater";
    if (!less && !strict && op != "GreaterOrEqual") return std::nullopt;
    auto large = linear(node.inputs[less ? 1 : 0], depth + 1);
    auto small = linear(node.inputs[less ? 0 : 1], depth + 1);
    if (!large || !small || large->absolute) return std::nullopt;
    const Dims& dims = *graph_.fact(node.outputs[0]).shape;
    if (strict) large->offset = large->offset - Dim(1);  // integers
    const auto straight = not_negative(add(*large, *small, -1), dims);
    if (!straight || !small->absolute) return straight;
    const auto mirrored = not_negative(add(*large, *small, 1), dims);
    return mirrored ? std::optional(intersection(*straight, *mirrored)) : std::nullopt;
  }

  // Where e >= 0.
  static std::optional<Band> not_negative(const Linear& e, const Dims& dims) {
    Dim least = e.offset;
    std::vector<size_t> used;
    for (size_t i = 0; i < e.coefficients.size(); ++i) {
      const int64_t c = e.coefficients[i];
      if (c != 0) used.push_back(i);
      if (c < 0) least = least + (dims[i] - Dim(1)) * Dim(c);
    }
    if (least.provably_at_least(0)) return Band();
    const auto offset = e.offset.number();
    const size_t rank = dims.size();
    if (!offset || rank < 2 || used != std::vector<size_t>{rank - 2, rank - 1} ||
        e.coefficients[rank - 2] != -e.coefficients[rank - 1]) {
      return std::nullopt;
    }
    const int64_t c = e.coefficients[rank - 1];  // c * (j - i) + offset >= 0
    if (c > 0) return Band{-floor_divide(*offset, c), std::nullopt};
    return Band{std::nullopt, floor_divide(*offset, -c)};
  }

  const Graph& graph_;
};

}  // namespace

bool hides(double number) {
  constexpr double kEnough = -1e9;  // scores are far smaller
  return number <= kEnough;
}

std::optional<Band> band_of_condition(const Graph& graph, ValueId mask) {
  return Reader(graph).condition(mask);
}

std::optional<Band> band_of_bias(const Graph& graph, ValueId bias) {
  return Reader(graph).bias(bias);
}

}  // namespace hugot
