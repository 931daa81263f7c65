// Kernel of Pad: every axis gets a table that says where each index of the result comes from.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/movement/movement.h"
#include "kernels/strided.h"

namespace hugot::movement {
namespace {

enum class Mode { kConstant, kReflect, kEdge, kWrap };

constexpr int64_t kOutside = -1;  // this index holds the constant

Mode mode_of(const Node& node) {
  const std::string mode = node.get<std::string>("mode", "constant");
  if (mode == "constant") return Mode::kConstant;
  if (mode == "reflect") return Mode::kReflect;
  if (mode == "edge") return Mode::kEdge;
  if (mode == "wrap") return Mode::kWrap;
  fail(ErrorCode::kUnsupported, "mode ", mode, " of Pad is not supported");
}

// The index of [0, dim) that index `i` of the unbounded padded axis repeats.
int64_t source_index(Mode mode, int64_t i, int64_t dim) {
  if (i >= 0 && i < dim) return i;
  switch (mode) {
    case Mode::kConstant:
      return kOutside;
    case Mode::kEdge:
      return std::clamp<int64_t>(i, 0, dim - 1);
    case Mode::kWrap:
      return (i % dim + dim) % dim;
    case Mode::kReflect:
      break;
  }
  const int64_t period = std::max<int64_t>(2 * (dim - 1), 1);
  const int64_t at = (i % period + period) % period;
  return std::min(at, period - at);
}

// The element that fills; zero or the empty string by default.
template <class T>
T fill_element(const KernelContext& ctx) {
  const DType dtype = ctx.input(0).dtype();
  if (ctx.num_inputs() > 2 && ctx.has_input(2)) {
    const Tensor& value = ctx.input(2);
    require(value.size() == 1 && value.dtype() == dtype, ErrorCode::kInvalidArgument,
            "the constant has to be one element of type ", dtype_name(dtype), ", but is ",
            describe(value));
    return *elements<T>(value);
  }
  T result{};
  if (ctx.node().has("value")) {
    Tensor value(dtype, {});
    dispatch(NumberTypes{}, dtype, [&]<class N>() {
      *value.data<N>() = static_cast<N>(static_cast<Compute<N>>(ctx.node().at<float>("value")));
    });
    result = *elements<T>(value);
  }
  return result;
}

}  // namespace

Padding padding(std::span<const int64_t> pads, const std::optional<std::vector<int64_t>>& axes,
                int rank) {
  constexpr int64_t kLimit = int64_t{1} << 56;
  std::vector<int64_t> all(static_cast<size_t>(rank));
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int64_t>& which = axes ? *axes : all;
  require(pads.size() == 2 * which.size(), ErrorCode::kInvalidArgument, pads.size(),
          " pads do not fit ", which.size(), " axes");
  Padding result;
  result.before.assign(static_cast<size_t>(rank), 0);
  result.after.assign(static_cast<size_t>(rank), 0);
  for (size_t i = 0; i < which.size(); ++i) {
    const int64_t before = pads[i], after = pads[i + which.size()];
    require(std::abs(before / 2) < kLimit && std::abs(after / 2) < kLimit,
            ErrorCode::kInvalidArgument, "pads ", before, " and ", after, " are out of range");
    const auto axis = static_cast<size_t>(normalize_axis(which[i], rank));
    result.before[axis] = before;
    result.after[axis] = after;
  }
  return result;
}

void pad(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const int rank = in.rank();
  const Mode mode = mode_of(ctx.node());
  std::optional<std::vector<int64_t>> axes;
  if (ctx.num_inputs() > 3 && ctx.has_input(3)) axes = to_int64s(ctx.input(3));
  const std::vector<int64_t> pads =
      ctx.node().op->since_version < 11
          ? ctx.node().at<std::vector<int64_t>>(pads_attribute(ctx.node()))
          : to_int64s(ctx.input(1));
  const Padding padded = padding(pads, axes, rank);
  std::array<int64_t, Shape::kMaxRank> dims{};
  for (int axis = 0; axis < rank; ++axis) {
    const auto i = static_cast<size_t>(axis);
    dims[i] = in.shape()[axis] + padded.before[i] + padded.after[i];
    require(dims[i] >= 0, ErrorCode::kInvalidArgument, "negative pads remove more than axis ", axis,
            " of ", in.shape().to_string(), " has");
    require(mode == Mode::kConstant || in.shape()[axis] > 0 || dims[i] == 0,
            ErrorCode::kInvalidArgument, "axis ", axis, " of ", in.shape().to_string(),
            " has nothing to repeat");
  }
  const Shape shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank)));
  Tensor& out = ctx.output(0, in.dtype(), shape);
  if (out.size() == 0) return;

  const auto strides = row_major_strides(in.shape());
  std::vector<std::vector<int64_t>> sources(static_cast<size_t>(rank));  // offsets or kOutside
  for (int axis = 0; axis < rank; ++axis) {
    const auto i = static_cast<size_t>(axis);
    for (int64_t k = 0; k < dims[i]; ++k) {
      const int64_t index = source_index(mode, k - padded.before[i], in.shape()[axis]);
      sources[i].push_back(index == kOutside ? kOutside : index * strides[i]);
    }
  }

  with_element(in.dtype(), [&]<class T>() {
    const T fill = fill_element<T>(ctx);
    const T* source = elements<T>(in);
    T* target = elements<T>(out);
    if (rank == 0) {
      *target = *source;
      return;
    }
    const std::vector<int64_t>& inner = sources.back();
    const auto length = static_cast<int64_t>(inner.size());
    for (int64_t row = 0; row < out.size() / length; ++row, target += length) {
      int64_t offset = 0;
      int64_t rest = row;
      for (int axis = rank - 2; axis >= 0 && offset != kOutside; --axis) {
        const auto i = static_cast<size_t>(axis);
        const int64_t at = sources[i][static_cast<size_t>(rest % dims[i])];
        rest /= dims[i];
        offset = at == kOutside ? kOutside : offset + at;
      }
      for (int64_t k = 0; k < length; ++k) {
        const int64_t at = inner[static_cast<size_t>(k)];
        target[k] = offset == kOutside || at == kOutside ? fill : source[offset + at];
      }
    }
  });
}

}  // namespace hugot::movement
