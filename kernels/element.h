// Elements as bags of bytes, for operators that move values without looking at them.
#ifndef HUGOT_KERNELS_ELEMENT_H_
#define HUGOT_KERNELS_ELEMENT_H_

#include <cstddef>
#include <string>

#include "base/error.h"
#include "base/tensor.h"

namespace hugot {

// N bytes that are copied together. Made of bytes, so that it may stand for any type of that size.
template <size_t N>
struct alignas(N) Element {
  std::byte bytes[N];
  friend bool operator==(const Element&, const Element&) = default;
};

// Calls function.operator()<T>() with the type that moves elements of `dtype`: Element<size>, or
// std::string. Throws kUnsupported for types that are smaller than a byte.
template <class Function>
decltype(auto) with_element(DType dtype, Function&& function) {
  if (dtype == DType::kString) return function.template operator()<std::string>();
  switch (dtype_bits(dtype)) {
    case 8:
      return function.template operator()<Element<1>>();
    case 16:
      return function.template operator()<Element<2>>();
    case 32:
      return function.template operator()<Element<4>>();
    case 64:
      return function.template operator()<Element<8>>();
    case 128:
      return function.template operator()<Element<16>>();
    default:
      fail(ErrorCode::kUnsupported, "elements of type ", dtype_name(dtype),
           " cannot be moved one by one");
  }
}

// The elements of a tensor, as T of with_element.
template <class T>
const T* elements(const Tensor& tensor) {
  return static_cast<const T*>(tensor.raw());
}
template <class T>
T* elements(Tensor& tensor) {
  return static_cast<T*>(tensor.raw());
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_ELEMENT_H_
