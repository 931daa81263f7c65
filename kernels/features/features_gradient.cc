#include "graph/gradient.h"
#include "kernels/features/features.h"

namespace hugot::features::rule {

// The node written with Gather.
void ArrayFeatureExtractor(GradientContext& g) {
  const Term flat = reshape(g.x(1), g.writer().integers({-1}));
  const Term picked = g.op("Gather", {g.x(), flat}, {{"axis", int64_t{-1}}});
  g.differentiate(std::vector<Term>{reshape_like(picked, g.y())});
}

void Scaler(GradientContext& g) {
  const auto scale = g.node().get<std::vector<float>>("scale", {});
  Term dx = cast_to(g.dy(), g.x().dtype());
  if (!scale.empty()) {
    const Shape shape = scale.size() == 1 ? Shape{} : Shape{static_cast<int64_t>(scale.size())};
    dx =
        dx * cast_to(g.writer().constant(Tensor::from<float>(shape, std::span(scale))), dx.dtype());
  }
  g.set(0, dx);
}

}  // namespace hugot::features::rule
