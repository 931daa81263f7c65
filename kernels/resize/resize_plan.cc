// What a Resize node says: lengths, coordinates, weights.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/resize/resize.h"

namespace hugot::resize {
namespace {

template <class T>
T word_of(const Node& node, std::string_view attribute, std::string_view fallback,
          const std::map<std::string_view, T>& words) {
  const std::string word = node.get<std::string>(attribute, std::string(fallback));
  const auto it = words.find(word);
  require(it != words.end(), ErrorCode::kInvalidArgument, "attribute ", attribute, " is ", word);
  return it->second;
}

bool is_upsample(const Node& node) { return node.op->name == "Upsample"; }

// Numbers of a tensor of any floating-point type.
std::vector<double> numbers(const Tensor& tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.size()));
  dispatch(FloatTypes{}, tensor.dtype(),
           [&]<class T>() { convert_all(tensor.data<T>(), values.data(), tensor.size()); });
  return values;
}

// Input i, when it says something: older versions cannot omit an input and leave it empty instead.
const Tensor* operand(const KernelContext& ctx, int i) {
  if (i < 0 || i >= ctx.num_inputs() || !ctx.has_input(i)) return nullptr;
  return ctx.input(i).size() > 0 ? &ctx.input(i) : nullptr;
}

// x / scale, so that what should be a whole number or a half is one. A scale that stands for a
// quotient such as 1/3 is rounded to float32, as is the result: other runtimes do the same. Sizes
// give the quotient itself.
double unscaled(const Axis& axis, double x) {
  if (axis.numerator > 0) return x * axis.denominator / axis.numerator;
  return static_cast<double>(static_cast<float>(x) / axis.scale);
}

double scale_of(const Axis& axis) {
  if (axis.numerator > 0) return axis.numerator / axis.denominator;
  return static_cast<double>(axis.scale);
}

// The same rounding for what follows from such a scale in several steps.
double settled(const Axis& axis, double x) {
  return axis.numerator > 0 ? x : static_cast<double>(static_cast<float>(x));
}

// Where element `index` of the result lies in the input.
double coordinate(const Method& method, const Axis& axis, int64_t index) {
  const auto x = static_cast<double>(index), in = static_cast<double>(axis.in);
  const auto steps = static_cast<double>(axis.out - 1);
  switch (method.coordinates) {
    case Coordinates::kHalfPixel:
      return unscaled(axis, x + 0.5) - 0.5;
    case Coordinates::kPytorchHalfPixel:
      return axis.out > 1 ? unscaled(axis, x + 0.5) - 0.5 : 0;
    case Coordinates::kAsymmetric:
      return unscaled(axis, x);
    case Coordinates::kTfHalfPixelForNearest:
      return unscaled(axis, x + 0.5);
    case Coordinates::kHalfPixelSymmetric: {
      const double adjustment = static_cast<double>(axis.out) / axis.width;
      return settled(axis, in / 2 * (1 - adjustment) + (x + 0.5) / scale_of(axis) - 0.5);
    }
    case Coordinates::kAlignCorners:
      // The cases that ONNX publishes divide by the length before it was rounded.
      return axis.out == 1 ? 0 : settled(axis, x * (in - 1) / (axis.width - 1));
    case Coordinates::kTfCropAndResize:
      break;
  }
  if (axis.out == 1) return 0.5 * (axis.roi_start + axis.roi_end) * (in - 1);
  // In this order the last element is not moved outside of the input by rounding.
  return (axis.roi_start * (steps - x) + axis.roi_end * x) * (in - 1) / steps;
}

double rounded(Rounding rounding, double x, float scale) {
  switch (rounding) {
    case Rounding::kPreferFloor:
      return std::ceil(x - 0.5);
    case Rounding::kPreferCeil:
      return std::floor(x + 0.5);
    case Rounding::kFloor:
      return std::floor(x);
    case Rounding::kCeil:
      return std::ceil(x);
    case Rounding::kSimple:
      break;
  }
  return scale < 1 ? std::ceil(x) : std::trunc(x);
}

// The filter at distance x from its centre.
double filter(const Method& method, double x) {
  x = std::abs(x);
  if (method.mode == Mode::kLinear) return std::max(1 - x, 0.0);
  const double a = method.cubic_a;
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

}  // namespace

Method method_of(const Node& node) {
  Method method;
  std::map<std::string_view, Mode> modes = {
      {"nearest", Mode::kNearest}, {"linear", Mode::kLinear}, {"cubic", Mode::kCubic}};
  if (is_upsample(node)) modes["bilinear"] = Mode::kLinear;
  method.mode = word_of(node, "mode", "nearest", modes);
  const bool gradient = node.domain == "hugot";
  if (!gradient && node.op->since_version < 11) {
    require(method.mode != Mode::kCubic, ErrorCode::kInvalidArgument, "attribute mode is cubic");
    return method;
  }
  method.coordinates =
      word_of<Coordinates>(node, "coordinate_transformation_mode", "half_pixel",
                           {{"half_pixel", Coordinates::kHalfPixel},
                            {"half_pixel_symmetric", Coordinates::kHalfPixelSymmetric},
                            {"pytorch_half_pixel", Coordinates::kPytorchHalfPixel},
                            {"align_corners", Coordinates::kAlignCorners},
                            {"asymmetric", Coordinates::kAsymmetric},
                            {"tf_half_pixel_for_nn", Coordinates::kTfHalfPixelForNearest},
                            {"tf_crop_and_resize", Coordinates::kTfCropAndResize}});
  std::map<std::string_view, Rounding> roundings = {{"round_prefer_floor", Rounding::kPreferFloor},
                                                    {"round_prefer_ceil", Rounding::kPreferCeil},
                                                    {"floor", Rounding::kFloor},
                                                    {"ceil", Rounding::kCeil}};
  if (gradient) roundings["simple"] = Rounding::kSimple;
  method.rounding = word_of(node, "nearest_mode", "round_prefer_floor", roundings);
  method.aspect_ratio = word_of<AspectRatio>(node, "keep_aspect_ratio_policy", "stretch",
                                             {{"stretch", AspectRatio::kStretch},
                                              {"not_larger", AspectRatio::kNotLarger},
                                              {"not_smaller", AspectRatio::kNotSmaller}});
  method.cubic_a = static_cast<double>(node.get<float>("cubic_coeff_a", -0.75f));
  method.exclude_outside = node.get<int64_t>("exclude_outside", 0) != 0;
  method.antialias = node.get<int64_t>("antialias", 0) != 0;
  method.extrapolation = node.get<float>("extrapolation_value", 0);
  require(!method.antialias || method.mode != Mode::kNearest, ErrorCode::kInvalidArgument,
          "mode nearest has no antialias");
  return method;
}

Operands operands_of(const Node& node) {
  if (node.domain == "hugot") return {2, 3, 4};
  if (is_upsample(node) && node.op->since_version < 9) return {};
  if (node.op->since_version < 11) return {-1, 1, -1};
  return {1, 2, 3};
}

std::optional<std::vector<float>> scales_of(const Node& node, int rank) {
  if (!is_upsample(node) || node.op->since_version >= 9) return std::nullopt;
  std::vector<float> scales;
  if (node.op->since_version < 7) {
    require(rank == 4, ErrorCode::kInvalidArgument, "an image of rank ", rank, ", not 4");
    scales = {1, 1, node.at<float>("height_scale"), node.at<float>("width_scale")};
  } else {
    scales = node.at<std::vector<float>>("scales");
  }
  require(std::ssize(scales) == rank, ErrorCode::kInvalidArgument, scales.size(),
          " scales do not fit ", rank, " axes");
  return scales;
}

std::vector<int> axes_of(const Node& node, int rank) {
  std::vector<int> axes;
  if (!node.has("axes")) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
    return axes;
  }
  for (const int64_t given : node.at<std::vector<int64_t>>("axes")) {
    const int axis = normalize_axis(given, rank);
    require(std::find(axes.begin(), axes.end(), axis) == axes.end(), ErrorCode::kInvalidArgument,
            "axis ", given, " is named twice");
    axes.push_back(axis);
  }
  return axes;
}

int64_t scaled(int64_t length, float scale) {
  require(scale > 0 && std::isfinite(scale), ErrorCode::kInvalidArgument, "a scale is ", scale);
  int64_t result = 0;
  if (scale >= 1 && scale < 0x1p62f && std::trunc(scale) == scale) {
    require(!__builtin_mul_overflow(length, static_cast<int64_t>(scale), &result),
            ErrorCode::kInvalidArgument, "an axis of ", length, " times ", scale, " overflows");
    return result;
  }
  // A power of two; in integers, so that shape inference can say the same of lengths with names.
  int exponent = 0;
  if (std::frexp(scale, &exponent) == 0.5f && exponent <= 0 && exponent > -62) {
    return length >> (1 - exponent);
  }
  const float product = static_cast<float>(length) * scale;
  require(product < 0x1p62f, ErrorCode::kInvalidArgument, "an axis of ", length, " times ", scale,
          " overflows");
  return static_cast<int64_t>(product);
}

void fit_sizes(AspectRatio policy, std::span<const int> which, std::span<const int64_t> sizes,
               std::span<Axis> axes) {
  require(sizes.size() == which.size(), ErrorCode::kInvalidArgument, sizes.size(),
          " sizes do not fit ", which.size(), " axes");
  const Axis* decisive = nullptr;  // the axis whose scale all have
  const auto quotient = [](const Axis& axis) { return axis.numerator / axis.denominator; };
  for (size_t i = 0; i < which.size(); ++i) {
    Axis& axis = axes[static_cast<size_t>(which[i])];
    require(sizes[i] >= 0, ErrorCode::kInvalidArgument, "a size is ", sizes[i]);
    require(axis.in > 0 || policy == AspectRatio::kStretch, ErrorCode::kInvalidArgument,
            "an axis of length 0 has no aspect ratio to keep");
    axis.out = sizes[i];
    axis.width = axis.numerator = static_cast<double>(axis.out);
    axis.denominator = static_cast<double>(axis.in);
    axis.scale = static_cast<float>(quotient(axis));
    const bool smaller = policy == AspectRatio::kNotLarger;
    if (decisive == nullptr ||
        (smaller ? quotient(axis) < quotient(*decisive) : quotient(axis) > quotient(*decisive))) {
      decisive = &axis;
    }
  }
  if (policy == AspectRatio::kStretch || decisive == nullptr) return;
  const double numerator = decisive->numerator, denominator = decisive->denominator;
  for (const int i : which) {
    Axis& axis = axes[static_cast<size_t>(i)];
    axis.numerator = numerator;
    axis.denominator = denominator;
    axis.scale = static_cast<float>(quotient(axis));
    axis.width = static_cast<double>(axis.in) * numerator / denominator;
    require(axis.width < 0x1p62, ErrorCode::kInvalidArgument, "a size overflows");
    axis.out = static_cast<int64_t>(std::floor(axis.width + 0.5));
  }
}

Plan plan(const KernelContext& ctx, const Shape& in) {
  Plan plan;
  plan.method = method_of(ctx.node());
  plan.rank = in.rank();
  for (int i = 0; i < plan.rank; ++i) {
    Axis& axis = plan.axes[static_cast<size_t>(i)];
    axis.in = axis.out = in[i];
    axis.width = static_cast<double>(in[i]);
  }
  const std::vector<int> which = axes_of(ctx.node(), plan.rank);
  const Operands operands = operands_of(ctx.node());
  const Tensor* scales = operand(ctx, operands.scales);
  const Tensor* sizes = operand(ctx, operands.sizes);
  const auto attribute = scales_of(ctx.node(), plan.rank);
  require(which.empty() || (scales != nullptr || attribute) != (sizes != nullptr),
          ErrorCode::kInvalidArgument, "either scales or sizes have to be given");
  if (scales != nullptr || attribute) {
    const std::vector<double> given =
        attribute ? std::vector<double>(attribute->begin(), attribute->end()) : numbers(*scales);
    require(given.size() == which.size(), ErrorCode::kInvalidArgument, given.size(),
            " scales do not fit ", which.size(), " axes");
    for (size_t i = 0; i < which.size(); ++i) {
      // That the region of interest changes the length, as the specification says in passing, is
      // what no implementation does, nor ONNX's own shape inference.
      Axis& axis = plan.axes[static_cast<size_t>(which[i])];
      axis.scale = static_cast<float>(given[i]);
      axis.out = scaled(axis.in, axis.scale);
      axis.width = static_cast<double>(static_cast<float>(axis.in) * axis.scale);
    }
  } else if (sizes != nullptr) {
    fit_sizes(plan.method.aspect_ratio, which, to_int64s(*sizes), plan.axes);
  }
  const bool crop = plan.method.coordinates == Coordinates::kTfCropAndResize;
  if (crop) {
    const Tensor* roi = operand(ctx, operands.roi);
    const std::vector<double> region = roi == nullptr ? std::vector<double>() : numbers(*roi);
    require(region.size() == 2 * which.size(), ErrorCode::kInvalidArgument, region.size(),
            " numbers of roi do not fit ", which.size(), " axes");
    for (size_t i = 0; i < which.size(); ++i) {
      Axis& axis = plan.axes[static_cast<size_t>(which[i])];
      axis.roi_start = region[i];
      axis.roi_end = region[i + which.size()];
    }
  }
  std::array<int64_t, Shape::kMaxRank> dims{};
  for (int i = 0; i < plan.rank; ++i) {
    Axis& axis = plan.axes[static_cast<size_t>(i)];
    dims[static_cast<size_t>(i)] = axis.out;
    axis.changes = axis.scale != 1 || axis.out != axis.in ||
                   (crop && !(axis.roi_start == 0 && axis.roi_end == 1));
  }
  plan.out = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(plan.rank)));
  require(in.size() > 0 || plan.out.size() == 0, ErrorCode::kInvalidArgument, "an empty input ",
          in.to_string(), " cannot be resized to ", plan.out.to_string());
  return plan;
}

Table table_of(const Method& method, const Axis& axis) {
  Table table;
  table.in = axis.in;
  table.out = axis.out;
  const bool nearest = method.mode == Mode::kNearest;
  // The filter is stretched over more elements when it has to smooth.
  const double shrink = method.antialias ? std::min(1.0, static_cast<double>(axis.scale)) : 1.0;
  const double radius = (method.mode == Mode::kLinear ? 1 : 2) / shrink;
  const auto half = static_cast<int64_t>(std::ceil(radius));
  table.taps = nearest ? 1 : 2 * half;
  const auto size = static_cast<size_t>(axis.out * table.taps);
  table.index.reserve(size);
  table.weight.reserve(size);
  const auto last = static_cast<double>(axis.in - 1);
  for (int64_t j = 0; j < axis.out; ++j) {
    double x = coordinate(method, axis, j);
    if (method.coordinates == Coordinates::kTfCropAndResize && !(x >= 0 && x <= last)) {
      table.outside.push_back(j);
      x = 0;
    }
    // Further out nothing changes any more.
    const auto margin = static_cast<double>(half + 2);
    x = std::clamp(x, -margin, last + margin);
    if (nearest) {
      const double at = std::clamp(rounded(method.rounding, x, axis.scale), 0.0, last);
      table.index.push_back(static_cast<int64_t>(at));
      table.weight.push_back(1);
      continue;
    }
    const auto begin = static_cast<int64_t>(std::floor(x)) - half + 1;
    double sum = 0;
    for (int64_t i = begin; i < begin + table.taps; ++i) {
      const int64_t inside = std::clamp<int64_t>(i, 0, axis.in - 1);
      const bool counts = inside == i || !method.exclude_outside;
      const double weight = counts ? filter(method, (static_cast<double>(i) - x) * shrink) : 0;
      sum += weight;
      table.index.push_back(inside);
      table.weight.push_back(weight);
    }
    if ((method.antialias || method.exclude_outside) && sum != 0) {
      for (auto it = table.weight.end() - table.taps; it != table.weight.end(); ++it) *it /= sum;
    }
  }
  return table;
}

}  // namespace hugot::resize
