// The formulas behind autodiff/loss.h, as graph pieces.
#ifndef HUGOT_AUTODIFF_LOSS_FORMULAS_H_
#define HUGOT_AUTODIFF_LOSS_FORMULAS_H_

#include <string_view>
#include <vector>

#include "autodiff/loss.h"
#include "graph/writer.h"

namespace hugot {

// A batch inside of a graph: vectors [rows, dim] of each column, labels as Loss::run() has them.
struct LossTerms {
  std::vector<Term> columns;
  Term labels;
  std::vector<Term> parameters;
  int64_t rows = 0;
};

struct LossFormula {
  std::string_view name;
  LossNeeds needs;
  Term (*term)(const LossOptions& options, const LossTerms& terms);
};

// Null for a name that is none. `graph` has no formula.
const LossFormula* find_loss_formula(std::string_view name);
std::vector<std::string> loss_formula_names();

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_LOSS_FORMULAS_H_
