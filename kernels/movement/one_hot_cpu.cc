// Kernels of OneHot and NonZero.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/movement/movement.h"

namespace hugot::movement {
namespace {

// As the specification has it: numbers of other types are converted to int64 first. What is too
// large for that stays too large.
template <class T>
int64_t to_int64(T value) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if constexpr (std::is_same_v<T, uint64_t>) {
    return value > static_cast<uint64_t>(kMax) ? kMax : static_cast<int64_t>(value);
  } else {
    return convert<int64_t>(value);
  }
}

template <class T>
bool is_true(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return !value.empty();
  } else if constexpr (is_half<T>) {
    return (value.bits & 0x7fffu) != 0;  // without the sign
  } else {
    return value != T{};
  }
}

// Writes the index of element number `i` along each axis, `pitch` apart.
void write_index(int64_t i, const Shape& shape, int64_t* out, int64_t pitch) {
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    out[axis * pitch] = i % shape[axis];
    i /= shape[axis];
  }
}

}  // namespace

int64_t single_int64(const Tensor& tensor, std::string_view what) {
  require(tensor.size() == 1, ErrorCode::kInvalidArgument, what, " has to be one number, not ",
          describe(tensor));
  int64_t number = 0;
  dispatch(NumberTypes{}, tensor.dtype(), [&]<class T>() { number = to_int64(*tensor.data<T>()); });
  return number;
}

int64_t one_hot_depth(const Tensor& tensor) {
  const int64_t depth = single_int64(tensor, "the depth");
  require(depth >= 0, ErrorCode::kInvalidArgument, "the depth is ", depth);
  return depth;
}

void one_hot(KernelContext& ctx) {
  const Tensor& indices = ctx.input(0);
  const Tensor& values = ctx.input(2);
  require(values.size() == 2, ErrorCode::kInvalidArgument,
          "the values have to be that for off and that for on, not ", describe(values));
  const int64_t depth = one_hot_depth(ctx.input(1));
  const int rank = indices.rank() + 1;
  require(rank <= Shape::kMaxRank, ErrorCode::kUnsupported, "indices of rank ", indices.rank(),
          " leave no room for one more axis");
  const int axis = normalize_axis(ctx.node().get<int64_t>("axis", -1), rank);
  std::array<int64_t, Shape::kMaxRank> dims{};
  const auto end = std::copy(indices.shape().begin(), indices.shape().begin() + axis, dims.begin());
  *end = depth;
  std::copy(indices.shape().begin() + axis, indices.shape().end(), end + 1);
  const Shape shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank)));
  Tensor& out = ctx.output(0, values.dtype(), shape);

  const bool wraps = ctx.node().op->since_version >= 11;
  const int64_t inner = shape.product(axis + 1, rank);
  with_element(values.dtype(), [&]<class T>() {
    const T* value = elements<T>(values);
    T* y = elements<T>(out);
    parallel_for(ctx.pool(), out.size(), 1 << 16,
                 [&](int64_t begin, int64_t last) { std::fill(y + begin, y + last, value[0]); });
    dispatch(NumberTypes{}, indices.dtype(), [&]<class I>() {
      const I* x = indices.data<I>();
      for (int64_t i = 0; i < indices.size(); ++i) {
        int64_t index = to_int64(x[i]);
        if (wraps && index < 0) index += depth;
        if (index >= 0 && index < depth) {
          y[(i / inner * depth + index) * inner + i % inner] = value[1];
        }
      }
    });
  });
}

void non_zero(KernelContext& ctx) {
  using AllTypes =
      JoinTypes<NumberAndBoolTypes, Types<std::string, std::complex<float>, std::complex<double>>>;
  const Tensor& in = ctx.input(0);
  dispatch(AllTypes{}, in.dtype(), [&]<class T>() {
    const T* x = in.data<T>();
    const int64_t count = std::count_if(x, x + in.size(), is_true<T>);
    // A scalar has no axes, and so its index has no numbers.
    int64_t* y = ctx.output(0, DType::kInt64, {in.rank(), count}).data<int64_t>();
    for (int64_t i = 0; i < in.size(); ++i) {
      if (is_true(x[i])) write_index(i, in.shape(), y++, count);
    }
  });
}

}  // namespace hugot::movement
