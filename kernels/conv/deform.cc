// DeformConv: a convolution whose windows are bent. Every element of a window is looked up at a
// place of its own, between elements by linear interpolation, and has a factor of its own.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/conv/conv.h"
#include "kernels/cpu/gemm.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"
#include "kernels/running.h"

namespace hugot {
namespace conv {
namespace {

// Outputs whose windows are made at once: few enough for a cache.
constexpr int64_t kChunkElements = int64_t{1} << 18;

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

int64_t offset_groups_of(const Node& node, int64_t channels) {
  const int64_t groups = node.get<int64_t>("offset_group", 1);
  require(groups > 0 && channels % groups == 0, ErrorCode::kInvalidArgument,
          "attribute offset_group is ", groups, " for ", channels, " channels");
  return groups;
}

// Elements around a place, with their weights.
template <class C>
class Corners {
 public:
  // `place`: the index along each axis. Nothing outside of the image.
  void find(const Geometry& g, const std::array<C, kMaxSpatial>& place) {
    index_.assign(1, 0);
    weight_.assign(1, C{1});
    for (size_t axis = 0; axis < static_cast<size_t>(g.spatial); ++axis) {
      const int64_t length = g.axes[axis].in;
      const C at = place[axis];
      if (length == 0 || !(at > -1 && at < static_cast<C>(length))) return clear();
      const C floor = std::floor(at), part = at - floor;
      const auto low = static_cast<int64_t>(floor);
      const size_t count = index_.size();
      for (size_t i = 0; i < count; ++i) {
        const int64_t base = index_[i] * length;
        const C weight = weight_[i];
        const bool has_low = low >= 0, has_high = low + 1 < length;
        index_[i] = base + (has_low ? low : low + 1);
        weight_[i] = has_low ? weight * (1 - part) : has_high ? weight * part : C{0};
        if (!has_low && !has_high) index_[i] = base;
        if (has_low && has_high) {
          index_.push_back(base + low + 1);
          weight_.push_back(weight * part);
        }
      }
    }
  }
  void scale(C factor) {
    for (C& weight : weight_) weight *= factor;
  }
  C value(const C* image) const {
    C sum = 0;
    for (size_t i = 0; i < index_.size(); ++i) sum += weight_[i] * image[index_[i]];
    return sum;
  }

 private:
  void clear() {
    index_.clear();
    weight_.clear();
  }
  std::vector<int64_t> index_;
  std::vector<C> weight_;
};

void multiply(int64_t m, int64_t n, int64_t k, const float* a, const float* b, int64_t ldb,
              float* c, int64_t ldc, ThreadPool* pool) {
  cpu::gemm(m, n, k, a, k, b, ldb, false, c, ldc, {}, nullptr, pool);
}
void multiply(int64_t m, int64_t n, int64_t k, const double* a, const double* b, int64_t ldb,
              double* c, int64_t ldc, ThreadPool* pool) {
  cpu::gemm_f64(m, n, k, a, k, b, ldb, false, c, ldc, pool);
}

// The operands of one image in the type of arithmetic; mask may be null.
template <class C>
struct Image {
  const C *x, *offset, *mask;
};

// What the windows at outputs [begin, end) see of the channels of `group`: columns of the matrix
// [channels * taps, stride].
template <class C>
void gather(KernelContext& ctx, const Geometry& g, int64_t offset_groups, const Image<C>& image,
            int64_t group, int64_t begin, int64_t end, C* to, int64_t stride) {
  const int64_t taps = g.kernel_size(), outputs = g.out_size(), inputs = g.in_size();
  const int64_t shared = g.groups * g.channels / offset_groups;  // channels with equal offsets
  const int64_t first = group * g.channels;
  for_items(ctx.pool(), taps, (end - begin) * g.channels * 8, [&](int64_t tap, int64_t last, int) {
    Corners<C> corners;
    for (; tap < last; ++tap) {
      for (int64_t output = begin; output < end; ++output) {
        std::array<C, kMaxSpatial> home{};
        int64_t place = output, element = tap;
        for (auto axis = static_cast<size_t>(g.spatial); axis-- > 0;) {
          const Axis& a = g.axes[axis];
          home[axis] =
              static_cast<C>(place % a.out * a.stride - a.before + element % a.kernel * a.dilation);
          place /= a.out;
          element /= a.kernel;
        }
        int64_t known = -1;  // the offset group whose corners are there
        for (int64_t c = 0; c < g.channels; ++c) {
          const int64_t bend = (first + c) / shared, at = bend * taps + tap;
          if (bend != known) {
            std::array<C, kMaxSpatial> there = home;
            for (int64_t axis = 0; axis < g.spatial; ++axis) {
              there[static_cast<size_t>(axis)] +=
                  image.offset[(at * g.spatial + axis) * outputs + output];
            }
            corners.find(g, there);
            if (image.mask != nullptr) corners.scale(image.mask[at * outputs + output]);
            known = bend;
          }
          to[(c * taps + tap) * stride + output - begin] =
              corners.value(image.x + (first + c) * inputs);
        }
      }
    }
  });
}

void check_operand(const KernelContext& ctx, int i, const Shape& shape) {
  const Tensor& tensor = ctx.input(i);
  if (tensor.dtype() != ctx.input(0).dtype() || !(tensor.shape() == shape)) {
    fail(ErrorCode::kInvalidArgument, "input ", i, " is ", describe(tensor), ", but has to be ",
         dtype_name(ctx.input(0).dtype()), shape.to_string());
  }
}

void deform_conv(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &w = ctx.input(1);
  const Geometry g = geometry(ctx.node(), x.shape(), w.shape());
  const int64_t offset_groups = offset_groups_of(ctx.node(), x.shape()[1]);
  const int64_t taps = g.kernel_size(), outputs = g.out_size(), rows = g.channels * taps;
  // The channels of a weight may be none, and its kernel as long as one likes.
  const int64_t places = Shape{offset_groups, taps}.size();
  check_operand(ctx, 1, w.shape());
  check_operand(ctx, 2, g.y.with(1, Shape{places, g.spatial}.size()));
  if (has(ctx, 3)) check_operand(ctx, 3, {w.shape()[0]});
  if (has(ctx, 4)) check_operand(ctx, 4, g.y.with(1, places));
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, x.dtype(), g.y);
    if (out.size() == 0) return;
    const auto wide = [&](int i) { return has(ctx, i) ? Wide<T>(ctx.input(i)) : Wide<T>(); };
    const Wide<T> images = wide(0), filters = wide(1), offsets = wide(2), bias = wide(3),
                  masks = wide(4);
    WideResult<T> result(out);
    const int64_t chunk =
        std::clamp<int64_t>(kChunkElements / std::max<int64_t>(rows, 1), 16, outputs + 16);
    std::vector<C> columns(static_cast<size_t>(rows * chunk));
    for (int64_t part = 0; part < g.batch * g.groups; ++part) {
      const int64_t n = part / g.groups, group = part % g.groups;
      const Image<C> image{images.data() + n * g.groups * g.channels * g.in_size(),
                           offsets.data() + n * places * g.spatial * outputs,
                           masks.data() == nullptr ? nullptr : masks.data() + n * places * outputs};
      C* y = result.data() + part * g.filters * outputs;
      for (int64_t begin = 0; begin < outputs; begin += chunk) {
        check_running(ctx);
        const int64_t end = std::min(begin + chunk, outputs);
        gather(ctx, g, offset_groups, image, group, begin, end, columns.data(), chunk);
        multiply(g.filters, end - begin, rows, filters.data() + group * g.filters * rows,
                 columns.data(), chunk, y + begin, outputs, ctx.pool());
      }
      for (int64_t m = 0; bias.data() != nullptr && m < g.filters; ++m) {
        const C value = bias.data()[group * g.filters + m];
        for (int64_t i = 0; i < outputs; ++i) y[m * outputs + i] += value;
      }
    }
    result.store();
  });
}

void infer(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  require_same_dtype(ctx, 0, 2);
  ctx.output(0).dtype = ctx.input(0).dtype;
  infer_result_shape(ctx, 0, 1);
}

}  // namespace
}  // namespace conv

namespace ops {

OpDef onnx_DeformConv(int) { return define({3, 5}, conv::infer, conv::deform_conv); }

}  // namespace ops
}  // namespace hugot
