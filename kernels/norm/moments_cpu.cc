// MeanVarianceNormalization and LpNormalization: elements are divided by a statistic that they have
// in common with those along some axes.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"
#include "kernels/strided.h"

namespace hugot::norm {
namespace {

// Numbers the elements of a tensor by what they have in common: the indices on all axes but `axes`.
class Groups {
 public:
  Groups(const Shape& shape, std::span<const int64_t> axes) {
    bool together[Shape::kMaxRank] = {};
    for (const int64_t axis : axes) together[shape.axis(axis)] = true;
    int64_t strides[Shape::kMaxRank];
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      strides[axis] = together[axis] ? 0 : count_;
      if (!together[axis]) count_ *= shape[axis];
    }
    for (int axis = 0; axis < shape.rank(); ++axis) walk_.add(shape[axis], strides[axis]);
  }

  int64_t count() const { return count_; }

  // Calls body(i, group of element i) for i < n.
  template <class Body>
  void for_each(int64_t n, Body&& body) const {
    Odometer at = walk_;
    if (n > 0) at.seek(0);
    for (int64_t i = 0; i < n; ++i, at.next()) body(i, static_cast<size_t>(at.offset()));
  }

 private:
  Odometer walk_;
  int64_t count_ = 1;
};

}  // namespace

void mean_variance_norm(KernelContext& ctx) {
  constexpr double kEpsilon = 1e-9;
  const Tensor& x = ctx.input(0);
  const Groups groups(x.shape(), mean_variance_axes(ctx.node()));
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), x.shape());
    const int64_t n = x.size();
    if (n == 0) return;
    const T* from = x.data<T>();
    T* to = y.data<T>();
    std::vector<double> mean(static_cast<size_t>(groups.count())), deviation(mean.size());
    const auto share = static_cast<double>(groups.count()) / static_cast<double>(n);
    groups.for_each(n, [&](int64_t i, size_t g) { mean[g] += convert<double>(from[i]); });
    for (double& m : mean) m *= share;
    groups.for_each(n, [&](int64_t i, size_t g) {
      const double distance = convert<double>(from[i]) - mean[g];
      deviation[g] += distance * distance;
    });
    for (double& d : deviation) d = std::sqrt(d * share) + kEpsilon;
    groups.for_each(n, [&](int64_t i, size_t g) {
      to[i] = convert<T>((convert<double>(from[i]) - mean[g]) / deviation[g]);
    });
  });
}

void lp_norm(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const bool l1 = is_l1(ctx.node());
  const int64_t axis = ctx.node().get<int64_t>("axis", -1);
  const Groups groups(x.shape(), std::span(&axis, 1));
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), x.shape());
    const int64_t n = x.size();
    if (n == 0) return;
    const T* from = x.data<T>();
    T* to = y.data<T>();
    std::vector<double> norm(static_cast<size_t>(groups.count()));
    groups.for_each(n, [&](int64_t i, size_t g) {
      const double value = std::abs(convert<double>(from[i]));
      norm[g] += l1 ? value : value * value;
    });
    for (double& sum : norm) {
      if (!l1) sum = std::sqrt(sum);
      if (sum == 0) sum = 1;
    }
    groups.for_each(
        n, [&](int64_t i, size_t g) { to[i] = convert<T>(convert<double>(from[i]) / norm[g]); });
  });
}

}  // namespace hugot::norm
