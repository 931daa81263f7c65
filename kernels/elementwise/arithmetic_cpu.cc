// Binary arithmetic. Integers wrap around; dividing an integer by zero is an error.
#include <cmath>

#include "kernels/elementwise/run.h"

namespace hugot::elementwise {
namespace {

// Integer arithmetic modulo 2^bits, without undefined overflow.
template <class T>
T wrap(uint64_t value) {
  return static_cast<T>(value);
}

template <class T>
T divisor(T value) {
  require(value != 0, ErrorCode::kInvalidData, "integer division by zero");
  return value;
}

template <class T>
T integer_power(T base, int64_t exponent) {
  if (exponent < 0) {  // 1/b^n cut towards zero
    if (base == 1) return 1;
    if (std::is_signed_v<T> && base == static_cast<T>(-1)) return exponent % 2 == 0 ? T{1} : base;
    return 0;
  }
  uint64_t result = 1;
  for (auto square = static_cast<uint64_t>(base); exponent != 0; exponent >>= 1) {
    if (exponent & 1) result *= square;
    square *= square;
  }
  return wrap<T>(result);
}

}  // namespace

namespace fn {

struct Add {
  using Elements = NumberTypes;
  static const cpu::BinaryKernel& simd(const cpu::VectorKernels& k) { return k.add; }
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return wrap<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    } else {
      return a + b;
    }
  }
};

struct Sub {
  using Elements = NumberTypes;
  static const cpu::BinaryKernel& simd(const cpu::VectorKernels& k) { return k.sub; }
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return wrap<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    } else {
      return a - b;
    }
  }
};

struct Mul {
  using Elements = NumberTypes;
  static const cpu::BinaryKernel& simd(const cpu::VectorKernels& k) { return k.mul; }
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      return wrap<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    } else {
      return a * b;
    }
  }
};

// Integers: the quotient cut towards zero.
struct Div {
  using Elements = NumberTypes;
  static const cpu::BinaryKernel& simd(const cpu::VectorKernels& k) { return k.div; }
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Sub{}(T{0}, a);
      return static_cast<T>(a / divisor(b));
    } else {
      return a / b;
    }
  }
};

// fmod = 0: the sign of the divisor, integers only; fmod = 1: the sign of the dividend, as C has
// it.
struct Mod {
  using Elements = NumberTypes;
  bool fmod;
  explicit Mod(const Node& node) : fmod(node.get<int64_t>("fmod", 0) != 0) {}
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
      const auto rest = static_cast<T>(a % divisor(b));
      const bool other_sign = !fmod && rest != 0 && (rest < 0) != (b < 0);
      return other_sign ? static_cast<T>(rest + b) : rest;
    } else {
      require(fmod, ErrorCode::kInvalidData, "floating point operands need the attribute fmod = 1");
      return std::fmod(a, b);
    }
  }
};

struct Max {
  using Elements = NumberTypes;
  static const cpu::BinaryKernel& simd(const cpu::VectorKernels& k) { return k.max; }
  template <class T>
  T operator()(T a, T b) const {
    return a != a || a > b ? a : b;  // a NaN in either wins
  }
};

struct Min {
  using Elements = NumberTypes;
  static const cpu::BinaryKernel& simd(const cpu::VectorKernels& k) { return k.min; }
  template <class T>
  T operator()(T a, T b) const {
    return a != a || a < b ? a : b;
  }
};

// Squares and cubes are products, in vectors as well as here, so that neither the shape of the
// exponent nor the way of computing shows in the result.
struct Pow {
  template <class A, class B>
  A operator()(A a, B b) const {
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
      return integer_power(a, static_cast<int64_t>(b));
    } else if constexpr (std::is_integral_v<A>) {
      return convert<A>(std::pow(static_cast<double>(a), static_cast<double>(b)));
    } else {
      if (b == B{2}) return a * a;
      if (b == B{3}) return a * a * a;
      return static_cast<A>(std::pow(a, b));
    }
  }
};

struct PRelu {
  using Elements = NumberTypes;
  template <class T>
  T operator()(T x, T slope) const {
    return x < 0 ? Mul{}(x, slope) : x;
  }
};

struct BitShift {
  using Elements = UnsignedTypes;
  bool left;
  explicit BitShift(const Node& node) : left(node.at<std::string>("direction") == "LEFT") {
    require(left || node.at<std::string>("direction") == "RIGHT", ErrorCode::kInvalidData,
            "attribute direction must be LEFT or RIGHT");
  }
  template <class T>
  T operator()(T a, T b) const {
    if (b >= std::numeric_limits<T>::digits) return 0;
    return left ? wrap<T>(static_cast<uint64_t>(a) << b) : static_cast<T>(a >> b);
  }
};

struct BitwiseAnd {
  using Elements = IntegerTypes;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a & b);
  }
};
struct BitwiseOr {
  using Elements = IntegerTypes;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};
struct BitwiseXor {
  using Elements = IntegerTypes;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a ^ b);
  }
};

}  // namespace fn

template void binary<fn::Add>(KernelContext&);
template void binary<fn::Sub>(KernelContext&);
template void binary<fn::Mul>(KernelContext&);
template void binary<fn::Div>(KernelContext&);
template void binary<fn::Mod>(KernelContext&);
template void binary<fn::PRelu>(KernelContext&);
template void binary<fn::BitShift>(KernelContext&);
template void binary<fn::BitwiseAnd>(KernelContext&);
template void binary<fn::BitwiseOr>(KernelContext&);
template void binary<fn::BitwiseXor>(KernelContext&);
template void variadic<fn::Add>(KernelContext&);
template void variadic<fn::Max>(KernelContext&);
template void variadic<fn::Min>(KernelContext&);

void mean(KernelContext& ctx) {
  const Shape shape = broadcast_all(ctx);
  const DType dtype = ctx.input(0).dtype();
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    T* y = ctx.output(0, dtype, shape).template data<T>();
    accumulate(ctx, fn::Add{}, shape, y);
    const T count = convert<T>(ctx.num_inputs());
    run(fn::Div{}, y, 1, &count, 0, y, shape.size());
  });
}

namespace {

// The exponents in a type that the base's type meets: its own, float64 or int64.
Tensor exponents_for(DType base, const Tensor& exponents) {
  if (exponents.dtype() == base) return exponents;
  const DType type = is_float(exponents.dtype()) ? DType::kFloat64 : DType::kInt64;
  Tensor widened(type, exponents.shape());
  dispatch(NumberTypes{}, exponents.dtype(), [&]<class T>() {
    if (type == DType::kFloat64) {
      convert_all(exponents.data<T>(), widened.data<double>(), exponents.size());
    } else {
      convert_all(exponents.data<T>(), widened.data<int64_t>(), exponents.size());
    }
  });
  return widened;
}

}  // namespace

void pow(KernelContext& ctx) {
  const Tensor& a = ctx.input(0);
  const Shape shape_b = shape_of_b(ctx.node(), a.shape(), ctx.input(1).shape());
  const Shape shape = broadcast(a.shape(), shape_b);
  const Tensor b = exponents_for(a.dtype(), ctx.input(1));
  dispatch(NumberTypes{}, a.dtype(), [&]<class T>() {
    Tensor& y = ctx.output(0, a.dtype(), shape);
    const auto compute = [&]<class B>() {
      run_broadcast(ctx.pool(), fn::Pow{}, a.data<T>(), a.shape(), b.data<B>(), shape_b,
                    y.data<T>(), shape);
    };
    if constexpr (std::is_same_v<T, float>) {
      // Layer norms and tanh-GELUs written out: x^2 and x^3 of whole tensors.
      const bool single = b.size() == 1 && b.dtype() == DType::kFloat32 && shape == a.shape();
      const float exponent = single ? *b.data<float>() : 0.0f;
      if (exponent == 2.0f || exponent == 3.0f) {
        const auto multiply = [&](const float* x) {
          run_broadcast(ctx.pool(), fn::Mul{}, x, shape, a.data<float>(), shape, y.data<float>(),
                        shape);
        };
        multiply(a.data<float>());
        if (exponent == 3.0f) multiply(y.data<float>());
        return;
      }
    }
    if (b.dtype() == a.dtype()) {
      compute.template operator()<T>();
    } else if (b.dtype() == DType::kFloat64) {
      compute.template operator()<double>();
    } else {
      compute.template operator()<int64_t>();
    }
  });
}

}  // namespace hugot::elementwise
