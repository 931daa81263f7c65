#include "models/weights.h"

#include "base/error.h"

namespace hugot {
namespace {

template <class T>
Tensor convert(const Tensor& weights) {
  Tensor out(DType::kFloat32, weights.shape());
  const T* from = weights.data<T>();
  std::transform(from, from + weights.size(), out.data<float>(),
                 [](T value) { return static_cast<float>(value); });
  return out;
}

}  // namespace

Tensor to_float32(const Tensor& weights) {
  switch (weights.dtype()) {
    case DType::kFloat32:
      return weights;
    case DType::kFloat16:
      return convert<Float16>(weights);
    case DType::kBFloat16:
      return convert<BFloat16>(weights);
    default:
      fail(ErrorCode::kUnsupported, "weights of type ", dtype_name(weights.dtype()),
           "; float32, float16 and bfloat16 can be read");
  }
}

}  // namespace hugot
