// Kernel of Unique: the slices are sorted by their elements, equal ones stand together.
#include <algorithm>
#include <complex>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/movement/movement.h"

namespace hugot::movement {
namespace {

using UniqueTypes =
    JoinTypes<NumberAndBoolTypes, Types<std::string, std::complex<float>, std::complex<double>>>;

// -1, 0 or 1. NaN comes behind all numbers and equals itself.
template <class T>
int compare(const T& a, const T& b) {
  if constexpr (is_half<T>) {
    return compare(static_cast<float>(a), static_cast<float>(b));
  } else if constexpr (std::is_same_v<T, std::complex<float>> ||
                       std::is_same_v<T, std::complex<double>>) {
    const int real = compare(a.real(), b.real());
    return real != 0 ? real : compare(a.imag(), b.imag());
  } else {
    if constexpr (std::is_floating_point_v<T>) {
      const bool no_a = a != a, no_b = b != b;
      if (no_a || no_b) return static_cast<int>(no_a) - static_cast<int>(no_b);
    }
    return a < b ? -1 : b < a ? 1 : 0;
  }
}

// The input as slices along an axis: element k of slice i lies at (k / inner * dim + i) * inner +
// k % inner.
struct Slices {
  int64_t outer, dim, inner;
};

// Where each slice goes: the order in which the different ones come, by their first slice.
struct Grouping {
  std::vector<int64_t> first, counts;  // per different slice
  std::vector<int64_t> inverse;        // per slice
};

template <class T>
Grouping group(const T* x, const Slices& slices, bool sorted) {
  const auto compare_slices = [&](int64_t a, int64_t b) {
    for (int64_t o = 0; o < slices.outer; ++o) {
      const T* row = x + o * slices.dim * slices.inner;
      for (int64_t i = 0; i < slices.inner; ++i) {
        const int order = compare<T>(row[a * slices.inner + i], row[b * slices.inner + i]);
        if (order != 0) return order;
      }
    }
    return 0;
  };
  std::vector<int64_t> order(static_cast<size_t>(slices.dim));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return compare_slices(a, b) < 0; });
  Grouping result;
  result.inverse.resize(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    if (k == 0 || compare_slices(order[k - 1], order[k]) != 0) {
      result.first.push_back(order[k]);
      result.counts.push_back(0);
    }
    ++result.counts.back();
    result.inverse[static_cast<size_t>(order[k])] = static_cast<int64_t>(result.first.size()) - 1;
  }
  if (sorted) return result;
  // In the order of their first slices instead.
  std::vector<int64_t> by_place(result.first.size()), rank(result.first.size());
  std::iota(by_place.begin(), by_place.end(), 0);
  std::sort(by_place.begin(), by_place.end(), [&](int64_t a, int64_t b) {
    return result.first[static_cast<size_t>(a)] < result.first[static_cast<size_t>(b)];
  });
  Grouping placed = result;
  for (size_t k = 0; k < by_place.size(); ++k) {
    const auto from = static_cast<size_t>(by_place[k]);
    placed.first[k] = result.first[from];
    placed.counts[k] = result.counts[from];
    rank[from] = static_cast<int64_t>(k);
  }
  for (int64_t& i : placed.inverse) i = rank[static_cast<size_t>(i)];
  return placed;
}

}  // namespace

void unique(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const bool flat = !ctx.node().has("axis");
  const int axis = flat ? 0 : in.shape().axis(ctx.node().at<int64_t>("axis"));
  const Slices slices = flat ? Slices{1, in.size(), 1}
                             : Slices{in.shape().product(0, axis), in.shape()[axis],
                                      in.shape().product(axis + 1, in.rank())};
  const bool sorted = ctx.node().get<int64_t>("sorted", 1) != 0;
  Grouping groups;
  dispatch(UniqueTypes{}, in.dtype(),
           [&]<class T>() { groups = group(in.data<T>(), slices, sorted); });

  const auto count = static_cast<int64_t>(groups.first.size());
  if (ctx.wants_output(0)) {
    Tensor& out = ctx.output(0, in.dtype(), flat ? Shape{count} : in.shape().with(axis, count));
    with_element(in.dtype(), [&]<class T>() {
      T* target = elements<T>(out);
      for (int64_t o = 0; o < slices.outer; ++o) {
        for (const int64_t i : groups.first) {
          target = std::copy_n(elements<T>(in) + (o * slices.dim + i) * slices.inner, slices.inner,
                               target);
        }
      }
    });
  }
  const std::vector<int64_t>* lists[] = {&groups.first, &groups.inverse, &groups.counts};
  for (int i = 0; i < 3; ++i) {
    if (!ctx.wants_output(i + 1)) continue;
    Tensor& out = ctx.output(i + 1, DType::kInt64, {static_cast<int64_t>(lists[i]->size())});
    std::copy(lists[i]->begin(), lists[i]->end(), out.data<int64_t>());
  }
}

}  // namespace hugot::movement
