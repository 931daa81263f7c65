// Kernels of ConvInputGradient and ConvWeightGradient.
#include <algorithm>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/conv/columns.h"
#include "kernels/conv/maps.h"
#include "kernels/cpu/gemm.h"
#include "kernels/dispatch.h"

namespace hugot::conv {
namespace {

// Columns that are made at once: few enough for a cache, enough for a product.
int64_t chunk_of(const Columns& columns) {
  constexpr int64_t kFloats = int64_t{1} << 20;
  const int64_t count = kFloats / std::max<int64_t>(columns.rows(), 1);
  return std::clamp<int64_t>(count, 64, std::max<int64_t>(columns.outputs(), 64));
}

}  // namespace

// The filters turned over give the gradient of the columns, which are added up to the image.
void spread(KernelContext& ctx, const Geometry& g, const float* dy, const float* w, float* dx) {
  const Columns columns(g);
  const int64_t rows = columns.rows(), outputs = columns.outputs(), chunk = chunk_of(columns);
  std::fill_n(dx, g.batch * g.groups * g.channels * g.in_size(), 0.0f);
  Tensor made(DType::kFloat32, {rows, chunk}), turned(DType::kFloat32, {rows, g.filters});
  for (int64_t group = 0; group < g.groups; ++group) {
    const float* filters = w + group * g.filters * rows;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t m = 0; m < g.filters; ++m) {
        turned.data<float>()[i * g.filters + m] = filters[m * rows + i];
      }
    }
    for (int64_t image = 0; image < g.batch; ++image) {
      const int64_t part = image * g.groups + group;
      float* target = dx + part * g.channels * g.in_size();
      for (int64_t begin = 0; begin < outputs; begin += chunk) {
        const int64_t end = std::min(begin + chunk, outputs);
        float* to = made.data<float>();
        cpu::gemm(rows, end - begin, g.filters, turned.data<float>(), g.filters,
                  dy + part * g.filters * outputs + begin, outputs, false, to, chunk, {}, nullptr,
                  ctx.pool());
        for_items(ctx.pool(), g.channels, columns.taps() * (end - begin),
                  [&](int64_t channel, int64_t channel_end, int /*worker*/) {
                    columns.scatter(to, chunk, channel, channel_end, begin, end, target);
                  });
      }
    }
  }
}

void spread(KernelContext& ctx, const Geometry& g, const double* dy, const double* w, double* dx) {
  const Columns columns(g);
  const int64_t inputs = g.in_size(), outputs = columns.outputs();
  for_items(ctx.pool(), g.batch * g.groups * g.channels, g.filters * columns.taps() * outputs,
            [&](int64_t begin, int64_t end, int /*worker*/) {
              for (int64_t item = begin; item < end; ++item) {
                const int64_t part = item / g.channels, channel = item % g.channels;
                double* target = dx + item * inputs;
                std::fill_n(target, inputs, 0.0);
                for (int64_t m = 0; m < g.filters; ++m) {
                  const double* factors = w + (part % g.groups * g.filters + m) * columns.rows() +
                                          channel * columns.taps();
                  const double* row = dy + (part * g.filters + m) * outputs;
                  columns.for_runs(0, outputs, [&](const Run& run) {
                    const double* from = row + run.column;
                    double* to = target + run.source;
                    for (int64_t i = run.first; i < run.last; ++i, to += run.step) {
                      *to += factors[run.tap] * from[i];
                    }
                  });
                }
              }
            });
}

// The sum over all images of dy times the columns turned over.
void correlate(KernelContext& ctx, const Geometry& g, const float* x, const float* dy, float* dw) {
  const Columns columns(g);
  const int64_t rows = columns.rows(), outputs = columns.outputs(), chunk = chunk_of(columns);
  std::fill_n(dw, g.groups * g.filters * rows, 0.0f);
  Tensor made(DType::kFloat32, {rows, chunk});
  for (int64_t part = 0; part < g.batch * g.groups; ++part) {
    float* target = dw + part % g.groups * g.filters * rows;
    const float* image = x + part * g.channels * g.in_size();
    for (int64_t begin = 0; begin < outputs; begin += chunk) {
      const int64_t end = std::min(begin + chunk, outputs);
      float* to = made.data<float>();
      for_items(ctx.pool(), g.channels, columns.taps() * (end - begin),
                [&](int64_t channel, int64_t channel_end, int /*worker*/) {
                  columns.gather(image, channel, channel_end, begin, end, to, chunk);
                });
      cpu::Epilogue sum;
      sum.residual = target;
      sum.residual_stride = rows;
      cpu::gemm(g.filters, rows, end - begin, dy + part * g.filters * outputs + begin, outputs, to,
                chunk, true, target, rows, sum, nullptr, ctx.pool());
    }
  }
}

void correlate(KernelContext& ctx, const Geometry& g, const double* x, const double* dy,
               double* dw) {
  const Columns columns(g);
  const int64_t inputs = g.in_size(), outputs = columns.outputs();
  for_items(ctx.pool(), g.groups * g.filters, g.batch * columns.rows() * outputs,
            [&](int64_t begin, int64_t end, int /*worker*/) {
              for (int64_t filter = begin; filter < end; ++filter) {
                double* target = dw + filter * columns.rows();
                std::fill_n(target, columns.rows(), 0.0);
                for (int64_t image = 0; image < g.batch; ++image) {
                  const int64_t part = image * g.groups + filter / g.filters;
                  const double* row = dy + (image * g.groups * g.filters + filter) * outputs;
                  columns.for_runs(0, outputs, [&](const Run& run) {
                    for (int64_t c = 0; c < g.channels; ++c) {
                      const double* source = x + (part * g.channels + c) * inputs + run.source;
                      double sum = 0;
                      for (int64_t i = run.first; i < run.last; ++i, source += run.step) {
                        sum += row[run.column + i] * *source;
                      }
                      target[c * columns.taps() + run.tap] += sum;
                    }
                  });
                }
              }
            });
}

namespace {

void check(const Tensor& a, const Tensor& b, const Tensor& dy, const Geometry& g) {
  require(a.dtype() == b.dtype(), ErrorCode::kInvalidArgument, describe(a), " and ", describe(b),
          " differ in type");
  if (!(dy.shape() == g.y)) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(dy),
         " for a result ", g.y.to_string());
  }
}

}  // namespace

void input_gradient(KernelContext& ctx) {
  const Tensor &dy = ctx.input(0), &w = ctx.input(1);
  const Shape shape(to_int64s(ctx.input(2)));
  const Geometry g = geometry(ctx.node(), shape, w.shape());
  check(dy, w, dy, g);
  dispatch(FloatTypes{}, dy.dtype(), [&]<class T>() {
    Tensor& dx = ctx.output(0, dy.dtype(), shape);
    if (dx.size() == 0) return;
    if (dy.size() == 0 || w.size() == 0) {
      std::fill_n(dx.data<T>(), dx.size(), T{});
      return;
    }
    const Wide<T> wide_dy(dy), wide_w(w);
    WideResult<T> result(dx);
    spread(ctx, g, wide_dy.data(), wide_w.data(), result.data());
    result.store();
  });
}

void weight_gradient(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &dy = ctx.input(1);
  const Shape shape(to_int64s(ctx.input(2)));
  const Geometry g = geometry(ctx.node(), x.shape(), shape);
  check(x, dy, dy, g);
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    Tensor& dw = ctx.output(0, x.dtype(), shape);
    if (dw.size() == 0) return;
    const Wide<T> wide_x(x), wide_dy(dy);
    WideResult<T> result(dw);
    correlate(ctx, g, wide_x.data(), wide_dy.data(), result.data());
    result.store();
  });
}

}  // namespace hugot::conv
