// Derivatives of pools. Means and sums of windows are linear; their transposed maps have operators
// of their own, because no operator of ONNX adds up where windows overlap.
#include "graph/gradient.h"
#include "kernels/pooling/pooling.h"

namespace hugot::pooling::rule {
namespace {

using G = GradientContext;

Term transposed_map(G& g, const char* type, const Term& dy, const Term& x) {
  return g.writer().op(type, {dy, shape_of(x)}, g.node().attributes, "hugot");
}

// The derivative of (sum |x|^p)^(1/p) in x is |x|^(p-1) sign(x) y^(1-p): this without what depends
// on x alone. 0 where y is: the norm has a kink there.
Term norm_share(G& g, double p) {
  const Term y = g.y(), zero = equal(y, 0);
  return where(zero, 0, g.dy() * pow(where(zero, 1, y), 1 - p));
}

Term norm_slope(const Term& x, double p) {
  return p == 1 ? sign(x) : p == 2 ? x : sign(x) * pow(x.writer().op("Abs", {x}), p - 1);
}

Term flat(const Term& x) { return reshape(x, x.writer().integers({-1})); }

}  // namespace

void AveragePool(G& g) { g.set(0, transposed_map(g, "AveragePoolGradient", g.dy(), g.x())); }
void SumPool(G& g) { g.set(0, transposed_map(g, "SumPoolGradient", g.dy(), g.x())); }
void AveragePoolGradient(G& g) { g.set(0, g.op("AveragePool", {g.dy()}, g.node().attributes)); }
void SumPoolGradient(G& g) {
  g.set(0, g.writer().op("SumPool", {g.dy()}, g.node().attributes, "hugot"));
}

// dy goes to the elements that were the largest.
void MaxPool(G& g) {
  Attributes attributes = g.node().attributes;
  attributes.erase("storage_order");
  const Term x = g.x();
  const Term from = g.writer().outputs("MaxPool", {x}, std::move(attributes), 2)[1];
  const Term sums = g.op("ScatterElements", {flat(zeros_like(x)), flat(from), flat(g.dy())},
                         {{"axis", int64_t{0}}, {"reduction", std::string("add")}});
  g.set(0, reshape_like(sums, x));
}

// Regions count in whole elements: their gradient is zero.
void MaxRoiPool(G& g) {
  g.set(0, g.writer().op("MaxRoiPoolGradient", {g.dy(), g.x(0), g.x(1)}, g.node().attributes,
                         "hugot"));
}

void RoiAlign(G& g) {
  Attributes attributes = g.node().attributes;
  if (g.since_version() < 16) {
    attributes["coordinate_transformation_mode"] = std::string("output_half_pixel");
  }
  const auto parts = g.writer().outputs("RoiAlignGradient", {g.dy(), g.x(0), g.x(1), g.x(2)},
                                        std::move(attributes), 2, "hugot");
  g.set(0, parts[0]);
  g.set(1, parts[1]);
}

void LpPool(G& g) {
  const double p = exponent_of(g.node());
  const Term x = g.x();
  g.set(0, transposed_map(g, "SumPoolGradient", norm_share(g, p), x) * norm_slope(x, p));
}

void GlobalLpPool(G& g) {
  const double p = exponent_of(g.node());
  g.set(0, norm_share(g, p) * norm_slope(g.x(), p));
}

// Sums over neighbouring channels are those of windows when the channels are an axis of an image.
void Lrn(G& g) {
  const int64_t size = channels_of_lrn(g.node());
  const double alpha = g.node().get<float>("alpha", 1e-4f),
               beta = g.node().get<float>("beta", 0.75f);
  const double bias = g.node().get<float>("bias", 1.0f);
  const Term x = g.x(), one = g.writer().integers({1});
  const Term image =
      g.writer().concat({dim_of(x, 0), one, dim_of(x, 1), g.writer().integers({-1})}, 0);
  const Attributes window = {
      {"kernel_shape", std::vector<int64_t>{size, 1}},
      {"pads", std::vector<int64_t>{(size - 1) / 2, 0, size / 2, 0}},
  };
  const Term sums = g.writer().op("SumPool", {reshape(square(x), image)}, window, "hugot");
  const Term scale = reshape_like(sums, x) * (alpha / static_cast<double>(size)) + bias;
  const Term y[] = {x * pow(scale, -beta)};
  g.differentiate(y);
}

// Where several elements went to the same place, the last one is there. Indices count in the shape
// that the attributes give.
void MaxUnpool(G& g) {
  const Term x = g.x(), indices = g.x(1);
  Term dy = g.dy();
  if (g.x(2)) {
    std::vector<int64_t> axes, starts;
    std::vector<Term> ends;
    const int count = x.rank() - 2;
    for (int i = 0; i < count; ++i) {
      const Window window = window_of(g.node(), i, count);
      const int64_t kernel = per_axis(g.node(), "kernel_shape", i, count, 1, 1);
      const double rest = static_cast<double>(kernel - window.before - window.after);
      ends.push_back((dim_of(x, i + 2) - 1) * static_cast<double>(window.stride) + rest);
      axes.push_back(i + 2);
      starts.push_back(0);
    }
    dy = g.op("Slice", {dy, g.writer().integers(starts), g.writer().concat(ends, 0),
                        g.writer().integers(axes)});
  }
  g.set(0, reshape_like(g.op("Gather", {flat(dy), flat(indices)}), x));
}

}  // namespace hugot::pooling::rule
