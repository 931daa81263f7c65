// From a DType at run time to a C++ type at compile time.
#ifndef HUGOT_KERNELS_DISPATCH_H_
#define HUGOT_KERNELS_DISPATCH_H_

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "base/dtype.h"
#include "base/error.h"

namespace hugot {

// A list of element types, to say what a kernel supports.
template <class... Ts>
struct Types {};

namespace internal {
template <class... Lists>
struct Join;
template <class... Ts>
struct Join<Types<Ts...>> {
  using type = Types<Ts...>;
};
template <class... As, class... Bs, class... Rest>
struct Join<Types<As...>, Types<Bs...>, Rest...> : Join<Types<As..., Bs...>, Rest...> {};
}  // namespace internal

template <class... Lists>
using JoinTypes = typename internal::Join<Lists...>::type;

using FloatTypes = Types<float, double, Float16, BFloat16>;
using SignedTypes = Types<int8_t, int16_t, int32_t, int64_t>;
using UnsignedTypes = Types<uint8_t, uint16_t, uint32_t, uint64_t>;
using IntegerTypes = JoinTypes<SignedTypes, UnsignedTypes>;
using NumberTypes = JoinTypes<FloatTypes, IntegerTypes>;
using NumberAndBoolTypes = JoinTypes<NumberTypes, Types<bool>>;
using BoolTypes = Types<bool>;

// float16 and bfloat16: stored narrow, computed in float.
template <class T>
inline constexpr bool is_half = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

// The type that arithmetic on T happens in.
template <class T>
using Compute = std::conditional_t<is_half<T>, float, T>;

// Calls body.operator()<T>() for the type T of `types` whose DType is `dtype`. Throws kUnsupported
// naming the type when it is not in the list.
template <class... Ts, class Body>
void dispatch(Types<Ts...> /*types*/, DType dtype, Body&& body) {
  const bool found =
      ((dtype == dtype_of<Ts> ? (body.template operator()<Ts>(), true) : false) || ...);
  require(found, ErrorCode::kUnsupported, "element type ", dtype_name(dtype),
          " is not supported here");
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_DISPATCH_H_
