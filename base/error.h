// Helpers to raise and annotate hugot::Error.
#ifndef HUGOT_BASE_ERROR_H_
#define HUGOT_BASE_ERROR_H_

#include <new>
#include <sstream>
#include <string>
#include <utility>

#include "hugot/error.hpp"

namespace hugot {

// Concatenates its arguments with operator<<.
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// Throws Error(code, str(args...)).
template <class... Args>
[[noreturn]] void fail(ErrorCode code, const Args&... args) {
  throw Error(code, str(args...));
}

// Throws an Error when `condition` does not hold. The arguments are evaluated in any case: where
// they cost something on a hot path, or need the condition themselves, write `if (..) fail(..)`.
template <class... Args>
void require(bool condition, ErrorCode code, const Args&... args) {
  if (!condition) [[unlikely]] {
    fail(code, args...);
  }
}

// Calls `function`; an Error that leaves it gets the text of `context()` in front, and memory that
// ran out becomes one.
template <class Context, class Function>
decltype(auto) with_context(Context&& context, Function&& function) {
  try {
    return std::forward<Function>(function)();
  } catch (Error& error) {
    error.add_context(std::forward<Context>(context)());
    throw;
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, std::forward<Context>(context)(), ": out of memory");
  }
}

}  // namespace hugot

#endif  // HUGOT_BASE_ERROR_H_
