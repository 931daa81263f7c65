#include "kernels/random/dropout.h"

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace random {
namespace {

Batching batch_dropout(const BatchQuery& query) {
  for (int i = 0; i < static_cast<int>(query.node().inputs.size()); ++i) {
    const bool rank = i == 1 || query.input_fact(i).rank() == 3;
    if (!rank || !query.ragged(i) || query.token_axis(i) != 1) return Batching::kLoop;
  }
  return Batching::kPacked;
}

// The same elements are dropped of the gradient.
void gradient(GradientContext& g) {
  g.set(0, g.writer().op("Dropout", {g.dy(), g.x(1)}, g.node().attributes, "hugot"));
  if (g.wants(2)) g.set(2, g.dy());
}

}  // namespace
}  // namespace random

namespace ops {

OpDef hugot_Dropout(int) {
  return with_gradient(define({2, 3}, infer_same_as_input, random::dropout, random::batch_dropout),
                       random::gradient);
}

}  // namespace ops
}  // namespace hugot
