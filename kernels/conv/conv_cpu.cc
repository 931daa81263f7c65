// Kernel of Conv.
#include <algorithm>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/conv/columns.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/maps.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"

namespace hugot::conv {
namespace {

// Products of the filters with a few columns at a time, which are made right before they are
// used: they fit the cache, and the whole matrix would be as many times as large as the image as
// the kernel has elements.
void convolve_columns(KernelContext& ctx, const Geometry& g, const float* x, const float* w,
                      const float* bias, float* y) {
  const Columns columns(g);
  const int64_t rows = columns.rows(), outputs = columns.outputs();
  const int64_t width = cpu::gemm_panel_width();
  const int64_t panels = (outputs + width - 1) / width;
  ThreadPool* pool = ctx.pool();
  const int64_t size = (rows * width + 15) / 16 * 16;
  float* scratch = ctx.scratch_of<float>(size * (pool == nullptr ? 1 : pool->size()));
  const auto add = cpu::active_kernels().add.vs;
  const auto run = [&](int64_t item, float* panel) {
    const int64_t part = item / panels, group = part % g.groups;
    const int64_t begin = item % panels * width, end = std::min(begin + width, outputs);
    const int64_t count = end - begin;
    for (int64_t i = 0; count < width && i < rows; ++i) {
      std::fill(panel + i * width + count, panel + (i + 1) * width, 0.0f);
    }
    columns.gather(x + part * g.channels * g.in_size(), 0, g.channels, begin, end, panel, width);
    float* result = y + part * g.filters * outputs;
    cpu::gemm_panel(g.filters, outputs, rows, w + group * g.filters * rows, rows, panel,
                    item % panels, result, outputs, {});
    for (int64_t m = 0; bias != nullptr && m < g.filters; ++m) {
      float* row = result + m * outputs + begin;
      add(row, bias[group * g.filters + m], row, count);
    }
  };
  for_items(pool, g.batch * g.groups * panels, g.filters * rows * width,
            [&](int64_t begin, int64_t end, int worker) {
              for (int64_t i = begin; i < end; ++i) run(i, scratch + worker * size);
            });
}

// Filters in the order of the kernel.
class PackedFilters final : public Prepared {
 public:
  PackedFilters(const Tensor& w, int64_t groups, BlockStore& store)
      : bytes_(w.bytes()), data_(store.array<float>(static_cast<size_t>(w.size()), [&](float* to) {
          const int64_t filters = w.shape()[0];
          pack_filters(w.data<float>(), groups, filters / groups, w.size() / filters, to);
        })) {}
  size_t bytes() const override { return bytes_; }
  bool replaces_input(int i) const override { return i == 1; }
  const float* data() const { return data_.get(); }

 private:
  size_t bytes_;
  std::shared_ptr<const float> data_;
};

}  // namespace

void convolve(KernelContext& ctx, const Geometry& g, const float* x, const float* w,
              const float* bias, float* y) {
  const auto* prepared = static_cast<const PackedFilters*>(ctx.prepared());
  const int64_t steps = g.channels * g.kernel_size();
  const Direct direct(g);
  std::vector<float> own;
  if (prepared == nullptr && !direct.fits()) return convolve_columns(ctx, g, x, w, bias, y);
  if (prepared == nullptr || !direct.fits()) {
    own.resize(static_cast<size_t>(g.groups * g.filters * steps));
  }
  if (!direct.fits()) {
    unpack_filters(prepared->data(), g.groups, g.filters, steps, own.data());
    return convolve_columns(ctx, g, x, own.data(), bias, y);
  }
  if (prepared == nullptr) pack_filters(w, g.groups, g.filters, steps, own.data());
  direct.convolve(ctx, x, prepared != nullptr ? prepared->data() : own.data(), bias, y);
}

// For exactness rather than speed.
void convolve(KernelContext& ctx, const Geometry& g, const double* x, const double* w,
              const double* bias, double* y) {
  const Columns columns(g);
  const int64_t inputs = g.in_size(), outputs = columns.outputs();
  for_items(ctx.pool(), g.batch * g.groups * g.filters, columns.rows() * outputs,
            [&](int64_t begin, int64_t end, int /*worker*/) {
              for (int64_t item = begin; item < end; ++item) {
                const int64_t filter = item % (g.groups * g.filters);
                const double* image = x + item / g.filters * g.channels * inputs;
                const double* factors = w + filter * columns.rows();
                double* row = y + item * outputs;
                std::fill_n(row, outputs, bias == nullptr ? 0.0 : bias[filter]);
                columns.for_runs(0, outputs, [&](const Run& run) {
                  for (int64_t c = 0; c < g.channels; ++c) {
                    const double factor = factors[c * columns.taps() + run.tap];
                    const double* source = image + c * inputs + run.source;
                    for (int64_t i = run.first; i < run.last; ++i, source += run.step) {
                      row[run.column + i] += factor * *source;
                    }
                  }
                });
              }
            });
}

std::shared_ptr<const Prepared> prepare_conv(const Node& node,
                                             std::span<const Tensor* const> constants,
                                             BlockStore& store) {
  const Tensor* w = constants[1];
  const int64_t groups = node.get<int64_t>("group", 1);
  constexpr int kMaxRank = 4;  // of what Direct takes, but for windows of one element
  if (w == nullptr || w->dtype() != DType::kFloat32 || w->rank() < 3 || w->rank() > kMaxRank ||
      w->size() == 0 || groups < 1 || w->shape()[0] % groups != 0) {
    return nullptr;
  }
  return std::make_shared<PackedFilters>(*w, groups, store);
}

void conv(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &w = ctx.input(1);
  const Geometry g = geometry(ctx.node(), x.shape(), w.shape());
  const Tensor* bias = ctx.num_inputs() > 2 && ctx.has_input(2) ? &ctx.input(2) : nullptr;
  require(w.dtype() == x.dtype(), ErrorCode::kInvalidArgument, "the weight ", describe(w),
          " has another type than the input ", describe(x));
  if (bias != nullptr) {
    require(bias->dtype() == x.dtype() && bias->shape() == Shape{w.shape()[0]},
            ErrorCode::kInvalidArgument, "the bias is ", describe(*bias), " for a weight ",
            describe(w));
  }
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, x.dtype(), g.y);
    if (y.size() == 0) return;
    using C = Compute<T>;
    const Wide<T> wide_x(x), wide_w(w);
    const Wide<T> wide_bias = bias == nullptr ? Wide<T>() : Wide<T>(*bias);
    WideResult<T> result(y);
    convolve(ctx, g, wide_x.data(), wide_w.data(), wide_bias.data(), result.data());
    static_assert(std::is_same_v<decltype(result.data()), C*>);
    result.store();
  });
}

}  // namespace hugot::conv
