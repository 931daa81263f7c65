#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/loss/loss.h"

namespace hugot::loss {
namespace {

// Scores as [batch, classes, inner], labels as [batch, inner].
struct Layout {
  int64_t batch = 0, classes = 0, inner = 0;
  std::vector<int64_t> labels;  // -1: ignored
};

Layout layout_of(const KernelContext& ctx) {
  const Tensor& scores = ctx.input(0);
  const Tensor& labels = ctx.input(1);
  bool fits = scores.rank() >= 2 && labels.rank() == scores.rank() - 1;
  for (int axis = 0; fits && axis < labels.rank(); ++axis) {
    fits = labels.shape()[axis] == scores.shape()[axis == 0 ? 0 : axis + 1];
  }
  require(fits, ErrorCode::kInvalidArgument, "labels ", describe(labels), " do not fit scores ",
          describe(scores));
  require(labels.dtype() == DType::kInt32 || labels.dtype() == DType::kInt64,
          ErrorCode::kInvalidArgument, "labels have to be int32 or int64, but are ",
          describe(labels));
  Layout layout{scores.shape()[0], scores.shape()[1], scores.shape().product(2, scores.rank()),
                to_int64s(labels)};
  std::optional<int64_t> ignored;
  if (ctx.node().has("ignore_index")) ignored = ctx.node().at<int64_t>("ignore_index");
  for (int64_t& label : layout.labels) {
    if (label == ignored) {
      label = -1;
      continue;
    }
    require(label >= 0 && label < layout.classes, ErrorCode::kInvalidArgument, "label ", label,
            " is outside of ", layout.classes, " classes");
  }
  return layout;
}

// The loss of log-probabilities `log_p`, reduced, as output 0.
template <class T, class C>
void write_loss(KernelContext& ctx, const Layout& layout, const C* log_p) {
  const Tensor& labels = ctx.input(1);
  std::vector<C> weights;
  if (ctx.num_inputs() > 2 && ctx.has_input(2)) {
    const Tensor& given = ctx.input(2);
    require(given.dtype() == dtype_of<T> && given.size() == layout.classes,
            ErrorCode::kInvalidArgument, "weights have to be ", dtype_name(dtype_of<T>), "[",
            layout.classes, "], but are ", describe(given));
    weights.resize(static_cast<size_t>(layout.classes));
    convert_all(given.data<T>(), weights.data(), layout.classes);
  }
  const Reduction reduction = reduction_of(ctx.node());
  const bool each = reduction == Reduction::kNone;
  T* out = ctx.output(0, dtype_of<T>, each ? labels.shape() : Shape{}).template data<T>();
  double total = 0, total_weight = 0;
  for (int64_t i = 0; i < labels.size(); ++i) {
    const int64_t label = layout.labels[static_cast<size_t>(i)];
    C value = 0;
    if (label >= 0) {
      const C weight = weights.empty() ? C{1} : weights[static_cast<size_t>(label)];
      const int64_t row = i / layout.inner * layout.classes + label;
      value = -log_p[row * layout.inner + i % layout.inner] * weight;
      total_weight += static_cast<double>(weight);
    }
    if (each) out[i] = convert<T>(value);
    total += static_cast<double>(value);
  }
  if (!each) *out = convert<T>(reduction == Reduction::kMean ? total / total_weight : total);
}

// The scores in the type that is computed in.
template <class T>
std::vector<Compute<T>> widened(const Tensor& scores) {
  std::vector<Compute<T>> values(static_cast<size_t>(scores.size()));
  convert_all(scores.data<T>(), values.data(), scores.size());
  return values;
}

// In place: x - log(sum(exp(x))) over the classes.
template <class C>
void log_softmax(const Layout& layout, std::vector<C>& x) {
  std::vector<C> top(static_cast<size_t>(layout.inner)), sum(top.size());
  const auto inner = static_cast<size_t>(layout.inner);
  if (layout.classes == 0) return;
  for (int64_t b = 0; b < layout.batch; ++b) {
    C* rows = x.data() + b * layout.classes * layout.inner;
    std::copy_n(rows, inner, top.begin());
    for (int64_t c = 1; c < layout.classes; ++c) {
      for (size_t i = 0; i < inner; ++i)
        top[i] = std::max(top[i], rows[c * layout.inner + static_cast<int64_t>(i)]);
    }
    std::fill(sum.begin(), sum.end(), C{0});
    for (int64_t c = 0; c < layout.classes; ++c) {
      const C* row = rows + c * layout.inner;
      for (size_t i = 0; i < inner; ++i) sum[i] += std::exp(row[i] - top[i]);
    }
    for (size_t i = 0; i < inner; ++i) sum[i] = std::log(sum[i]);
    for (int64_t c = 0; c < layout.classes; ++c) {
      C* row = rows + c * layout.inner;
      for (size_t i = 0; i < inner; ++i) row[i] = row[i] - top[i] - sum[i];
    }
  }
}

}  // namespace

void negative_log_likelihood(KernelContext& ctx) {
  const Layout layout = layout_of(ctx);
  dispatch(FloatTypes{}, ctx.input(0).dtype(), [&]<class T>() {
    if constexpr (is_half<T>) {
      write_loss<T>(ctx, layout, widened<T>(ctx.input(0)).data());
    } else {
      write_loss<T>(ctx, layout, ctx.input(0).data<T>());
    }
  });
}

void softmax_cross_entropy(KernelContext& ctx) {
  const Tensor& scores = ctx.input(0);
  const Layout layout = layout_of(ctx);
  dispatch(FloatTypes{}, scores.dtype(), [&]<class T>() {
    std::vector<Compute<T>> log_p = widened<T>(scores);
    log_softmax(layout, log_p);
    write_loss<T>(ctx, layout, log_p.data());
    if (!ctx.wants_output(1)) return;
    T* out = ctx.output(1, scores.dtype(), scores.shape()).template data<T>();
    convert_all(log_p.data(), out, scores.size());
  });
}

}  // namespace hugot::loss
