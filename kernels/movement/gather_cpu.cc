// Kernels of Gather, GatherElements and GatherND.
#include <algorithm>

#include "kernels/element.h"
#include "kernels/movement/indices.h"
#include "kernels/movement/movement.h"
#include "kernels/strided.h"

namespace hugot::movement {

namespace {

// Copies rows of `axis`, the joined token axis, for each text. Its indices are tuples of `depth`
// numbers: the place along `axis` comes last, in front of it are places on axes of length 1.
void take_rows(KernelContext& ctx, int axis, int64_t depth) {
  const Tensor& data = ctx.input(0);
  const auto segments = ctx.segments();
  const int64_t block = data.shape().product(axis + 1, data.rank());
  const Shape* planned = ctx.planned_shape(0);
  require(planned != nullptr, ErrorCode::kInternal, "segments without a planned shape");
  Tensor& out = ctx.output(0, data.dtype(), *planned);
  with_element(data.dtype(), [&]<class T>() {
    T* target = elements<T>(out);
    for (size_t s = 0; s + 1 < segments.size(); ++s) {
      const Tensor& own = ctx.input_of_segment(1, s);
      const Indices indices(own);
      for (int64_t i = 0; i < own.size(); i += depth, target += block) {
        for (int64_t k = 0; k + 1 < depth; ++k) indices.get(i + k, 1);  // in range
        const int64_t row = indices.get(i + depth - 1, segments[s + 1] - segments[s]);
        std::copy_n(elements<T>(data) + (segments[s] + row) * block, block, target);
      }
    }
  });
}

// Rows of each text from the joined token axis: [.., tokens, ..] -> [texts, ..].
void gather_from_segments(KernelContext& ctx) {
  const Tensor& data = ctx.input(0);
  const int axis = data.shape().axis(ctx.node().get<int64_t>("axis", 0));
  const auto segments = ctx.segments();
  require(data.shape().product(0, axis) == 1 && data.shape()[axis] == segments.back(),
          ErrorCode::kInvalidArgument, "axis ", axis, " of ", describe(data),
          " is not the token axis");
  take_rows(ctx, axis, 1);
}

}  // namespace

void gather(KernelContext& ctx) {
  if (!ctx.segments().empty()) return gather_from_segments(ctx);
  const Tensor& data = ctx.input(0);
  const Tensor& index_tensor = ctx.input(1);
  const int axis = data.shape().axis(ctx.node().get<int64_t>("axis", 0));
  std::array<int64_t, 2 * Shape::kMaxRank> dims{};
  auto end = std::copy_n(data.shape().begin(), axis, dims.begin());
  end = std::copy(index_tensor.shape().begin(), index_tensor.shape().end(), end);
  end = std::copy(data.shape().begin() + axis + 1, data.shape().end(), end);
  const Shape shape(std::span<const int64_t>(dims.begin(), end));

  const Indices indices(index_tensor);
  const int64_t count = index_tensor.size();
  const int64_t dim = data.shape()[axis];
  const int64_t block = data.shape().product(axis + 1, data.rank());
  Tensor& out = ctx.output(0, data.dtype(), shape);
  if (out.size() == 0) {
    for (int64_t i = 0; i < count; ++i) indices.get(i, dim);
    return;
  }
  with_element(data.dtype(), [&]<class T>() {
    const T* source = elements<T>(data);
    T* target = elements<T>(out);
    const int64_t rows = shape.size() / block;
    const int64_t grain = std::max<int64_t>(1, (1 << 14) / block);
    parallel_for(rows <= grain ? nullptr : ctx.pool(), rows, grain,
                 [&](int64_t begin, int64_t end_row) {
                   for (int64_t row = begin; row < end_row; ++row) {
                     const int64_t from = row / count * dim + indices.get(row % count, dim);
                     std::copy_n(source + from * block, block, target + row * block);
                   }
                 });
  });
}

void require_elements_fit(const Tensor& data, const Tensor& indices, int axis) {
  bool fits = data.rank() == indices.rank();
  for (int i = 0; fits && i < data.rank(); ++i) {
    fits = i == axis || indices.shape()[i] <= data.shape()[i];
  }
  require(fits, ErrorCode::kInvalidArgument, "indices ", describe(indices), " do not fit data ",
          describe(data), " along axis ", axis);
}

void gather_elements(KernelContext& ctx) {
  const Tensor& data = ctx.input(0);
  const Tensor& index_tensor = ctx.input(1);
  const int axis = data.shape().axis(ctx.node().get<int64_t>("axis", 0));
  require_elements_fit(data, index_tensor, axis);
  const Indices indices(index_tensor);
  Tensor& out = ctx.output(0, data.dtype(), index_tensor.shape());
  if (out.size() == 0) return;
  const auto strides = row_major_strides(data.shape());
  Odometer place;  // of the index in the data, the axis left out
  for (int i = 0; i < data.rank(); ++i) {
    place.add(index_tensor.shape()[i], i == axis ? 0 : strides[static_cast<size_t>(i)]);
  }
  const int64_t stride = strides[static_cast<size_t>(axis)];
  const int64_t dim = data.shape()[axis];
  with_element(data.dtype(), [&]<class T>() {
    const T* source = elements<T>(data);
    T* target = elements<T>(out);
    parallel_for(ctx.pool(), out.size(), 1 << 14, [&](int64_t begin, int64_t end) {
      Odometer at = place;
      at.seek(begin);
      for (int64_t i = begin; i < end; ++i, at.next()) {
        target[i] = source[at.offset() + indices.get(i, dim) * stride];
      }
    });
  });
}

TupleLayout tuple_layout(const Shape& data, const Shape& indices, int64_t batch_dims) {
  const bool ranks = data.rank() >= 1 && indices.rank() >= 1 && batch_dims >= 0 &&
                     batch_dims < std::min(data.rank(), indices.rank());
  const int64_t depth = ranks ? indices.back() : 0;
  require(ranks && depth >= 1 && depth <= data.rank() - batch_dims, ErrorCode::kInvalidArgument,
          "indices ", indices.to_string(), " behind ", batch_dims,
          " batch dimensions do not fit data ", data.to_string());
  TupleLayout layout;
  layout.batch_dims = static_cast<int>(batch_dims);
  for (int i = 0; i < layout.batch_dims; ++i) {
    require(data[i] == indices[i], ErrorCode::kInvalidArgument, "batch dimension ", i, " is ",
            data[i], " in the data and ", indices[i], " in the indices");
  }
  const int blocks = layout.batch_dims + static_cast<int>(depth);
  layout.batches = data.product(0, layout.batch_dims);
  layout.tuples = indices.product(layout.batch_dims, indices.rank() - 1);
  layout.depth = depth;
  layout.block = data.product(blocks, data.rank());
  layout.batch_elements = data.product(layout.batch_dims, data.rank());
  std::array<int64_t, 2 * Shape::kMaxRank> dims{};
  auto end = std::copy(indices.begin(), indices.end() - 1, dims.begin());
  end = std::copy(data.begin() + blocks, data.end(), end);
  layout.shape = Shape(std::span<const int64_t>(dims.begin(), end));
  return layout;
}

int64_t tuple_offset(const TupleLayout& layout, const Shape& data, const Indices& indices,
                     int64_t i) {
  int64_t block = 0;
  for (int64_t k = 0; k < layout.depth; ++k) {
    const int64_t dim = data[layout.batch_dims + static_cast<int>(k)];
    block = block * dim + indices.get(i * layout.depth + k, dim);
  }
  return block * layout.block;
}

void gather_nd(KernelContext& ctx) {
  const Tensor& data = ctx.input(0);
  if (!ctx.segments().empty()) {
    const int64_t depth = ctx.input(1).shape().back();
    return take_rows(ctx, static_cast<int>(depth) - 1, depth);
  }
  const Indices indices(ctx.input(1));
  const TupleLayout layout =
      tuple_layout(data.shape(), ctx.input(1).shape(), ctx.node().get<int64_t>("batch_dims", 0));
  Tensor& out = ctx.output(0, data.dtype(), layout.shape);
  with_element(data.dtype(), [&]<class T>() {
    const T* source = elements<T>(data);
    T* target = elements<T>(out);
    for (int64_t i = 0; i < layout.batches * layout.tuples; ++i, target += layout.block) {
      const int64_t offset = tuple_offset(layout, data.shape(), indices, i);
      std::copy_n(source + i / layout.tuples * layout.batch_elements + offset, layout.block,
                  target);
    }
  });
}

}  // namespace hugot::movement
