// Kernels of GridSample, its gradient and AffineGrid.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/element.h"
#include "kernels/grid/grid.h"

namespace hugot::grid {
namespace {

constexpr int kMaxAxes = Shape::kMaxRank - 2;
constexpr double kCoefficient = -0.75;

enum class Mode { kNearest, kLinear, kCubic };
enum class Outside { kZeros, kBorder, kReflection };

struct Method {
  Mode mode = Mode::kLinear;
  Outside outside = Outside::kZeros;
  bool align_corners = false;
};

Method method_of(const Node& node) {
  Method method;
  const std::string mode = node.get<std::string>("mode", "linear");
  if (mode == "nearest") {
    method.mode = Mode::kNearest;
  } else if (mode == "cubic" || mode == "bicubic") {
    method.mode = Mode::kCubic;
  } else {
    require(mode == "linear" || mode == "bilinear", ErrorCode::kInvalidArgument,
            "attribute mode is ", mode);
  }
  const std::string outside = node.get<std::string>("padding_mode", "zeros");
  if (outside == "border") {
    method.outside = Outside::kBorder;
  } else if (outside == "reflection") {
    method.outside = Outside::kReflection;
  } else {
    require(outside == "zeros", ErrorCode::kInvalidArgument, "attribute padding_mode is ", outside);
  }
  method.align_corners = node.get<int64_t>("align_corners", 0) != 0;
  return method;
}

// A number of the grid as a place along an axis, in the arithmetic of the grid's type, and how the
// place changes with it.
struct Place {
  double at, slope;
};

template <class G>
Place denormalized(G n, int64_t length, bool align_corners) {
  const auto size = static_cast<G>(length);
  const G at = align_corners ? (n + 1) / 2 * (size - 1) : ((n + 1) * size - 1) / 2;
  return {static_cast<double>(at), static_cast<double>(align_corners ? size - 1 : size) / 2};
}

// The place between low and high that x is thrown back to, as often as necessary.
Place reflected(const Place& x, double low, double high) {
  if (x.at >= low && x.at <= high) return x;
  const double range = high - low;
  if (!(range > 0) || !std::isfinite(x.at)) return {low, 0};
  const bool below = x.at < low;
  const double distance = below ? low - x.at : x.at - high;
  const double times = std::floor(distance / range), rest = distance - times * range;
  const bool from_near = std::fmod(times, 2) == 0;
  if (below) return from_near ? Place{low + rest, -x.slope} : Place{high - rest, x.slope};
  return from_near ? Place{high - rest, -x.slope} : Place{low + rest, x.slope};
}

// The elements along one axis that a place is a mixture of.
struct Taps {
  size_t count = 0;
  std::array<int64_t, 4> index{};  // negative: outside, where there are zeros
  std::array<double, 4> weight{};
  std::array<double, 4> slope{};  // the derivative of the weight in the number of the grid
};

class AxisSampler {
 public:
  AxisSampler(const Method& method, int64_t length)
      : method_(method),
        length_(length),
        low_(method.align_corners ? 0.0 : -0.5),
        high_(static_cast<double>(length) - (method.align_corners ? 1.0 : 0.5)) {}

  template <class G>
  Taps operator()(G n) const {
    Place x = denormalized(n, length_, method_.align_corners);
    if (method_.mode == Mode::kNearest) x = {std::nearbyint(x.at), 0};
    if (x.at < low_ || x.at > high_) {
      const double last = static_cast<double>(length_ - 1);
      // A cubic filter may reach into the image from outside.
      if (method_.outside == Outside::kBorder && method_.mode != Mode::kCubic) {
        x = {std::clamp(x.at, 0.0, last), 0};
      }
      if (method_.outside == Outside::kReflection) x = reflected(x, low_, high_);
    }
    // Further out there is nothing new; NaN is out there, too.
    const double far = static_cast<double>(length_) + 4;
    x.at = x.at >= -4 ? std::min(x.at, far) : -4;
    Taps taps;
    if (method_.mode == Mode::kNearest) {
      taps.count = 1;
      taps.weight[0] = 1;
      taps.index[0] = inside(static_cast<int64_t>(x.at));
      return taps;
    }
    const double floor = std::floor(x.at), part = x.at - floor;
    const auto first = static_cast<int64_t>(floor);
    if (method_.mode == Mode::kLinear) {
      taps.count = 2;
      taps.weight = {1 - part, part};
      taps.slope = {-x.slope, x.slope};
    } else {
      taps.count = 4;
      for (int i = 0; i < 4; ++i) {
        const auto at = static_cast<size_t>(i);
        const double distance = part - (i - 1);
        taps.weight[at] = cubic(std::abs(distance));
        taps.slope[at] = cubic_slope(std::abs(distance)) * (distance < 0 ? -x.slope : x.slope);
      }
    }
    const int64_t begin = method_.mode == Mode::kLinear ? first : first - 1;
    for (size_t i = 0; i < taps.count; ++i) taps.index[i] = inside(begin + static_cast<int64_t>(i));
    return taps;
  }

 private:
  // The element that stands for one that may not be there.
  int64_t inside(int64_t i) const {
    if (i >= 0 && i < length_) return i;
    if (method_.outside == Outside::kZeros) return -1;
    if (method_.outside == Outside::kReflection) {
      i = static_cast<int64_t>(reflected({static_cast<double>(i), 0}, low_, high_).at);
    }
    return std::clamp<int64_t>(i, 0, length_ - 1);
  }

  static double cubic(double x) {
    if (x <= 1) return ((kCoefficient + 2) * x - (kCoefficient + 3)) * x * x + 1;
    return x < 2 ? ((x - 5) * x + 8) * x * kCoefficient - 4 * kCoefficient : 0;
  }
  static double cubic_slope(double x) {
    if (x <= 1) return (3 * (kCoefficient + 2) * x - 2 * (kCoefficient + 3)) * x;
    return x < 2 ? ((3 * x - 10) * x + 8) * kCoefficient : 0;
  }

  const Method& method_;
  int64_t length_;
  double low_, high_;
};

// The elements of a plane that one place of the grid is a mixture of.
struct Mixture {
  std::vector<int64_t> index;
  std::vector<double> weight;
  std::vector<double> slope;  // with derivatives: for each element, by the numbers of the place
};

// What a GridSample node works on.
class Sampler {
 public:
  Sampler(const Node& node, const Tensor& x, const Tensor& grid)
      : method_(method_of(node)), axes_(x.rank() - 2) {
    bool fits = x.rank() >= 3 && grid.rank() == x.rank() && grid.shape()[0] == x.shape()[0] &&
                grid.shape().back() == axes_;
    require(!fits || x.shape().product(2, x.rank()) > 0 || grid.size() == 0,
            ErrorCode::kInvalidArgument, "an image without elements cannot be looked at");
    if (!fits) {
      fail(ErrorCode::kInvalidArgument, "a grid ", describe(grid), " does not fit images ",
           describe(x));
    }
    images = x.shape()[0];
    channels = x.shape()[1];
    inputs = x.shape().product(2, x.rank());
    places = grid.shape().product(1, grid.rank() - 1);
    std::array<int64_t, Shape::kMaxRank> dims{images, channels};
    for (int i = 0; i < axes_; ++i) dims[static_cast<size_t>(i) + 2] = grid.shape()[i + 1];
    y = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(x.rank())));
    for (int i = 0; i < axes_; ++i) {
      samplers_.emplace_back(method_, x.shape()[i + 2]);
      lengths_.push_back(x.shape()[i + 2]);
    }
    dispatch(FloatTypes{}, grid.dtype(), [&]<class T>() {
      if constexpr (std::is_same_v<T, double>) {
        doubles_.assign(grid.data<double>(), grid.data<double>() + grid.size());
      } else {
        floats_.resize(static_cast<size_t>(grid.size()));
        convert_all(grid.data<T>(), floats_.data(), grid.size());
      }
    });
  }
  Sampler(const Sampler&) = delete;

  int axes() const { return axes_; }
  Mode mode() const { return method_.mode; }

  // What lies at a place, counted through all images; with derivatives when asked for.
  void find(int64_t place, bool derivatives, Mixture& result) const {
    const auto axes = static_cast<size_t>(axes_);
    std::array<Taps, kMaxAxes> taps;
    for (size_t axis = 0; axis < axes; ++axis) {
      // Numbers are listed from the innermost axis outwards.
      const auto at = static_cast<size_t>(place) * axes + axes - 1 - axis;
      taps[axis] = doubles_.empty() ? samplers_[axis](floats_[at]) : samplers_[axis](doubles_[at]);
    }
    result.index.clear();
    result.weight.clear();
    result.slope.clear();
    std::array<size_t, kMaxAxes> chosen{};
    for (;;) {
      int64_t index = 0;
      double weight = 1;
      bool inside = true;
      for (size_t axis = 0; axis < axes; ++axis) {
        const Taps& t = taps[axis];
        inside = inside && t.index[chosen[axis]] >= 0;
        index = index * lengths_[axis] + t.index[chosen[axis]];
        weight *= t.weight[chosen[axis]];
      }
      if (inside) {
        result.index.push_back(index);
        result.weight.push_back(weight);
        for (size_t number = 0; derivatives && number < axes; ++number) {
          double slope = 1;
          for (size_t axis = 0; axis < axes; ++axis) {
            const Taps& t = taps[axis];
            slope *= axis == axes - 1 - number ? t.slope[chosen[axis]] : t.weight[chosen[axis]];
          }
          result.slope.push_back(slope);
        }
      }
      size_t axis = axes;
      while (axis > 0 && ++chosen[axis - 1] == taps[axis - 1].count) chosen[--axis] = 0;
      if (axis == 0) return;
    }
  }

  int64_t images = 0, channels = 0, inputs = 0, places = 0;
  Shape y;

 private:
  Method method_;
  int axes_;
  std::vector<AxisSampler> samplers_;
  std::vector<int64_t> lengths_;
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

void check_running(const KernelContext& ctx) {
  require(!ctx.stop().stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
}

// Calls body(image, place of the image, mixture) for all places.
template <class Body>
void for_places(KernelContext& ctx, const Sampler& sampler, const Body& body) {
  for_items(ctx.pool(), sampler.images * sampler.places, (sampler.channels + 8) * 16,
            [&](int64_t begin, int64_t end, int /*worker*/) {
              check_running(ctx);
              Mixture mixture;
              for (int64_t place = begin; place < end; ++place) {
                sampler.find(place, false, mixture);
                body(place / sampler.places, place % sampler.places, mixture);
              }
            });
}

// Elements are only moved, so they may be of any type.
void sample_nearest(KernelContext& ctx, const Sampler& sampler, const Tensor& x, Tensor& y) {
  with_element(x.dtype(), [&]<class T>() {
    const T* from = elements<T>(x);
    T* to = elements<T>(y);
    for_places(ctx, sampler, [&](int64_t image, int64_t place, const Mixture& mixture) {
      for (int64_t c = 0; c < sampler.channels; ++c) {
        const int64_t plane = image * sampler.channels + c;
        to[plane * sampler.places + place] =
            mixture.index.empty() ? T{} : from[plane * sampler.inputs + mixture.index[0]];
      }
    });
  });
}

template <class T>
void sample(KernelContext& ctx, const Sampler& sampler, const Tensor& x, Tensor& y) {
  using Sum = std::conditional_t<std::is_integral_v<T>, double, Compute<T>>;
  const T* from = x.data<T>();
  T* to = y.data<T>();
  for_places(ctx, sampler, [&](int64_t image, int64_t place, const Mixture& mixture) {
    for (int64_t c = 0; c < sampler.channels; ++c) {
      const int64_t plane = image * sampler.channels + c;
      const T* elements = from + plane * sampler.inputs;
      Sum sum = 0;
      for (size_t i = 0; i < mixture.index.size(); ++i) {
        sum += static_cast<Sum>(mixture.weight[i]) * static_cast<Sum>(elements[mixture.index[i]]);
      }
      to[plane * sampler.places + place] = convert<T>(sum);
    }
  });
}

}  // namespace

void grid_sample(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Sampler sampler(ctx.node(), x, ctx.input(1));
  if (sampler.mode() == Mode::kNearest) {
    return sample_nearest(ctx, sampler, x, ctx.output(0, x.dtype(), sampler.y));
  }
  dispatch(NumberTypes{}, x.dtype(),
           [&]<class T>() { sample<T>(ctx, sampler, x, ctx.output(0, x.dtype(), sampler.y)); });
}

void grid_sample_gradient(KernelContext& ctx) {
  const Tensor &dy = ctx.input(0), &x = ctx.input(1), &grid = ctx.input(2);
  const Sampler sampler(ctx.node(), x, grid);
  if (!(dy.shape() == sampler.y) || dy.dtype() != x.dtype()) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(dy),
         " for a result ", sampler.y.to_string());
  }
  const int64_t numbers = sampler.axes();
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& to_x = ctx.output(0, x.dtype(), x.shape());
    Tensor dgrid(DType::kFloat64, grid.shape());
    const Wide<T> wide_x(x), wide_dy(dy);
    WideResult<T> result(to_x);
    C* dx = result.data();
    std::fill_n(dx, x.size(), C{0});
    // Places of one image may meet in an element, so images are what threads take.
    for_items(
        ctx.pool(), sampler.images, sampler.places * sampler.channels * 32,
        [&](int64_t begin, int64_t end, int /*worker*/) {
          Mixture mixture;
          for (int64_t item = begin * sampler.places; item < end * sampler.places; ++item) {
            if (item % 4096 == 0) check_running(ctx);
            sampler.find(item, true, mixture);
            double* slopes = dgrid.data<double>() + item * numbers;
            std::fill_n(slopes, numbers, 0.0);
            const int64_t image = item / sampler.places, place = item % sampler.places;
            for (int64_t c = 0; c < sampler.channels; ++c) {
              const int64_t plane = image * sampler.channels + c;
              const C share = wide_dy.data()[plane * sampler.places + place];
              const C* from = wide_x.data() + plane * sampler.inputs;
              C* to = dx + plane * sampler.inputs;
              for (size_t i = 0; i < mixture.index.size(); ++i) {
                const int64_t at = mixture.index[i];
                to[at] += static_cast<C>(mixture.weight[i]) * share;
                const double change = static_cast<double>(share) * static_cast<double>(from[at]);
                for (int64_t k = 0; k < numbers; ++k) {
                  slopes[k] +=
                      change *
                      mixture.slope[i * static_cast<size_t>(numbers) + static_cast<size_t>(k)];
                }
              }
            }
          }
        });
    result.store();
    if (ctx.num_outputs() < 2 || !ctx.wants_output(1)) return;
    Tensor& to_grid = ctx.output(1, grid.dtype(), grid.shape());
    dispatch(FloatTypes{}, grid.dtype(),
             [&]<class G>() { convert_all(dgrid.data<double>(), to_grid.data<G>(), grid.size()); });
  });
}

void affine_grid(KernelContext& ctx) {
  const Tensor& theta = ctx.input(0);
  const std::vector<int64_t> size = to_int64s(ctx.input(1));
  const int64_t count = std::ssize(size) - 2;
  if ((count != 2 && count != 3) || size[0] < 0 ||
      !(theta.shape() == Shape{size[0], count, count + 1})) {
    fail(ErrorCode::kInvalidArgument, "matrices ", describe(theta), " do not fit a size of ",
         size.size(), " numbers");
  }
  std::vector<int64_t> dims = {size[0]};
  dims.insert(dims.end(), size.begin() + 2, size.end());
  dims.push_back(count);
  const Shape shape(dims);
  const bool align = ctx.node().get<int64_t>("align_corners", 0) != 0;
  dispatch(FloatTypes{}, theta.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, theta.dtype(), shape);
    if (out.size() == 0) return;
    const Wide<T> matrices(theta);
    const int64_t places = shape.product(1, shape.rank() - 1);
    for_items(ctx.pool(), shape[0] * places, 32, [&](int64_t begin, int64_t end, int /*worker*/) {
      for (int64_t item = begin; item < end; ++item) {
        std::array<C, 4> place{};
        int64_t rest = item % places;
        for (int64_t axis = count - 1; axis >= 0; --axis) {
          const int64_t length = size[static_cast<size_t>(axis) + 2];
          const auto index = static_cast<C>(rest % length), all = static_cast<C>(length);
          rest /= length;
          // x, the innermost axis, comes first.
          C& at = place[static_cast<size_t>(count - 1 - axis)];
          at = align ? (length > 1 ? 2 * index / (all - 1) - 1 : C{-1}) : (2 * index + 1) / all - 1;
        }
        place[static_cast<size_t>(count)] = 1;
        const C* matrix = matrices.data() + item / places * count * (count + 1);
        for (int64_t i = 0; i < count; ++i) {
          C sum = 0;
          for (int64_t j = 0; j <= count; ++j) {
            sum += matrix[i * (count + 1) + j] * place[static_cast<size_t>(j)];
          }
          out.data<T>()[item * count + i] = convert<T>(sum);
        }
      }
    });
  });
}

}  // namespace hugot::grid
