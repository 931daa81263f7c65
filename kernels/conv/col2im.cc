// Col2Im: blocks of an image are added up where they lie in it; and its transposed map, which takes
// the blocks out of an image.
#include <complex>
#include <span>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/conv/columns.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace conv {
namespace {

using ColumnTypes = JoinTypes<NumberTypes, Types<std::complex<float>, std::complex<double>>>;

// Windows of one channel of an image. Throws kInvalidArgument where blocks do not fit it.
Geometry blocks_of(const Node& node, std::span<const int64_t> image,
                   std::span<const int64_t> block) {
  const auto count = static_cast<int>(image.size());
  require(count >= 1 && count <= kMaxSpatial && image.size() == block.size(),
          ErrorCode::kInvalidArgument, "an image of ", image.size(), " axes and blocks of ",
          block.size());
  Geometry g;
  g.spatial = count;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    require(image[at] >= 0 && block[at] > 0 && block[at] < kMaxWindow, ErrorCode::kInvalidArgument,
            "axis ", i, " of an image is ", image[at], ", of its blocks ", block[at]);
    g.axes[at] = axis_of(window_of(node, i, count), image[at], block[at]);
  }
  return g;
}

// Elements of a block; throws kInvalidArgument when it has more than `limit`.
int64_t block_size(std::span<const int64_t> block, int64_t limit) {
  int64_t size = 1;
  for (const int64_t length : block) {
    require(length > 0 && size <= limit / length, ErrorCode::kInvalidArgument,
            "blocks have more elements than the ", limit, " rows of the columns");
    size *= length;
  }
  return size;
}

// a + b; integers wrap around.
template <class T>
T sum(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  } else {
    return a + b;
  }
}

void col2im(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const std::vector<int64_t> image = to_int64s(ctx.input(1)), block = to_int64s(ctx.input(2));
  require(in.rank() == 3, ErrorCode::kInvalidArgument, "columns are ", describe(in),
          ", not of rank 3");
  const int64_t rows = in.shape()[1], taps = block_size(block, std::max<int64_t>(rows, 1));
  const Geometry g = blocks_of(ctx.node(), image, block);
  require(rows % taps == 0 && in.shape()[2] == g.out_size(), ErrorCode::kInvalidArgument,
          "columns ", describe(in), " do not fit blocks of ", taps, " at ", g.out_size(),
          " places");
  std::vector<int64_t> dims = {in.shape()[0], rows / taps};
  dims.insert(dims.end(), image.begin(), image.end());
  const Shape shape(dims);
  dispatch(ColumnTypes{}, in.dtype(), [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, in.dtype(), shape);
    if (out.size() == 0) return;
    const Columns columns(g);
    const Wide<T> x(in);
    WideResult<T> result(out);
    C* y = result.data();
    const int64_t inputs = g.in_size(), outputs = g.out_size();
    for_items(ctx.pool(), shape[0] * shape[1], taps * outputs,
              [&](int64_t begin, int64_t end, int /*worker*/) {
                for (int64_t plane = begin; plane < end; ++plane) {
                  const C* from = x.data() + plane * taps * outputs;
                  C* to = y + plane * inputs;
                  std::fill_n(to, inputs, C{});
                  columns.for_runs(0, outputs, [&](const Run& run) {
                    const C* row = from + run.tap * outputs + run.column;
                    C* target = to + run.source;
                    for (int64_t i = run.first; i < run.last; ++i, target += run.step) {
                      *target = sum(*target, row[i]);
                    }
                  });
                }
              });
    result.store();
  });
}

// Input 0 is the image, input 1 the shape of its blocks.
void im2col(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const std::vector<int64_t> block = to_int64s(ctx.input(1));
  require_spatial_axes(in.rank());
  const std::span<const int64_t> dims = in.shape().dims();
  const Geometry g = blocks_of(ctx.node(), dims.subspan(2), block);
  const int64_t taps = block_size(block, kMaxWindow), outputs = g.out_size();
  const Shape shape{dims[0], Shape{dims[1], taps}.size(), outputs};
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    Tensor& out = ctx.output(0, in.dtype(), shape);
    if (out.size() == 0) return;
    const Columns columns(g);
    const int64_t inputs = g.in_size();
    for_items(ctx.pool(), dims[0] * dims[1], taps * outputs,
              [&](int64_t begin, int64_t end, int /*worker*/) {
                for (int64_t plane = begin; plane < end; ++plane) {
                  const T* from = in.data<T>() + plane * inputs;
                  T* to = out.data<T>() + plane * taps * outputs;
                  std::fill_n(to, taps * outputs, T{});
                  columns.for_runs(0, outputs, [&](const Run& run) {
                    const T* source = from + run.source;
                    T* row = to + run.tap * outputs + run.column;
                    for (int64_t i = run.first; i < run.last; ++i, source += run.step) {
                      row[i] = *source;
                    }
                  });
                }
              });
  });
}

void infer_col2im(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  const auto image = shape_given_by(ctx, 1);
  if (!image) return;
  const auto block = ctx.integers(2);
  const auto rank = static_cast<int>(image->size()) + 2;
  if (rank > Shape::kMaxRank) return;
  y.shape = unknown_dims(ctx, 0, rank);
  std::copy(image->begin(), image->end(), y.shape->begin() + 2);
  if (x.rank() != 3) return;
  (*y.shape)[0] = (*x.shape)[0];
  if (!block) return;
  const auto rows = (*x.shape)[1].number();
  const int64_t taps = block_size(*block, std::max<int64_t>(rows.value_or(kMaxWindow), 1));
  (*y.shape)[1] = Dim::divide((*x.shape)[1], taps);
}

void infer_im2col(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  ctx.output(0).dtype = x.dtype;
  ctx.output(0).shape = unknown_dims(ctx, 0, 3);
  if (x.rank() > 0) (*ctx.output(0).shape)[0] = x.shape->front();
}

}  // namespace
}  // namespace conv

namespace ops {

OpDef onnx_Col2Im(int) {
  return with_gradient(define({3, 3}, conv::infer_col2im, conv::col2im), conv::rule::Col2Im);
}

OpDef hugot_Im2Col(int) {
  return with_gradient(define({2, 2}, conv::infer_im2col, conv::im2col), conv::rule::Im2Col);
}

}  // namespace ops
}  // namespace hugot
