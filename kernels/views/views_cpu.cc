// Kernels of the views room.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/strided.h"
#include "kernels/views/views.h"

namespace hugot::views {
namespace {

// The dimensions of a shape input.
Int64List shape_input(const Tensor& tensor) {
  require(tensor.rank() == 1 && tensor.dtype() == DType::kInt64, ErrorCode::kInvalidArgument,
          "a shape input has to be int64[rank], but is ", describe(tensor));
  return Int64List(tensor);
}

// Axes from the attribute, or from input 1; empty when there are none.
std::optional<Int64List> axes_of(const KernelContext& ctx) {
  if (ctx.node().has("axes")) return Int64List(ctx.node().at<std::vector<int64_t>>("axes"));
  if (ctx.num_inputs() > 1 && ctx.has_input(1)) return Int64List(ctx.input(1));
  return std::nullopt;
}

// Output 0 is input 0 under the planned shape, or under that of `shape()` in exact mode.
template <class Function>
void alias_as(KernelContext& ctx, Function&& shape) {
  const Shape* planned = ctx.planned_shape(0);
  ctx.alias(0, 0, planned != nullptr ? *planned : shape());
}

void copy_all(const Tensor& in, Tensor& out) {
  if (in.dtype() == DType::kString) {
    std::copy_n(in.data<std::string>(), in.size(), out.data<std::string>());
  } else if (in.bytes() > 0) {
    std::memcpy(out.raw(), in.raw(), in.bytes());
  }
}

void write_ones(Tensor& out) {
  dispatch(NumberAndBoolTypes{}, out.dtype(), [&]<class T>() {
    std::fill_n(out.data<T>(), out.size(), static_cast<T>(Compute<T>{1}));
  });
}

template <class T>
int64_t range_length_of(T start, T limit, T delta) {
  if constexpr (std::is_integral_v<T>) {
    return range_length(start, limit, delta);
  } else {
    const double count = std::ceil((static_cast<double>(limit) - static_cast<double>(start)) /
                                   static_cast<double>(delta));
    if (!(count > 0)) return 0;
    require(count < 9e15, ErrorCode::kInvalidArgument, "a range of ", count,
            " elements is too long");
    return static_cast<int64_t>(count);
  }
}

}  // namespace

Shape reshape_target(const Shape& in, std::span<const int64_t> target, bool allow_zero) {
  require(target.size() <= Shape::kMaxRank, ErrorCode::kUnsupported, "a tensor of rank ",
          target.size(), " is beyond the limit of ", Shape::kMaxRank);
  std::array<int64_t, Shape::kMaxRank> dims{};
  std::copy(target.begin(), target.end(), dims.begin());
  const std::span<int64_t> out(dims.data(), target.size());
  int64_t* inferred = nullptr;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == -1) {
      require(inferred == nullptr, ErrorCode::kInvalidArgument,
              "the target shape has two dimensions -1");
      inferred = &out[i];
    } else if (out[i] == 0 && !allow_zero) {
      require(static_cast<int>(i) < in.rank(), ErrorCode::kInvalidArgument, "dimension ", i,
              " of the target shape is 0, but the input is ", in.to_string());
      out[i] = in[static_cast<int>(i)];
    }
  }
  if (inferred != nullptr) {
    *inferred = 1;
    const int64_t others = Shape(out).size();
    require(others > 0 && in.size() % others == 0, ErrorCode::kInvalidArgument,
            "no dimension in place of -1 makes ", in.size(), " elements of ", in.to_string(),
            " fit");
    *inferred = in.size() / others;
  }
  const Shape shape{std::span<const int64_t>(out)};
  require(shape.size() == in.size(), ErrorCode::kInvalidArgument, "cannot reshape ", in.to_string(),
          " to ", shape.to_string());
  return shape;
}

void reshape(KernelContext& ctx) {
  alias_as(ctx, [&] {
    return reshape_target(ctx.input(0).shape(), shape_input(ctx.input(1)),
                          ctx.node().get<int64_t>("allowzero", 0) != 0);
  });
}

void view(KernelContext& ctx) {
  alias_as(ctx, [&] {
    return reshape_target(ctx.input(0).shape(), ctx.node().at<std::vector<int64_t>>("shape"),
                          false);
  });
}

void flatten(KernelContext& ctx) {
  alias_as(ctx, [&] {
    const Shape& in = ctx.input(0).shape();
    const auto axis = ctx.node().get<int64_t>("axis", 1);
    const int cut = axis == in.rank() ? in.rank() : in.axis(axis);
    return Shape{in.product(0, cut), in.product(cut, in.rank())};
  });
}

void squeeze(KernelContext& ctx) {
  alias_as(ctx, [&] {
    const Shape& in = ctx.input(0).shape();
    std::array<bool, Shape::kMaxRank> drop{};
    if (const auto axes = axes_of(ctx)) {
      for (const int64_t axis : *axes) {
        const int at = in.axis(axis);
        require(in[at] == 1, ErrorCode::kInvalidArgument, "cannot remove axis ", axis, " of ",
                in.to_string());
        drop[static_cast<size_t>(at)] = true;
      }
    } else {
      for (int i = 0; i < in.rank(); ++i) drop[static_cast<size_t>(i)] = in[i] == 1;
    }
    std::array<int64_t, Shape::kMaxRank> dims{};
    size_t rank = 0;
    for (int i = 0; i < in.rank(); ++i) {
      if (!drop[static_cast<size_t>(i)]) dims[rank++] = in[i];
    }
    return Shape(std::span<const int64_t>(dims).first(rank));
  });
}

void unsqueeze(KernelContext& ctx) {
  alias_as(ctx, [&] {
    const Shape& in = ctx.input(0).shape();
    const auto axes = axes_of(ctx);
    require(axes.has_value(), ErrorCode::kInvalidData, "axes are missing");
    require(axes->size() <= Shape::kMaxRank, ErrorCode::kUnsupported, "too many axes");
    const int rank = in.rank() + static_cast<int>(axes->size());
    std::array<int64_t, 2 * Shape::kMaxRank> storage{};
    const std::span<int64_t> dims = std::span(storage).first(static_cast<size_t>(rank));
    std::fill(dims.begin(), dims.end(), -1);
    for (const int64_t axis : *axes) {
      int64_t& dim = dims[static_cast<size_t>(normalize_axis(axis, rank))];
      require(dim < 0, ErrorCode::kInvalidArgument, "axis ", axis, " is given twice");
      dim = 1;
    }
    int next = 0;
    for (int64_t& dim : dims) {
      if (dim < 0) dim = in[next++];
    }
    return Shape(std::span<const int64_t>(dims));
  });
}

void identity(KernelContext& ctx) {
  if (const Datum value = ctx.datum(0); !value.is_tensor()) {
    ctx.set_output(0, value);
  } else {
    ctx.alias(0, 0, value.tensor().shape());
  }
}

bool dropout_trains_by_attribute(const Node& node) {
  return node.op->since_version < 7 && node.get<int64_t>("is_test", 0) == 0;
}

// What is multiplied by 1 / (1 - ratio), and what becomes 0. Numbers are drawn as the reference
// implementation of ONNX draws them, by numpy.random.RandomState: doubles of 53 bits from two
// outputs of MT19937 (Matsumoto and Nishimura, 1998), in order.
template <class T>
void drop(KernelContext& ctx, float ratio) {
  require(ratio >= 0 && ratio < 1, ErrorCode::kInvalidArgument, "the ratio is ", ratio);
  const Tensor& in = ctx.input(0);
  const bool with_mask = ctx.num_outputs() > 1 && ctx.wants_output(1);
  const bool old = ctx.node().op->since_version < 10;
  Tensor* const mask =
      with_mask ? &ctx.output(1, old ? in.dtype() : DType::kBool, in.shape()) : nullptr;
  Tensor& out = ctx.output(0, in.dtype(), in.shape());
  const auto seed = ctx.node().has("seed")
                        ? static_cast<uint32_t>(ctx.node().get<int64_t>("seed", 0))
                        : std::random_device()();
  std::mt19937 numbers(seed);
  const double scale = 1 / (1 - static_cast<double>(ratio));
  for (int64_t i = 0; i < in.size(); ++i) {
    const auto high = static_cast<double>(numbers() >> 5);
    const auto low = static_cast<double>(numbers() >> 6);
    const bool kept = (high * 0x1p26 + low) * 0x1p-53 >= static_cast<double>(ratio);
    if constexpr (std::is_same_v<T, double>) {
      const double x = in.data<T>()[i];
      out.data<T>()[i] = kept ? x * scale : 0 * x;
    } else {
      const auto x = static_cast<double>(static_cast<float>(in.data<T>()[i]));
      out.data<T>()[i] = static_cast<T>(static_cast<float>(kept ? x * scale : 0 * x));
    }
    if (mask == nullptr) continue;
    if (old) {
      mask->data<T>()[i] = static_cast<T>(kept ? 1.0f : 0.0f);
    } else {
      mask->data<bool>()[i] = kept;
    }
  }
}

void dropout(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const bool training = dropout_trains_by_attribute(ctx.node()) ||
                        (ctx.num_inputs() > 2 && ctx.has_input(2) && ctx.input(2).size() == 1 &&
                         to_int64s(ctx.input(2)).front() != 0);
  if (training) {
    float ratio = ctx.node().get("ratio", 0.5f);
    if (ctx.num_inputs() > 1 && ctx.has_input(1)) {
      require(ctx.input(1).size() == 1, ErrorCode::kInvalidArgument,
              "the ratio has to be a scalar");
      dispatch(FloatTypes{}, ctx.input(1).dtype(),
               [&]<class T>() { ratio = static_cast<float>(*ctx.input(1).data<T>()); });
    }
    if (ratio != 0) {
      return dispatch(FloatTypes{}, in.dtype(), [&]<class T>() { drop<T>(ctx, ratio); });
    }
  }
  ctx.alias(0, 0, in.shape());
  if (ctx.num_outputs() > 1 && ctx.wants_output(1)) {
    const bool old = ctx.node().op->since_version < 10;
    write_ones(ctx.output(1, old ? in.dtype() : DType::kBool, in.shape()));
  }
}

std::pair<int, int> shape_range(const Node& node, int rank) {
  const auto bound = [&](int64_t axis) {
    return static_cast<int>(std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank));
  };
  const int begin = bound(node.get<int64_t>("start", 0));
  const int end = bound(node.get<int64_t>("end", rank));
  return {begin, std::max(begin, end)};
}

void shape(KernelContext& ctx) {
  const Shape& in = ctx.input(0).shape();
  const auto [begin, end] = shape_range(ctx.node(), in.rank());
  Tensor& out = ctx.output(0, DType::kInt64, {end - begin});
  std::copy(in.begin() + begin, in.begin() + end, out.data<int64_t>());
}

void size(KernelContext& ctx) {
  *ctx.output(0, DType::kInt64, {}).data<int64_t>() = ctx.input(0).size();
}

Tensor constant_value(const Node& node) {
  for (const char* name : {"value", "sparse_value"}) {  // sparse tensors are made dense on import
    if (node.has(name)) return node.at<Tensor>(name);
  }
  if (node.has("value_float")) return Tensor::scalar(node.at<float>("value_float"));
  if (node.has("value_int")) return Tensor::scalar(node.at<int64_t>("value_int"));
  if (node.has("value_string")) return Tensor::scalar(node.at<std::string>("value_string"));
  const auto list = [&]<class T>(const std::vector<T>& values) {
    return Tensor::from<T>({static_cast<int64_t>(values.size())}, std::span<const T>(values));
  };
  if (node.has("value_floats")) return list(node.at<std::vector<float>>("value_floats"));
  if (node.has("value_ints")) return list(node.at<std::vector<int64_t>>("value_ints"));
  if (node.has("value_strings")) return list(node.at<std::vector<std::string>>("value_strings"));
  fail(ErrorCode::kInvalidData, "a Constant needs one of the value attributes");
}

void constant(KernelContext& ctx) {
  const Tensor value = constant_value(ctx.node());
  copy_all(value, ctx.output(0, value.dtype(), value.shape()));
}

Tensor fill_value(const Node& node) {
  if (!node.has("value")) return Tensor::scalar(0.0f);
  const auto& value = node.at<Tensor>("value");
  require(value.size() == 1, ErrorCode::kInvalidData, "the value has to be one element, but is ",
          describe(value));
  return value.reshaped({});
}

void constant_of_shape(KernelContext& ctx) {
  const Tensor value = fill_value(ctx.node());
  const Int64List dims = shape_input(ctx.input(0));
  Tensor& out = ctx.output(0, value.dtype(), Shape(std::span<const int64_t>(dims)));
  with_element(value.dtype(),
               [&]<class T>() { std::fill_n(elements<T>(out), out.size(), *elements<T>(value)); });
}

int64_t range_length(int64_t start, int64_t limit, int64_t delta) {
  if (delta > 0 ? start >= limit : start <= limit) return 0;
  const auto from = static_cast<uint64_t>(start), to = static_cast<uint64_t>(limit);
  const auto step = static_cast<uint64_t>(delta);
  const uint64_t count = delta > 0 ? (to - from - 1) / step + 1 : (from - to - 1) / -step + 1;
  require(count <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
          ErrorCode::kInvalidArgument, "a range of ", count, " elements is too long");
  return static_cast<int64_t>(count);
}

void range(KernelContext& ctx) {
  for (int i = 0; i < 3; ++i) {
    require(ctx.input(i).size() == 1 && ctx.input(i).dtype() == ctx.input(0).dtype(),
            ErrorCode::kInvalidArgument, "start, limit and delta have to be scalars of one type");
  }
  using RangeTypes = JoinTypes<FloatTypes, Types<int16_t, int32_t, int64_t>>;
  dispatch(RangeTypes{}, ctx.input(0).dtype(), [&]<class T>() {
    using C = Compute<T>;
    const auto start = static_cast<C>(*ctx.input(0).data<T>());
    const auto limit = static_cast<C>(*ctx.input(1).data<T>());
    const auto delta = static_cast<C>(*ctx.input(2).data<T>());
    require(delta != 0, ErrorCode::kInvalidArgument, "delta must not be 0");
    const int64_t count = range_length_of<C>(start, limit, delta);
    T* out = ctx.output(0, ctx.input(0).dtype(), {count}).template data<T>();
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (std::is_integral_v<T>) {  // every element lies between start and limit
        out[i] = static_cast<T>(static_cast<uint64_t>(start) +
                                static_cast<uint64_t>(i) * static_cast<uint64_t>(delta));
      } else {
        out[i] = static_cast<T>(start + static_cast<C>(i) * delta);
      }
    }
  });
}

void expand(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Shape* planned = ctx.planned_shape(0);
  Shape target;
  if (planned != nullptr) {
    target = *planned;
  } else {
    const Int64List dims = shape_input(ctx.input(1));
    target = Shape(std::span<const int64_t>(dims));
  }
  target = broadcast(in.shape(), target);
  const auto strides = row_major_strides(in.shape());
  const int shift = target.rank() - in.rank();
  StridedView view;
  for (int axis = 0; axis < target.rank(); ++axis) {
    const bool repeats = axis < shift || in.shape()[axis - shift] == 1;
    view.add(target[axis], repeats ? 0 : strides[static_cast<size_t>(axis - shift)]);
  }
  copy_view(in, view, ctx.output(0, in.dtype(), target), ctx.pool());
}

void eye_like(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require(in.rank() == 2, ErrorCode::kInvalidArgument, "EyeLike needs a matrix, got ",
          describe(in));
  const auto type = ctx.node().get<int64_t>("dtype", static_cast<int64_t>(in.dtype()));
  const auto k = ctx.node().get<int64_t>("k", 0);
  const int64_t rows = in.shape()[0], cols = in.shape()[1];
  Tensor& out = ctx.output(0, static_cast<DType>(type), in.shape());
  dispatch(NumberAndBoolTypes{}, out.dtype(), [&]<class T>() {
    T* data = out.data<T>();
    std::fill_n(data, out.size(), static_cast<T>(Compute<T>{0}));
    const int64_t first = std::max<int64_t>(0, k < -rows ? rows : -k);
    for (int64_t i = first; i < rows && i < cols - k; ++i) {
      data[i * cols + i + k] = static_cast<T>(Compute<T>{1});
    }
  });
}

}  // namespace hugot::views
