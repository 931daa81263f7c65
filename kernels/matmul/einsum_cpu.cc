// Kernel of Einsum: sums over what one operand alone has, then contracts pair by pair.
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "kernels/matmul/einsum.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/multiply.h"
#include "kernels/strided.h"

namespace hugot::matmul {
namespace {

using EinsumTypes = JoinTypes<FloatTypes, IntegerTypes>;
using Lengths = std::array<int64_t, kMaxLabels>;

// Of more operands the first two are contracted again and again: to look for the best pair takes
// time by the cube of their number.
constexpr size_t kMaxSearched = 32;

// An operand or what pairs of them have become. Its axes have different labels, at any strides.
// There are none of length 1: they meet every length, and it is simplest when they are not there.
struct Factor {
  Tensor data;
  Labels labels;
  std::vector<int64_t> strides;  // like labels
  LabelSet set = 0;
};

// The length of each label: all axes with it have that length, or 1. Throws kInvalidArgument for
// axes that do not fit.
Lengths lengths_of(const KernelContext& ctx, const LabelledAxes& axes) {
  Lengths lengths;
  lengths.fill(1);
  for (size_t i = 0; i < axes.operands.size(); ++i) {
    const Shape& shape = ctx.input(static_cast<int>(i)).shape();
    const Labels& labels = axes.operands[i];
    for (size_t axis = 0; axis < labels.size(); ++axis) {
      const int64_t own = shape[static_cast<int>(axis)];
      int64_t& length = lengths[static_cast<size_t>(labels[axis])];
      require(own == length || own == 1 || length == 1, ErrorCode::kInvalidArgument, "operand ", i,
              " of shape ", shape.to_string(), " has the length ", own, " on axis ", axis,
              ", where another axis has ", length);
      if (own != 1) length = own;
      const auto first = static_cast<size_t>(std::find(labels.begin(), labels.end(), labels[axis]) -
                                             labels.begin());
      require(own == shape[static_cast<int>(first)], ErrorCode::kInvalidArgument, "operand ", i,
              " of shape ", shape.to_string(), " has no diagonal along axes ", first, " and ",
              axis);
    }
  }
  return lengths;
}

Factor factor_of(const Tensor& tensor, const Labels& labels) {
  Factor factor{.data = tensor, .labels = {}, .strides = {}};
  const auto strides = row_major_strides(tensor.shape());
  for (size_t axis = 0; axis < labels.size(); ++axis) {
    if (tensor.shape()[static_cast<int>(axis)] == 1) continue;
    if (contains(factor.set, labels[axis])) {  // a diagonal steps along both axes
      const auto at = std::find(factor.labels.begin(), factor.labels.end(), labels[axis]);
      factor.strides[static_cast<size_t>(at - factor.labels.begin())] += strides[axis];
      continue;
    }
    factor.labels.push_back(labels[axis]);
    factor.strides.push_back(strides[axis]);
    factor.set |= set_of(labels[axis]);
  }
  return factor;
}

Labels joined(Labels a, const Labels& b, const Labels& c) {
  a.insert(a.end(), b.begin(), b.end());
  a.insert(a.end(), c.begin(), c.end());
  return a;
}

// The labels of a list that are in the set.
Labels picked(const Labels& labels, LabelSet set) {
  Labels result;
  std::copy_if(labels.begin(), labels.end(), std::back_inserter(result),
               [&](int label) { return contains(set, label); });
  return result;
}

template <class T>
T times(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using Wide = std::common_type_t<std::make_unsigned_t<T>, unsigned>;
    return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
  } else {
    return a * b;
  }
}

// Floating-point numbers are added up in float64, integers wrap around. Term number k goes to chain
// k % kChains, and the chains' sums are added at the end: how the terms lie in memory, which may
// depend on the lengths of other axes, does not show in the bits.
template <class T>
using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
constexpr int64_t kChains = 8;

// y[i] = sum of row i of x
template <class T>
void sum_rows(const T* x, T* y, int64_t rows, int64_t columns, ThreadPool* pool) {
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / columns);
  parallel_for(rows <= grain ? nullptr : pool, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * columns;
      std::array<Sum<T>, kChains> sums{};
      const auto add = [&](int64_t first, int64_t count) {
        for (int64_t k = 0; k < count; ++k) {
          sums[static_cast<size_t>(k)] += static_cast<Sum<T>>(row[first + k]);
        }
      };
      const int64_t whole = columns - columns % kChains;
      for (int64_t k = 0; k < whole; k += kChains) add(k, kChains);
      add(whole, columns - whole);
      y[i] = static_cast<T>(std::accumulate(sums.begin(), sums.end(), Sum<T>{0}));
    }
  });
}

// y[i] = sum of column i of x, a block of columns at a time
template <class T>
void sum_columns(const T* x, T* y, int64_t rows, int64_t columns, ThreadPool* pool) {
  constexpr int64_t kBlock = 64;
  const int64_t blocks = (columns + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / (kBlock * rows));
  parallel_for(blocks <= grain ? nullptr : pool, blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      const auto width = static_cast<size_t>(std::min(kBlock, columns - first));
      std::array<std::array<Sum<T>, kBlock>, kChains> sums{};
      for (int64_t i = 0; i < rows; ++i) {
        const T* row = x + i * columns + first;
        auto& chain = sums[static_cast<size_t>(i % kChains)];
        for (size_t k = 0; k < width; ++k) chain[k] += static_cast<Sum<T>>(row[k]);
      }
      for (size_t k = 0; k < width; ++k) {
        Sum<T> total = 0;
        for (const auto& chain : sums) total += chain[k];
        y[first + static_cast<int64_t>(k)] = static_cast<T>(total);
      }
    }
  });
}

// c[batch, m, n] = a[batch, m] b[batch, n]
template <class T>
void multiply_outer(int64_t batches, int64_t m, int64_t n, const T* a, const T* b, T* c,
                    ThreadPool* pool) {
  if (n == 1) {  // the longer loop inside
    std::swap(a, b);
    std::swap(m, n);
  }
  const int64_t rows = n == 1 ? 1 : batches * m, columns = n == 1 ? batches : n;
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / columns);
  parallel_for(rows <= grain ? nullptr : pool, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* x = b + i / m * columns;
      T* y = c + i * columns;
      if (n == 1) {
        for (int64_t k = 0; k < columns; ++k) y[k] = times(a[k], x[k]);
      } else {
        for (int64_t k = 0; k < columns; ++k) y[k] = times(a[i], x[k]);
      }
    }
  });
}

// Computes in T. Factors have no empty axes.
template <class T>
class Contraction {
 public:
  // `result`: the labels of the memory `out`, which have a length other than 1.
  Contraction(KernelContext& ctx, const Lengths& lengths, Labels result, Tensor& out)
      : ctx_(ctx),
        lengths_(lengths),
        result_(std::move(result)),
        result_set_(set_of(result_)),
        out_(out) {}

  void run(std::vector<Factor> factors) {
    for (size_t i = 0; i < factors.size(); ++i) {
      LabelSet alone = factors[i].set & ~result_set_;
      for (size_t k = 0; k < factors.size(); ++k) {
        if (k != i) alone &= ~factors[k].set;
      }
      if (alone != 0) factors[i] = summed(factors[i], alone, factors.size() == 1);
    }
    while (factors.size() > 1) {
      const std::pair<size_t, size_t> pair = next_pair(factors);
      const LabelSet needed = needed_beside(factors, pair);
      factors[pair.first] =
          product(factors[pair.first], factors[pair.second], needed, factors.size() == 2);
      factors.erase(factors.begin() + static_cast<std::ptrdiff_t>(pair.second));
    }
    if (factors.front().data.raw() != out_.raw()) {
      copy_view(factors.front().data, view(factors.front(), result_), out_, ctx_.pool());
    }
  }

 private:
  double size_as_double(LabelSet set) const {
    double size = 1;
    for (int label = 0; label < kMaxLabels; ++label) {
      if (contains(set, label)) size *= static_cast<double>(lengths_[static_cast<size_t>(label)]);
    }
    return size;
  }

  int64_t size_of(const Labels& labels) const {
    int64_t size = 1;
    for (const int label : labels) {
      require(!__builtin_mul_overflow(size, lengths_[static_cast<size_t>(label)], &size),
              ErrorCode::kInvalidArgument, "the product of two operands has too many elements");
    }
    return size;
  }

  LabelSet needed_beside(const std::vector<Factor>& factors,
                         const std::pair<size_t, size_t>& pair) const {
    LabelSet needed = result_set_;
    for (size_t i = 0; i < factors.size(); ++i) {
      if (i != pair.first && i != pair.second) needed |= factors[i].set;
    }
    return needed;
  }

  // The pair after whose contraction there are fewest elements; first < second.
  std::pair<size_t, size_t> next_pair(const std::vector<Factor>& factors) const {
    std::pair<size_t, size_t> best = {0, 1};
    if (factors.size() == 2 || factors.size() > kMaxSearched) return best;
    double best_growth = HUGE_VAL;
    for (size_t i = 0; i < factors.size(); ++i) {
      for (size_t k = i + 1; k < factors.size(); ++k) {
        const LabelSet all = factors[i].set | factors[k].set;
        const double growth = size_as_double(all & needed_beside(factors, {i, k})) -
                              size_as_double(factors[i].set) - size_as_double(factors[k].set);
        if (growth < best_growth) {
          best_growth = growth;
          best = {i, k};
        }
      }
    }
    return best;
  }

  // The factor's elements with its axes in this order.
  StridedView view(const Factor& factor, const Labels& order) const {
    require(order.size() <= 2 * Shape::kMaxRank, ErrorCode::kUnsupported,
            "a product of operands has ", order.size(), " axes");
    StridedView view;
    for (const int label : order) {
      const auto at = std::find(factor.labels.begin(), factor.labels.end(), label);
      view.add(lengths_[static_cast<size_t>(label)],
               factor.strides[static_cast<size_t>(at - factor.labels.begin())]);
    }
    return view;
  }

  bool in_order(const Factor& factor, const Labels& order) const {
    const StridedView wanted = view(factor, order);
    return wanted.rank() == 0 || (wanted.rank() == 1 && wanted.stride(0) == 1);
  }

  // The factor's elements in this order, row-major; its own memory when they lie so.
  Tensor ordered(const Factor& factor, const Labels& order) const {
    if (in_order(factor, order)) return factor.data;
    Tensor copy(factor.data.dtype(), {size_of(order)});
    copy_view(factor.data, view(factor, order), copy, ctx_.pool());
    return copy;
  }

  // A new row-major factor; in the memory of the result when it is the last and lies as wanted.
  Factor make(const Labels& labels, bool last) const {
    Factor factor{.data = {}, .labels = labels, .strides = std::vector<int64_t>(labels.size())};
    factor.set = set_of(labels);
    int64_t stride = 1;
    for (size_t axis = labels.size(); axis-- > 0;) {
      factor.strides[axis] = stride;
      stride *= lengths_[static_cast<size_t>(labels[axis])];
    }
    factor.data = last && labels == result_ ? out_ : Tensor(dtype_of<T>, {size_of(labels)});
    return factor;
  }

  Factor summed(const Factor& factor, LabelSet over, bool last) const {
    const Labels kept = picked(last ? result_ : factor.labels, factor.set & ~over);
    const Labels gone = picked(factor.labels, over);
    const int64_t sums = size_of(kept), terms = size_of(gone);
    Factor result = make(kept, last);
    T* out = result.data.data<T>();
    if (const Labels order = joined(gone, kept, {}); sums > 1 && in_order(factor, order)) {
      sum_columns(factor.data.data<T>(), out, terms, sums, ctx_.pool());
    } else {
      const Tensor rows = ordered(factor, joined(kept, gone, {}));
      sum_rows(rows.data<T>(), out, sums, terms, ctx_.pool());
    }
    return result;
  }

  // How two factors are brought into the form C[batch, m, n] = A[batch, m, k] B[batch, k, n], or
  // with B[batch, n, k].
  struct Roles {
    const Factor* a = nullptr;
    const Factor* b = nullptr;
    Labels batch, m, n, k;
    bool transposed = false;
    double copied = 0;  // elements
  };

  // The order of the axes k follows from the labels, never from what is cheap: sums must not
  // depend on other axes' lengths.
  Roles roles(const Factor& a, const Factor& b, const Labels& k, LabelSet batch, bool last) const {
    Roles roles{.a = &a, .b = &b, .batch = {}, .m = {}, .n = {}, .k = k};
    const LabelSet both = a.set & b.set;
    roles.batch = picked(last ? result_ : a.labels, batch);
    roles.m = picked(last ? result_ : a.labels, a.set & ~both);
    roles.n = picked(last ? result_ : b.labels, b.set & ~both);
    const auto cost = [&](const Factor& factor, const Labels& order) {
      return in_order(factor, order) ? 0 : size_as_double(factor.set);
    };
    roles.transposed = !in_order(b, joined(roles.batch, k, roles.n)) &&
                       in_order(b, joined(roles.batch, roles.n, k));
    roles.copied = cost(a, joined(roles.batch, roles.m, k)) +
                   (roles.transposed ? 0 : cost(b, joined(roles.batch, k, roles.n)));
    const Labels order = joined(roles.batch, roles.m, roles.n);
    if (last && order != result_) roles.copied += size_as_double(set_of(order));
    return roles;
  }

  Factor product(const Factor& first, const Factor& second, LabelSet needed, bool last) const {
    const LabelSet both = first.set & second.set;
    const Labels k = picked(first.labels, both & ~needed);
    const Roles straight = roles(first, second, k, both & needed, last);
    const Roles swapped = roles(second, first, k, both & needed, last);
    const Roles& chosen = swapped.copied < straight.copied ? swapped : straight;

    Factor c = make(joined(chosen.batch, chosen.m, chosen.n), last);
    const Tensor a = ordered(*chosen.a, joined(chosen.batch, chosen.m, k));
    const Tensor b = ordered(*chosen.b, chosen.transposed ? joined(chosen.batch, chosen.n, k)
                                                          : joined(chosen.batch, k, chosen.n));
    BatchedProduct plan;
    plan.product = {size_of(chosen.m), size_of(chosen.n), size_of(k), chosen.transposed};
    plan.batches = size_of(chosen.batch);
    const Product& p = plan.product;
    if (k.empty()) {
      multiply_outer(plan.batches, p.m, p.n, a.data<T>(), b.data<T>(), c.data.data<T>(),
                     ctx_.pool());
      return c;
    }
    plan.a.add(plan.batches, p.m * p.k);
    plan.b.add(plan.batches, p.k * p.n);
    multiply_batches<T>(ctx_, plan, a.data<T>(), b.data<T>(), c.data.data<T>());
    return c;
  }

  KernelContext& ctx_;
  const Lengths& lengths_;
  Labels result_;
  LabelSet result_set_;
  Tensor& out_;
};

}  // namespace

void einsum(KernelContext& ctx) {
  std::vector<int> ranks;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Tensor& input = ctx.input(i);
    require(input.dtype() == ctx.input(0).dtype(), ErrorCode::kInvalidArgument, "cannot multiply ",
            describe(ctx.input(0)), " by ", describe(input));
    ranks.push_back(input.rank());
  }
  const LabelledAxes axes = label_axes(equation_of(ctx.node()), ranks);
  const Lengths lengths = lengths_of(ctx, axes);
  std::vector<int64_t> dims;
  Labels result;
  for (const int label : axes.result) {
    dims.push_back(lengths[static_cast<size_t>(label)]);
    if (dims.back() != 1) result.push_back(label);
  }
  const bool empty = std::find(lengths.begin(), lengths.end(), 0) != lengths.end();
  dispatch(EinsumTypes{}, ctx.input(0).dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, dtype_of<T>, Shape(std::span<const int64_t>(dims)));
    if (empty) {  // sums of nothing
      std::fill_n(out.data<T>(), out.size(), T{});
      return;
    }
    std::vector<Factor> factors;
    for (size_t i = 0; i < axes.operands.size(); ++i) {
      const Tensor& input = ctx.input(static_cast<int>(i));
      if constexpr (is_half<T>) {
        factors.push_back(factor_of(widened<T>(input), axes.operands[i]));
      } else {
        factors.push_back(factor_of(input, axes.operands[i]));
      }
    }
    Tensor wide = is_half<T> ? Tensor(DType::kFloat32, out.shape()) : out;
    Contraction<C>(ctx, lengths, result, wide).run(std::move(factors));
    if constexpr (is_half<T>) convert_all(wide.data<float>(), out.data<T>(), out.size());
  });
}

}  // namespace hugot::matmul
