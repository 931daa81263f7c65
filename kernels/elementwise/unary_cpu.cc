// Functions of one number, and logic on one element.
#include <cmath>

#include "kernels/elementwise/run.h"

namespace hugot::elementwise {
namespace fn {

using SignedNumberTypes = JoinTypes<FloatTypes, SignedTypes>;

struct Abs {
  using Elements = NumberTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.abs; }
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) {  // the lowest number stays itself
      return x < 0 ? static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x)) : x;
    } else {
      return std::abs(x);
    }
  }
};

struct Neg {
  using Elements = SignedNumberTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.neg; }
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x));
    } else {
      return -x;
    }
  }
};

struct Sign {
  using Elements = NumberTypes;
  template <class T>
  T operator()(T x) const {
    if (x != x) return x;
    return static_cast<T>((x > T{0}) - (x < T{0}));
  }
};

struct Sqrt {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.sqrt; }
  template <class T>
  T operator()(T x) const {
    return std::sqrt(x);
  }
};

struct Reciprocal {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.reciprocal; }
  template <class T>
  T operator()(T x) const {
    return 1 / x;
  }
};

struct Exp {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.exp; }
  template <class T>
  T operator()(T x) const {
    return std::exp(x);
  }
};

struct Log {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.log; }
  template <class T>
  T operator()(T x) const {
    return std::log(x);
  }
};

struct Erf {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.erf; }
  template <class T>
  T operator()(T x) const {
    return std::erf(x);
  }
};

// A function of the C++ library that has no vector form.
template <auto kFunction, auto kDoubleFunction>
struct Library {
  using Elements = FloatTypes;
  float operator()(float x) const { return kFunction(x); }
  double operator()(double x) const { return kDoubleFunction(x); }
};

struct Acos : Library<acosf, static_cast<double (*)(double)>(::acos)> {};
struct Acosh : Library<acoshf, static_cast<double (*)(double)>(::acosh)> {};
struct Asin : Library<asinf, static_cast<double (*)(double)>(::asin)> {};
struct Asinh : Library<asinhf, static_cast<double (*)(double)>(::asinh)> {};
struct Atan : Library<atanf, static_cast<double (*)(double)>(::atan)> {};
struct Atanh : Library<atanhf, static_cast<double (*)(double)>(::atanh)> {};
struct Cos : Library<cosf, static_cast<double (*)(double)>(::cos)> {};
struct Cosh : Library<coshf, static_cast<double (*)(double)>(::cosh)> {};
struct Sin : Library<sinf, static_cast<double (*)(double)>(::sin)> {};
struct Sinh : Library<sinhf, static_cast<double (*)(double)>(::sinh)> {};
struct Tan : Library<tanf, static_cast<double (*)(double)>(::tan)> {};
struct Ceil : Library<ceilf, static_cast<double (*)(double)>(::ceil)> {};
struct Floor : Library<floorf, static_cast<double (*)(double)>(::floor)> {};
// Ties go to the even neighbour.
struct Round : Library<nearbyintf, static_cast<double (*)(double)>(::nearbyint)> {};

struct IsNaN {
  using Elements = FloatTypes;
  template <class T>
  bool operator()(T x) const {
    return x != x;
  }
};

struct IsInf {
  using Elements = FloatTypes;
  bool negative, positive;
  explicit IsInf(const Node& node)
      : negative(node.get<int64_t>("detect_negative", 1) != 0),
        positive(node.get<int64_t>("detect_positive", 1) != 0) {}
  template <class T>
  bool operator()(T x) const {
    return std::isinf(x) && (x < 0 ? negative : positive);
  }
};

struct Not {
  using Elements = BoolTypes;
  bool operator()(bool x) const { return !x; }
};

struct BitwiseNot {
  using Elements = IntegerTypes;
  template <class T>
  T operator()(T x) const {
    return static_cast<T>(~x);
  }
};

}  // namespace fn

template void unary<fn::Abs>(KernelContext&);
template void unary<fn::Acos>(KernelContext&);
template void unary<fn::Acosh>(KernelContext&);
template void unary<fn::Asin>(KernelContext&);
template void unary<fn::Asinh>(KernelContext&);
template void unary<fn::Atan>(KernelContext&);
template void unary<fn::Atanh>(KernelContext&);
template void unary<fn::BitwiseNot>(KernelContext&);
template void unary<fn::Ceil>(KernelContext&);
template void unary<fn::Cos>(KernelContext&);
template void unary<fn::Cosh>(KernelContext&);
template void unary<fn::Erf>(KernelContext&);
template void unary<fn::Exp>(KernelContext&);
template void unary<fn::Floor>(KernelContext&);
template void unary<fn::IsInf>(KernelContext&);
template void unary<fn::IsNaN>(KernelContext&);
template void unary<fn::Log>(KernelContext&);
template void unary<fn::Neg>(KernelContext&);
template void unary<fn::Not>(KernelContext&);
template void unary<fn::Reciprocal>(KernelContext&);
template void unary<fn::Round>(KernelContext&);
template void unary<fn::Sign>(KernelContext&);
template void unary<fn::Sin>(KernelContext&);
template void unary<fn::Sinh>(KernelContext&);
template void unary<fn::Sqrt>(KernelContext&);
template void unary<fn::Tan>(KernelContext&);

}  // namespace hugot::elementwise
