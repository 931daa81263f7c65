#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "kernels/broadcast.h"
#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"

namespace hugot::norm {
namespace {

constexpr int64_t kGrain = 1 << 11;  // elements that make a task for another thread

// One normalization of rows [rows, cols] of type C (float or double); null pointers as in
// cpu::VectorKernels. For RMS, `bias` and `mean` are null.
template <class C>
struct Rows {
  bool rms;
  C epsilon;
  int64_t cols;

  void run(const C* x, const C* scale, const C* bias, int64_t rows, C* y, C* mean,
           C* inverse) const {
    if constexpr (std::is_same_v<C, float>) {
      const cpu::VectorKernels& k = cpu::active_kernels();
      if (rms) {
        k.rms_norm(x, scale, epsilon, rows, cols, y, inverse);
      } else {
        k.layer_norm(x, scale, bias, epsilon, rows, cols, y, mean, inverse);
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        run_row(x + r * cols, scale, bias, y + r * cols, mean != nullptr ? mean + r : nullptr,
                inverse != nullptr ? inverse + r : nullptr);
      }
    }
  }

  void run_row(const C* x, const C* scale, const C* bias, C* y, C* mean, C* inverse) const {
    C center = 0;
    if (!rms) {
      for (int64_t i = 0; i < cols; ++i) center += x[i];
      center /= static_cast<C>(cols);
    }
    C squares = 0;
    for (int64_t i = 0; i < cols; ++i) squares += (x[i] - center) * (x[i] - center);
    const C factor = 1 / std::sqrt(squares / static_cast<C>(cols) + epsilon);
    for (int64_t i = 0; i < cols; ++i) {
      const C scaled = (x[i] - center) * factor * (scale != nullptr ? scale[i] : C{1});
      y[i] = bias != nullptr ? scaled + bias[i] : scaled;
    }
    if (mean != nullptr) *mean = center;
    if (inverse != nullptr) *inverse = factor;
  }
};

// Scale or bias in type C: one row for all rows, or (when it is broadcast over rows as well) one
// for each.
template <class C>
struct Parameter {
  std::vector<C> storage;
  const C* data = nullptr;
  int64_t row_step = 0;

  Parameter() = default;
  Parameter(const Tensor& tensor, const Shape& x, int axis) {
    const int normalized = x.rank() - axis;
    if (tensor.rank() > x.rank()) {
      fail(ErrorCode::kInvalidArgument, "scale or bias of shape ", tensor.shape().to_string(),
           " cannot be broadcast to ", x.to_string());
    }
    const int extra = std::max(tensor.rank() - normalized, 0);
    const bool per_row = tensor.shape().product(0, extra) != 1;
    const auto dims = x.dims();
    const Shape target = per_row ? x : Shape(dims.subspan(static_cast<size_t>(axis)));
    const Shape own =
        per_row ? tensor.shape() : Shape(tensor.shape().dims().subspan(static_cast<size_t>(extra)));
    row_step = per_row ? x.product(axis, x.rank()) : 0;
    if (own == target && tensor.dtype() == dtype_of<C>) {
      data = tensor.data<C>();
      return;
    }
    const BroadcastPlan plan(target, {&own});
    storage.resize(static_cast<size_t>(target.size()));
    dispatch(FloatTypes{}, tensor.dtype(), [&]<class T>() {
      const T* from = tensor.data<T>();
      plan.for_runs(
          0, target.size(), [&](int64_t at, const BroadcastPlan::Offsets& start, int64_t n) {
            for (int64_t i = 0; i < n; ++i) {
              storage[static_cast<size_t>(at + i)] = convert<C>(from[start[0] + i * plan.step(0)]);
            }
          });
    });
    data = storage.data();
  }
};

template <class C>
void store(const std::vector<C>& values, Tensor* to) {
  if (to == nullptr) return;
  dispatch(FloatTypes{}, to->dtype(),
           [&]<class T>() { convert_all(values.data(), to->data<T>(), to->size()); });
}

struct Outputs {
  Tensor* y;
  Tensor* mean = nullptr;
  Tensor* inverse = nullptr;
};

// Types other than float32, and parameters that differ from row to row: a row at a time.
template <class T, class C>
void run_any(const Tensor& x, const Rows<C>& rows, const Parameter<C>& scale,
             const Parameter<C>& bias, const Outputs& out) {
  const int64_t count = x.size() / std::max<int64_t>(rows.cols, 1);
  std::vector<C> row(static_cast<size_t>(rows.cols));
  std::vector<C> means(static_cast<size_t>(count)), inverses(static_cast<size_t>(count));
  dispatch(FloatTypes{}, out.y->dtype(), [&]<class Y>() {
    for (int64_t r = 0; r < count; ++r) {
      convert_all(x.data<T>() + r * rows.cols, row.data(), rows.cols);
      const C* row_bias = bias.data != nullptr ? bias.data + r * bias.row_step : nullptr;
      rows.run(row.data(), scale.data + r * scale.row_step, row_bias, 1, row.data(),
               &means[static_cast<size_t>(r)], &inverses[static_cast<size_t>(r)]);
      convert_all(row.data(), out.y->data<Y>() + r * rows.cols, rows.cols);
    }
  });
  store(means, out.mean);
  store(inverses, out.inverse);
}

void run_floats(ThreadPool* pool, const Tensor& x, const Rows<float>& rows, const float* scale,
                const float* bias, const Outputs& out) {
  const int64_t cols = rows.cols;
  const auto at = [](Tensor* tensor, int64_t row) {
    return tensor != nullptr ? tensor->data<float>() + row : nullptr;
  };
  parallel_for(
      pool, x.size() / cols, std::max<int64_t>(kGrain / cols, 1), [&](int64_t begin, int64_t end) {
        rows.run(x.data<float>() + begin * cols, scale, bias, end - begin,
                 out.y->data<float>() + begin * cols, at(out.mean, begin), at(out.inverse, begin));
      });
}

void normalize(KernelContext& ctx, bool rms) {
  const Node& node = ctx.node();
  const Tensor& x = ctx.input(0);
  const int axis = x.shape().axis(node.get<int64_t>("axis", -1));
  const DType stash = stash_type(node);
  Shape statistics = x.shape();
  for (int i = axis; i < x.rank(); ++i) statistics = statistics.with(i, 1);

  Outputs out{&ctx.output(0, ctx.input(1).dtype(), x.shape())};
  const int inverse_index = rms ? 1 : 2;
  if (!rms && ctx.wants_output(1)) out.mean = &ctx.output(1, stash, statistics);
  if (ctx.wants_output(inverse_index)) out.inverse = &ctx.output(inverse_index, stash, statistics);
  if (x.size() == 0) {
    const std::vector<float> none(static_cast<size_t>(statistics.size()), NAN);
    store(none, out.mean);
    store(none, out.inverse);
    return;
  }

  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    const Rows<C> rows{rms, static_cast<C>(node.get("epsilon", 1e-5f)),
                       x.shape().product(axis, x.rank())};
    const Parameter<C> scale(ctx.input(1), x.shape(), axis);
    const Parameter<C> bias =
        !rms && ctx.has_input(2) ? Parameter<C>(ctx.input(2), x.shape(), axis) : Parameter<C>();
    if constexpr (std::is_same_v<T, float>) {
      if (out.y->dtype() == DType::kFloat32 && stash == DType::kFloat32 && scale.row_step == 0 &&
          bias.row_step == 0) {
        return run_floats(ctx.pool(), x, rows, scale.data, bias.data, out);
      }
    }
    run_any<T>(x, rows, scale, bias, out);
  });
}

}  // namespace

DType stash_type(const Node& node) {
  const auto number = node.get<int64_t>("stash_type", 1);
  const auto dtype = static_cast<DType>(number > 0 && number < kDTypeCount ? number : 0);
  require(is_float(dtype), ErrorCode::kUnsupported, "attribute stash_type = ", number,
          " is not supported");
  return dtype;
}

void layer_norm(KernelContext& ctx) { normalize(ctx, false); }
void rms_norm(KernelContext& ctx) { normalize(ctx, true); }

}  // namespace hugot::norm
