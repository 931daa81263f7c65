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

Term sum_by_channel(G& g, const Term& dy) {
  std::vector<int64_t> axes = {0};
  for (int axis = 2; axis < dy.rank(); ++axis) axes.push_back(axis);
  return g.op("ReduceSum", {dy, g.writer().integers(axes)}, {{"keepdims", int64_t{0}}});
}

// The derivatives of ConvTranspose have the shapes of its operands.
Term transposed_map(G& g, const char* type, const Term& a, const Term& b, const Term& like) {
  return g.writer().op(type, {a, b, shape_of(like)}, g.node().attributes, "hugot");
}

}  // namespace

void Conv(G& g) {
  const Term x = g.x(0), w = g.x(1), dy = g.dy();
  if (g.wants(0)) g.set(0, input_gradient(g, dy, w, shape_of(x)));
  if (g.wants(1)) g.set(1, weight_gradient(g, x, dy, shape_of(w)));
  if (g.wants(2)) g.set(2, sum_by_channel(g, dy));
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

// ---------------------------------------------------------------------------------------------
// ConvTranspose is linear in x and w like Conv, and has two such operators likewise.

void ConvTranspose(G& g) {
  const Term x = g.x(0), w = g.x(1), dy = g.dy();
  if (g.wants(0)) g.set(0, transposed_map(g, "ConvTransposeInputGradient", dy, w, x));
  if (g.wants(1)) g.set(1, transposed_map(g, "ConvTransposeWeightGradient", x, dy, w));
  if (g.wants(2)) g.set(2, sum_by_channel(g, dy));
}

// Input 0 is a gradient of y, input 1 the weight, and g.dy() a change of x.
void ConvTransposeInputGradient(G& g) {
  const Term dx = g.dy();
  if (g.wants(0)) g.set(0, g.op("ConvTranspose", {dx, g.x(1)}, g.node().attributes));
  if (g.wants(1)) {
    g.set(1, transposed_map(g, "ConvTransposeWeightGradient", dx, g.x(0), g.x(1)));
  }
}

// Input 0 is x, input 1 a gradient of y, and g.dy() a change of w.
void ConvTransposeWeightGradient(G& g) {
  const Term dw = g.dy();
  if (g.wants(0)) g.set(0, transposed_map(g, "ConvTransposeInputGradient", g.x(1), dw, g.x(0)));
  if (g.wants(1)) g.set(1, g.op("ConvTranspose", {g.x(0), dw}, g.node().attributes));
}

// ---------------------------------------------------------------------------------------------

void Col2Im(G& g) {
  g.set(0, g.writer().op("Im2Col", {g.dy(), g.x(2)}, g.node().attributes, "hugot"));
}

void Im2Col(G& g) {
  const Term image = g.op("Shape", {g.x(0)}, {{"start", int64_t{2}}});
  g.set(0, g.op("Col2Im", {g.dy(), image, g.x(1)}, g.node().attributes));
}

// The window at each place by the numbers of its elements, so that no shape has to be known.
void CausalConvWithState(G& g) {
  const Term x = g.x(0), w = g.x(1), bias = g.x(2);
  const Term one = g.writer().integers({1}), zero = g.writer().integers({0});
  const Term taps = dim_of(w, 2), steps = dim_of(x, 2);
  Term all;
  if (g.x(3)) {
    all = g.writer().concat({g.x(3), x}, 2);
  } else {
    const Term pads = g.writer().concat({taps - one, zero}, 0);
    all = g.op("Pad", {x, pads, g.writer().number(0, x.dtype()), g.writer().integers({2})});
  }
  const auto range = [&](const Term& count) {
    return g.op("Range", {0, reshape(count, g.writer().integers({})), 1});
  };
  const Term places = unsqueeze(range(steps), {1}) + unsqueeze(range(taps), {0});
  const Term windows = g.op("Gather", {all, places}, {{"axis", int64_t{2}}});  // [B, C, L, k]
  Term y = g.op("ReduceSum", {windows * w, g.writer().integers({3})}, {{"keepdims", int64_t{0}}});
  if (bias) y = y + unsqueeze(bias, {1});
  if (g.node().get<std::string>("activation", "none") != "none") y = y * sigmoid(y);
  Term state;
  if (g.num_outputs() > 1 && g.dy(1)) {
    state = g.op("Slice", {all, steps, steps + (taps - one), g.writer().integers({2})});
  }
  const Term outputs[] = {g.dy(0) ? y : Term(), state};
  g.differentiate(outputs);
}

}  // namespace hugot::conv::rule
