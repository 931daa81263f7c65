// Derivatives of Einsum, which are Einsums of dy and the other operands.
#include <algorithm>

#include "graph/gradient.h"
#include "kernels/matmul/einsum.h"
#include "kernels/matmul/matmul.h"

namespace hugot::matmul::rule {
namespace {

using G = GradientContext;

// Writes labels as letters. Axes of ellipses, whose number is known here, get letters that are
// free.
class Spelling {
 public:
  explicit Spelling(const LabelledAxes& axes) {
    LabelSet used = 0;
    for (const Labels& labels : axes.operands) used |= set_of(labels);
    int next = 0;
    for (int label = 0; label < kMaxLabels; ++label) {
      if (label < kLetters) {
        spelled_[static_cast<size_t>(label)] = label;
      } else if (contains(used, label)) {
        while (next < kLetters && contains(used, next)) ++next;
        require(next < kLetters, ErrorCode::kUnsupported,
                "there are not enough letters for the gradient's equation");
        spelled_[static_cast<size_t>(label)] = next++;
      }
    }
  }

  std::string operator()(const Labels& labels) const {
    std::string text;
    for (const int label : labels) text += letter(spelled_[static_cast<size_t>(label)]);
    return text;
  }

 private:
  std::array<int, kMaxLabels> spelled_{};
};

struct Operand {
  Term value;
  Labels labels;
};

Term einsum(G& g, const Spelling& spell, const std::vector<Operand>& operands,
            const Labels& result) {
  std::string equation;
  std::vector<Term> values;
  for (const Operand& operand : operands) {
    equation += (values.empty() ? "" : ",") + spell(operand.labels);
    values.push_back(operand.value);
  }
  return g.op("Einsum", values, {{"equation", equation + "->" + spell(result)}});
}

bool same_shape(const Term& a, const Term& b) {
  return a.fact().shape && b.fact().shape && *a.fact().shape == *b.fact().shape;
}

// The elements of `diagonal`, whose axes are the labels without repetition, where all axes of x
// with the same label have the same index, and 0 elsewhere.
Term on_diagonal(G& g, const Term& diagonal, const Term& x, const Labels& labels) {
  const int64_t rank = static_cast<int64_t>(labels.size());
  const auto numbers_along = [&](int64_t axis) {
    const Term length = reshape(dim_of(x, axis), g.writer().integers({}));
    std::vector<int64_t> others;
    for (int64_t i = 0; i < rank; ++i) {
      if (i != axis) others.push_back(i);
    }
    return unsqueeze(g.op("Range", {0, length, 1}), others);
  };
  Term mask;
  std::vector<int64_t> repeated;
  for (int64_t axis = 0; axis < rank; ++axis) {
    const auto here = labels.begin() + axis;
    const auto first = std::find(labels.begin(), here, *here);
    if (first == here) continue;
    repeated.push_back(axis);
    const Term same = equal(numbers_along(first - labels.begin()), numbers_along(axis));
    mask = mask ? both(mask, same) : same;
  }
  return where(mask, unsqueeze(diagonal, repeated), 0);
}

}  // namespace

// y is linear in each operand: dx[its axes] is the sum over all other axes of dy times the other
// operands. Along an axis that neither y nor another operand has, or only with length 1, dx
// repeats.
void Einsum(G& g) {
  std::vector<int> ranks;
  for (int i = 0; i < g.num_inputs(); ++i) ranks.push_back(g.x(i).rank());
  const LabelledAxes axes = label_axes(equation_of(g.node()), ranks);
  const Spelling spell(axes);
  for (int i = 0; i < g.num_inputs(); ++i) {
    if (!g.wants(i)) continue;
    std::vector<Operand> others = {{g.dy(), axes.result}};
    LabelSet met = set_of(axes.result);
    for (int k = 0; k < g.num_inputs(); ++k) {
      if (k == i) continue;
      others.push_back({g.x(k), axes.operands[static_cast<size_t>(k)]});
      met |= set_of(others.back().labels);
    }
    const Term x = g.x(i);
    const Labels& labels = axes.operands[static_cast<size_t>(i)];
    Labels kept;
    std::vector<int64_t> different, missing;  // axes of x; axes of dx that are to be repeated
    for (size_t axis = 0; axis < labels.size(); ++axis) {
      const auto here = labels.begin() + static_cast<std::ptrdiff_t>(axis);
      if (std::find(labels.begin(), here, *here) != here) continue;
      if (contains(met, *here)) {
        kept.push_back(*here);
      } else {
        missing.push_back(static_cast<int64_t>(different.size()));
      }
      different.push_back(static_cast<int64_t>(axis));
    }
    Term dx = unsqueeze(einsum(g, spell, others, kept), missing);
    if (different.size() == labels.size()) {
      g.set(i, same_shape(dx, x) ? dx : g.op("Expand", {dx, shape_of(x)}));
      continue;
    }
    const Term shape = g.op("Gather", {shape_of(x), g.writer().integers(different)});
    dx = g.writer().op("SumTo", {g.op("Expand", {dx, shape}), shape}, {}, "hugot");
    g.set(i, on_diagonal(g, dx, x, labels));
  }
}

}  // namespace hugot::matmul::rule
