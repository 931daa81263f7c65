#include "kernels/window.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"

namespace hugot {
namespace {

constexpr int64_t kMaxDim = int64_t{1} << 60;

int64_t ceil_divided(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t per_axis(const Node& node, std::string_view name, int axis, int count, int64_t fallback,
                 int64_t lowest) {
  if (!node.has(name)) return fallback;
  const auto& values = node.at<std::vector<int64_t>>(name);
  require(std::ssize(values) == count, ErrorCode::kInvalidArgument, "attribute ", name, " has ",
          values.size(), " numbers for ", count, " spatial axes");
  const int64_t value = values[static_cast<size_t>(axis)];
  require(value >= lowest && value < kMaxWindow, ErrorCode::kInvalidArgument, "attribute ", name,
          " has the number ", value);
  return value;
}

Window window_of(const Node& node, int axis, int count) {
  Window window;
  window.stride = per_axis(node, "strides", axis, count, 1, 1);
  window.dilation = per_axis(node, "dilations", axis, count, 1, 1);
  const std::string padding = node.get<std::string>("auto_pad", "NOTSET");
  if (padding == "SAME_UPPER") {
    window.padding = Window::Padding::kSameUpper;
  } else if (padding == "SAME_LOWER") {
    window.padding = Window::Padding::kSameLower;
  } else if (padding == "NOTSET") {
    window.before = per_axis(node, "pads", axis, 2 * count, 0, 0);
    window.after = per_axis(node, "pads", axis + count, 2 * count, 0, 0);
    window.ceil = node.get<int64_t>("ceil_mode", 0) != 0;
  } else {
    require(padding == "VALID", ErrorCode::kInvalidArgument, "attribute auto_pad is ", padding);
  }
  return window;
}

Axis axis_of(const Window& window, int64_t in, int64_t kernel) {
  Axis axis{in, kernel, 0, window.stride, window.dilation, window.before};
  require(in < kMaxDim, ErrorCode::kInvalidArgument, "an axis of length ", in, " is too long");
  const int64_t extent = window.extent(kernel);
  if (window.padding != Window::Padding::kGiven) {
    axis.out = ceil_divided(in, window.stride);
    // Products of an output's length and its stride are below in + stride.
    const int64_t reach = (axis.out - 1) * window.stride + extent;
    const int64_t total = std::max<int64_t>(reach - in, 0);
    axis.before = window.padding == Window::Padding::kSameUpper ? total / 2 : total - total / 2;
    return axis;
  }
  const int64_t room = in + window.before + window.after - extent;
  // Nothing, seen one by one, is nothing. With strides the formulas would not say so.
  const bool nothing = room == -1 && window.stride == 1 && extent == 1;
  require(room >= 0 || nothing, ErrorCode::kInvalidArgument, "a window of ", extent,
          " does not fit an axis of ", in, " padded by ", window.before, " and ", window.after);
  if (room < 0) return axis;
  axis.out = (window.ceil ? ceil_divided(room, window.stride) : room / window.stride) + 1;
  // A window that would start behind the elements sees nothing but padding. It is left out, as the
  // specification says since version 22, because it has no maximum and no mean.
  if (window.ceil && (axis.out - 1) * window.stride >= in + window.before) --axis.out;
  return axis;
}

std::optional<Dim> out_dim(const Window& window, const Dim& in, int64_t kernel) {
  if (const auto number = in.number()) return axis_of(window, *number, kernel).out;
  if (window.padding != Window::Padding::kGiven) {
    return Dim::divide(in + (window.stride - 1), window.stride);
  }
  const int64_t extent = window.extent(kernel);
  int64_t change = window.before + window.after - extent;
  if (window.ceil) {
    // No window starts in the padding behind.
    if (window.after + window.stride > extent) return std::nullopt;
    change += window.stride - 1;
  }
  return Dim::divide(in + change, window.stride) + 1;
}

void require_spatial_axes(int64_t rank) {
  require(rank >= 3 && rank <= Shape::kMaxRank, ErrorCode::kInvalidArgument, "an input of rank ",
          rank, " has no spatial axes");
}

Batching batch_images(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 3) return Batching::kLoop;
  std::vector<int64_t> axes(static_cast<size_t>(rank - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return batch_over_axes(query, axes);
}

Term channels_first(const Term& image) {
  require_spatial_axes(image.rank());
  std::vector<int64_t> perm(static_cast<size_t>(image.rank()));
  std::iota(perm.begin(), perm.end(), 0);
  std::rotate(perm.begin() + 1, perm.end() - 1, perm.end());
  return transpose(image, std::move(perm));
}

Term channels_last(const Term& image) {
  require_spatial_axes(image.rank());
  std::vector<int64_t> perm(static_cast<size_t>(image.rank()));
  std::iota(perm.begin(), perm.end(), 0);
  std::rotate(perm.begin() + 1, perm.begin() + 2, perm.end());
  return transpose(image, std::move(perm));
}

}  // namespace hugot
