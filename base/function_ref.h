// A reference to something that can be called.
#ifndef HUGOT_BASE_FUNCTION_REF_H_
#define HUGOT_BASE_FUNCTION_REF_H_

#include <memory>
#include <type_traits>
#include <utility>

namespace hugot {

template <class Signature>
class FunctionRef;

// Like std::function, but owns nothing and allocates nothing: for parameters that are called before
// the callee returns. The callable must outlive it.
template <class Result, class... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, FunctionRef>>>
  FunctionRef(F&& function)  // NOLINT: lambdas are passed as they are
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  Result operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

}  // namespace hugot

#endif  // HUGOT_BASE_FUNCTION_REF_H_
