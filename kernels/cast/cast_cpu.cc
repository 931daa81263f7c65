#include <algorithm>
#include <cstring>

#include "kernels/cast/cast.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/narrow.h"
#include "kernels/number_text.h"

namespace hugot::cast {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements that make a task for another thread

void copy(const Tensor& from, Tensor& to) {
  if (from.dtype() == DType::kString) {
    std::copy_n(from.data<std::string>(), from.size(), to.data<std::string>());
  } else if (from.bytes() > 0) {
    std::memcpy(to.raw(), from.raw(), from.bytes());
  }
}

void from_text(const Tensor& from, Tensor& to) {
  dispatch(NumberAndBoolTypes{}, to.dtype(), [&]<class T>() {
    std::transform(from.data<std::string>(), from.data<std::string>() + from.size(), to.data<T>(),
                   [](const std::string& text) { return text_to_number<T>(text); });
  });
}

void to_text(const Tensor& from, Tensor& to) {
  dispatch(NumberAndBoolTypes{}, from.dtype(), [&]<class T>() {
    std::transform(from.data<T>(), from.data<T>() + from.size(), to.data<std::string>(),
                   [](T value) { return number_to_text(value); });
  });
}

void between_numbers(ThreadPool* pool, const Tensor& from, Tensor& to) {
  dispatch(NumberAndBoolTypes{}, from.dtype(), [&]<class From>() {
    dispatch(NumberAndBoolTypes{}, to.dtype(), [&]<class To>() {
      const From* x = from.data<From>();
      To* y = to.data<To>();
      parallel_for(pool, from.size(), kGrain, [&](int64_t begin, int64_t end) {
        convert_all(x + begin, y + begin, end - begin);
      });
    });
  });
}

// Narrow types go by way of a wide type that holds all their values.
Tensor widened(const Tensor& from) {
  if (is_narrow_float(from.dtype())) {
    Tensor wide(DType::kFloat32, from.shape());
    decode_narrow_floats(from.dtype(), from.raw(), wide.data<float>(), from.size());
    return wide;
  }
  Tensor wide(DType::kInt8, from.shape());
  decode_narrow_integers(from.dtype(), from.raw(), wide.data<int8_t>(), from.size());
  return wide;
}

void convert_tensor(ThreadPool* pool, const Tensor& from, Tensor& to, const NarrowOptions& options);

void narrowed(ThreadPool* pool, const Tensor& from, Tensor& to, const NarrowOptions& options) {
  const bool floating = is_narrow_float(to.dtype());
  Tensor wide(floating ? DType::kFloat32 : DType::kInt64, from.shape());
  if (floating && from.dtype() == DType::kFloat64) {  // round once, not twice
    std::transform(from.data<double>(), from.data<double>() + from.size(), wide.data<float>(),
                   round_to_odd);
  } else {
    convert_tensor(pool, from, wide, options);
  }
  if (floating) {
    encode_narrow_floats(to.dtype(), wide.data<float>(), to.raw(), to.size(), options);
  } else {
    encode_narrow_integers(to.dtype(), wide.data<int64_t>(), to.raw(), to.size());
  }
}

void convert_tensor(ThreadPool* pool, const Tensor& from, Tensor& to,
                    const NarrowOptions& options) {
  const auto narrow = [](DType dtype) {
    return is_narrow_float(dtype) || is_narrow_integer(dtype);
  };
  if (from.dtype() == to.dtype()) {
    copy(from, to);
  } else if (narrow(from.dtype())) {
    convert_tensor(pool, widened(from), to, options);
  } else if (narrow(to.dtype())) {
    narrowed(pool, from, to, options);
  } else if (from.dtype() == DType::kString) {
    from_text(from, to);
  } else if (to.dtype() == DType::kString) {
    to_text(from, to);
  } else {
    between_numbers(pool, from, to);
  }
}

NarrowOptions options_of(const Node& node) {
  NarrowOptions options;
  options.saturate = node.get<int64_t>("saturate", 1) != 0;
  const auto mode = node.get<std::string>("round_mode", "up");
  if (mode == "nearest") {
    options.scale_rounding = ScaleRounding::kNearest;
  } else if (mode == "down") {
    options.scale_rounding = ScaleRounding::kDown;
  } else {
    require(mode == "up", ErrorCode::kInvalidData, "attribute round_mode is '", mode,
            "'; it must be up, down or nearest");
  }
  return options;
}

// The names that version 1 has for types.
DType type_named(std::string_view name) {
  constexpr std::string_view kNames[] = {"FLOAT",  "UINT8",  "INT8",   "UINT16", "INT16",
                                         "INT32",  "INT64",  "STRING", "BOOL",   "FLOAT16",
                                         "DOUBLE", "UINT32", "UINT64"};
  const auto at = std::find(std::begin(kNames), std::end(kNames), name);
  require(at != std::end(kNames), ErrorCode::kInvalidData, "attribute to = '", name,
          "' is no element type");
  return static_cast<DType>(at - std::begin(kNames) + 1);  // they are numbered in this order
}

void run(KernelContext& ctx, DType target) {
  const Tensor& from = ctx.input(0);
  convert_tensor(ctx.pool(), from, ctx.output(0, target, from.shape()), options_of(ctx.node()));
}

}  // namespace

DType target_of(const Node& node) {
  if (node.op->since_version < 6) return type_named(node.at<std::string>("to"));
  const auto to = node.at<int64_t>("to");
  require(to > 0 && to < kDTypeCount, ErrorCode::kInvalidData, "attribute to = ", to,
          " is no element type");
  return static_cast<DType>(to);
}

void cast(KernelContext& ctx) { run(ctx, target_of(ctx.node())); }
void cast_like(KernelContext& ctx) { run(ctx, ctx.input(1).dtype()); }

}  // namespace hugot::cast
