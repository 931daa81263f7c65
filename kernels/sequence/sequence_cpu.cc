#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/sequence/sequence.h"
#include "kernels/strided.h"

namespace hugot::sequence {
namespace {

Datum sequence_input(const KernelContext& ctx, int i) {
  Datum datum = ctx.datum(i);
  require(datum.kind() == Kind::kSequence, ErrorCode::kInvalidArgument, "input ", i,
          " has to be a sequence, got ", describe(datum));
  return datum;
}

std::vector<Datum> items_of(const Datum& sequence) {
  return {sequence.items().begin(), sequence.items().end()};
}

// The position in input `i`, in [0, limit); `fallback` when it is absent.
size_t position(const KernelContext& ctx, int i, size_t limit, size_t fallback, size_t count) {
  if (i >= ctx.num_inputs() || !ctx.has_input(i)) {
    require(fallback < limit, ErrorCode::kInvalidArgument, "the sequence is empty");
    return fallback;
  }
  const std::vector<int64_t> given = to_int64s(ctx.input(i));
  require(given.size() == 1, ErrorCode::kInvalidArgument, "a position has to be one number");
  const auto n = static_cast<int64_t>(count);
  const int64_t index = given[0] < 0 ? given[0] + n : given[0];
  require(index >= 0 && index < static_cast<int64_t>(limit), ErrorCode::kInvalidArgument,
          "position ", given[0], " is outside of a sequence of ", count);
  return static_cast<size_t>(index);
}

void require_same_type(const Datum& item, const Datum& other) {
  require(item.kind() == other.kind() &&
              (!item.is_tensor() || item.tensor().dtype() == other.tensor().dtype()),
          ErrorCode::kInvalidArgument, "a sequence cannot hold ", describe(item), " and ",
          describe(other));
}

}  // namespace

void empty(KernelContext& ctx) { ctx.set_output(0, Datum::sequence({})); }

void construct(KernelContext& ctx) {
  std::vector<Datum> items;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    items.push_back(ctx.datum(i).owned());
    require_same_type(items.back(), items.front());
  }
  ctx.set_output(0, Datum::sequence(std::move(items)));
}

void insert(KernelContext& ctx) {
  std::vector<Datum> items = items_of(sequence_input(ctx, 0));
  const size_t index = position(ctx, 2, items.size() + 1, items.size(), items.size());
  Datum item = ctx.datum(1).owned();
  if (!items.empty()) require_same_type(item, items.front());
  items.insert(items.begin() + static_cast<std::ptrdiff_t>(index), std::move(item));
  ctx.set_output(0, Datum::sequence(std::move(items)));
}

void erase(KernelContext& ctx) {
  std::vector<Datum> items = items_of(sequence_input(ctx, 0));
  const size_t last = items.empty() ? 0 : items.size() - 1;
  const size_t index = position(ctx, 1, items.size(), last, items.size());
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(index));
  ctx.set_output(0, Datum::sequence(std::move(items)));
}

void at(KernelContext& ctx) {
  const Datum sequence = sequence_input(ctx, 0);
  const size_t count = sequence.items().size();
  ctx.set_output(0, sequence.items()[position(ctx, 1, count, 0, count)]);
}

void length(KernelContext& ctx) {
  const auto count = static_cast<int64_t>(sequence_input(ctx, 0).items().size());
  *ctx.output(0, DType::kInt64, {}).data<int64_t>() = count;
}

void concat(KernelContext& ctx) {
  const Datum sequence = sequence_input(ctx, 0);
  const auto items = sequence.items();
  require(!items.empty(), ErrorCode::kInvalidArgument, "an empty sequence cannot be joined");
  const bool stack = ctx.node().get<int64_t>("new_axis", 0) != 0;
  const Tensor& first = items[0].tensor();
  // With a new axis every tensor has length 1 on it.
  const auto shape_of = [&](const Tensor& tensor) {
    std::vector<int64_t> dims(tensor.shape().begin(), tensor.shape().end());
    if (stack) {
      const int64_t rank = tensor.rank() + 1;
      int64_t place = ctx.node().at<int64_t>("axis");
      if (place < 0) place += rank;
      require(place >= 0 && place < rank, ErrorCode::kInvalidArgument, "axis ", place,
              " is outside of rank ", rank);
      dims.insert(dims.begin() + place, 1);
    }
    return Shape(dims);
  };
  const Shape base = shape_of(first);
  const int axis = base.axis(ctx.node().at<int64_t>("axis"));
  int64_t length = 0;
  for (const Datum& item : items) {
    const Tensor& tensor = item.tensor();
    const Shape shape = tensor.rank() == first.rank() ? shape_of(tensor) : Shape();
    require(tensor.dtype() == first.dtype() && shape.rank() == base.rank() &&
                shape.with(axis, base[axis]) == base,
            ErrorCode::kInvalidArgument, "cannot join ", describe(tensor), " to ", describe(first),
            " along axis ", axis);
    length += shape[axis];
  }
  const Shape shape = base.with(axis, length);
  Tensor& out = ctx.output(0, first.dtype(), shape);
  const int64_t rows = shape.product(0, axis);
  const int64_t inner = shape.product(axis + 1, shape.rank());
  int64_t offset = 0;
  for (const Datum& item : items) {
    const int64_t count = shape_of(item.tensor())[axis] * inner;
    copy_rows(first.dtype(), item.tensor().raw(), 0, count, out.raw(), offset, length * inner, rows,
              count, ctx.pool());
    offset += count;
  }
}

void split(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const int axis = in.shape().axis(ctx.node().get<int64_t>("axis", 0));
  const int64_t dim = in.shape()[axis];
  const bool given = ctx.num_inputs() > 1 && ctx.has_input(1);
  const bool keep_axis = given || ctx.node().get<int64_t>("keepdims", 1) != 0;
  std::vector<int64_t> sizes = given ? to_int64s(ctx.input(1)) : std::vector<int64_t>{1};
  if (!given || ctx.input(1).rank() == 0) {
    require(sizes.size() == 1 && sizes[0] > 0, ErrorCode::kInvalidArgument,
            "the length of parts has to be positive");
    const int64_t part = sizes[0];
    sizes.clear();
    for (int64_t left = dim; left > 0; left -= sizes.back()) sizes.push_back(std::min(part, left));
  }
  int64_t sum = 0;
  for (const int64_t size : sizes) {
    require(size >= 0 && size <= dim - sum, ErrorCode::kInvalidArgument,
            "the lengths of the parts do not sum up to ", dim);
    sum += size;
  }
  require(sum == dim, ErrorCode::kInvalidArgument, "the lengths of the parts sum up to ", sum,
          ", not ", dim);
  const int64_t rows = in.shape().product(0, axis);
  const int64_t inner = in.shape().product(axis + 1, in.rank());
  std::vector<Datum> items;
  int64_t offset = 0;
  for (const int64_t size : sizes) {
    Tensor part(in.dtype(), in.shape().with(axis, size));
    copy_rows(in.dtype(), in.raw(), offset, dim * inner, part.raw(), 0, size * inner, rows,
              size * inner, ctx.pool());
    offset += size * inner;
    if (!keep_axis) {
      std::vector<int64_t> dims(part.shape().begin(), part.shape().end());
      dims.erase(dims.begin() + axis);
      part = part.reshaped(Shape(dims));
    }
    items.emplace_back(std::move(part));
  }
  ctx.set_output(0, Datum::sequence(std::move(items)));
}

void make_optional(KernelContext& ctx) {
  const bool given = ctx.num_inputs() > 0 && ctx.has_input(0);
  ctx.set_output(0, given ? Datum::optional(ctx.datum(0).owned()) : Datum::empty_optional());
}

void get_element(KernelContext& ctx) {
  const Datum value = ctx.datum(0);
  if (value.kind() != Kind::kOptional) {
    ctx.set_output(0, value.owned());
    return;
  }
  require(!value.items().empty(), ErrorCode::kInvalidArgument, "the optional has no value");
  ctx.set_output(0, value.items()[0]);
}

void has_element(KernelContext& ctx) {
  bool has = ctx.num_inputs() > 0 && ctx.has_input(0);
  if (has) {
    const Datum value = ctx.datum(0);
    has = value.kind() != Kind::kOptional || !value.items().empty();
  }
  *ctx.output(0, DType::kBool, {}).data<bool>() = has;
}

}  // namespace hugot::sequence
