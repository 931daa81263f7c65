// Derivatives of convolutions. <dy, Conv(x, w)> is linear in each of dy, x and w; Conv,
// ConvInputGradient and ConvWeightGradient are its derivatives in dy, x and w. So the derivatives
// of each are the other two, to any order. They have operators of their own because no operator of
// ONNX computes them: ConvTranspose cannot be told to leave a rest at the end, nor to undo
// SAME padding of an input whose length is not known, and none gives the gradient of a kernel with
// groups.
#include "graph/gradient.h"
#include "kernels/conv/conv.h"

namespace hugot::conv::rule {
namespace {

using G = GradientContext;

Term convolution(G& g, const Term& x, const Term& w) {
  return g.op("Conv", {x, w}, g.node().attributes);
}

Term input_gradient(G& g, const Term& dy, const Term& w, const Term& shape) {
  return g.writer().op("ConvInputGradient", {dy, w, shape}, g.node().attributes, "hugot");
}

Term weight_gradient(G& g, const Term& x, const Term& dy, const Term& shape) {
  return g.writer().op("ConvWeightGradient", {x, dy, shape}, g.node().attributes, "hugot");
}

}  // namespace

void Conv(G& g) {
  const Term x = g.x(0), w = g.x(1), dy = g.dy();
  if (g.wants(0)) g.set(0, input_gradient(g, dy, w, shape_of(x)));
  if (g.wants(1)) g.set(1, weight_gradient(g, x, dy, shape_of(w)));
  if (!g.wants(2)) return;
  std::vector<int64_t> axes = {0};
  for (int axis = 2; axis < dy.rank(); ++axis) axes.push_back(axis);
  g.set(2, g.op("ReduceSum", {dy, g.writer().integers(axes)}, {{"keepdims", int64_t{0}}}));
}

// Input 0 is a gradient of y, input 1 the weight, and g.dy() a change of x.
void ConvInputGradient(G& g) {
  if (g.wants(0)) g.set(0, convolution(g, g.dy(), g.x(1)));
  if (g.wants(1)) g.set(1, weight_gradient(g, g.dy(), g.x(0), shape_of(g.x(1))));
}

// Input 0 is x, input 1 a gradient of y, and g.dy() a change of w.
void ConvWeightGradient(G& g) {
  if (g.wants(0)) g.set(0, input_gradient(g, g.x(1), g.dy(), shape_of(g.x(0))));
  if (g.wants(1)) g.set(1, convolution(g, g.x(0), g.dy()));
}

}  // namespace hugot::conv::rule
