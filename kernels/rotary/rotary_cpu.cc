// Kernel of hugot.Rotary.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/rotary/rotary.h"
#include "kernels/rotate.h"
#include "kernels/strided.h"

namespace hugot::rotary {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements that make a task for another thread

// Turns one row of features. `step` is the number of table entries per pair.
template <class T>
void turn_halves(const T* x, const T* cos, const T* sin, int64_t half, int64_t step, T* y) {
  const T *cos2 = cos + (step - 1) * half, *sin2 = sin + (step - 1) * half;
  const auto turn = [&](int64_t i) {
    const T a = x[i], b = x[half + i];
    y[i] = a * cos[i] - b * sin[i];
    y[half + i] = b * cos2[i] + a * sin2[i];
  };
  for (int64_t i = 0; i < half; ++i) turn(i);
}

template <class T>
void turn_neighbours(const T* x, const T* cos, const T* sin, int64_t half, int64_t step, T* y) {
  for (int64_t i = 0; i < half; ++i) {
    const int64_t first = step * i, second = step * i + step - 1;
    const T a = x[2 * i], b = x[2 * i + 1];
    y[2 * i] = a * cos[first] - b * sin[first];
    y[2 * i + 1] = b * cos[second] + a * sin[second];
  }
}

// Where the table row of each row of x lies: a mixed-radix counter over the leading axes.
class TableRows {
 public:
  TableRows(const Shape& x, const Shape& table, int64_t width) : lead_(x.rank() - 1) {
    int64_t stride = width;
    const int missing = x.rank() - table.rank();
    for (int axis = lead_ - 1; axis >= 0; --axis) {
      const auto k = static_cast<size_t>(axis);
      size_[k] = x[axis];
      const int64_t own = axis < missing ? 1 : table[axis - missing];
      stride_[k] = own == 1 ? 0 : stride;
      stride *= own;
    }
  }

  void seek(int64_t row) {
    offset_ = 0;
    for (int axis = lead_ - 1; axis >= 0; --axis) {
      const auto k = static_cast<size_t>(axis);
      index_[k] = row % size_[k];
      row /= size_[k];
      offset_ += index_[k] * stride_[k];
    }
  }
  void next() {
    for (int axis = lead_ - 1; axis >= 0; --axis) {
      const auto k = static_cast<size_t>(axis);
      offset_ += stride_[k];
      if (++index_[k] < size_[k]) return;
      offset_ -= index_[k] * stride_[k];
      index_[k] = 0;
    }
  }
  int64_t offset() const { return offset_; }

 private:
  int lead_;
  std::array<int64_t, Shape::kMaxRank> size_{}, stride_{}, index_{};
  int64_t offset_ = 0;
};

void check_table(const Tensor& table, const Tensor& x, int64_t dims) {
  const int64_t width = table.rank() > 0 ? table.shape().back() : 0;
  require(table.dtype() == x.dtype() && (width == dims || width * 2 == dims) &&
              table.rank() <= x.rank(),
          ErrorCode::kInvalidArgument, "a table ", describe(table), " does not fit ", describe(x));
  const Shape own = table.shape().with(table.rank() - 1, 1);
  const Shape wanted = x.shape().with(x.rank() - 1, 1);
  require(broadcast(own, wanted) == wanted, ErrorCode::kInvalidArgument, "a table ",
          describe(table), " cannot be broadcast to ", describe(x));
}

template <class T>
void turn(const Tensor& x, const Tensor& cos, const Tensor& sin, const Rotation& rotation, T* out,
          ThreadPool* pool) {
  check_table(cos, x, rotation.dims);
  check_table(sin, x, rotation.dims);
  require(cos.shape() == sin.shape(), ErrorCode::kInvalidArgument, "cos ", describe(cos),
          " and sin ", describe(sin), " differ");
  const int64_t features = x.shape().back(), width = cos.shape().back();
  const int64_t half = rotation.dims / 2, step = width / half;
  const auto rows = [&](int64_t begin, int64_t end) {
    TableRows table(x.shape(), cos.shape(), width);
    table.seek(begin);
    for (int64_t row = begin; row < end; ++row, table.next()) {
      const T* from = x.data<T>() + row * features;
      const T *c = cos.data<T>() + table.offset(), *s = sin.data<T>() + table.offset();
      T* to = out + row * features;
      if (rotation.interleaved) {
        turn_neighbours(from, c, s, half, step, to);
      } else {
        turn_halves(from, c, s, half, step, to);
      }
      std::copy(from + rotation.dims, from + features, to + rotation.dims);
    }
  };
  if (x.size() == 0) return;
  parallel_for(pool, x.size() / features, std::max<int64_t>(kGrain / features, 1), rows);
}

template <class T>
void run(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Rotation rotation = rotation_of(ctx.node(), x.shape().back());
  const auto segments = ctx.segments();
  if (segments.empty()) {
    T* out = ctx.output(0, x.dtype(), x.shape()).data<T>();
    return turn<T>(x, ctx.input(1), ctx.input(2), rotation, out, ctx.pool());
  }
  const Shape* joined = ctx.planned_shape(0);
  require(joined != nullptr, ErrorCode::kInternal, "segments without a planned shape");
  T* out = ctx.output(0, x.dtype(), *joined).data<T>();
  for (size_t s = 0; s + 1 < segments.size(); ++s) {
    // Copies: the next call may reuse what the last one returned.
    const Tensor own = ctx.input_of_segment(0, s);
    const Tensor cos = ctx.input_of_segment(1, s), sin = ctx.input_of_segment(2, s);
    turn<T>(own, cos, sin, rotation, out, ctx.pool());
    out += own.size();
  }
}

// The rows of a table that the positions name, [batch, tokens, entries].
template <class T>
Tensor rows_at(const Tensor& table, const Tensor& positions) {
  require(table.rank() == 2 && positions.rank() == 2 && positions.dtype() == DType::kInt64,
          ErrorCode::kInvalidArgument, "positions ", describe(positions), " do not fit a table ",
          describe(table));
  const int64_t count = table.shape()[0], width = table.shape()[1];
  Tensor rows(table.dtype(), {positions.shape()[0], positions.shape()[1], width});
  T* to = rows.data<T>();
  for (const int64_t position : positions.values<int64_t>()) {
    require(position >= -count && position < count, ErrorCode::kInvalidArgument, "position ",
            position, " is outside of a table of ", count);
    const T* from = table.data<T>() + (position < 0 ? position + count : position) * width;
    to = std::copy(from, from + width, to);
  }
  return rows;
}

template <class T>
void run_embedding(KernelContext& ctx) {
  const Node& node = ctx.node();
  const Tensor& x = ctx.input(0);
  const bool packed = x.rank() == 3;
  require(packed || x.rank() == 4, ErrorCode::kInvalidArgument, "X is ", describe(x));
  Shape shape = x.shape();
  if (packed) {
    const auto heads = node.get<int64_t>("num_heads", 0);
    require(heads > 0 && shape[2] % heads == 0, ErrorCode::kInvalidArgument, heads,
            " heads do not fit X ", describe(x));
    shape = {shape[0], shape[1], heads, shape[2] / heads};
  }
  const auto table = [&](int i) {
    const Tensor& given = ctx.input(i);
    require(given.dtype() == x.dtype(), ErrorCode::kInvalidArgument, "a table ", describe(given),
            " does not fit ", describe(x));
    const bool chosen = ctx.num_inputs() > 3 && ctx.has_input(3);
    const Tensor rows = chosen ? rows_at<T>(given, ctx.input(3)) : given;
    require(rows.rank() == 3, ErrorCode::kInvalidArgument, "a table is ", describe(given));
    const Shape& own = rows.shape();
    return rows.reshaped(packed ? Shape{own[0], own[1], 1, own[2]}
                                : Shape{own[0], 1, own[1], own[2]});
  };
  const Rotation rotation = rotation_of(node, shape.back(), "rotary_embedding_dim");
  const Tensor cos = table(1), sin = table(2);
  T* out = ctx.output(0, x.dtype(), x.shape()).data<T>();
  turn<T>(x.reshaped(shape), cos, sin, rotation, out, ctx.pool());
}

// Calls run<T> for the type of x.
template <class Run>
void dispatch_float(const Tensor& x, const Run& run) {
  if (x.dtype() == DType::kFloat32) return run(float{});
  if (x.dtype() == DType::kFloat64) return run(double{});
  fail(ErrorCode::kUnsupported, "rotary embeddings of ", describe(x));
}

}  // namespace

Tensor turned(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& positions,
              bool interleaved, ThreadPool* pool) {
  Tensor out(x.dtype(), x.shape());
  dispatch_float(x, [&]<class T>(T) {
    const auto rows = [&](const Tensor& table) {
      require(table.dtype() == x.dtype(), ErrorCode::kInvalidArgument, "a table ", describe(table),
              " does not fit ", describe(x));
      const Tensor picked = rows_at<T>(table, positions);
      const Shape& own = picked.shape();
      return picked.reshaped({own[0], own[1], 1, own[2]});
    };
    const Tensor c = rows(cos), s = rows(sin);
    const int64_t features = x.shape().back(), half = c.shape().back();
    require(half > 0 && half <= features / 2, ErrorCode::kInvalidArgument, "a table ",
            describe(cos), " does not fit heads of ", features, " features");
    turn<T>(x, c, s, {2 * half, interleaved}, out.data<T>(), pool);
  });
  return out;
}

void rotary(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  require(x.rank() > 0, ErrorCode::kInvalidArgument, "a scalar cannot be rotated");
  dispatch_float(x, [&]<class T>(T) { run<T>(ctx); });
}

void rotary_embedding(KernelContext& ctx) {
  dispatch_float(ctx.input(0), [&]<class T>(T) { run_embedding<T>(ctx); });
}

}  // namespace hugot::rotary
