// Activation functions. Formulas are those of the ONNX specification, arranged so that nothing
// overflows on the way.
#include <cmath>

#include "kernels/elementwise/run.h"

namespace hugot::elementwise {
namespace {

template <class T>
T sigmoid(T x) {
  const T e = std::exp(-std::abs(x));  // at most 1
  return (x < 0 ? e : T{1}) / (1 + e);
}

template <class T>
T softplus(T x) {
  return std::log1p(std::exp(-std::abs(x))) + (x > 0 ? x : T{0});
}

template <class T>
T gelu(T x) {
  constexpr T kSqrtHalf = static_cast<T>(0.70710678118654752440);
  return x / 2 * (1 + std::erf(x * kSqrtHalf));
}

template <class T>
T gelu_tanh(T x) {
  constexpr T kSqrt2OverPi = static_cast<T>(0.79788456080286535588);
  constexpr T kCubic = static_cast<T>(0.044715);
  return x / 2 * (1 + std::tanh(kSqrt2OverPi * (x + kCubic * x * x * x)));
}

}  // namespace

namespace fn {

struct Tanh {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.tanh; }
  template <class T>
  T operator()(T x) const {
    return std::tanh(x);
  }
};

struct Sigmoid {
  using Elements = FloatTypes;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.sigmoid; }
  template <class T>
  T operator()(T x) const {
    return sigmoid(x);
  }
};

struct Relu {
  using Elements = JoinTypes<FloatTypes, SignedTypes>;
  static cpu::UnaryKernel simd(const cpu::VectorKernels& k) { return k.relu; }
  template <class T>
  T operator()(T x) const {
    return x < 0 ? T{0} : x;
  }
};

struct LeakyRelu {
  using Elements = FloatTypes;
  float alpha;
  explicit LeakyRelu(const Node& node) : alpha(node.get("alpha", 0.01f)) {}
  template <class T>
  T operator()(T x) const {
    return x < 0 ? static_cast<T>(alpha) * x : x;
  }
};

struct ThresholdedRelu {
  using Elements = FloatTypes;
  float alpha;
  explicit ThresholdedRelu(const Node& node) : alpha(node.get("alpha", 1.0f)) {}
  template <class T>
  T operator()(T x) const {
    return x <= static_cast<T>(alpha) ? T{0} : x;
  }
};

struct Elu {
  using Elements = FloatTypes;
  float alpha;
  explicit Elu(const Node& node) : alpha(node.get("alpha", 1.0f)) {}
  template <class T>
  T operator()(T x) const {
    return x < 0 ? static_cast<T>(alpha) * std::expm1(x) : x;
  }
};

struct Celu {
  using Elements = FloatTypes;
  float alpha;
  explicit Celu(const Node& node) : alpha(node.get("alpha", 1.0f)) {}
  template <class T>
  T operator()(T x) const {
    const T a = static_cast<T>(alpha);
    return x < 0 ? a * std::expm1(x / a) : x;
  }
};

struct Selu {
  using Elements = FloatTypes;
  float alpha, gamma;
  explicit Selu(const Node& node)
      : alpha(node.get("alpha", 1.67326319217681884765625f)),
        gamma(node.get("gamma", 1.05070102214813232421875f)) {}
  template <class T>
  T operator()(T x) const {
    return static_cast<T>(gamma) * (x < 0 ? static_cast<T>(alpha) * std::expm1(x) : x);
  }
};

struct Shrink {
  using Elements = FloatTypes;
  float bias, lambda;
  explicit Shrink(const Node& node)
      : bias(node.get("bias", 0.0f)), lambda(node.get("lambd", 0.5f)) {}
  template <class T>
  T operator()(T x) const {
    const T limit = static_cast<T>(lambda);
    if (x < -limit) return x + static_cast<T>(bias);
    return x > limit ? x - static_cast<T>(bias) : x != x ? x : T{0};
  }
};

struct Softplus {
  using Elements = FloatTypes;
  template <class T>
  T operator()(T x) const {
    return softplus(x);
  }
};

struct Softsign {
  using Elements = FloatTypes;
  template <class T>
  T operator()(T x) const {
    return x / (1 + std::abs(x));
  }
};

struct Mish {
  using Elements = FloatTypes;
  template <class T>
  T operator()(T x) const {
    return x * std::tanh(softplus(x));
  }
};

struct HardSigmoid {
  using Elements = FloatTypes;
  float alpha, beta;
  explicit HardSigmoid(const Node& node)
      : alpha(node.get("alpha", 0.2f)), beta(node.get("beta", 0.5f)) {}
  template <class T>
  T operator()(T x) const {
    const T y = static_cast<T>(alpha) * x + static_cast<T>(beta);
    return y < 0 ? T{0} : y > 1 ? T{1} : y;
  }
};

struct HardSwish {
  using Elements = FloatTypes;
  template <class T>
  T operator()(T x) const {
    const T y = x / 6 + static_cast<T>(0.5);
    return x * (y < 0 ? T{0} : y > 1 ? T{1} : y);
  }
};

// x sigmoid(alpha x)
struct Swish {
  using Elements = FloatTypes;
  float alpha;
  explicit Swish(const Node& node) : alpha(node.get("alpha", 1.0f)) {}
  cpu::UnaryKernel simd(const cpu::VectorKernels& k) const {
    return alpha == 1.0f ? k.silu : nullptr;
  }
  template <class T>
  T operator()(T x) const {
    return x * sigmoid(static_cast<T>(alpha) * x);
  }
};

struct Gelu {
  using Elements = FloatTypes;
  bool approximate;
  explicit Gelu(const Node& node) {
    const auto form = node.get<std::string>("approximate", "none");
    require(form == "none" || form == "tanh", ErrorCode::kInvalidData, "attribute approximate is '",
            form, "'; it must be none or tanh");
    approximate = form == "tanh";
  }
  cpu::UnaryKernel simd(const cpu::VectorKernels& k) const {
    return approximate ? k.gelu_tanh : k.gelu;
  }
  template <class T>
  T operator()(T x) const {
    return approximate ? gelu_tanh(x) : gelu(x);
  }
};

}  // namespace fn

template void unary<fn::Celu>(KernelContext&);
template void unary<fn::Elu>(KernelContext&);
template void unary<fn::Gelu>(KernelContext&);
template void unary<fn::HardSigmoid>(KernelContext&);
template void unary<fn::HardSwish>(KernelContext&);
template void unary<fn::LeakyRelu>(KernelContext&);
template void unary<fn::Mish>(KernelContext&);
template void unary<fn::Relu>(KernelContext&);
template void unary<fn::Selu>(KernelContext&);
template void unary<fn::Shrink>(KernelContext&);
template void unary<fn::Sigmoid>(KernelContext&);
template void unary<fn::Softplus>(KernelContext&);
template void unary<fn::Softsign>(KernelContext&);
template void unary<fn::Swish>(KernelContext&);
template void unary<fn::Tanh>(KernelContext&);
template void unary<fn::ThresholdedRelu>(KernelContext&);

}  // namespace hugot::elementwise
