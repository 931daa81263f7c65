// DeformConv: a convolution whose windows are bent. Every element of a window is looked up at a
// place of its own, between elements by linear interpolation, and has a factor of its own.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "graph/gradient.h"
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
  // With `sloped`, the derivatives of the weights in the place are there, too.
  explicit Corners(bool sloped = false) : sloped_(sloped) {}

  // `place`: the index along each axis. Nothing outside of the image.
  void find(const Geometry& g, const std::array<C, kMaxSpatial>& place) {
    index_.assign(1, 0);
    weight_.assign(1, C{1});
    slope_.assign(1, {});
    for (size_t axis = 0; axis < static_cast<size_t>(g.spatial); ++axis) {
      const int64_t length = g.axes[axis].in;
      const C at = place[axis];
      if (length == 0 || !(at > -1 && at < static_cast<C>(length))) return clear();
      const C floor = std::floor(at), part = at - floor;
      const auto element = static_cast<int64_t>(floor);
      const Share low{element, 1 - part, -1}, high{element + 1, part, 1};
      const bool has_low = element >= 0, has_high = element + 1 < length;
      const size_t count = index_.size();
      for (size_t i = 0; i < count; ++i) {
        if (has_low && has_high) {
          index_.push_back(index_[i]);
          weight_.push_back(weight_[i]);
          if (sloped_) slope_.push_back(slope_[i]);
          apply(high, length, axis, index_.size() - 1);
        }
        apply(has_low ? low : high, length, axis, i);
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
  // The derivative of value() in the place along an axis.
  C slope(const C* image, size_t axis) const {
    C sum = 0;
    for (size_t i = 0; i < index_.size(); ++i) sum += slope_[i][axis] * image[index_[i]];
    return sum;
  }
  // Adds to the gradient of the image that of value() times `share`.
  void spread(C share, C* image) const {
    for (size_t i = 0; i < index_.size(); ++i) image[index_[i]] += share * weight_[i];
  }

 private:
  struct Share {
    int64_t element;
    C factor, slope;
  };

  void apply(const Share& share, int64_t length, size_t axis, size_t i) {
    index_[i] = index_[i] * length + share.element;
    if (sloped_) {
      for (size_t k = 0; k < axis; ++k) slope_[i][k] *= share.factor;
      slope_[i][axis] = weight_[i] * share.slope;
    }
    weight_[i] *= share.factor;
  }
  void clear() {
    index_.clear();
    weight_.clear();
    slope_.clear();
  }

  bool sloped_;
  std::vector<int64_t> index_;
  std::vector<C> weight_;
  std::vector<std::array<C, kMaxSpatial>> slope_;
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

// What the offsets of one group bend: the place that element `tap` of the window at `output` meets.
template <class C>
std::array<C, kMaxSpatial> bent_place(const Geometry& g, const C* offset, int64_t bend, int64_t tap,
                                      int64_t output) {
  std::array<C, kMaxSpatial> result{};
  int64_t place = output, element = tap;
  for (auto axis = static_cast<size_t>(g.spatial); axis-- > 0;) {
    const Axis& a = g.axes[axis];
    result[axis] =
        static_cast<C>(place % a.out * a.stride - a.before + element % a.kernel * a.dilation);
    place /= a.out;
    element /= a.kernel;
  }
  const int64_t first = (bend * g.kernel_size() + tap) * g.spatial;
  for (int64_t axis = 0; axis < g.spatial; ++axis) {
    result[static_cast<size_t>(axis)] += offset[(first + axis) * g.out_size() + output];
  }
  return result;
}

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
        int64_t known = -1;  // the offset group whose corners are there
        for (int64_t c = 0; c < g.channels; ++c) {
          const int64_t bend = (first + c) / shared;
          if (bend != known) {
            corners.find(g, bent_place(g, image.offset, bend, tap, output));
            if (image.mask != nullptr) {
              corners.scale(image.mask[(bend * taps + tap) * outputs + output]);
            }
            known = bend;
          }
          to[(c * taps + tap) * stride + output - begin] =
              corners.value(image.x + (first + c) * inputs);
        }
      }
    }
  });
}

void check_operand(const KernelContext& ctx, int i, DType dtype, const Shape& shape) {
  const Tensor& tensor = ctx.input(i);
  if (tensor.dtype() != dtype || !(tensor.shape() == shape)) {
    fail(ErrorCode::kInvalidArgument, "input ", i, " is ", describe(tensor), ", but has to be ",
         dtype_name(dtype), shape.to_string());
  }
}

// What the operands are about: inputs x, offset and mask, of which the last may be absent, are
// numbers `first`, `offset` and `mask`.
struct Bends {
  Geometry g;
  int64_t offset_groups;
  int64_t taps, outputs, rows;
  int64_t places;  // offsets of an output along one axis
  int offset, mask;
  DType dtype;

  Bends(const KernelContext& ctx, int first, const Shape& w, int offset_input, int mask_input)
      : g(geometry(ctx.node(), ctx.input(first).shape(), w)),
        offset_groups(offset_groups_of(ctx.node(), ctx.input(first).shape()[1])),
        taps(g.kernel_size()),
        outputs(g.out_size()),
        rows(g.channels * taps),
        // The channels of a weight may be none, and its kernel as long as one likes.
        places(Shape{offset_groups, taps}.size()),
        offset(offset_input),
        mask(mask_input),
        dtype(ctx.input(first).dtype()) {
    check_operand(ctx, offset, dtype, g.y.with(1, Shape{places, g.spatial}.size()));
    if (has(ctx, mask)) check_operand(ctx, mask, dtype, g.y.with(1, places));
  }

  template <class T>
  Image<Compute<T>> image(int64_t n, const Wide<T>& x, const Wide<T>& offsets,
                          const Wide<T>& masks) const {
    return {x.data() + n * g.groups * g.channels * g.in_size(),
            offsets.data() + n * places * g.spatial * outputs,
            masks.data() == nullptr ? nullptr : masks.data() + n * places * outputs};
  }
};

template <class T>
Wide<T> wide_input(const KernelContext& ctx, int i) {
  return has(ctx, i) ? Wide<T>(ctx.input(i)) : Wide<T>();
}

void deform_conv(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &w = ctx.input(1);
  const Bends b(ctx, 0, w.shape(), 2, 4);
  const Geometry& g = b.g;
  check_operand(ctx, 1, b.dtype, w.shape());
  if (has(ctx, 3)) check_operand(ctx, 3, b.dtype, {w.shape()[0]});
  dispatch(FloatTypes{}, x.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, x.dtype(), g.y);
    if (out.size() == 0) return;
    const auto images = wide_input<T>(ctx, 0), filters = wide_input<T>(ctx, 1),
               offsets = wide_input<T>(ctx, 2), bias = wide_input<T>(ctx, 3),
               masks = wide_input<T>(ctx, 4);
    WideResult<T> result(out);
    const int64_t chunk =
        std::clamp<int64_t>(kChunkElements / std::max<int64_t>(b.rows, 1), 16, b.outputs + 16);
    std::vector<C> columns(static_cast<size_t>(b.rows * chunk));
    for (int64_t part = 0; part < g.batch * g.groups; ++part) {
      const int64_t group = part % g.groups;
      const Image<C> image = b.image<T>(part / g.groups, images, offsets, masks);
      C* y = result.data() + part * g.filters * b.outputs;
      for (int64_t begin = 0; begin < b.outputs; begin += chunk) {
        check_running(ctx);
        const int64_t end = std::min(begin + chunk, b.outputs);
        gather(ctx, g, b.offset_groups, image, group, begin, end, columns.data(), chunk);
        multiply(g.filters, end - begin, b.rows, filters.data() + group * g.filters * b.rows,
                 columns.data(), chunk, y + begin, b.outputs, ctx.pool());
      }
      for (int64_t m = 0; bias.data() != nullptr && m < g.filters; ++m) {
        const C value = bias.data()[group * g.filters + m];
        for (int64_t i = 0; i < b.outputs; ++i) y[m * b.outputs + i] += value;
      }
    }
    result.store();
  });
}

// hugot.DeformColumns: the bent windows of x as columns [batch, groups, channels * taps, outputs]:
// DeformConv is the product of its filters and these. Inputs: x, the shape of w, offset, mask.
void deform_columns(KernelContext& ctx) {
  const Bends b(ctx, 0, Shape(to_int64s(ctx.input(1))), 2, 3);
  const Geometry& g = b.g;
  dispatch(FloatTypes{}, b.dtype, [&]<class T>() {
    Tensor& out = ctx.output(0, b.dtype, Shape{g.batch, g.groups, b.rows, b.outputs});
    if (out.size() == 0) return;
    const auto x = wide_input<T>(ctx, 0), offsets = wide_input<T>(ctx, 2),
               masks = wide_input<T>(ctx, 3);
    WideResult<T> result(out);
    for (int64_t part = 0; part < g.batch * g.groups; ++part) {
      check_running(ctx);
      gather(ctx, g, b.offset_groups, b.image<T>(part / g.groups, x, offsets, masks),
             part % g.groups, 0, b.outputs, result.data() + part * b.rows * b.outputs, b.outputs);
    }
    result.store();
  });
}

// hugot.DeformColumnsGradient: the gradients of x, offset and mask from that of the columns.
// Inputs: that, x, the shape of w, offset, mask. Threads take groups of offsets, whose channels no
// other group adds to.
void deform_columns_gradient(KernelContext& ctx) {
  const Bends b(ctx, 1, Shape(to_int64s(ctx.input(2))), 3, 4);
  const Geometry& g = b.g;
  check_operand(ctx, 0, b.dtype, Shape{g.batch, g.groups, b.rows, b.outputs});
  const Tensor &x_in = ctx.input(1), &offset_in = ctx.input(3);
  const auto axes = static_cast<size_t>(g.spatial);
  dispatch(FloatTypes{}, b.dtype, [&]<class T>() {
    using C = Compute<T>;
    const auto share = wide_input<T>(ctx, 0), x = wide_input<T>(ctx, 1),
               offsets = wide_input<T>(ctx, 3), masks = wide_input<T>(ctx, 4);
    WideResult<T> dx(ctx.output(0, b.dtype, x_in.shape()));
    WideResult<T> doffset(ctx.output(1, b.dtype, offset_in.shape()));
    WideResult<T> dmask(ctx.output(2, b.dtype, g.y.with(1, b.places)));
    std::fill_n(dx.data(), x_in.size(), C{0});
    const int64_t channels = g.groups * g.channels, shared = channels / b.offset_groups;
    for_items(ctx.pool(), g.batch * b.offset_groups, b.taps * b.outputs * shared * 16,
              [&](int64_t item, int64_t last, int) {
                Corners<C> corners(true);
                for (; item < last; ++item) {
                  const int64_t n = item / b.offset_groups, bend = item % b.offset_groups;
                  const Image<C> image = b.image<T>(n, x, offsets, masks);
                  for (int64_t tap = 0; tap < b.taps; ++tap) {
                    check_running(ctx);
                    for (int64_t output = 0; output < b.outputs; ++output) {
                      const int64_t at = (bend * b.taps + tap) * b.outputs + output;
                      const C factor = image.mask != nullptr ? image.mask[at] : C{1};
                      corners.find(g, bent_place(g, image.offset, bend, tap, output));
                      C to_mask = 0;
                      std::array<C, kMaxSpatial> to_place{};
                      for (int64_t c = bend * shared; c < (bend + 1) * shared; ++c) {
                        const int64_t plane = n * channels + c;
                        const C part = share.data()[(plane * b.taps + tap) * b.outputs + output];
                        const C* from = image.x + c * g.in_size();
                        to_mask += part * corners.value(from);
                        for (size_t k = 0; k < axes; ++k) {
                          to_place[k] += part * factor * corners.slope(from, k);
                        }
                        corners.spread(part * factor, dx.data() + plane * g.in_size());
                      }
                      dmask.data()[n * b.places * b.outputs + at] = to_mask;
                      for (size_t k = 0; k < axes; ++k) {
                        const int64_t row = (n * b.places + bend * b.taps + tap) * g.spatial;
                        doffset.data()[(row + static_cast<int64_t>(k)) * b.outputs + output] =
                            to_place[k];
                      }
                    }
                  }
                }
              });
    dx.store();
    doffset.store();
    dmask.store();
  });
}

void infer(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  require_same_dtype(ctx, 0, 2);
  ctx.output(0).dtype = ctx.input(0).dtype;
  infer_result_shape(ctx, 0, 1);
}

void infer_columns(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  ctx.output(0).dtype = x.dtype;
  ctx.output(0).shape = unknown_dims(ctx, 0, 4);
  if (x.shape) ctx.output(0).shape->front() = x.shape->front();
  (*ctx.output(0).shape)[1] = ctx.node().get<int64_t>("group", 1);
}

void infer_columns_gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.output(i).dtype = ctx.input(1).dtype;
  ctx.output(0).shape = ctx.input(1).shape;
  if (ctx.num_outputs() > 1) ctx.output(1).shape = ctx.input(3).shape;
  if (ctx.num_outputs() > 2 && ctx.has_input(4)) ctx.output(2).shape = ctx.input(4).shape;
}

void differentiate_columns(GradientContext& g) {
  const auto parts =
      g.writer().outputs("DeformColumnsGradient", {g.dy(), g.x(0), g.x(1), g.x(2), g.x(3)},
                         g.node().attributes, 3, "hugot");
  g.set(0, parts[0]);
  g.set(2, parts[1]);
  if (g.x(3)) g.set(3, parts[2]);
}

void differentiate_deform_conv(GradientContext& g) {
  GraphWriter& w = g.writer();
  const Term filters = g.x(1), whole = w.integers({-1});
  const Term groups = w.integers({g.node().get<int64_t>("group", 1)});
  const Term columns = w.op("DeformColumns", {g.x(0), shape_of(filters), g.x(2), g.x(4)},
                            g.node().attributes, "hugot");
  const Term matrices = reshape(filters, w.concat({groups, dim_of(filters, 0) / groups, whole}, 0));
  Term y = reshape_like(matrix_product(matrices, columns), g.y());
  if (g.x(3)) {
    std::vector<int64_t> spatial(static_cast<size_t>(g.y().rank()) - 2);
    std::iota(spatial.begin(), spatial.end(), 1);
    y = y + unsqueeze(g.x(3), spatial);
  }
  g.differentiate(std::span(&y, 1));
}

}  // namespace
}  // namespace conv

namespace ops {

OpDef onnx_DeformConv(int) {
  return with_gradient(define({3, 5}, conv::infer, conv::deform_conv),
                       conv::differentiate_deform_conv);
}

OpDef hugot_DeformColumns(int) {
  return with_gradient(define({3, 4}, conv::infer_columns, conv::deform_columns),
                       conv::differentiate_columns);
}

OpDef hugot_DeformColumnsGradient(int) {
  return define({4, 5}, conv::infer_columns_gradient, conv::deform_columns_gradient, nullptr,
                {1, 3});
}

}  // namespace ops
}  // namespace hugot
