// Comparisons and logic.
#include "kernels/elementwise/run.h"

namespace hugot::elementwise {
namespace fn {

struct Equal {
  using Elements = NumberAndBoolTypes;
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return a == b;
  }
};
struct Less {
  using Elements = NumberTypes;
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessOrEqual {
  using Elements = NumberTypes;
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Greater {
  using Elements = NumberTypes;
  template <class T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct GreaterOrEqual {
  using Elements = NumberTypes;
  template <class T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
struct And {
  using Elements = BoolTypes;
  bool operator()(bool a, bool b) const { return a & b; }
};
struct Or {
  using Elements = BoolTypes;
  bool operator()(bool a, bool b) const { return a | b; }
};
struct Xor {
  using Elements = BoolTypes;
  bool operator()(bool a, bool b) const { return a ^ b; }
};

}  // namespace fn

template void binary<fn::Less>(KernelContext&);
template void binary<fn::LessOrEqual>(KernelContext&);
template void binary<fn::Greater>(KernelContext&);
template void binary<fn::GreaterOrEqual>(KernelContext&);
template void binary<fn::And>(KernelContext&);
template void binary<fn::Or>(KernelContext&);
template void binary<fn::Xor>(KernelContext&);

void equal(KernelContext& ctx) {
  const Tensor& a = ctx.input(0);
  const Tensor& b = ctx.input(1);
  if (a.dtype() != DType::kString) return binary<fn::Equal>(ctx);
  require_equal_types(a, b);
  const Shape shape = broadcast(a.shape(), b.shape());
  bool* y = ctx.output(0, DType::kBool, shape).data<bool>();
  run_broadcast(nullptr, fn::Equal{}, a.data<std::string>(), a.shape(), b.data<std::string>(),
                b.shape(), y, shape);
}

}  // namespace hugot::elementwise
