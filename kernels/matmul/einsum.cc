// Einsum: its equation, inference and batching.
#include "kernels/matmul/einsum.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ops.h"

namespace hugot {
namespace matmul {
namespace {

constexpr std::string_view kEllipsis = "...";

int label_of(char c) {
  if (c >= 'a' && c <= 'z') return c - 'a';
  if (c >= 'A' && c <= 'Z') return c - 'A' + 26;
  fail(ErrorCode::kInvalidArgument, "an equation has no place for '", c, "'");
}

Subscript parse_subscript(std::string_view text) {
  Subscript subscript;
  while (!text.empty()) {
    if (text.substr(0, kEllipsis.size()) == kEllipsis) {
      require(!subscript.ellipsis, ErrorCode::kInvalidArgument, "an operand has two ellipses");
      subscript.ellipsis = true;
      text.remove_prefix(kEllipsis.size());
    } else {
      (subscript.ellipsis ? subscript.behind : subscript.before).push_back(label_of(text.front()));
      text.remove_prefix(1);
    }
  }
  return subscript;
}

// How often each letter occurs in the operands.
std::array<int, kLetters> count_letters(const std::vector<Subscript>& operands) {
  std::array<int, kLetters> counts{};
  for (const Subscript& operand : operands) {
    for (const Labels* labels : {&operand.before, &operand.behind}) {
      for (const int label : *labels) ++counts[static_cast<size_t>(label)];
    }
  }
  return counts;
}

// The ellipsis, then the letters that occur once, capitals first as in ASCII.
Subscript implied_result(const std::vector<Subscript>& operands) {
  const auto counts = count_letters(operands);
  Subscript result;
  result.ellipsis = std::any_of(operands.begin(), operands.end(),
                                [](const Subscript& operand) { return operand.ellipsis; });
  for (int i = 0; i < kLetters; ++i) {
    const int label = (i + 26) % kLetters;
    if (counts[static_cast<size_t>(label)] != 1) continue;
    (result.ellipsis ? result.behind : result.before).push_back(label);
  }
  return result;
}

void check_result(const Equation& equation) {
  const auto counts = count_letters(equation.operands);
  LabelSet seen = 0;
  for (const Labels* labels : {&equation.result.before, &equation.result.behind}) {
    for (const int label : *labels) {
      require(!contains(seen, label), ErrorCode::kInvalidArgument, "the result has two axes '",
              letter(label), "'");
      require(counts[static_cast<size_t>(label)] > 0, ErrorCode::kInvalidArgument,
              "the result has an axis '", letter(label), "' that no operand has");
      seen |= set_of(label);
    }
  }
}

// ---------------------------------------------------------------------------------------------

void infer_einsum(InferContext& ctx) {
  Fact& out = ctx.output(0);
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    require(ctx.has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    require_same_dtype(ctx, 0, i);
  }
  out.dtype = input_dtype(ctx, 0);
  const Equation equation = equation_of(ctx.node());

  // What an operand of unknown shape may still widen.
  LabelSet uncertain = 0;
  int spread = 0;
  std::array<std::optional<Dim>, kMaxLabels> dims;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Subscript& operand = equation.operands[static_cast<size_t>(i)];
    const auto& shape = ctx.input(i).shape;
    if (!shape) {
      uncertain |= set_of(operand.labels(operand.ellipsis ? Shape::kMaxRank : 0));
      if (operand.ellipsis && equation.result.ellipsis) spread = -1;
      continue;
    }
    const int axes = ellipsis_axes(operand, static_cast<int>(shape->size()));
    if (spread >= 0) spread = std::max(spread, axes);
    const Labels labels = operand.labels(axes);
    for (size_t axis = 0; axis < labels.size(); ++axis) {
      auto& dim = dims[static_cast<size_t>(labels[axis])];
      const Dim& own = (*shape)[axis];
      dim = dim ? broadcast(Dims{*dim}, Dims{own}).front() : own;
    }
  }
  if (spread < 0) return;
  out.shape.emplace();
  for (const int label : equation.result.labels(spread)) {
    const auto& dim = dims[static_cast<size_t>(label)];
    const bool fixed = dim && dim->is_number() && !dim->is(1);
    const bool known = dim && (fixed || !contains(uncertain, label));
    out.shape->push_back(known ? *dim : unknown_dim(ctx, 0, static_cast<int>(out.shape->size())));
  }
}

// Along an axis whose label every ragged operand and the result have, and no other operand, each
// element of the result is made of the elements at its own place. So instances may be joined there.
// More than two operands are multiplied in an order that depends on their sizes.
Batching batch_einsum(const BatchQuery& query) {
  const int inputs = static_cast<int>(query.node().inputs.size());
  std::vector<int> ranks;
  for (int i = 0; i < inputs; ++i) ranks.push_back(query.input_fact(i).rank());
  if (inputs > 2 || std::find(ranks.begin(), ranks.end(), -1) != ranks.end()) {
    return Batching::kLoop;
  }
  const LabelledAxes axes = label_axes(equation_of(query.node()), ranks);
  // axis_of(i): where the instances of input i are joined.
  const auto joined = [&](int result_axis, const auto& axis_of) {
    if (result_axis < 0 || result_axis >= static_cast<int>(axes.result.size())) return false;
    const int label = axes.result[static_cast<size_t>(result_axis)];
    for (int i = 0; i < inputs; ++i) {
      const Labels& labels = axes.operands[static_cast<size_t>(i)];
      const auto count = std::count(labels.begin(), labels.end(), label);
      if (!query.ragged(i)) {
        if (count != 0) return false;
        continue;
      }
      const int axis = axis_of(i);
      if (axis < 0 || axis >= static_cast<int>(labels.size()) || count != 1 ||
          labels[static_cast<size_t>(axis)] != label || !fixed_behind(query.input_fact(i), axis)) {
        return false;
      }
    }
    return true;
  };
  const int target = query.output_token_axis(0);
  if (target >= 0) {
    const bool packed = fixed_behind(query.output_fact(0), target) &&
                        joined(target, [&](int i) { return query.token_axis(i); });
    return packed ? Batching::kPacked : Batching::kLoop;
  }
  return joined(0, [&](int i) { return query.row(i) ? 0 : -1; }) ? Batching::kRows
                                                                 : Batching::kLoop;
}

}  // namespace

LabelSet set_of(const Labels& labels) {
  LabelSet set = 0;
  for (const int label : labels) set |= set_of(label);
  return set;
}

char letter(int label) { return static_cast<char>(label < 26 ? 'a' + label : 'A' + (label - 26)); }

Labels Subscript::labels(int ellipsis_axes) const {
  Labels result = before;
  for (int axis = ellipsis_axes; axis > 0; --axis) {
    if (ellipsis) result.push_back(kLetters + axis - 1);
  }
  result.insert(result.end(), behind.begin(), behind.end());
  return result;
}

Equation parse_equation(std::string_view text) {
  std::string packed(text);
  std::erase(packed, ' ');
  const std::string_view all = packed;
  const size_t arrow = all.find("->");
  Equation equation;
  std::string_view operands = all.substr(0, arrow);
  while (true) {
    const size_t comma = operands.find(',');
    equation.operands.push_back(parse_subscript(operands.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    operands.remove_prefix(comma + 1);
  }
  if (arrow == std::string_view::npos) {
    equation.result = implied_result(equation.operands);
  } else {
    equation.result = parse_subscript(all.substr(arrow + 2));
    check_result(equation);
  }
  return equation;
}

Equation equation_of(const Node& node) {
  const auto& text = node.at<std::string>("equation");
  return with_context([&] { return "equation '" + text + "'"; },
                      [&] {
                        Equation equation = parse_equation(text);
                        require(equation.operands.size() == node.inputs.size(),
                                ErrorCode::kInvalidArgument, "there are ", node.inputs.size(),
                                " inputs for ", equation.operands.size(), " operands");
                        return equation;
                      });
}

int ellipsis_axes(const Subscript& subscript, int rank) {
  const int axes = rank - subscript.letters();
  require(axes == 0 || (axes > 0 && subscript.ellipsis), ErrorCode::kInvalidArgument,
          "an operand of rank ", rank, " does not fit ", subscript.letters(), " letters",
          subscript.ellipsis ? " and an ellipsis" : "");
  return axes;
}

LabelledAxes label_axes(const Equation& equation, std::span<const int> ranks) {
  LabelledAxes axes;
  int spread = 0;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const int own = ellipsis_axes(equation.operands[i], ranks[i]);
    spread = std::max(spread, own);
    axes.operands.push_back(equation.operands[i].labels(own));
  }
  axes.result = equation.result.labels(spread);
  return axes;
}

}  // namespace matmul

namespace ops {

OpDef onnx_Einsum(int) {
  return with_gradient(
      define({1, OpDef::kVariadic}, matmul::infer_einsum, matmul::einsum, matmul::batch_einsum),
      matmul::rule::Einsum);
}

}  // namespace ops
}  // namespace hugot
