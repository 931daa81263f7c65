// Derivatives of the losses: the nodes written with other operators.
#include <numeric>
#include <vector>

#include "graph/gradient.h"
#include "kernels/loss/loss.h"

namespace hugot::loss::rule {
namespace {

using G = GradientContext;

// The loss of log-probabilities, as the node reduces it. Which class counts, and how much, is a
// mask of the shape of log_p; a label outside of the classes (an ignored one) selects nothing.
Term loss_of(G& g, const Term& log_p) {
  const Term classes = dim_of(log_p, 1);
  Term labels = cast_to(g.x(1), DType::kInt64);
  if (g.node().has("ignore_index")) {
    const auto ignored = g.node().at<int64_t>("ignore_index");
    labels = where(equal(labels, g.writer().integers({ignored})), classes, labels);
  }
  const Term values = g.writer().constant(Tensor::from<float>({2}, {0.0f, 1.0f}));
  const Term mask =
      g.op("OneHot", {labels, classes, cast_to(values, log_p.dtype())}, {{"axis", int64_t{1}}});
  Term weighted = mask;
  if (g.x(2)) {
    std::vector<int64_t> shape(static_cast<size_t>(log_p.rank()), 1);
    shape[1] = -1;
    weighted = mask * reshape(g.x(2), g.writer().integers(shape));
  }
  const Term axis = g.writer().integers({1});
  const Term each = -g.op("ReduceSum", {weighted * log_p, axis}, {{"keepdims", int64_t{0}}});
  const auto total = [&](const Term& x) {
    return g.op("ReduceSum", {x}, {{"keepdims", int64_t{0}}});
  };
  switch (reduction_of(g.node())) {
    case Reduction::kNone:
      return each;
    case Reduction::kSum:
      return total(each);
    case Reduction::kMean:
      break;
  }
  return total(each) / total(weighted);
}

}  // namespace

void NegativeLogLikelihoodLoss(G& g) { g.differentiate(std::vector<Term>{loss_of(g, g.x())}); }

void SoftmaxCrossEntropyLoss(G& g) {
  const Term log_p = g.op("LogSoftmax", {g.x()}, {{"axis", int64_t{1}}});
  std::vector<Term> outputs(2);
  if (g.dy(0)) outputs[0] = loss_of(g, log_p);
  if (g.dy(1)) outputs[1] = log_p;
  if (!outputs[1]) outputs.resize(1);
  g.differentiate(outputs);
}

}  // namespace hugot::loss::rule
