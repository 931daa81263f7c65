// Kernels of Transpose, Concat, Split, Slice, Tile and Trilu.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "kernels/element.h"
#include "kernels/movement/movement.h"
#include "kernels/strided.h"

namespace hugot::movement {
namespace {

std::optional<Int64List> list_of(const KernelContext& ctx, std::string_view attribute, int input) {
  if (ctx.node().has(attribute)) return Int64List(ctx.node().at<std::vector<int64_t>>(attribute));
  if (input < ctx.num_inputs() && ctx.has_input(input)) return Int64List(ctx.input(input));
  return std::nullopt;
}

}  // namespace

Permutation permutation(const Node& node, int rank) {
  Permutation perm(rank);
  if (!node.has("perm")) {
    for (int axis = 0; axis < rank; ++axis) perm[static_cast<size_t>(axis)] = rank - 1 - axis;
    return perm;
  }
  const auto& given = node.at<std::vector<int64_t>>("perm");
  require(given.size() == static_cast<size_t>(rank), ErrorCode::kInvalidArgument, "perm has ",
          given.size(), " entries for a tensor of rank ", rank);
  std::array<bool, Shape::kMaxRank> seen{};
  for (size_t i = 0; i < given.size(); ++i) {
    perm[i] = normalize_axis(given[i], rank);
    bool& used = seen[static_cast<size_t>(perm[i])];
    require(!used, ErrorCode::kInvalidArgument, "perm names axis ", perm[i], " twice");
    used = true;
  }
  return perm;
}

void transpose(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const auto strides = row_major_strides(in.shape());
  const Permutation perm = permutation(ctx.node(), in.rank());
  std::array<int64_t, Shape::kMaxRank> dims{};
  StridedView view;
  for (size_t i = 0; i < perm.size(); ++i) {
    dims[i] = in.shape()[perm[i]];
    view.add(dims[i], strides[static_cast<size_t>(perm[i])]);
  }
  Tensor& out =
      ctx.output(0, in.dtype(), Shape(std::span<const int64_t>(dims.data(), perm.size())));
  copy_view(in, view, out, ctx.pool());
}

void concat(KernelContext& ctx) {
  const Tensor& first = ctx.input(0);
  const bool optional_axis = ctx.node().op->since_version < 4;
  const int axis = first.shape().axis(optional_axis ? ctx.node().get<int64_t>("axis", 1)
                                                    : ctx.node().at<int64_t>("axis"));
  // In ragged mode an operand that all texts share is there once.
  const bool ragged = ctx.planned_shape(0) != nullptr && axis > 0;
  int64_t batch = 0;
  for (int i = 0; ragged && i < ctx.num_inputs(); ++i) {
    if (ctx.input(i).rank() > 0) batch = std::max(batch, ctx.input(i).shape()[0]);
  }
  int64_t length = 0;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Tensor& in = ctx.input(i);
    const auto outline = [&](const Tensor& tensor) {
      const Shape shape = tensor.shape().with(axis, 0);
      return ragged && shape[0] == 1 ? shape.with(0, batch) : shape;
    };
    require(
        in.dtype() == first.dtype() && in.rank() == first.rank() && outline(in) == outline(first),
        ErrorCode::kInvalidArgument, "cannot join ", describe(in), " to ", describe(first),
        " along axis ", axis);
    length += in.shape()[axis];
  }
  Shape shape = first.shape().with(axis, length);
  if (ragged) shape = shape.with(0, batch);
  Tensor& out = ctx.output(0, first.dtype(), shape);
  const int64_t rows = shape.product(0, axis);
  const int64_t inner = shape.product(axis + 1, shape.rank());
  int64_t offset = 0;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Tensor& in = ctx.input(i);
    const int64_t count = in.shape()[axis] * inner;
    const int64_t times = ragged && in.shape()[0] == 1 ? batch : 1;
    for (int64_t k = 0; k < times; ++k) {
      const int64_t first_row = k * (rows / times);
      copy_rows(in.dtype(), in.raw(), 0, count, out.raw(), offset + first_row * length * inner,
                length * inner, rows / times, count, ctx.pool());
    }
    offset += count;
  }
}

Int64List split_sizes(const Node& node, std::optional<std::span<const int64_t>> sizes,
                      int64_t dim) {
  const auto parts = static_cast<int64_t>(node.outputs.size());
  if (sizes) {
    int64_t sum = 0;
    for (const int64_t size : *sizes) {
      require(size >= 0 && size <= dim - sum, ErrorCode::kInvalidArgument,
              "the sizes of the parts do not sum up to ", dim);
      sum += size;
    }
    require(sum == dim && static_cast<int64_t>(sizes->size()) == parts, ErrorCode::kInvalidArgument,
            sizes->size(), " parts of together ", sum, " do not fit an axis of length ", dim,
            " and ", parts, " outputs");
    return Int64List(*sizes);
  }
  const int64_t count = node.get<int64_t>("num_outputs", parts);
  require(count == parts && parts > 0, ErrorCode::kInvalidArgument, "num_outputs is ", count,
          ", but there are ", parts, " outputs");
  const int64_t chunk = (dim + parts - 1) / parts;
  require(node.op->since_version >= 18 || dim % parts == 0, ErrorCode::kInvalidArgument,
          "an axis of length ", dim, " cannot be split into ", parts, " equal parts");
  Int64List result;
  for (int64_t left = dim, i = 0; i < parts; ++i) {
    result.push_back(std::min(chunk, left));
    left -= std::min(chunk, left);
  }
  return result;
}

void split(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Shape& shape = in.shape();
  const int axis = shape.axis(ctx.node().get<int64_t>("axis", 0));
  const std::optional<Int64List> given = list_of(ctx, "split", 1);
  const Int64List sizes = split_sizes(
      ctx.node(), given ? std::optional<std::span<const int64_t>>(*given) : std::nullopt,
      shape[axis]);
  const int64_t rows = shape.product(0, axis);
  const int64_t inner = shape.product(axis + 1, shape.rank());
  int64_t offset = 0;
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const int64_t count = sizes[static_cast<size_t>(i)] * inner;
    if (ctx.wants_output(i)) {
      Tensor& out = ctx.output(i, in.dtype(), shape.with(axis, sizes[static_cast<size_t>(i)]));
      copy_rows(in.dtype(), in.raw(), offset, shape[axis] * inner, out.raw(), 0, count, rows, count,
                ctx.pool());
    }
    offset += count;
  }
}

SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t dim) {
  require(step != 0, ErrorCode::kInvalidArgument, "a step of a slice is 0");
  step = std::max(step, -std::numeric_limits<int64_t>::max());
  if (start < 0) start += dim;
  if (end < 0) end += dim;
  SliceRange range{.start = 0, .step = step, .count = 0};
  if (step > 0) {
    range.start = std::clamp<int64_t>(start, 0, dim);
    end = std::clamp<int64_t>(end, 0, dim);
    if (end > range.start) range.count = (end - range.start - 1) / step + 1;
  } else {
    range.start = std::clamp<int64_t>(start, -1, dim - 1);
    end = std::clamp<int64_t>(end, -1, dim - 1);
    if (range.start > end) range.count = (range.start - end - 1) / -step + 1;
  }
  return range;
}

void slice(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const auto starts = list_of(ctx, "starts", 1);
  const auto ends = list_of(ctx, "ends", 2);
  const auto axes = list_of(ctx, "axes", 3);
  const auto steps = list_of(ctx, "steps", 4);
  require(starts && ends && starts->size() == ends->size() &&
              (!axes || axes->size() == starts->size()) &&
              (!steps || steps->size() == starts->size()) &&
              starts->size() <= static_cast<size_t>(in.rank()),
          ErrorCode::kInvalidArgument, "starts, ends, axes and steps do not fit together");
  std::array<SliceRange, Shape::kMaxRank> ranges;
  for (int axis = 0; axis < in.rank(); ++axis) {
    ranges[static_cast<size_t>(axis)].count = in.shape()[axis];
  }
  for (size_t i = 0; i < starts->size(); ++i) {
    const int axis = in.shape().axis(axes ? (*axes)[i] : static_cast<int64_t>(i));
    ranges[static_cast<size_t>(axis)] =
        slice_range((*starts)[i], (*ends)[i], steps ? (*steps)[i] : 1, in.shape()[axis]);
  }
  const auto strides = row_major_strides(in.shape());
  std::array<int64_t, Shape::kMaxRank> dims{};
  int64_t offset = 0;
  for (size_t i = 0; i < static_cast<size_t>(in.rank()); ++i) {
    dims[i] = ranges[i].count;
    if (dims[i] > 0) offset += ranges[i].start * strides[i];
  }
  StridedView view(offset);
  for (size_t i = 0; i < static_cast<size_t>(in.rank()); ++i) {
    // A step matters only between two elements, where it is less than the axis is long.
    view.add(dims[i], dims[i] > 1 ? ranges[i].step * strides[i] : 0);
  }
  const Shape shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(in.rank())));
  copy_view(in, view, ctx.output(0, in.dtype(), shape), ctx.pool());
}

Int64List tile_repeats(const Node& node, const Tensor& repeats, const Tensor* axis, int rank) {
  Int64List list;
  if (node.op->since_version < 6) {
    require(axis != nullptr, ErrorCode::kInvalidData, "input 2, the axis, is missing");
    const int64_t repeated = normalize_axis(single_int64(*axis, "the axis"), rank);
    const int64_t count = single_int64(repeats, "the number of tiles");
    for (int64_t i = 0; i < rank; ++i) list.push_back(i == repeated ? count : 1);
  } else {
    list = Int64List(repeats);
    require(static_cast<int>(list.size()) == rank, ErrorCode::kInvalidArgument, list.size(),
            " repeats for a tensor of rank ", rank);
  }
  return list;
}

void tile(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const bool has_axis = ctx.num_inputs() > 2 && ctx.has_input(2);
  const Int64List repeats =
      tile_repeats(ctx.node(), ctx.input(1), has_axis ? &ctx.input(2) : nullptr, in.rank());
  const auto strides = row_major_strides(in.shape());
  std::array<int64_t, Shape::kMaxRank> dims{};
  StridedView view;
  for (size_t i = 0; i < repeats.size(); ++i) {
    const int64_t dim = in.shape()[static_cast<int>(i)];
    require(repeats[i] >= 0 && !__builtin_mul_overflow(dim, repeats[i], &dims[i]),
            ErrorCode::kInvalidArgument, "cannot repeat ", dim, " elements ", repeats[i], " times");
  }
  const Shape shape(std::span<const int64_t>(dims.data(), repeats.size()));
  for (size_t i = 0; i < repeats.size(); ++i) {
    view.add(repeats[i], 0);
    view.add(in.shape()[static_cast<int>(i)], strides[i]);
  }
  copy_view(in, view, ctx.output(0, in.dtype(), shape), ctx.pool());
}

void trilu(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require(in.rank() >= 2, ErrorCode::kInvalidArgument, "Trilu needs matrices, got ", describe(in));
  const int64_t rows = in.shape()[in.rank() - 2], cols = in.shape().back();
  int64_t k = 0;
  if (ctx.num_inputs() > 1 && ctx.has_input(1)) {
    require(ctx.input(1).size() == 1, ErrorCode::kInvalidArgument, "k has to be a scalar");
    k = to_int64s(ctx.input(1)).front();
  }
  k = std::clamp(k, -rows, cols);
  const bool upper = ctx.node().get<int64_t>("upper", 1) != 0;
  Tensor& out = ctx.output(0, in.dtype(), in.shape());
  if (in.size() == 0) return;
  with_element(in.dtype(), [&]<class T>() {
    const T* source = elements<T>(in);
    T* target = elements<T>(out);
    for (int64_t row = 0; row < in.size() / cols; ++row, source += cols, target += cols) {
      // The upper part begins on the diagonal, the lower one ends behind it.
      const int64_t cut = std::clamp<int64_t>(row % rows + k + (upper ? 0 : 1), 0, cols);
      const int64_t begin = upper ? cut : 0, end = upper ? cols : cut;
      std::fill(target, target + begin, T{});
      std::copy(source + begin, source + end, target + begin);
      std::fill(target + end, target + cols, T{});
    }
  });
}

}  // namespace hugot::movement
