// Derivatives of Resize, which is linear in its input: its gradient is the transposed map. That has
// an operator of its own so that both take their weights from the same place.
#include "graph/gradient.h"
#include "kernels/resize/resize.h"

namespace hugot::resize::rule {
namespace {

using G = GradientContext;

// The inputs that say what to do, in the order of the newest version.
std::vector<Term> parameters(G& g) {
  const Operands operands = operands_of(g.node());
  std::vector<Term> result;
  for (const int i : {operands.roi, operands.scales, operands.sizes}) {
    require(!g.wants(i), ErrorCode::kUnsupported,
            "there is no gradient of the scales and the roi of Resize");
    result.push_back(i < 0 ? Term() : g.x(i));
  }
  return result;
}

std::vector<Term> joined(std::vector<Term> front, const std::vector<Term>& back) {
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

}  // namespace

void Resize(G& g) {
  Attributes attributes = g.node().attributes;
  if (g.since_version() < 11) {
    attributes["coordinate_transformation_mode"] = std::string("asymmetric");
    attributes["nearest_mode"] = std::string("simple");
  }
  std::vector<Term> inputs = joined({g.dy(), shape_of(g.x())}, parameters(g));
  if (g.node().op->name == "Upsample") {
    if (g.node().get<std::string>("mode", "nearest") != "nearest")
      attributes["mode"] = std::string("linear");
    if (const auto scales = scales_of(g.node(), g.x().rank())) {
      inputs[3] = g.writer().constant(Tensor::from<float>({std::ssize(*scales)}, *scales));
    }
    for (const char* name : {"scales", "height_scale", "width_scale"}) attributes.erase(name);
  }
  g.set(0, g.writer().op("ResizeGradient", inputs, std::move(attributes), "hugot"));
}

// The same linear map as Resize; extrapolated elements do not depend on x.
void ResizeGradient(G& g) {
  Attributes attributes = g.node().attributes;
  attributes["extrapolation_value"] = 0.0f;
  g.set(0, g.op("Resize", joined({g.dy()}, parameters(g)), std::move(attributes)));
}

}  // namespace hugot::resize::rule
