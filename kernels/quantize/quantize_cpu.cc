// Kernels of QuantizeLinear and DequantizeLinear.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/dispatch.h"
#include "kernels/narrow.h"
#include "kernels/quantize/granularity.h"
#include "kernels/quantize/quantize.h"

namespace hugot::quantize {
namespace {

// The elements of any tensor of numbers as T, which is float or double; the tensor itself where it
// has that type already.
template <class T>
class Numbers {
 public:
  explicit Numbers(const Tensor& tensor) : tensor_(tensor) {
    const DType dtype = tensor.dtype();
    if (dtype == dtype_of<T>) return;
    tensor_ = Tensor(dtype_of<T>, tensor.shape());
    T* to = tensor_.data<T>();
    const int64_t n = tensor.size();
    if (is_narrow_float(dtype)) {
      std::vector<float> wide(static_cast<size_t>(n));
      decode_narrow_floats(dtype, tensor.raw(), wide.data(), n);
      std::copy(wide.begin(), wide.end(), to);
    } else if (is_narrow_integer(dtype)) {
      std::vector<int8_t> wide(static_cast<size_t>(n));
      decode_narrow_integers(dtype, tensor.raw(), wide.data(), n);
      std::copy(wide.begin(), wide.end(), to);
    } else {
      using Sources = JoinTypes<FloatTypes, Types<int8_t, uint8_t, int16_t, uint16_t, int32_t>>;
      dispatch(Sources{}, dtype, [&]<class From>() { convert_all(tensor.data<From>(), to, n); });
    }
  }
  const T* data() const { return tensor_.data<T>(); }

 private:
  Tensor tensor_;
};

// Scale and zero point of a tensor, or of the part of it that belongs to one text.
struct Parameters {
  const Tensor& scale;
  const Tensor* zero;  // null: 0
};

void check_zero(const Parameters& p, DType dtype) {
  if (p.zero == nullptr) return;
  const bool single = p.zero->size() == 1 && p.scale.size() == 1;
  require(p.zero->dtype() == dtype && (single || p.zero->shape() == p.scale.shape()),
          ErrorCode::kInvalidArgument, "the zero point is ", describe(*p.zero), " for a scale ",
          describe(p.scale), " and elements of ", dtype_name(dtype));
}

// What rounding a quotient to the precision of the division does to it.
using Round = float (*)(float);
template <class Half>
float rounded_to(float x) {
  return static_cast<float>(Half(x));
}

Round rounding_of(DType precision) {
  if (precision == DType::kFloat16) return rounded_to<Float16>;
  if (precision == DType::kBFloat16) return rounded_to<BFloat16>;
  return nullptr;
}

// The type in which x is divided by the scale.
DType precision_of(const Node& node, DType x, DType scale) {
  const int64_t named = node.get<int64_t>("precision", 0);
  const auto precision = static_cast<DType>(named);
  require(named >= 0 && named < kDTypeCount && (named == 0 || is_float(precision)),
          ErrorCode::kInvalidData, "attribute precision = ", named, " is no type to divide in");
  if (named != 0) return precision;
  if (is_float(scale)) return scale;
  if (scale == DType::kInt32) return DType::kFloat64;  // exact for both
  return is_float(x) ? x : DType::kFloat32;
}

// x / scale for the elements of one run, in T and rounded further by `round` unless it is null.
template <class T>
T quotient(T x, T scale, Round round) {
  if constexpr (std::is_same_v<T, float>) {
    if (round != nullptr) return round(round(x) / round(scale));
  }
  return x / scale;
}

// Quantized integers in their type, or in int32 where that is too narrow to be addressed.
template <class T, class Q>
void quantize_integers(ThreadPool* pool, const Granularity& granularity, const T* x, const T* scale,
                       const T* zero, Range range, Round round, Q* y) {
  const auto run = [&](const Granularity::Run& r) {
    for (int64_t i = 0; i < r.count; ++i) {
      const int64_t s = r.scale + i * r.step;
      const T offset = zero == nullptr ? T{0} : zero[s];
      const T low = static_cast<T>(range.low) - offset, high = static_cast<T>(range.high) - offset;
      const T q = quotient(x[r.at + i], scale[s], round);
      const T clamped = q > low ? (q < high ? q : high) : low;  // NaN becomes the lowest
      y[r.at + i] = static_cast<Q>(std::nearbyint(clamped) + offset);
    }
  };
  parallel_for(pool, granularity.run_count(), granularity.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run(granularity.run(i));
  });
}

// The usual case, in vectors: float32 to bytes.
bool quantize_bytes(KernelContext& ctx, const Granularity& granularity, const Tensor& x,
                    const Parameters& p, Tensor& y) {
  const bool bytes = y.dtype() == DType::kUInt8 || y.dtype() == DType::kInt8;
  const bool plain = granularity.run_count() > 0 && granularity.run(0).step == 0 &&
                     p.scale.dtype() == DType::kFloat32 && x.dtype() == DType::kFloat32 &&
                     !ctx.node().has("precision");
  if (!bytes || !plain) return false;
  const float* from = x.data<float>();
  const auto zero_at = [&](int64_t i) -> int32_t {
    if (p.zero == nullptr) return 0;
    return p.zero->dtype() == DType::kUInt8 ? p.zero->data<uint8_t>()[i]
                                            : p.zero->data<int8_t>()[i];
  };
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  parallel_for(ctx.pool(), granularity.run_count(), granularity.grain(),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const Granularity::Run r = granularity.run(i);
                   const float scale = p.scale.data<float>()[r.scale];
                   if (y.dtype() == DType::kUInt8) {
                     kernels.quantize_uint8(from + r.at, r.count, scale, zero_at(r.scale),
                                            y.data<uint8_t>() + r.at);
                   } else {
                     kernels.quantize_int8(from + r.at, r.count, scale, zero_at(r.scale),
                                           y.data<int8_t>() + r.at);
                   }
                 }
               });
  return true;
}

template <class T>
void quantize_in(KernelContext& ctx, const Granularity& granularity, const Tensor& x,
                 const Parameters& p, Round round, Tensor& y) {
  const Numbers<T> numbers(x), scale(p.scale);
  const Numbers<T> zeros(p.zero != nullptr ? *p.zero : Tensor::scalar<T>(0));
  const T* zero = p.zero != nullptr ? zeros.data() : nullptr;
  const auto integers = [&]<class Q>(Q* to) {
    quantize_integers(ctx.pool(), granularity, numbers.data(), scale.data(), zero,
                      range_of(y.dtype()), round, to);
  };
  if (is_narrow_integer(y.dtype())) {
    std::vector<int64_t> wide(static_cast<size_t>(x.size()));
    integers(wide.data());
    encode_narrow_integers(y.dtype(), wide.data(), y.raw(), x.size());
  } else if (is_quantized_integer(y.dtype())) {
    dispatch(Types<int8_t, uint8_t, int16_t, uint16_t>{}, y.dtype(),
             [&]<class Q>() { integers(y.data<Q>()); });
  } else {
    std::vector<float> wide(static_cast<size_t>(x.size()));
    for (int64_t i = 0; i < granularity.run_count(); ++i) {
      const Granularity::Run r = granularity.run(i);
      for (int64_t k = 0; k < r.count; ++k) {
        const int64_t s = r.scale + k * r.step;
        const T q = quotient(numbers.data()[r.at + k], scale.data()[s], round) +
                    (zero == nullptr ? T{0} : zero[s]);
        wide[static_cast<size_t>(r.at + k)] = std::is_same_v<T, double>
                                                  ? round_to_odd(static_cast<double>(q))
                                                  : static_cast<float>(q);
      }
    }
    const NarrowOptions options = {.saturate = ctx.node().get<int64_t>("saturate", 1) != 0};
    encode_narrow_floats(y.dtype(), wide.data(), y.raw(), x.size(), options);
  }
}

void quantize_part(KernelContext& ctx, const Tensor& x, const Parameters& p, Tensor& y) {
  check_zero(p, y.dtype());
  const Granularity granularity(ctx.node(), x.shape(), p.scale.shape());
  if (x.size() == 0 || quantize_bytes(ctx, granularity, x, p, y)) return;
  const DType precision = precision_of(ctx.node(), x.dtype(), p.scale.dtype());
  require(is_float(x.dtype()) || x.dtype() == DType::kInt32, ErrorCode::kUnsupported,
          "cannot quantize ", describe(x));
  if (precision == DType::kFloat64) {
    quantize_in<double>(ctx, granularity, x, p, nullptr, y);
  } else {
    quantize_in<float>(ctx, granularity, x, p, rounding_of(precision), y);
  }
}

// y = (x - zero) scale in T, rounded to the type of y at the end.
template <class T, class X, class Y>
void dequantize_runs(ThreadPool* pool, const Granularity& granularity, const X* x, const T* scale,
                     const T* zero, Y* y) {
  const auto run = [&](const Granularity::Run& r) {
    if (r.step == 0) {
      const T factor = scale[r.scale], offset = zero == nullptr ? T{0} : zero[r.scale];
      for (int64_t i = 0; i < r.count; ++i) {
        y[r.at + i] = convert<Y>((static_cast<T>(x[r.at + i]) - offset) * factor);
      }
    } else {
      for (int64_t i = 0; i < r.count; ++i) {
        const int64_t s = r.scale + i * r.step;
        const T offset = zero == nullptr ? T{0} : zero[s];
        y[r.at + i] = convert<Y>((static_cast<T>(x[r.at + i]) - offset) * scale[s]);
      }
    }
  };
  parallel_for(pool, granularity.run_count(), granularity.grain(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run(granularity.run(i));
  });
}

void dequantize_part(KernelContext& ctx, const Tensor& x, const Parameters& p, Tensor& y) {
  check_zero(p, x.dtype());
  const Granularity granularity(ctx.node(), x.shape(), p.scale.shape());
  if (x.size() == 0) return;
  dispatch(FloatTypes{}, y.dtype(), [&]<class Y>() {
    using T = Compute<Y>;
    const Numbers<T> scale(p.scale);
    const Numbers<T> zeros(p.zero != nullptr ? *p.zero : Tensor::scalar<T>(0));
    const T* zero = p.zero != nullptr ? zeros.data() : nullptr;
    const auto run = [&](const auto* from) {
      dequantize_runs(ctx.pool(), granularity, from, scale.data(), zero, y.data<Y>());
    };
    if (x.dtype() == DType::kUInt8) {
      run(x.data<uint8_t>());
    } else if (x.dtype() == DType::kInt8) {
      run(x.data<int8_t>());
    } else {
      require(!is_float(x.dtype()), ErrorCode::kUnsupported, "cannot dequantize ", describe(x));
      run(Numbers<T>(x).data());
    }
  });
}

// Calls part(x, parameters, y) for the tensors of the node, or for those of each text.
template <class Part>
void for_texts(KernelContext& ctx, DType dtype, const Part& part) {
  const Tensor& x = ctx.input(0);
  Tensor& y = ctx.output(0, dtype, x.shape());
  const bool has_zero = ctx.num_inputs() > 2 && ctx.has_input(2);
  const auto boundaries = ctx.segments();
  if (boundaries.empty()) {
    part(x, Parameters{ctx.input(1), has_zero ? &ctx.input(2) : nullptr}, y);
    return;
  }
  require(dtype_bits(dtype) >= 8 && dtype_bits(x.dtype()) >= 8, ErrorCode::kUnsupported,
          "packed elements have no rows");
  const int64_t rows = boundaries.back();
  const auto bytes = [&](const Tensor& tensor) {
    return rows == 0 ? 0 : static_cast<int64_t>(tensor.bytes()) / rows;
  };
  for (size_t i = 0; i + 1 < boundaries.size(); ++i) {
    const int64_t begin = boundaries[i], count = boundaries[i + 1] - begin;
    const Shape shape = {count * (rows == 0 ? 0 : x.size() / rows)};
    const Tensor scale = ctx.input_of_segment(1, i);  // a copy: the next call may replace it
    const Tensor zero = has_zero ? ctx.input_of_segment(2, i) : Tensor();
    const Tensor own_x(x.dtype(), shape, static_cast<const char*>(x.raw()) + begin * bytes(x));
    Tensor own_y(dtype, shape, static_cast<char*>(y.raw()) + begin * bytes(y));
    part(own_x, Parameters{scale, has_zero ? &zero : nullptr}, own_y);
  }
}

}  // namespace

void quantize_linear(KernelContext& ctx) {
  const bool has_zero = ctx.num_inputs() > 2 && ctx.has_input(2);
  const DType dtype =
      quantized_type(ctx.node(), has_zero ? ctx.input(2).dtype() : DType::kUndefined);
  for_texts(ctx, dtype,
            [&](const Tensor& x, const Parameters& p, Tensor& y) { quantize_part(ctx, x, p, y); });
}

void dequantize_linear(KernelContext& ctx) {
  const DType dtype = dequantized_type(ctx.node(), ctx.input(1).dtype());
  for_texts(ctx, dtype, [&](const Tensor& x, const Parameters& p, Tensor& y) {
    dequantize_part(ctx, x, p, y);
  });
}

}  // namespace hugot::quantize
